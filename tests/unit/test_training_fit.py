"""Fitting learns from what was known in time, judges with the scores that the service gives, and is repeatable."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import average_precision_score, roc_auc_score

from training.cli import fit as fit_command
from training.cli import moment_ms
from training.configuration import DEFAULT_CONFIGURATIONS, BoostingConfiguration, FitConfiguration
from training.dataset import Dataset, DatasetError, data_hash, split_by_time
from training.fit import fit
from training.metrics import alert_threshold, alerted_rows, ranking_metrics

NAMES = ("amount", "count", "hours")
END_MS = 1_000_000


@dataclass(frozen=True)
class Rows:
    timestamps_ms: np.ndarray
    matrix: np.ndarray
    labels: np.ndarray
    label_known_at_ms: np.ndarray
    base_amounts_minor: np.ndarray


def rows(*described):
    """Rows of (timestamp, label, label known at); the only feature is the position."""
    columns = list(zip(*described, strict=True))
    return Rows(
        timestamps_ms=np.array(columns[0], dtype=np.int64),
        matrix=np.arange(len(described), dtype=np.float64)[:, None],
        labels=np.array(columns[1], dtype=np.int8),
        label_known_at_ms=np.array(columns[2], dtype=np.int64),
        base_amounts_minor=np.full(len(described), 100, dtype=np.int64),
    )


def synthetic(seed, count=800):
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(count, len(NAMES)))
    labels = (matrix[:, 0] + 0.5 * generator.normal(size=count) > 1.5).astype(np.int8)
    matrix[generator.random(matrix.shape) < 0.05] = np.nan
    return Dataset(matrix, labels, generator.integers(1, 50_000, count))


def test_only_labels_known_by_the_end_of_training_are_learned():
    blocks = [
        rows((10, 1, END_MS), (20, 1, END_MS + 1), (30, 1, -1), (40, 0, 50)),
        rows((50, -1, -1), (END_MS - 1, 1, END_MS - 1), (END_MS, 1, END_MS + 9), (END_MS + 5, 0, -1)),
    ]
    training, validation = split_by_time(blocks, END_MS)
    assert training.labels.tolist() == [1, 0, 0, 0, 1]
    assert training.matrix[:, 0].tolist() == [0, 1, 2, 3, 1]
    assert validation.labels.tolist() == [1, 0]


def test_a_label_that_arrives_later_cannot_change_the_model():
    known_late = rows(*[(index, index % 5 == 0, END_MS + 1 if index % 10 else 5) for index in range(400)])
    blocks = [known_late, rows((END_MS, 1, -1), (END_MS, 0, -1))]
    leaked = replace(
        known_late, labels=np.where(known_late.label_known_at_ms > END_MS, 0, known_late.labels).astype(np.int8)
    )
    honest, _ = split_by_time(blocks, END_MS)
    without, _ = split_by_time([leaked, blocks[1]], END_MS)
    assert data_hash([honest]) == data_hash([without])


def test_periods_without_rows_or_without_known_fraud_are_refused():
    with pytest.raises(DatasetError, match="no labelled rows in the training period"):
        split_by_time([rows((END_MS, 1, -1))], END_MS)
    with pytest.raises(DatasetError, match="no labelled rows in the validation period"):
        split_by_time([rows((1, 1, 2))], END_MS)
    with pytest.raises(DatasetError, match="0 are known as fraud"):
        split_by_time([rows((1, 1, END_MS + 5), (END_MS, 1, -1))], END_MS)


def test_the_data_hash_covers_values_labels_and_amounts_and_one_missing_value_is_like_another():
    data = synthetic(1)
    base = data_hash([data])
    assert data_hash([synthetic(1)]) == base
    assert data_hash([replace(data, labels=1 - data.labels)]) != base
    assert data_hash([replace(data, base_amounts_minor=data.base_amounts_minor + 1)]) != base
    negative = np.where(np.isnan(data.matrix), -np.float64(np.nan), data.matrix)
    assert data_hash([replace(data, matrix=negative)]) == base


@pytest.mark.parametrize("kind", DEFAULT_CONFIGURATIONS)
def test_a_fit_is_judged_with_the_scores_that_the_service_gives(kind):
    validation = synthetic(2)
    fitted = fit(synthetic(1), validation, NAMES, FitConfiguration(DEFAULT_CONFIGURATIONS[kind]))
    scores = fitted.estimate.score(validation.matrix)
    assert fitted.metrics["auc_roc"] == roc_auc_score(validation.labels, scores) > 0.85
    assert fitted.metrics["average_precision"] == average_precision_score(validation.labels, scores)
    assert 0 < fitted.metrics["value_recall_at_0.5_percent_alerts"] <= 1
    assert (scores >= fitted.thresholds["alerts_0.5_percent"]).sum() >= 4


def test_the_number_of_threads_does_not_change_a_model():
    from threadpoolctl import threadpool_limits

    from fraud.scoring.persistence import estimator_bytes

    written = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            fitted = fit(synthetic(1, 5_000), synthetic(2), NAMES, FitConfiguration(BoostingConfiguration()))
            written.append(estimator_bytes(fitted.estimator))
    assert written[0] == written[1]


def test_validation_rows_do_not_shape_the_model():
    one = fit(synthetic(1), synthetic(2), NAMES, FitConfiguration())
    other = fit(synthetic(1), synthetic(3), NAMES, FitConfiguration())
    probe = synthetic(4).matrix
    assert one.estimate.score(probe).tobytes() == other.estimate.score(probe).tobytes()


def test_value_recall_is_the_share_of_fraudulent_money_among_the_alerts():
    judged = Dataset(np.zeros((400, 1)), np.zeros(400, dtype=np.int8), np.full(400, 100, dtype=np.int64))
    judged.labels[[0, 1, 2]] = 1
    judged.base_amounts_minor[[0, 1, 2]] = (7_000, 2_000, 1_000)
    scores = np.zeros(400)
    scores[0], scores[9], scores[1] = 0.9, 0.8, 0.7
    assert alerted_rows(scores, 0.005).tolist() == [0, 9]
    assert alert_threshold(scores, 0.005) == 0.8
    assert ranking_metrics(scores, judged)["value_recall_at_0.5_percent_alerts"] == 0.7


def test_of_equal_scores_the_earlier_row_is_alerted():
    assert alerted_rows(np.full(1_000, 0.5), 0.005).tolist() == [0, 1, 2, 3, 4]


def test_metrics_have_no_value_where_there_is_one_class():
    judged = Dataset(np.zeros((10, 1)), np.zeros(10, dtype=np.int8), np.ones(10, dtype=np.int64))
    assert set(ranking_metrics(np.zeros(10), judged).values()) == {None}


def test_a_time_is_a_date_in_utc_or_carries_its_zone():
    assert moment_ms("2026-03-01") == moment_ms("2026-03-01T00:00:00Z") == moment_ms("2026-03-01T01:00:00+01:00")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--train-to": "2026-01-01"}, "the periods must follow each other"),
        ({"--train-from": "2026-01-01T10:00:00"}, "has no time zone"),
        ({"--validate-to": "someday"}, "'someday' is not a date"),
        ({"--model-kind": "oracle"}, "'oracle' is not one of"),
    ],
)
def test_wrong_options_end_with_code_2_and_a_reason(changed, message, tmp_path):
    options = {
        "--train-from": "2026-01-01",
        "--train-to": "2026-02-01",
        "--validate-to": "2026-03-01",
        "--out": str(tmp_path / "model"),
    }
    arguments = [text for pair in {**options, **changed}.items() for text in pair]
    result = CliRunner().invoke(fit_command, ["data.csv", *arguments])
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("kind", sorted(DEFAULT_CONFIGURATIONS))
def test_a_feature_that_no_row_has_is_learned_nothing_from(kind):
    training, validation = synthetic(1), synthetic(2)
    training.matrix[:, 2] = np.nan
    fitted = fit(training, validation, NAMES, FitConfiguration(DEFAULT_CONFIGURATIONS[kind], seed=1))
    others = validation.matrix.copy()
    others[:, 2] = 7.0
    assert fitted.estimate.score(validation.matrix).tolist() == fitted.estimate.score(others).tolist()
