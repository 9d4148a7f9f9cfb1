"""Counts for each UTC day: actions by label, money, and the distribution of the score."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fraud.decision import ACTIONS
from fraud.report.score_counts import SCORE_UNITS, Int64Array

DAY_MS = 86_400_000
LABEL_COUNT = 3
CLASS_COUNT = len(ACTIONS) * LABEL_COUNT

# Fraud scores live on a logarithmic scale: 16 bins in each factor of ten tell 1.15 times apart, in 100 counters a day.
_BINS_PER_DECADE = 16
DRIFT_QUANTILES = (0.5, 0.9, 0.99)
# The population stability index by tenths of the reference, as is usual in credit scoring.
_STABILITY_GROUPS = 10
# A week holds one of each weekday, so that a Sunday is not drift.
REFERENCE_DAYS = 7
# Under this many transactions the index measures chance: its expected value without any drift is about groups / n.
_STABILITY_TRANSACTIONS_MIN = 200


def _drift_edges() -> Int64Array:
    """Return the lower edges of the bins in millionths: 0, 1, 2, 3 ... 1,000,000."""
    decades = round(math.log10(SCORE_UNITS))
    powers = [round(10 ** (step / _BINS_PER_DECADE)) for step in range(decades * _BINS_PER_DECADE + 1)]
    return np.unique(np.array([0, *powers], dtype=np.int64))


class DayCounts:
    """One row of counters for each day that occurs. Memory: about 1 KB a day, and 2 MB fixed."""

    def __init__(self) -> None:
        self.edges = _drift_edges()
        bins = np.repeat(np.arange(len(self.edges)), np.diff([*self.edges, SCORE_UNITS + 1]))
        self._bin_of_unit = bins.astype(np.int16)
        self._rows: dict[int, int] = {}
        self._counts = np.zeros((8, CLASS_COUNT), dtype=np.int64)
        self._money = np.zeros((8, CLASS_COUNT), dtype=np.int64)
        self._scores = np.zeros((8, len(self.edges)), dtype=np.int64)

    def add(
        self,
        days: Int64Array,
        action_codes: NDArray[np.int8],
        labels: NDArray[np.int8],
        amounts_minor: Int64Array,
        units: Int64Array,
    ) -> None:
        """Count n transactions: days since 1970, codes, labels, base amounts and score units (-1: no score)."""
        if not len(days):
            return
        rows = self._rows_of(days)
        classes = rows * CLASS_COUNT + action_codes * np.int64(LABEL_COUNT) + labels + 1
        np.add.at(self._counts.reshape(-1), classes, 1)
        np.add.at(self._money.reshape(-1), classes, amounts_minor)
        scored = units >= 0
        if not scored.all():
            rows, units = rows[scored], units[scored]
        np.add.at(self._scores.reshape(-1), rows * len(self.edges) + self._bin_of_unit[units], 1)

    def _rows_of(self, days: Int64Array) -> Int64Array:
        first = int(days[0])
        # Files are mostly in order of time: nearly every batch lies within one day.
        if int(days.min()) == int(days.max()):
            return np.full(len(days), self._row(first), dtype=np.int64)
        distinct, inverse = np.unique(days, return_inverse=True)
        return np.array([self._row(day) for day in distinct.tolist()], dtype=np.int64)[inverse]

    def _row(self, day: int) -> int:
        row = self._rows.setdefault(day, len(self._rows))
        if row == len(self._counts):
            self._counts, self._money, self._scores = (
                np.concatenate([table, np.zeros_like(table)]) for table in (self._counts, self._money, self._scores)
            )
        return row

    @property
    def days(self) -> list[int]:
        """Return the days that have transactions, in order, as days since 1970-01-01 UTC."""
        return sorted(self._rows)

    def counts(self, day: int) -> Int64Array:
        """Return the transactions of a day, int64[actions, labels]; labels in the order unknown, legitimate, fraud."""
        row: Int64Array = self._counts[self._rows[day]].reshape(len(ACTIONS), LABEL_COUNT)
        return row

    def total_counts(self) -> Int64Array:
        """Return the transactions of all days, int64[actions, labels]."""
        total: Int64Array = self._counts.sum(axis=0).reshape(len(ACTIONS), LABEL_COUNT)
        return total

    def total_money(self) -> Int64Array:
        """Return the amounts of all days in minor units of the base currency, int64[actions, labels]."""
        total: Int64Array = self._money.sum(axis=0).reshape(len(ACTIONS), LABEL_COUNT)
        return total

    def quantiles(self, day: int) -> list[float] | None:
        """Return the score at each of `DRIFT_QUANTILES`, the lower edge of its bin; None without scores."""
        counts = self._scores[self._rows[day]]
        total = int(counts.sum())
        if not total:
            return None
        reached = np.searchsorted(np.cumsum(counts), [math.ceil(share * total) for share in DRIFT_QUANTILES])
        return [int(self.edges[position]) / SCORE_UNITS for position in reached]

    def stability(self) -> dict[int, float | None]:
        """Return for each day the population stability index of its scores against the first `REFERENCE_DAYS` days.

        Sum over tenths of the reference of (share - reference share) x ln(share / reference share), half a transaction
        added to each count so that an empty tenth is finite. None for a day with too few scores to tell drift from
        chance.
        """
        days = self.days
        reference_days = [day for day in days if day < days[0] + REFERENCE_DAYS]
        reference = np.sum([self._scores[self._rows[day]] for day in reference_days], axis=0) if days else None
        if reference is None or not reference.sum():
            return dict.fromkeys(days)
        total = int(reference.sum())
        cuts = np.searchsorted(
            np.cumsum(reference), [total * group / _STABILITY_GROUPS for group in range(1, _STABILITY_GROUPS)]
        )
        bounds = np.unique([0, *(cuts + 1), len(reference)]).tolist()
        expected = _shares(reference, bounds)
        return {day: self._index(day, bounds, expected) for day in days}

    def _index(self, day: int, bounds: list[int], expected: list[float]) -> float | None:
        counts = self._scores[self._rows[day]]
        if int(counts.sum()) < _STABILITY_TRANSACTIONS_MIN:
            return None
        observed = _shares(counts, bounds)
        return math.fsum((a - b) * math.log(a / b) for a, b in zip(observed, expected, strict=True))


def _shares(counts: Int64Array, bounds: list[int]) -> list[float]:
    smoothed = [int(counts[low:high].sum()) + 0.5 for low, high in pairwise(bounds)]
    return [count / math.fsum(smoothed) for count in smoothed]
