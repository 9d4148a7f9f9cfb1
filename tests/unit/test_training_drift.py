"""What has moved since training is told, by `fraud-train drift` and by the service alike."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from learning_rows import DAY_MS, START_MS, labelled, simulated

from fraud.live.drift import WINDOW_MS, LiveDrift
from fraud.scoring.drift import DriftThresholds
from fraud.scoring.model import load_model
from training.cli import main
from training.commands.drift import drift_text, last_alarms
from training.configuration import DEFAULT_CONFIGURATIONS, FitConfiguration
from training.drift import drift_by_period, weekly_bounds
from training.fitting import FitPeriods, fit_and_write

ROWS_A_DAY = 200
TRAIN_TO_MS, JUDGED_TO_MS = START_MS + 30 * DAY_MS, START_MS + 40 * DAY_MS


@pytest.fixture(scope="module")
def rows():
    return simulated(5, days=70, rows_a_day=ROWS_A_DAY)


@pytest.fixture(scope="module")
def model(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "watched"
    periods = FitPeriods(START_MS, TRAIN_TO_MS, JUDGED_TO_MS, 7.0)
    configuration = FitConfiguration(DEFAULT_CONFIGURATIONS["logistic_regression"], 0)
    fit_and_write(rows, configuration, periods, folder, "2026-03-01T00:00:00+00:00", lambda _line: None)
    return load_model(folder, "tests", "0" * 64)


def measured(model, rows, from_day=42, to_day=56, thresholds=None):
    from_ms, to_ms = START_MS + from_day * DAY_MS, START_MS + to_day * DAY_MS
    return drift_by_period(
        rows,
        model.score(rows.matrix),
        model.drift_reference,
        thresholds or DriftThresholds(),
        bounds_ms=weekly_bounds(from_ms, to_ms),
        known_by_ms=to_ms + 7 * DAY_MS,
        maturity_days=7.0,
    )


def test_rows_like_those_of_training_raise_no_alarm(model, rows) -> None:
    periods = measured(model, rows)
    assert len(periods) == 2
    assert last_alarms(periods) == []
    assert all(measure.value is not None for period in periods for measure in period.measures)
    assert "no alarm" in drift_text("watched", model.drift_reference, periods)


def test_a_feature_that_moves_is_named(model, rows) -> None:
    matrix = rows.matrix.copy()
    matrix[:, 1] += 3.0
    moved = labelled(rows.timestamps_ms, rows.labels, rows.label_known_at_ms, matrix)
    periods = measured(model, moved)
    names = {(alarm.kind, alarm.name) for alarm in last_alarms(periods)}
    assert ("feature_stability", "count") in names
    assert ("feature_stability", "amount") not in names
    assert "ALARM count: stability" in drift_text("watched", model.drift_reference, periods)


def test_three_times_the_fraud_alarms_once_its_labels_are_known(model, rows) -> None:
    generator = np.random.default_rng(1)
    labels = np.where(generator.random(len(rows)) < 0.3, 1, rows.labels)
    attacked = labelled(rows.timestamps_ms, labels, rows.timestamps_ms + 7 * DAY_MS, rows.matrix)
    kinds = {alarm.kind for alarm in last_alarms(measured(model, attacked))}
    assert "label_rate" in kinds
    assert "calibration" in kinds
    untold = labelled(rows.timestamps_ms, labels, rows.timestamps_ms + 60 * DAY_MS, rows.matrix)
    measures = drift_by_period(
        untold,
        model.score(untold.matrix),
        model.drift_reference,
        DriftThresholds(),
        bounds_ms=[START_MS + 49 * DAY_MS, START_MS + 56 * DAY_MS],
        known_by_ms=START_MS + 50 * DAY_MS,
        maturity_days=30.0,
    )[0].measures
    assert {one.kind: one.value for one in measures}["label_rate"] is None


def slowly_labelled(rows, seed=3, more=0.0):
    """The same rows with labels that come after 1 to 60 days, and with this share of more fraud, by chance."""
    generator = np.random.default_rng(seed)
    delays_ms = np.round(generator.triangular(1, 10, 60, len(rows)) * DAY_MS).astype(np.int64)
    labels = np.where(generator.random(len(rows)) < more, 1, rows.labels)
    return labelled(rows.timestamps_ms, labels, rows.timestamps_ms + delays_ms, rows.matrix)


@pytest.fixture(scope="module")
def slow():
    return slowly_labelled(simulated(6, days=120, rows_a_day=600))


@pytest.fixture(scope="module")
def model_of_slow(slow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "slow"
    periods = FitPeriods(START_MS, START_MS + 40 * DAY_MS, START_MS + 80 * DAY_MS, 7.0)
    configuration = FitConfiguration(DEFAULT_CONFIGURATIONS["logistic_regression"], 0)
    fit_and_write(slow, configuration, periods, folder, "2026-03-01T00:00:00+00:00", lambda _line: None)
    return load_model(folder, "tests", "0" * 64)


def of_young_weeks(model, rows, reference=None):
    """Label measures of the weeks from day 85 on, as known at day 120."""
    periods = drift_by_period(
        rows,
        model.score(rows.matrix),
        reference or model.drift_reference,
        DriftThresholds(),
        bounds_ms=weekly_bounds(START_MS + 85 * DAY_MS, START_MS + 120 * DAY_MS),
        known_by_ms=START_MS + 120 * DAY_MS,
        maturity_days=7.0,
    )
    kinds = ("label_rate", "alert_precision", "calibration")
    return [{one.kind: one for one in period.measures if one.kind in kinds} for period in periods]


def test_young_weeks_are_compared_with_what_was_known_of_the_reference_at_their_age(model_of_slow, slow):
    weeks = of_young_weeks(model_of_slow, slow)
    told = [week for week in weeks if week["label_rate"].value is not None]
    assert len(told) >= 3
    for week in told:
        assert all(0.85 < measure.value < 1.15 for measure in week.values())
        assert not any(measure.alarms for measure in week.values())
    # Without the delays of the reference the same weeks seem to have lost most of their fraud.
    former = msgspec.structs.replace(model_of_slow.drift_reference, fraud_delays_hours=())
    low = [week["label_rate"] for week in of_young_weeks(model_of_slow, slow, former)]
    assert any(measure.alarms and measure.value < 0.5 for measure in low)


def test_what_was_known_of_a_row_counts_as_a_part_of_it(model_of_slow, slow):
    week = of_young_weeks(model_of_slow, slow)[0]
    rows = int(((slow.timestamps_ms >= START_MS + 85 * DAY_MS) & (slow.timestamps_ms < START_MS + 92 * DAY_MS)).sum())
    # Four to five weeks after a fraud three in four are known.
    assert 0.65 < week["label_rate"].rows / rows < 0.85


def test_more_fraud_in_young_weeks_alarms_before_all_of_it_is_known(model_of_slow, slow):
    attacked = of_young_weeks(model_of_slow, slowly_labelled(slow, more=0.3))
    assert any(week["label_rate"].alarms and week["label_rate"].value > 2 for week in attacked[2:])


def test_a_week_of_which_nothing_can_be_known_yet_says_nothing(model, rows):
    # Labels come after seven days, all of them.
    found = drift_by_period(
        rows,
        model.score(rows.matrix),
        model.drift_reference,
        DriftThresholds(),
        bounds_ms=[START_MS + 49 * DAY_MS, START_MS + 56 * DAY_MS],
        known_by_ms=START_MS + 56 * DAY_MS - 1,
        maturity_days=0.0,
    )[0].measures
    assert {one.kind: one.value for one in found if one.kind == "label_rate"} == {"label_rate": None}


def test_the_service_measures_the_same_as_the_command(model, rows) -> None:
    scores = model.score(rows.matrix)
    within = np.flatnonzero(
        (rows.timestamps_ms >= START_MS + 42 * DAY_MS) & (rows.timestamps_ms < START_MS + 49 * DAY_MS)
    )
    live = LiveDrift(DriftThresholds())
    live.watch(model)
    for part in np.array_split(within, 37):
        live.decided(rows.matrix[part], scores[part], START_MS)
    for row in within[rows.labels[within] == 1]:
        versions = {"model": {"hash": model.content_hash, "name": model.name}}
        live.confirmed(json.dumps({"score": float(scores[row]), "versions": versions}).encode())
    (of_command,) = measured(model, rows, 42, 49)
    assert live.measures() == of_command.measures


def test_frauds_of_another_model_are_not_counted(model) -> None:
    live = LiveDrift(DriftThresholds())
    live.watch(model)
    live.decided(np.zeros((1_200, 3)), np.full(1_200, 0.5), START_MS)
    before = live.measures()
    live.confirmed(b'{"score": 0.9, "versions": {"model": {"hash": "other", "name": "other"}}}')
    live.confirmed(b'{"score": null, "versions": {"model": null}}')
    live.confirmed(b"")
    assert live.measures() == before


def test_a_new_day_shows_the_last_one_until_it_has_rows_enough(model, rows) -> None:
    scores = model.score(rows.matrix)
    live = LiveDrift(DriftThresholds())
    live.watch(model)
    live.decided(rows.matrix, scores, START_MS)
    whole_day = live.measures()
    live.decided(rows.matrix[:10], scores[:10], START_MS + WINDOW_MS)
    assert live.measures() == whole_day
    live.decided(rows.matrix[:2_000], scores[:2_000], START_MS + WINDOW_MS)
    assert live.measures()[0].rows == 2_010


def test_the_metrics_have_values_and_alarms_by_name(model, rows) -> None:
    live = LiveDrift(DriftThresholds())
    assert [family.samples for family in live.collect()] == [[], []]
    live.watch(model)
    live.decided(rows.matrix + 5.0, model.score(rows.matrix), START_MS)
    values, alarms = live.collect()
    assert {sample.labels["name"] for sample in values.samples} >= {"score", "amount", "count", "hours"}
    raised = {sample.labels["name"] for sample in alarms.samples if sample.value}
    assert raised >= {"amount", "count", "hours"}


def test_weeks_cover_the_period_and_a_stray_day_joins_the_last() -> None:
    assert weekly_bounds(0, 21 * DAY_MS) == [0, 7 * DAY_MS, 14 * DAY_MS, 21 * DAY_MS]
    assert weekly_bounds(0, 15 * DAY_MS) == [0, 7 * DAY_MS, 15 * DAY_MS]
    assert weekly_bounds(0, 2 * DAY_MS) == [0, 2 * DAY_MS]


def test_a_wrong_threshold_is_told_by_its_name(tmp_path) -> None:
    thresholds = tmp_path / "thresholds.yaml"
    thresholds.write_text("stabilty: 0.3\n")
    words = ["drift", "x.parquet", "--model", str(tmp_path), "--from", "2026-01-01", "--to", "2026-02-01"]
    result = CliRunner().invoke(main, [*words, "--thresholds", str(thresholds)])
    assert result.exit_code == 2
    assert "stabilty" in result.output
