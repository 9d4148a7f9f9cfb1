"""Nothing is learned from what was not known in time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_rows import DAY_MS, START_MS, labelled, simulated

from fraud.labels import resolve_labels
from fraud.transaction import Label
from training.configuration import DEFAULT_CONFIGURATIONS, BoostingConfiguration, FitConfiguration, SearchConfiguration
from training.dataset import DatasetError, data_hash
from training.fitting import FitPeriods, fit_and_write
from training.labelled_rows import label_maturity

END_MS = START_MS + 30 * DAY_MS
PERIODS = FitPeriods(START_MS, START_MS + 40 * DAY_MS, START_MS + 55 * DAY_MS, 7)


def day(number):
    return START_MS + number * DAY_MS


def test_a_fraud_counts_from_when_it_was_known_and_silence_only_with_age():
    rows = labelled(
        [day(1), day(2), day(25), day(26), day(3), day(4)],
        [1, 1, 1, 0, 0, -1],
        [END_MS, END_MS + 1, END_MS - 5, day(27), day(5), -1],
    )
    assert rows.labels_known_by(END_MS, maturity_days=7).tolist() == [1, 0, 1, -1, 0, 0]


def test_a_row_that_is_too_young_to_be_called_legitimate_is_left_out():
    rows = labelled([day(1), day(22), day(24), day(24)], [1, 0, 0, 1], [day(8), day(29), day(31), day(31)])
    learned = rows.learnable(day(0), END_MS, known_by_ms=END_MS, maturity_days=7)
    assert learned.labels.tolist() == [1, 0]
    assert learned.matrix[:, 0].tolist() == [0, 1]


def test_a_fraud_that_is_known_sooner_is_left_out_with_the_rows_of_its_days():
    rows = labelled([day(1), day(22), day(24), day(26)], [1, 0, 1, 1], [day(8), day(29), day(25), day(27)])
    learned = rows.learnable(day(0), END_MS, known_by_ms=END_MS, maturity_days=7)
    # With the two frauds of the last days every row of these days would be fraud.
    assert learned.labels.tolist() == [1, 0]


def test_periods_without_rows_or_without_both_classes_are_refused():
    rows = labelled([day(1), day(2)], [1, 0], [day(8), day(9)])
    with pytest.raises(DatasetError, match="no row of the training period"):
        rows.learnable(day(3), END_MS, known_by_ms=END_MS, maturity_days=7)
    with pytest.raises(DatasetError, match="1 are known as fraud"):
        rows.learnable(day(1), day(2), known_by_ms=END_MS, maturity_days=7)
    with pytest.raises(DatasetError, match="later than the moment"):
        rows.learnable(day(0), END_MS + 1, known_by_ms=END_MS, maturity_days=7)


@given(
    st.sampled_from(["fraud", "legitimate"]),
    st.integers(0, 100),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_what_is_known_of_many_rows_is_what_the_one_function_says_of_each(name, made_day, delay_days, known_by_day):
    known_at_ms = day(made_day + delay_days)
    label = Label(
        label_id="a",
        transaction_id="t",
        user_id="u",
        label=name,
        source="chargeback",
        known_at_ms=known_at_ms,
        transaction_timestamp_ms=day(made_day),
    )
    resolved = resolve_labels((label,), day(known_by_day))
    rows = labelled([day(made_day)], [name == "fraud"], [known_at_ms])
    known = rows.labels_known_by(day(known_by_day), maturity_days=30).tolist()[0]
    mature = made_day + 30 <= known_by_day
    assert known == (1 if resolved == "fraud" else 0 if mature else -1)


@pytest.mark.parametrize("kind", DEFAULT_CONFIGURATIONS)
def test_labels_and_rows_of_the_future_cannot_change_a_model(kind, tmp_path):
    """The attempt to leak: everything that was not known at the end of training is replaced by its opposite."""
    honest = simulated(seed=5)
    end_ms = PERIODS.train_to_ms
    unknown = (honest.label_known_at_ms > end_ms) | (honest.timestamps_ms >= end_ms)
    future = honest.timestamps_ms >= end_ms
    forged = replace(
        honest,
        labels=np.where(unknown, 1 - honest.labels, honest.labels).astype(np.int8),
        matrix=np.where(future[:, None], -honest.matrix, honest.matrix),
        base_amounts_minor=np.where(future, 1, honest.base_amounts_minor),
    )
    configuration = FitConfiguration(
        DEFAULT_CONFIGURATIONS[kind],
        legitimate_share=0.5,
        fraud_weight=2.0,
        calibration="sigmoid",
        search=None
        if kind != "boosting"
        else SearchConfiguration({"learning_rate": (0.05, 0.2), "tree_count": (5, 20)}, trials=3, weeks=2),
    )
    announced = {}
    for name, rows in (("honest", honest), ("forged", forged)):
        announced[name] = []
        fit_and_write(
            rows, configuration, PERIODS, tmp_path / name, "2026-03-01T00:00:00+00:00", announced[name].append
        )
    weights = [(tmp_path / name / "model.skops").read_bytes() for name in ("honest", "forged")]
    assert weights[0] == weights[1]
    assert announced["honest"] == announced["forged"]


def test_the_same_rows_and_configuration_give_the_same_content_hash(tmp_path):
    rows = simulated(seed=6)
    configuration = FitConfiguration(BoostingConfiguration(tree_count=10), seed=3, legitimate_share=0.3)
    hashes = {
        fit_and_write(
            rows, configuration, PERIODS, tmp_path / place / "model", created_at, lambda _line: None
        ).manifest.content_hash
        for place, created_at in (("a", "2026-03-01T00:00:00+00:00"), ("b", "2026-04-01T00:00:00+00:00"))
    }
    assert len(hashes) == 1


def test_a_week_says_how_much_of_it_is_known():
    rows = labelled([day(5), day(6), day(26), day(27)], [1, 0, 0, 1], [day(12), day(13), day(33), day(34)])
    weeks = label_maturity(rows, END_MS, maturity_days=7)
    assert [(week.rows, week.frauds, week.unknown) for week in weeks] == [(2, 1, 0), (2, 0, 2)]
    assert [week.known_share for week in weeks] == [1, 0]


def test_a_week_of_which_nothing_is_known_adds_nothing_to_what_is_learned():
    rows = simulated(seed=7)
    whole = rows.learnable(day(0), day(30), known_by_ms=day(30), maturity_days=7)
    known = rows.learnable(day(0), day(23), known_by_ms=day(30), maturity_days=7)
    sooner = rows.learnable(day(0), day(22), known_by_ms=day(30), maturity_days=7)
    assert data_hash([whole]) == data_hash([known]) != data_hash([sooner])
