"""Whether scores are probabilities: the Brier score and the reliability curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.metrics.judged import FloatArray, LabelArray

# Bins of equal numbers of rows: fraud scores crowd near zero, where bins of equal width would hold almost everything.
RELIABILITY_BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows of similar score: the mean score, the share of fraud among them, and their weight."""

    mean_score: float
    fraud_share: float
    weight: float


def brier_score(scores: FloatArray, labels: LabelArray, weights: FloatArray) -> float | None:
    """Mean squared difference of score and outcome (Brier 1950); None without rows. Arrays are [rows]."""
    total = float(weights.sum())
    return float(np.sum(weights * (scores - labels) ** 2)) / total if total > 0 else None


def brier_skill(scores: FloatArray, labels: LabelArray, weights: FloatArray) -> float | None:
    """1 less the Brier score against that of always saying the share of fraud: 0 says no more than the share does."""
    brier = brier_score(scores, labels, weights)
    if brier is None:
        return None
    share = float(np.sum(weights * labels) / weights.sum())
    return 1 - brier / (share * (1 - share)) if 0 < share < 1 else None


def reliability_curve(
    scores: FloatArray, labels: LabelArray, weights: FloatArray, bin_count: int = RELIABILITY_BINS
) -> list[ReliabilityBin]:
    """Bins of about equal weight of frauds from the lowest scores to the highest; equal scores share a bin.

    By frauds, not by rows: with one fraud in a thousand, bins of equal rows would put all that matters into the last
    one (DeGroot, Fienberg 1983, for the curve).
    """
    if not len(scores):
        return []
    order = np.argsort(scores, kind="stable")
    ranked, outcome, weight = scores[order], labels[order].astype(np.float64), weights[order]
    found = np.cumsum(outcome * weight)
    if found[-1] <= 0:
        edges = np.array([len(ranked)])
    else:
        targets = found[-1] * np.arange(1, bin_count + 1) / bin_count
        edges = np.unique(np.searchsorted(ranked, ranked[np.searchsorted(found, targets * (1 - 1e-12))], side="right"))
        edges[-1] = len(ranked)
    bins = []
    start = 0
    for end in edges.tolist():
        total = float(weight[start:end].sum())
        if total > 0:
            bins.append(
                ReliabilityBin(
                    float(np.sum(ranked[start:end] * weight[start:end])) / total,
                    float(np.sum(outcome[start:end] * weight[start:end])) / total,
                    total,
                )
            )
        start = end
    return bins
