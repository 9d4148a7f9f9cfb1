"""Reviews a day against what a team can do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.metrics.judged import FloatArray, JudgedRows


@dataclass(frozen=True)
class Workload:
    """Reviews a day under a threshold, over calendar days, empty ones included; rows count by their weight.

    `days_over_capacity` had more than `capacity`; `frauds_not_reviewed` scored high enough but came when the day's
    capacity was used up, the day's transactions being taken in their order.
    """

    threshold: float
    mean: float
    highest: int
    capacity: int | None
    days: int
    days_over_capacity: int
    frauds_not_reviewed: int


def workload(scores: FloatArray, judged: JudgedRows, threshold: float, capacity: int | None) -> Workload | None:
    """Reviews a day if every row that scores at least `threshold` is reviewed; None without rows."""
    if not len(scores):
        return None
    days = judged.days
    first = int(days.min())
    length = int(days.max()) - first + 1
    alerted = np.flatnonzero(scores >= threshold)
    of_day, weights = days[alerted] - first, judged.weights[alerted]
    counts = np.bincount(of_day, weights, minlength=length)
    missed = 0
    if capacity is not None:
        order = np.argsort(of_day, kind="stable")
        before = np.empty(len(alerted))
        before[order] = np.cumsum(weights[order]) - weights[order]
        before -= (np.cumsum(counts) - counts)[of_day]
        missed = round((judged.labels[alerted] * weights)[before >= capacity].sum())
    return Workload(
        threshold=threshold,
        mean=float(counts.mean()),
        highest=round(counts.max()),
        capacity=capacity,
        days=length,
        days_over_capacity=0 if capacity is None else int((counts > capacity).sum()),
        frauds_not_reviewed=missed,
    )
