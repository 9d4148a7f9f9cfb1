"""Drift is silent on the same population and loud on another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fraud.scoring.drift import (
    DriftCounts,
    DriftMeasure,
    DriftReference,
    DriftThresholds,
    FloatArray,
    Histogram,
    bin_counts,
    evenly_taken,
    histogram_of,
    population_stability,
    share_known,
)
from fraud.scoring.drift_file import DRIFT_FILE, drift_reference_bytes, read_drift_reference
from fraud.scoring.manifest import ModelRefusedError

ROWS = 20_000


def _population(seed: int, shift: float = 0.0) -> tuple[FloatArray, FloatArray]:
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(ROWS, 2))
    matrix[:, 0] += shift
    matrix[generator.random(ROWS) < 0.1, 1] = np.nan
    return matrix, generator.beta(1, 50, ROWS)


def _reference() -> DriftReference:
    matrix, scores = _population(1)
    return DriftReference(
        model_content_hash="a" * 64,
        training_from="2026-01-01T00:00:00.000Z",
        training_to="2026-02-01T00:00:00.000Z",
        judged_to="2026-02-08T00:00:00.000Z",
        features={"amount": histogram_of(matrix[:, 0]), "distance": histogram_of(matrix[:, 1])},
        score=histogram_of(scores),
        row_count=ROWS,
        fraud_count=400,
        expected_frauds=400.0,
        alert_threshold=0.08,
        alert_count=400,
        alert_fraud_count=200,
    )


def _counts(matrix: FloatArray, scores: FloatArray) -> DriftCounts:
    counts = DriftCounts(_reference(), ["amount", "distance"])
    counts.add_rows(matrix, scores)
    return counts


def _by_name(counts: DriftCounts) -> dict[str, DriftMeasure]:
    return {measure.name: measure for measure in counts.measures(DriftThresholds())}


def test_the_same_population_is_stable() -> None:
    found = _by_name(_counts(*_population(2)))
    assert not any(measure.alarms for measure in found.values())
    assert all((found[name].value or 0) < 0.01 for name in ("amount", "distance", "score"))


def test_a_moved_feature_alarms_and_the_others_do_not() -> None:
    found = _by_name(_counts(*_population(2, shift=1.0)))
    assert [name for name, measure in found.items() if measure.alarms] == ["amount"]


def test_a_feature_that_is_missing_all_at_once_alarms() -> None:
    matrix, scores = _population(2)
    matrix[:, 1] = np.nan
    assert _by_name(_counts(matrix, scores))["distance"].alarms


def test_few_rows_say_nothing() -> None:
    matrix, scores = _population(2, shift=5.0)
    assert all(measure.value is None for measure in _by_name(_counts(matrix[:999], scores[:999])).values())


def test_batches_count_as_the_whole_does() -> None:
    matrix, scores = _population(3)
    parts = DriftCounts(_reference(), ["amount", "distance"])
    for start in range(0, ROWS, 777):
        parts.add_rows(matrix[start : start + 777], scores[start : start + 777])
    assert parts.measures(DriftThresholds()) == _counts(matrix, scores).measures(DriftThresholds())


@pytest.mark.parametrize(
    ("frauds", "alarming"), [(400, set()), (1_500, {"label_rate", "calibration"}), (20, {"label_rate", "calibration"})]
)
def test_label_rate_and_calibration_alarm_in_both_directions(frauds: int, alarming: set[str]) -> None:
    scores = np.full(ROWS, 0.02)
    labels = np.zeros(ROWS, np.int8)
    labels[:frauds] = 1
    counts = DriftCounts(_reference(), ["amount", "distance"])
    counts.add_labels(scores, labels)
    assert {measure.name for measure in counts.measures(DriftThresholds()) if measure.alarms} == alarming


def test_alerts_that_are_right_less_often_alarm_and_more_often_do_not() -> None:
    scores = np.full(ROWS, 0.01)
    scores[:400] = 0.5
    for right, alarms in ((50, True), (200, False), (400, False)):
        labels = np.zeros(ROWS, np.int8)
        labels[:right] = 1
        counts = DriftCounts(_reference(), ["amount", "distance"])
        counts.add_labels(scores, labels)
        assert _by_name(counts)["alert_precision"].alarms is alarms


def test_a_window_that_ends_is_forgotten() -> None:
    counts = _counts(*_population(2))
    counts.forget()
    assert counts.row_count == 0
    assert _by_name(counts)["score"].value is None


def test_the_index_is_that_of_its_formula() -> None:
    expected = (0.8 - 0.5) * np.log(0.8 / 0.5) + (0.2 - 0.5) * np.log(0.2 / 0.5)
    assert population_stability([50, 50], [80, 20]) == pytest.approx(expected)
    assert population_stability([50, 50], [5, 5]) == 0


def test_every_value_falls_in_one_bin_and_missing_ones_in_the_last() -> None:
    values = np.array([1.0, 2.0, 3.0, np.nan, np.inf, -np.inf])
    assert bin_counts([1.0, 2.0], values).tolist() == [2, 1, 2, 1]


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [5.0] * 10])
def test_a_feature_without_variety_has_a_histogram(values: list[float]) -> None:
    histogram = histogram_of(np.array(values, dtype=np.float64))
    assert (histogram.edges, sum(histogram.counts)) == ((), len(values))


def test_the_share_known_at_an_age_is_that_of_the_delays() -> None:
    hour_ms = 3_600_000
    few = evenly_taken(np.array([3, 1, 2, 4]) * hour_ms)
    assert few == (1.0, 2.0, 3.0, 4.0)
    assert share_known(few, np.array([0, 1, 2.5, 4, 9]) * hour_ms).tolist() == [0, 0.25, 0.5, 1, 1]
    many = np.random.default_rng(1).integers(0, 1_000 * hour_ms, 5_000)
    ages = np.linspace(0, 1_000 * hour_ms, 50).astype(np.int64)
    exact = (many[None, :] <= ages[:, None]).mean(axis=1)
    assert np.abs(share_known(evenly_taken(many), ages) - exact).max() <= 0.01
    always_seven = evenly_taken(np.full(500, 7 * 24 * hour_ms))
    assert share_known(always_seven, np.array([7 * 24 * hour_ms - 1, 7 * 24 * hour_ms])).tolist() == [0, 1]
    assert share_known((), np.array([0, 5])).tolist() == [1, 1]


def test_counts_that_do_not_fit_their_edges_are_refused() -> None:
    with pytest.raises(ValueError, match="1 edges need 3 counts"):
        Histogram((1.0,), (1, 2))
    with pytest.raises(ValueError, match="ascending"):
        Histogram((2.0, 1.0), (1, 2, 3, 0))


def test_other_features_are_refused() -> None:
    with pytest.raises(ValueError, match="other features: distance, speed"):
        DriftCounts(_reference(), ["amount", "speed"])


def test_a_reference_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_drift_reference(tmp_path, "a" * 64) is None
    (tmp_path / DRIFT_FILE).write_bytes(drift_reference_bytes(_reference()))
    assert read_drift_reference(tmp_path, "a" * 64) == _reference()


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"score": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_reference_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DRIFT_FILE).write_bytes(content)
    with pytest.raises(ModelRefusedError, match="not a reference of drift"):
        read_drift_reference(tmp_path, "a" * 64)


def test_the_reference_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / DRIFT_FILE).write_bytes(drift_reference_bytes(_reference()))
    with pytest.raises(ModelRefusedError, match="belongs to the content aaaaaaaaaaaa"):
        read_drift_reference(tmp_path, "b" * 64)
