"""The reference of drift, made when a model is fitted, and how far later rows have moved from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraud.scoring.drift import DriftCounts, DriftMeasure, DriftReference, DriftThresholds, histogram_of
from fraud.scoring.manifest import Manifest
from training.dataset import Dataset, FloatArray
from training.labelled_rows import UNKNOWN, LabelledRows
from training.metrics.judged import DAY_MS


@dataclass(frozen=True)
class DriftPeriod:
    """What was measured of the rows of [from_ms, to_ms), UTC milliseconds."""

    from_ms: int
    to_ms: int
    measures: list[DriftMeasure]

    @property
    def alarms(self) -> list[DriftMeasure]:
        """Those beyond their thresholds."""
        return [measure for measure in self.measures if measure.alarms]


def drift_reference(
    manifest: Manifest, training: Dataset, validation: Dataset, scores: FloatArray, alert_threshold: float
) -> DriftReference:
    """What later rows are compared with; `scores` float64 [validation rows] are the model's of the validation rows."""
    alerts = scores >= alert_threshold
    return DriftReference(
        model_content_hash=manifest.content_hash,
        training_from=manifest.training.period_from,
        training_to=manifest.training.period_to,
        judged_to=manifest.training.validation_to,
        features={name: histogram_of(training.matrix[:, place]) for place, name in enumerate(manifest.feature_names)},
        score=histogram_of(scores),
        row_count=len(scores),
        fraud_count=int(validation.labels.sum()),
        expected_frauds=float(scores.sum()),
        alert_threshold=alert_threshold,
        alert_count=int(alerts.sum()),
        alert_fraud_count=int(validation.labels[alerts].sum()),
    )


def drift_by_period(
    rows: LabelledRows,
    scores: FloatArray,
    reference: DriftReference,
    thresholds: DriftThresholds,
    *,
    bounds_ms: Sequence[int],
    known_by_ms: int,
    maturity_days: float,
) -> list[DriftPeriod]:
    """Drift between each two successive bounds, with labels as known by `known_by_ms`; empty periods are left out.

    `scores` float64 [rows] are the model's. Raises `ValueError` where the reference is about other features.
    """
    known = rows.labels_known_by(known_by_ms, maturity_days)
    found = []
    for from_ms, to_ms in itertools.pairwise(bounds_ms):
        within = np.flatnonzero((rows.timestamps_ms >= from_ms) & (rows.timestamps_ms < to_ms))
        if not len(within):
            continue
        counts = DriftCounts(reference, rows.origin.feature_names)
        counts.add_rows(rows.matrix[within], scores[within])
        resolved = within[known[within] != UNKNOWN]
        counts.add_labels(scores[resolved], known[resolved])
        found.append(DriftPeriod(from_ms, to_ms, counts.measures(thresholds)))
    return found


def weekly_bounds(from_ms: int, to_ms: int) -> list[int]:
    """Bounds of weeks from `from_ms`; what is left of `to_ms` is a shorter last one. UTC milliseconds."""
    week_ms = 7 * DAY_MS
    bounds = [*range(from_ms, to_ms, week_ms), to_ms]
    # A day or two alone would be compared with whole weeks of training.
    if len(bounds) > 2 and bounds[-1] - bounds[-2] < week_ms // 2:
        del bounds[-2]
    return bounds
