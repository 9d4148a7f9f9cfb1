"""Drift: how far scores, features and labels have moved from those that a model was trained and judged on.

Population stability is the index of Siddiqi, *Credit Risk Scorecards* (2006), chapter 9: the sum over bins of
(a - e) ln(a / e), with e the share of the reference and a the present share; 0.1 is a shift, 0.25 a large one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
CountArray = npt.NDArray[np.int64]
LabelArray = npt.NDArray[np.int8]

# Ten bins, as the thresholds of the index were found with: with more of them the same shift gives a larger index.
BIN_COUNT = 10
# An empty bin would make the index infinite: half a row in its place keeps one stray row from being an alarm.
_EMPTY_BIN_ROWS = 0.5
# Below it the index of equal populations is itself near 0.1 by chance: (bins - 1) / rows.
MIN_ROWS = 1_000
# Three deviations: chance alone alarms once in some hundred looks, with the factors below far less often.
_DEVIATIONS = 3.0
# So many delays stand for all: the share of frauds known at an age is then exact to a hundredth.
_DELAY_COUNT = 100
_HOUR_MS = 3_600_000


class DriftThresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an alarm begins: an index of stability, and factors between what is seen and what is expected.

    The label rate and calibration alarm beyond the factor in either direction, precision below its inverse.
    """

    stability: float = 0.25
    label_rate_factor: float = 2.0
    precision_factor: float = 2.0
    calibration_factor: float = 2.0


class Histogram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counts of values in (edge i - 1, edge i], above the last edge, and missing: two more `counts` than `edges`."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raise `ValueError` for edges that are not ascending, or counts that do not fit them."""
        if len(self.counts) != len(self.edges) + 2 or min(self.counts) < 0:
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) + 2} counts of 0 or more")
        ascending = all(low < high for low, high in zip(self.edges, self.edges[1:], strict=False))
        if not ascending or not all(map(math.isfinite, self.edges)):
            raise ValueError("the edges of a histogram are finite and ascending")


class DriftReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model's data looked like: the features of the training period, the scores of the period after it.

    Scores are of rows that the model has not learned from: on its own rows it is surer than it will ever be again.
    `fraud_count` of `row_count` labelled rows of that period were fraud; scores at or above `alert_threshold` count as
    alerts, of which `alert_fraud_count` of `alert_count` were fraud. `expected_frauds` is the sum of the scores.
    Periods are RFC 3339, UTC, ends exclusive. Delays are ascending hours from a fraud to its label, evenly taken from
    all that were fraud and from the alerts among them: what share of them was known at which age. They are empty in a
    reference of an earlier version: then all count as known.
    """

    model_content_hash: str
    training_from: str
    training_to: str
    judged_to: str
    features: dict[str, Histogram]
    score: Histogram
    row_count: int
    fraud_count: int
    expected_frauds: float
    alert_threshold: float
    alert_count: int
    alert_fraud_count: int
    fraud_delays_hours: tuple[float, ...] = ()
    alert_fraud_delays_hours: tuple[float, ...] = ()


class DriftMeasure(msgspec.Struct, frozen=True):
    """One measured number: `value` is None where too little was seen to say; `rows` is what it rests on.

    `kind` is score_stability, feature_stability, label_rate, alert_precision or calibration; `name` the feature's, or
    the kind. Stability is an index; the others are what was seen divided by what was expected, where a row counts as
    the share of its frauds that would be known by now.
    """

    kind: str
    name: str
    value: float | None
    threshold: float
    rows: int
    alarms: bool


def histogram_of(values: FloatArray, bin_count: int = BIN_COUNT) -> Histogram:
    """Bins of nearly equal counts for float64 [rows], NaN is missing; equal values share a bin."""
    present = values[np.isfinite(values)]
    quantiles = np.linspace(0, 1, bin_count + 1)[1:-1]
    edges = np.unique(np.quantile(present, quantiles, method="inverted_cdf")) if len(present) else np.empty(0)
    # Nothing lies above the largest value: an edge there would leave an empty bin.
    edges = edges[edges < present.max()] if len(edges) else edges
    return Histogram(tuple(edges.tolist()), tuple(bin_counts(edges.tolist(), values).tolist()))


def bin_counts(edges: Sequence[float], values: FloatArray) -> CountArray:
    """How many of float64 [rows] fall in each bin, int64 [edges + 2], the last one for NaN."""
    bins = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="left")
    bins[np.isnan(values)] = len(edges) + 1
    return np.bincount(bins, minlength=len(edges) + 2).astype(np.int64)


def evenly_taken(delays_ms: CountArray) -> tuple[float, ...]:
    """Ascending hours that stand for int64 [frauds] of milliseconds: all of them, or as many as are enough."""
    if not len(delays_ms):
        return ()
    quantiles = (np.arange(_DELAY_COUNT) + 0.5) / _DELAY_COUNT
    chosen = (
        np.sort(delays_ms)
        if len(delays_ms) <= _DELAY_COUNT
        else np.quantile(delays_ms, quantiles, method="inverted_cdf")
    )
    return tuple((chosen / _HOUR_MS).tolist())


def share_known(delays_hours: Sequence[float], ages_ms: CountArray) -> FloatArray:
    """Share of the frauds with these delays that is known at each of int64 [rows] of ages; 1 without any delay."""
    if not delays_hours:
        return np.ones(len(ages_ms))
    return np.searchsorted(np.asarray(delays_hours), ages_ms / _HOUR_MS, side="right") / len(delays_hours)


def population_stability(expected: Sequence[int] | CountArray, actual: Sequence[int] | CountArray) -> float:
    """The index of two int [bins] of counts of the same bins, 0 or more; 0 where one of them is empty."""
    before, now = np.asarray(expected, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if not before.sum() or not now.sum():
        return 0.0
    used = (before > 0) | (now > 0)
    before, now = np.maximum(before[used], _EMPTY_BIN_ROWS), np.maximum(now[used], _EMPTY_BIN_ROWS)
    shares_before, shares_now = before / before.sum(), now / now.sum()
    return float(((shares_now - shares_before) * np.log(shares_now / shares_before)).sum())


class DriftCounts:
    """What was seen of a model's rows, a batch at a time; memory is bounded by bins, not by rows."""

    def __init__(self, reference: DriftReference, feature_names: Sequence[str]) -> None:
        """`feature_names` are the columns of the matrices that will be added, in order.

        Raises `ValueError` where the reference is not about them.
        """
        missing = sorted(set(feature_names) ^ reference.features.keys())
        if missing:
            raise ValueError(f"the reference of drift is about other features: {', '.join(missing[:5])}")
        self.reference = reference
        self._names = tuple(feature_names)
        self._clear()

    def _clear(self) -> None:
        reference = self.reference
        self._features = [np.zeros(len(reference.features[name].counts), np.int64) for name in self._names]
        self._score = np.zeros(len(reference.score.counts), np.int64)
        self.row_count = self.fraud_count = self.alert_fraud_count = 0
        self.labelled_count = self.alert_count = self.expected_frauds = self._variance = 0.0

    def add_rows(self, matrix: FloatArray, scores: FloatArray) -> None:
        """Count scored rows: `matrix` float64 [rows, features], `scores` float64 [rows]."""
        for place, name in enumerate(self._names):
            self._features[place] += bin_counts(self.reference.features[name].edges, matrix[:, place])
        self._score += bin_counts(self.reference.score.edges, scores)
        self.row_count += len(scores)

    def add_labels(self, scores: FloatArray, labels: LabelArray, ages_ms: CountArray | None = None) -> None:
        """Count rows with what is known of them: 1 fraud, 0 not known as fraud, int8 [rows], and their scores.

        `ages_ms` int64 [rows]: how long after each row that was known. They are compared with the share of the
        reference's frauds that was known at that age; without ages, with all of them.
        """
        reference = self.reference
        known = alerts_known = np.ones(len(labels))
        if ages_ms is not None:
            known = share_known(reference.fraud_delays_hours, ages_ms)
            alerts_known = share_known(reference.alert_fraud_delays_hours, ages_ms)
        alerts, expected = scores >= reference.alert_threshold, scores * known
        self.labelled_count += float(known.sum())
        self.fraud_count += int(labels.sum())
        self.expected_frauds += float(expected.sum())
        self._variance += float((expected * (1 - expected)).sum())
        self.alert_count += float(alerts_known[alerts].sum())
        self.alert_fraud_count += int(labels[alerts].sum())

    def confirm_frauds(self, scores: FloatArray) -> None:
        """Rows that were counted as legitimate turn out as fraud; `scores` float64 [rows] are theirs."""
        self.fraud_count += len(scores)
        self.alert_fraud_count += int((scores >= self.reference.alert_threshold).sum())

    def forget(self) -> None:
        """Begin again, as when a window of time ends."""
        self._clear()

    def measures(self, thresholds: DriftThresholds) -> list[DriftMeasure]:
        """Every measure: score, features in their order, label rate, precision of alerts, calibration."""
        found = [self._stability("score_stability", "score", self.reference.score, self._score, thresholds)]
        for name, counts in zip(self._names, self._features, strict=True):
            found.append(self._stability("feature_stability", name, self.reference.features[name], counts, thresholds))
        return [*found, *self._label_measures(thresholds)]

    def _stability(
        self, kind: str, name: str, histogram: Histogram, counts: CountArray, thresholds: DriftThresholds
    ) -> DriftMeasure:
        value = population_stability(histogram.counts, counts) if self.row_count >= MIN_ROWS else None
        alarms = value is not None and value > thresholds.stability
        return DriftMeasure(kind, name, value, thresholds.stability, self.row_count, alarms)

    def _label_measures(self, thresholds: DriftThresholds) -> list[DriftMeasure]:
        reference = self.reference
        rate = reference.fraud_count / reference.row_count if reference.row_count else 0.0
        precision = reference.alert_fraud_count / reference.alert_count if reference.alert_count else 0.0
        frauds, caught = rate * self.labelled_count, precision * self.alert_count
        enough = self.labelled_count >= MIN_ROWS
        label_rate = _compared(
            "label_rate", self.fraud_count, frauds, frauds, thresholds.label_rate_factor, self.labelled_count
        )
        alert_precision = _compared(
            "alert_precision",
            self.alert_fraud_count,
            caught,
            caught * (1 - precision),
            thresholds.precision_factor,
            self.alert_count,
        )
        if alert_precision.value is not None and alert_precision.value > 1:
            alert_precision = msgspec.structs.replace(alert_precision, alarms=False)
        # A model may be off by a factor from the first day, and whoever promoted it knew: drift is what came since.
        known_bias = reference.fraud_count / reference.expected_frauds if reference.expected_frauds > 0 else 1.0
        calibration = _compared(
            "calibration",
            self.fraud_count,
            self.expected_frauds * known_bias,
            self._variance * known_bias,
            thresholds.calibration_factor,
            self.labelled_count,
        )
        if enough:
            return [label_rate, alert_precision, calibration]
        return [
            msgspec.structs.replace(measure, value=None, alarms=False)
            for measure in (label_rate, alert_precision, calibration)
        ]


def _compared(kind: str, seen: int, expected: float, variance: float, factor: float, counted: float) -> DriftMeasure:
    """Seen against expected frauds: an alarm needs a factor that matters and a difference that is not chance."""
    rows = round(counted)
    if expected <= 0:
        return DriftMeasure(kind, kind, None, factor, rows, False)  # noqa: FBT003 field of a record
    ratio = seen / expected
    beyond = ratio > factor or ratio < 1 / factor
    alarms = beyond and abs(seen - expected) > _DEVIATIONS * math.sqrt(max(variance, 1.0))
    return DriftMeasure(kind, kind, ratio, factor, rows, alarms)
