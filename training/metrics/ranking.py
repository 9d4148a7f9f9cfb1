"""How well scores put fraud before the rest: areas, recall at a false-positive rate, value recall at an alert rate."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from training.metrics.judged import FloatArray, IntegerArray, LabelArray

PositionArray = npt.NDArray[np.intp]

# Reviewing 5 of 1,000 transactions is what a fraud team can do; the share at which the product compares models.
ALERT_RATE = 0.005
# One false alarm in 1,000 legitimate payments is what customers are known to put up with.
FALSE_POSITIVE_RATE = 0.001


class Ranking:
    """Scores, sorted once, and measured under any weights of the rows: a bootstrap weighs the same rows anew.

    `scores` float64 [rows], `labels` int8 [rows] of 1 and 0. Rows of equal score stand or fall together. Every method
    takes `weights`, float64 [rows] in the order of the rows, and gives None where a class has no weight.
    """

    def __init__(self, scores: FloatArray, labels: LabelArray) -> None:
        self._order: PositionArray = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        # The last row of each run of equal scores.
        self._ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.arange(0)
        self._frauds = labels[self._order].astype(np.float64)

    def _curve(self, weights: FloatArray) -> tuple[FloatArray, FloatArray] | None:
        """Weight of frauds, and of legitimate rows, at or above each distinct score; None without both classes."""
        ranked = weights[self._order]
        caught = np.cumsum(ranked * self._frauds)[self._ends]
        alarms = np.cumsum(ranked)[self._ends] - caught
        return None if not len(caught) or caught[-1] <= 0 or alarms[-1] <= 0 else (caught, alarms)

    def average_precision(self, weights: FloatArray) -> float | None:
        """Sum of precision times step in recall over the distinct scores, as scikit-learn's `average_precision_score`.

        Source: Manning, Raghavan, Schuetze, *Introduction to Information Retrieval*, section 8.4, not interpolated.
        """
        curve = self._curve(weights)
        if curve is None:
            return None
        caught, alarms = curve
        return float(np.sum(np.diff(caught, prepend=0.0) * caught / np.maximum(caught + alarms, 1e-300)) / caught[-1])

    def auc_roc(self, weights: FloatArray) -> float | None:
        """Probability that a fraud scores above a legitimate row, ties counted half (Hanley, McNeil 1982)."""
        curve = self._curve(weights)
        if curve is None:
            return None
        caught, alarms = curve
        before = np.concatenate(([0.0], caught[:-1]))
        return float(np.sum(np.diff(alarms, prepend=0.0) * (caught + before)) / (2 * caught[-1] * alarms[-1]))

    def recall_at_false_positive_rate(self, weights: FloatArray, rate: float) -> float | None:
        """Highest share of frauds caught by a threshold that alarms at most `rate` of the legitimate rows."""
        curve = self._curve(weights)
        if curve is None:
            return None
        caught, alarms = curve
        allowed = int(np.searchsorted(alarms, rate * alarms[-1] * (1 + 1e-12), side="right"))
        return float(caught[allowed - 1] / caught[-1]) if allowed else 0.0

    def precision_recall_points(self, weights: FloatArray) -> tuple[FloatArray, FloatArray] | None:
        """Recall and precision at each distinct score, from the highest score down."""
        curve = self._curve(weights)
        if curve is None:
            return None
        caught, alarms = curve
        return caught / caught[-1], caught / np.maximum(caught + alarms, 1e-300)

    def value_recall(self, base_amounts_minor: IntegerArray, weights: FloatArray, alert_rate: float) -> float | None:
        """Share of the fraudulent amount in the `alert_rate` of rows (by weight, rounded up) with the highest scores.

        Of equal scores the earlier row is alerted.
        """
        ranked = weights[self._order]
        money = base_amounts_minor[self._order] * self._frauds * ranked
        total = float(money.sum())
        if total <= 0:
            return None
        seen = np.cumsum(ranked)
        alerted = int(np.searchsorted(seen, math.ceil(alert_rate * seen[-1]), side="right"))
        return float(money[:alerted].sum()) / total


def alerted_rows(scores: FloatArray, alert_rate: float) -> PositionArray:
    """Positions of the highest scores, at least one and at most `alert_rate` of the rows rounded up."""
    return np.argsort(-scores, kind="stable")[: max(1, math.ceil(alert_rate * len(scores)))]


def alert_threshold(scores: FloatArray, alert_rate: float, weights: FloatArray | None = None) -> float:
    """The lowest score that is alerted at `alert_rate`, a share of the rows by weight, rounded up; at least one is."""
    if weights is None:
        return float(scores[alerted_rows(scores, alert_rate)[-1]])
    order = np.argsort(-scores, kind="stable")
    seen = np.cumsum(weights[order])
    alerted = int(np.searchsorted(seen, math.ceil(alert_rate * seen[-1]), side="right"))
    return float(scores[order[max(1, alerted) - 1]])


def ranking_metrics(
    scores: FloatArray, labels: LabelArray, base_amounts_minor: IntegerArray, weights: FloatArray | None = None
) -> dict[str, float | None]:
    """The metrics of a model's manifest, by name; None without both classes. Arrays are [rows]."""
    weighed = np.ones(len(labels)) if weights is None else weights
    ranking = Ranking(scores, labels)
    return {
        "auc_roc": ranking.auc_roc(weighed),
        "average_precision": ranking.average_precision(weighed),
        "value_recall_at_0.5_percent_alerts": ranking.value_recall(base_amounts_minor, weighed, ALERT_RATE)
        if 0 < labels.sum() < len(labels)
        else None,
    }
