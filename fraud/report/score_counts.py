"""How well a score ranks: exact counts of every score value, and the measures that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud.decision import ALLOW
from fraud.report.batch import FRAUD, LEGITIMATE

# Scores are rounded to 1e-6 before anything sees them, so one counter for each millionth is exact, in 32 MB at most
# whatever the number of transactions.
SCORE_UNITS = 1_000_000
_SLOTS = SCORE_UNITS + 1
UNSCORED = -1

# Bars of the score histogram: 0.02 each, about the width of a bar that can be told apart on a phone.
HISTOGRAM_BINS = 50
# Points of the drawn precision-recall curve: more can't be seen, and the summary stays small.
CURVE_POINTS = 200
# The share of transactions that a team can look at: the budget under which model and policy are compared.
ALERT_BUDGET_SHARE = 0.005

Int64Array = NDArray[np.int64]


def score_units(scores: NDArray[np.float64]) -> Int64Array:
    """Return scores as whole millionths, int64[n]; `UNSCORED` for NaN."""
    missing = np.isnan(scores)
    if missing.any():
        return np.where(missing, UNSCORED, np.rint(np.where(missing, 0.0, scores) * SCORE_UNITS)).astype(np.int64)
    return np.rint(scores * SCORE_UNITS).astype(np.int64)


@dataclass(frozen=True)
class ScoreCurve:
    """Counts of labelled transactions at each score that occurs, highest score first: three int64[k]."""

    units: Int64Array
    frauds: Int64Array
    legitimate: Int64Array

    def area_under_roc(self) -> float | None:
        """Return the chance that a fraud scores above a legitimate payment, ties counted half; None without both."""
        fraud_count, legitimate_count = int(self.frauds.sum()), int(self.legitimate.sum())
        if not fraud_count or not legitimate_count:
            return None
        legitimate_below = legitimate_count - np.cumsum(self.legitimate)
        halves = int((self.frauds * (2 * legitimate_below + self.legitimate)).sum())
        return halves / (2 * fraud_count * legitimate_count)

    def average_precision(self) -> float | None:
        """Return the sum of precision x step in recall over all thresholds, without interpolation; None without frauds.

        The definition of `sklearn.metrics.average_precision_score`.
        """
        fraud_count = int(self.frauds.sum())
        if not fraud_count:
            return None
        caught = np.cumsum(self.frauds)
        precision = caught / (caught + np.cumsum(self.legitimate))
        steps = np.flatnonzero(self.frauds)
        return math.fsum((self.frauds[steps] * precision[steps]).tolist()) / fraud_count

    def precision_recall(self) -> list[dict[str, float]]:
        """Return at most `CURVE_POINTS` thresholds, even in recall, with their exact precision and recall."""
        fraud_count = int(self.frauds.sum())
        if not fraud_count:
            return []
        caught = np.cumsum(self.frauds)
        alerts = caught + np.cumsum(self.legitimate)
        wanted = np.unique(np.ceil(np.linspace(1, fraud_count, CURVE_POINTS)).astype(np.int64))
        picks = np.unique(np.searchsorted(caught, wanted))
        return [
            {
                "precision": int(caught[pick]) / int(alerts[pick]),
                "recall": int(caught[pick]) / fraud_count,
                "score": int(self.units[pick]) / SCORE_UNITS,
            }
            for pick in picks.tolist()
        ]


def _value_in_top(counts: Sequence[int], values: Sequence[int], budget: int) -> float:
    """Return the value in the first `budget` of ranked groups of transactions; a cut group gives its part."""
    caught = 0
    for count, value in zip(counts, values, strict=True):
        if count > budget:
            return caught + value * budget / count
        caught += value
        budget -= count
    return float(caught)


class ScoreCounts:
    """Counts of scores by label, with the fraud value at each score. Memory: fixed."""

    def __init__(self) -> None:
        # One row for each label: unknown, legitimate, fraud.
        self._counts = np.zeros((3, _SLOTS), dtype=np.int64)
        self._fraud_value = np.zeros(_SLOTS, dtype=np.int64)
        self._unscored = [0, 0]
        # (action code, score units) -> [transactions, fraud value], alerts only.
        self._alerts: dict[tuple[int, int], list[int]] = {}

    def add(self, units: Int64Array, labels: NDArray[np.int8]) -> None:
        """Count int64[n] score units (see `score_units`) with their int8[n] labels."""
        scored = units >= 0
        if not scored.all():
            self._unscored[0] += int(len(units) - scored.sum())
            units, labels = units[scored], labels[scored]
        np.add.at(self._counts.reshape(-1), units + (labels.astype(np.int64) + 1) * _SLOTS, 1)

    def add_fraud_value(self, units: int, amount_minor: int) -> None:
        """Add the money of one authorised fraud at its score."""
        if units == UNSCORED:
            self._unscored[1] += amount_minor
        else:
            self._fraud_value[units] += amount_minor

    def add_alert(self, action_code: int, units: int, fraud_value_minor: int) -> None:
        """Count one transaction that was not allowed, with its money if it is an authorised fraud."""
        entry = self._alerts.setdefault((action_code, units), [0, 0])
        entry[0] += 1
        entry[1] += fraud_value_minor

    @property
    def scored(self) -> int:
        """Return the number of transactions that have a score."""
        return int(self._counts.sum())

    def curve(self) -> ScoreCurve:
        """Return the labelled counts, highest score first."""
        frauds, legitimate = self._counts[FRAUD + 1], self._counts[LEGITIMATE + 1]
        units = np.flatnonzero(frauds + legitimate)[::-1]
        return ScoreCurve(units, frauds[units], legitimate[units])

    def histogram(self) -> dict[str, Any]:
        """Return counts by label in `HISTOGRAM_BINS` equal bins; the last one includes a score of 1."""
        width = SCORE_UNITS // HISTOGRAM_BINS
        binned = self._counts[:, :SCORE_UNITS].reshape(3, HISTOGRAM_BINS, width).sum(axis=2)
        binned[:, -1] += self._counts[:, SCORE_UNITS]
        names = ("unknown", "legitimate", "fraud")
        return {"bins": HISTOGRAM_BINS} | {name: binned[row].tolist() for row, name in enumerate(names)}

    def at_threshold(self, threshold: float) -> dict[str, float | int | None]:
        """Return alerts, precision and recall if everything that scores at least `threshold` were an alert."""
        lowest = math.ceil(round(threshold * SCORE_UNITS, 6))
        unknown, legitimate, frauds = (int(row[lowest:].sum()) for row in self._counts)
        fraud_count = int(self._counts[FRAUD + 1].sum())
        labelled = bool(self._counts[LEGITIMATE + 1 :].any())
        return {
            "score": threshold,
            "alerts": unknown + legitimate + frauds,
            "precision": frauds / (frauds + legitimate) if frauds + legitimate else None,
            "recall": frauds / fraud_count if labelled and fraud_count else None,
        }

    def value_caught_by_model(self) -> float | None:
        """Return the share of fraud value in the best-scored `ALERT_BUDGET_SHARE` of all decided transactions.

        Equal scores at the edge of the budget give their proportional part. None without scores or fraud value.
        """
        counts = self._counts.sum(axis=0)
        units = np.flatnonzero(counts)[::-1]
        if not len(units):
            return None
        return self._share(counts[units].tolist(), self._fraud_value[units].tolist())

    def value_caught_by_policy(self) -> float | None:
        """Return the same share for the policy: most severe action first, by score within an action.

        Where the policy alerts on less than the budget, the best-scored of what it allowed fill the rest.
        """
        allowed_counts, allowed_value = self._counts.sum(axis=0), self._fraud_value.copy()
        unscored = list(self._unscored)
        for (_, units), (count, value) in self._alerts.items():
            if units == UNSCORED:
                unscored = [unscored[0] - count, unscored[1] - value]
            else:
                allowed_counts[units] -= count
                allowed_value[units] -= value
        alerts = [entry for key, entry in sorted(self._alerts.items(), reverse=True) if key[0] != ALLOW]
        ranked = np.flatnonzero(allowed_counts)[::-1]
        counts = [count for count, _ in alerts] + allowed_counts[ranked].tolist() + unscored[:1]
        values = [value for _, value in alerts] + allowed_value[ranked].tolist() + unscored[1:]
        return self._share(counts, values)

    def _share(self, counts: list[int], values: list[int]) -> float | None:
        total_value = int(self._fraud_value.sum()) + self._unscored[1]
        if not total_value:
            return None
        decided = self.scored + self._unscored[0]
        budget = max(1, math.floor(decided * ALERT_BUDGET_SHARE))
        return _value_in_top(counts, values, budget) / total_value
