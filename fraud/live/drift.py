"""Drift of the model that decides, counted by the service as decisions are made and labels arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fraud.scoring.drift import DriftCounts, DriftMeasure, DriftThresholds, FloatArray
from fraud.scoring.model import Model

# A whole day, so that the hours of the day are mixed as they were in training.
WINDOW_MS = 86_400_000
# Counting costs a hundred small calls, whatever the number of rows: batches are put together first.
_ROWS_AT_ONCE = 1_024


class _ModelVersion(msgspec.Struct, frozen=True):
    hash: str


class _Versions(msgspec.Struct, frozen=True):
    model: _ModelVersion | None


class _Scored(msgspec.Struct, frozen=True):
    """What of a stored decision says how it was scored."""

    score: float | None
    versions: _Versions


_decode_scored = msgspec.json.Decoder(_Scored).decode


class LiveDrift(Collector):
    """What the deciding model sees now against what it was trained on, by day of the messages' time.

    Labels are counted as they arrive, against the decisions of the same day: where volume is steady, frauds that become
    known in a day are as many as were made in one. Rows that nobody has called fraud count as legitimate.
    """

    def __init__(self, thresholds: DriftThresholds) -> None:
        self._thresholds = thresholds
        self.watch(None)

    def watch(self, model: Model | None) -> None:
        """Begin anew, for this model; one without a reference is not watched."""
        self._content_hash = "" if model is None else model.content_hash
        reference = None if model is None else model.drift_reference
        self._counts = None if model is None or reference is None else DriftCounts(reference, model.feature_names)
        self._day = -1
        self._last_day: list[DriftMeasure] = []
        self._waiting: list[tuple[FloatArray, FloatArray]] = []
        self._waiting_rows = 0

    def decided(self, matrix: FloatArray, scores: FloatArray, ingested_ms: int) -> None:
        """Count decisions: `matrix` float64 [rows, features], `scores` float64 [rows], message time of the batch."""
        if self._counts is None or not len(scores):
            return
        day = ingested_ms // WINDOW_MS
        if day > self._day >= 0:
            self._last_day = self.measures()
            self._counts.forget()
        self._day = max(self._day, day)
        self._waiting.append((matrix, scores))
        self._waiting_rows += len(scores)
        if self._waiting_rows >= _ROWS_AT_ONCE:
            self._count_waiting()

    def _count_waiting(self) -> None:
        if self._counts is None or not self._waiting:
            return
        matrix, scores = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._waiting_rows = [], 0
        self._counts.add_rows(matrix, scores)
        self._counts.add_labels(scores, np.zeros(len(scores), dtype=np.int8))

    def confirmed(self, canonical: bytes) -> None:
        """A decision, by its canonical bytes, turned out to be about fraud."""
        if self._counts is None or not canonical:
            return
        scored = _decode_scored(canonical)
        of_this_model = scored.versions.model is not None and scored.versions.model.hash == self._content_hash
        if of_this_model and scored.score is not None:
            self._counts.confirm_frauds(np.array([scored.score]))

    def measures(self) -> list[DriftMeasure]:
        """Of this day so far, or of the last one while this has too few rows; nothing without a reference."""
        if self._counts is None:
            return []
        self._count_waiting()
        present = self._counts.measures(self._thresholds)
        return self._last_day if self._last_day and present[0].value is None else present

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Values and alarms, as Prometheus wants them."""
        value = GaugeMetricFamily(
            "fraud_drift", "Population stability, or what labels say against training", labels=["kind", "name"]
        )
        alarm = GaugeMetricFamily("fraud_drift_alarm", "Whether it is beyond its threshold", labels=["kind", "name"])
        measures: Any = self.measures()
        for measure in measures:
            if measure.value is not None:
                value.add_metric([measure.kind, measure.name], measure.value)
                alarm.add_metric([measure.kind, measure.name], float(measure.alarms))
        yield value
        yield alarm
