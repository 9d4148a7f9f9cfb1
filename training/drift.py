"""The reference of drift, made when a model is fitted, and how far later rows have moved from it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraud.scoring.drift import (
    DriftCounts,
    DriftMeasure,
    DriftReference,
    DriftThresholds,
    evenly_taken,
    histogram_of,
)
from fraud.scoring.manifest import Manifest
from training.dataset import Dataset, FloatArray, IntegerArray
from training.labelled_rows import FRAUD, UNKNOWN, LabelledRows
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


@dataclass(frozen=True)
class ScoredRows:
    """Rows that a model was judged on: its `scores` float64 [rows] of them, the score from which on it alerts.

    `delays_ms` int64 [rows]: how long after each row its label became known, negative for never.
    """

    rows: Dataset
    scores: FloatArray
    alert_threshold: float
    delays_ms: IntegerArray


def drift_reference(manifest: Manifest, training: Dataset, validation: ScoredRows) -> DriftReference:
    """What later rows are compared with."""
    scores, labels, delays_ms = validation.scores, validation.rows.labels, validation.delays_ms
    alerts = scores >= validation.alert_threshold
    told = (labels == FRAUD) & (delays_ms >= 0)
    return DriftReference(
        model_content_hash=manifest.content_hash,
        training_from=manifest.training.period_from,
        training_to=manifest.training.period_to,
        judged_to=manifest.training.validation_to,
        features={name: histogram_of(training.matrix[:, place]) for place, name in enumerate(manifest.feature_names)},
        score=histogram_of(scores),
        row_count=len(scores),
        fraud_count=int(labels.sum()),
        expected_frauds=float(scores.sum()),
        alert_threshold=validation.alert_threshold,
        alert_count=int(alerts.sum()),
        alert_fraud_count=int(labels[alerts].sum()),
        fraud_delays_hours=evenly_taken(delays_ms[told]),
        alert_fraud_delays_hours=evenly_taken(delays_ms[told & alerts]),
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

    `scores` float64 [rows] are the model's. Frauds known so far are compared with those of the reference that were
    known at the same age. `maturity_days` counts for a reference of an earlier version, which has no delays: younger
    rows say nothing then. Raises `ValueError` where the reference is about other features.
    """
    known = rows.labels_known_by(known_by_ms, maturity_days)
    has_delays = bool(reference.fraud_delays_hours)
    telling = ~rows.prevented if has_delays else known != UNKNOWN
    frauds = (known == FRAUD).astype(np.int8)
    ages_ms = known_by_ms - rows.timestamps_ms
    found = []
    for from_ms, to_ms in itertools.pairwise(bounds_ms):
        within = np.flatnonzero((rows.timestamps_ms >= from_ms) & (rows.timestamps_ms < to_ms))
        if not len(within):
            continue
        counts = DriftCounts(reference, rows.origin.feature_names)
        counts.add_rows(rows.matrix[within], scores[within])
        resolved = within[telling[within]]
        counts.add_labels(scores[resolved], frauds[resolved], ages_ms[resolved] if has_delays else None)
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
