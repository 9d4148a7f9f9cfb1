"""Fitting learns from what was known in time, judges with the scores that the service gives, and is repeatable."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import average_precision_score, roc_auc_score

from training.commands.fit import fit as fit_command
from training.configuration import DEFAULT_CONFIGURATIONS, BoostingConfiguration, FitConfiguration
from training.dataset import Dataset, data_hash
from training.fit import fit
from training.metrics.ranking import alert_threshold, alerted_rows, ranking_metrics

NAMES = ("amount", "count", "hours")


def synthetic(seed, count=800):
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(count, len(NAMES)))
    labels = (matrix[:, 0] + 0.5 * generator.normal(size=count) > 1.5).astype(np.int8)
    matrix[generator.random(matrix.shape) < 0.05] = np.nan
    return Dataset(matrix, labels, generator.integers(1, 50_000, count))


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
    assert fitted.metrics["auc_roc"] == pytest.approx(roc_auc_score(validation.labels, scores), abs=1e-12)
    assert fitted.metrics["average_precision"] == pytest.approx(
        average_precision_score(validation.labels, scores), abs=1e-12
    )
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
    assert (
        ranking_metrics(scores, judged.labels, judged.base_amounts_minor)["value_recall_at_0.5_percent_alerts"] == 0.7
    )


def test_of_equal_scores_the_earlier_row_is_alerted():
    assert alerted_rows(np.full(1_000, 0.5), 0.005).tolist() == [0, 1, 2, 3, 4]


def test_metrics_have_no_value_where_there_is_one_class():
    judged = Dataset(np.zeros((10, 1)), np.zeros(10, dtype=np.int8), np.ones(10, dtype=np.int64))
    assert set(ranking_metrics(np.zeros(10), judged.labels, judged.base_amounts_minor).values()) == {None}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--train-to": "2026-01-01"}, "the periods must follow each other"),
        ({"--train-from": "2026-01-01T10:00:00"}, "has no time zone"),
        ({"--validate-to": "someday"}, "'someday' is neither a day"),
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
