"""How good a ranking of transactions is.

Area under the curve, average precision, and fraud value caught at an alert rate.
"""

from __future__ import annotations

import math

import numpy as np

from training.dataset import Dataset, FloatArray

# Reviewing 5 of 1,000 transactions is what a fraud team can do; the share at which the product compares models.
ALERT_RATE = 0.005


def ranking_metrics(scores: FloatArray, judged: Dataset) -> dict[str, float | None]:
    """Metrics of `scores`, float64 [rows], against the labels of `judged`; None without both classes.

    `auc_roc` and `average_precision` are scikit-learn's. `value_recall_at_0.5_percent_alerts` is the share of the
    fraudulent amount (base currency) among the 0.5% of rows with the highest scores; of equal scores the earlier row
    is alerted.
    """
    if judged.fraud_count in {0, judged.row_count}:
        return {"auc_roc": None, "average_precision": None, "value_recall_at_0.5_percent_alerts": None}
    from sklearn.metrics import average_precision_score, roc_auc_score

    fraud_amounts = judged.base_amounts_minor * judged.labels
    alerted = alerted_rows(scores, ALERT_RATE)
    return {
        "auc_roc": float(roc_auc_score(judged.labels, scores)),
        "average_precision": float(average_precision_score(judged.labels, scores)),
        "value_recall_at_0.5_percent_alerts": int(fraud_amounts[alerted].sum()) / int(fraud_amounts.sum()),
    }


def alerted_rows(scores: FloatArray, alert_rate: float) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Positions of the highest scores, at least one and at most `alert_rate` of the rows rounded up."""
    return np.argsort(-scores, kind="stable")[: max(1, math.ceil(alert_rate * len(scores)))]


def alert_threshold(scores: FloatArray, alert_rate: float) -> float:
    """The lowest score that is alerted at `alert_rate`."""
    return float(scores[alerted_rows(scores, alert_rate)[-1]])
