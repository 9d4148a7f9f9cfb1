"""Rows with everything that learning and judging need to know about them, and what of it was known at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from training.dataset import Dataset, DatasetError, FloatArray, IntegerArray, LabelArray
from training.metrics.cards import known_compromised
from training.metrics.judged import DAY_MS, CodeArray, JudgedRows

FRAUD, LEGITIMATE, UNKNOWN = 1, 0, -1
NEVER_KNOWN_MS = -1


class DatasetOrigin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where rows come from and what their columns are.

    `mapping` is the column mapping's name, `label_delay_days` when a label was taken to be known where the file does
    not say, `base_exponent` how many decimals the base currency has; `source` is `files` or `history`.
    """

    feature_set_name: str
    feature_set_hash: str
    feature_names: tuple[str, ...]
    mapping: str
    label_delay_days: float
    base_currency: str
    base_exponent: int
    source: str = "files"


@dataclass(frozen=True)
class LabelledRows:
    """n authorisations in arrival order.

    `matrix` float64 [n, features], NaN is missing; `timestamps_ms` int64 [n], UTC; `labels` int8 [n]: what the source
    says in the end, 1 fraud, 0 legitimate, -1 no label; `label_known_at_ms` int64 [n], -1 for never;
    `base_amounts_minor` int64 [n]; `customers` int32 [n], a number for each customer; `scenarios` int32 [n], positions
    in `scenario_names` or -1; `weights` float64 [n], how many payments the outcome of each row stands for: 0 where it
    was prevented by a block, above 1 where a control group let through one of several. `inputs` are arrays [n] of what
    policies read beside features, by name, as far as somebody asked for them and they are known.
    """

    origin: DatasetOrigin
    matrix: FloatArray
    timestamps_ms: IntegerArray
    labels: LabelArray
    label_known_at_ms: IntegerArray
    base_amounts_minor: IntegerArray
    customers: CodeArray
    scenarios: CodeArray
    scenario_names: Sequence[str]
    weights: FloatArray
    inputs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows, n."""
        return len(self.labels)

    @property
    def prevented(self) -> npt.NDArray[np.bool_]:
        """Rows whose outcome nobody will ever know, bool [n]: they were blocked, and no label speaks of them."""
        found: npt.NDArray[np.bool_] = (self.labels == UNKNOWN) & (self.weights == 0)
        return found

    def labels_known_by(self, known_by_ms: int, maturity_days: float) -> LabelArray:
        """Labels as `known_labels` resolves them, int8 [n]; what was prevented stays unknown."""
        known = known_labels(
            self.labels,
            self.label_known_at_ms,
            self.timestamps_ms,
            known_by_ms=known_by_ms,
            maturity_days=maturity_days,
        )
        known[self.prevented] = UNKNOWN
        return known

    def known_at(self, known_by_ms: int, maturity_days: float) -> LabelledRows:
        """The same rows with the labels as they were known then: what somebody could judge by at that time."""
        return replace(self, labels=self.labels_known_by(known_by_ms, maturity_days))

    def learnable(self, from_ms: int, to_ms: int, *, known_by_ms: int, maturity_days: float) -> Dataset:
        """Rows of [from_ms, to_ms) that were `maturity_days` old by `known_by_ms`, with what was then known of them.

        Nothing later than `known_by_ms` is in them: neither a row nor a label. Of younger rows frauds alone are known:
        with them a model would learn that the newest days, and whatever grows with time, are a sign of fraud. What was
        prevented is left out, too: by age it would be legitimate, just because it was blocked. Raises `DatasetError`
        when the period ends later than that, has no such rows, or has one class alone.
        """
        if to_ms > known_by_ms:
            raise DatasetError("a model cannot learn from rows later than the moment at which labels are taken")
        within = period_slice(self.timestamps_ms, from_ms, to_ms)
        known = known_labels(
            self.labels[within],
            self.label_known_at_ms[within],
            self.timestamps_ms[within],
            known_by_ms=known_by_ms,
            maturity_days=maturity_days,
        )
        times = self.timestamps_ms[within]
        chosen = (times >= from_ms) & (times < to_ms) & (times <= known_by_ms - maturity_days * DAY_MS)
        chosen &= ~self.prevented[within]
        if not chosen.any():
            raise DatasetError(
                f"no row of the training period was {maturity_days:g} days old, and so known, when its labels are taken"
            )
        rows = Dataset(self.matrix[within][chosen], known[chosen], self.base_amounts_minor[within][chosen])
        if rows.fraud_count in {0, rows.row_count}:
            raise DatasetError(
                f"of {rows.row_count} rows to learn from, {rows.fraud_count} are known as fraud: a model needs both "
                "classes. Lengthen the period, or check the label column and the label delay"
            )
        return rows

    def judged(self, chosen: npt.NDArray[np.intp]) -> JudgedRows:
        """The rows at these positions to judge by, with the final labels. They must all have one."""
        return JudgedRows(
            self.timestamps_ms[chosen],
            self.customers[chosen],
            self.labels[chosen],
            self.base_amounts_minor[chosen],
            self.weights[chosen],
            self.scenarios[chosen],
            self.scenario_names,
        )

    def test_positions(self, from_ms: int, to_ms: int, *, compromised_from_ms: int | None) -> npt.NDArray[np.intp]:
        """Positions of the labelled rows of [from_ms, to_ms) whose outcome stands for any payment.

        With `compromised_from_ms`, customers are left out from the first day (UTC) before which a fraud of theirs, made
        at or after `compromised_from_ms`, was known.
        """
        times = self.timestamps_ms
        chosen = np.flatnonzero((times >= from_ms) & (times < to_ms) & (self.labels != UNKNOWN) & (self.weights > 0))
        if compromised_from_ms is None:
            return chosen
        frauds = np.flatnonzero((self.labels == FRAUD) & (times >= compromised_from_ms) & (self.label_known_at_ms >= 0))
        known = known_compromised(
            times[chosen], self.customers[chosen], self.label_known_at_ms[frauds], self.customers[frauds]
        )
        return chosen[~known]


def known_labels(
    labels: LabelArray,
    label_known_at_ms: IntegerArray,
    timestamps_ms: IntegerArray,
    *,
    known_by_ms: int,
    maturity_days: float,
) -> LabelArray:
    """What was known of rows with one label each at `known_by_ms`, int8 [rows]: 1 fraud, 0 legitimate, -1 unknown.

    A fraud counts from when it was known, as `fraud.labels.resolve_labels` says. Every other row is legitimate once it
    is `maturity_days` old, and unknown before, whatever the source says of it later: to leave out just those rows that
    turn out as fraud would be to learn from the future.
    """
    fraud = (labels == FRAUD) & (label_known_at_ms >= 0) & (label_known_at_ms <= known_by_ms)
    mature = timestamps_ms <= known_by_ms - maturity_days * DAY_MS
    return np.where(fraud, FRAUD, np.where(mature, LEGITIMATE, UNKNOWN)).astype(np.int8)


def period_slice(timestamps_ms: IntegerArray, from_ms: int, to_ms: int) -> slice:
    """The shortest slice with every row of [from_ms, to_ms): rows stand nearly in the order of time."""
    inside = np.flatnonzero((timestamps_ms >= from_ms) & (timestamps_ms < to_ms))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


@dataclass(frozen=True)
class WeekMaturity:
    """A week (from Monday, UTC) of rows as known at a time."""

    first_day_ms: int
    rows: int
    frauds: int
    legitimate: int
    unknown: int

    @property
    def known_share(self) -> float:
        """Share of the rows whose label is known or taken for granted."""
        return 1 - self.unknown / self.rows


# 1970-01-01 was a Thursday: the first Monday came four days later.
_FIRST_MONDAY_MS = 4 * DAY_MS
_WEEK_MS = 7 * DAY_MS


def label_maturity(rows: LabelledRows, known_by_ms: int, maturity_days: float) -> list[WeekMaturity]:
    """How much of each week is known at `known_by_ms`, from the first week on."""
    return weeks_of(rows.timestamps_ms, rows.labels_known_by(known_by_ms, maturity_days))


def weeks_of(timestamps_ms: IntegerArray, known: LabelArray) -> list[WeekMaturity]:
    """Rows by week of their time, int64 [n], and label as known, int8 [n]."""
    weeks = (timestamps_ms - _FIRST_MONDAY_MS) // _WEEK_MS
    found = []
    for week in np.unique(weeks):
        of_week = known[weeks == week]
        found.append(
            WeekMaturity(
                first_day_ms=int(week) * _WEEK_MS + _FIRST_MONDAY_MS,
                rows=len(of_week),
                frauds=int((of_week == FRAUD).sum()),
                legitimate=int((of_week == LEGITIMATE).sum()),
                unknown=int((of_week == UNKNOWN).sum()),
            )
        )
    return found
