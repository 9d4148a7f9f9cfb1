"""A feature is a row: what it is called, what it means, over which window of whose events, and who computes it.

Rows that share most of their work name the same family: one function that computes all of them in one call. A feature
that stands alone is a family of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import nan
from operator import attrgetter
from typing import Literal

import msgspec
import numpy as np

from fraud.features.compiled import Integers, Reals
from fraud.features.entity_run import EntityFamily
from fraud.features.plan import ENTITY_KINDS, EntityPlan, StatePlan
from fraud.features.run import Run

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

# Missing, in any feature: not a number in the matrix, null in JSON.
MISSING = nan

FeatureKind = Literal["integer", "number", "boolean"]
Value = float | int | bool
# Writes the values of a family's rows, in their order, for each transaction of a run: float64 [n, rows].
CustomerFamily = Callable[[Run, Reals], None]
Family = Callable[[Sequence["Feature"], StatePlan], CustomerFamily | EntityFamily]
# As compiled code has it: with the numbers of each row's window and of its baseline window in `Run.starts`, int64
# [rows, 2], -1 for none.
Reader = Callable[[Run, Integers, Reals], None]


@dataclass(frozen=True)
class Feature:
    """One row of the table.

    `entity` is `customer`, `transaction`, or a kind of entity. `family` makes the function for its rows, which stand
    together in a set. `missing` says when the value is missing; empty if it never is. `detailed` features need the
    customer's details; `needs` says what an entity must keep besides counts and frauds. `baseline_window_ms` is the
    window that the first one is compared with.
    """

    name: str
    kind: FeatureKind
    meaning: str
    entity: str
    aggregation: str
    family: Family
    window_ms: int = 0
    baseline_window_ms: int = 0
    delay_ms: int = 0
    hop_ms: int = 0
    missing: str = ""
    detailed: bool = True
    needs: Literal["", "customers", "cards", "amounts", "first_times"] = ""


def family_of(count: int, entity_family: EntityFamily) -> Family:
    """The family of `count` rows that are read of one kind of entity."""

    def family(rows: Sequence[Feature], _plan: StatePlan) -> EntityFamily:
        _expect(rows, count)
        return entity_family

    return family


def together(count: int, reader: Reader) -> Family:
    """The family of `count` rows that one compiled function reads off a run's customers."""

    def family(rows: Sequence[Feature], plan: StatePlan) -> CustomerFamily:
        _expect(rows, count)
        windows = np.array(
            [
                [plan.window_number(length) if length else -1 for length in (row.window_ms, row.baseline_window_ms)]
                for row in rows
            ]
        )
        return lambda run, out: reader(run, windows, out)

    return family


def _expect(rows: Sequence[Feature], count: int) -> None:
    if len(rows) != count:
        raise ValueError(f"{', '.join(row.name for row in rows)}: their family computes {count} values")


@dataclass(frozen=True)
class StateLimits:
    """Limits that every store shares: see the settings of the same names."""

    allowed_lateness_ms: int = DAY_MS
    forget_after_ms: int = 90 * DAY_MS
    duplicate_horizon_ms: int = 7 * DAY_MS


class FeatureSet:
    """A named, ordered list of features with the state they need.

    `schema_hash` covers everything that can change a value's meaning: names, kinds, windows, delays and hops in order.
    Raises `ValueError` for a name that stands twice, a family that is torn apart, and two hops for one kind of entity.
    """

    def __init__(self, name: str, rows: Sequence[Feature]) -> None:
        names = [row.name for row in rows]
        repeated = {row for row in names if names.count(row) > 1}
        if repeated:
            raise ValueError(f"feature set {name} names twice: {', '.join(sorted(repeated))}")
        self.name = name
        self.rows = tuple(rows)
        self.names = tuple(names)
        self._families = [(family, tuple(group)) for family, group in groupby(rows, key=attrgetter("family"))]
        families = [family for family, _ in self._families]
        if len(set(families)) != len(families):
            raise ValueError(f"feature set {name} tears a family apart: its rows must stand together")
        described = [
            (
                *(row.name, row.kind, row.entity, row.aggregation),
                *(row.window_ms, row.baseline_window_ms, row.delay_ms, row.hop_ms),
            )
            for row in rows
        ]
        self.schema_hash = hashlib.sha256(msgspec.json.encode(described)).hexdigest()

    def plan(self, limits: StateLimits) -> StatePlan:
        """The state that these features need."""
        customer_rows = [row for row in self.rows if row.entity == "customer"]
        windows = {length for row in customer_rows for length in (row.window_ms, row.baseline_window_ms) if length}
        kinds = {row.entity for row in self.rows}
        return StatePlan(
            customer_windows_ms=tuple(sorted(windows)),
            entities=tuple(self._entity_plan(kind, limits) for kind in ENTITY_KINDS if kind in kinds),
            detailed=any(row.detailed for row in self.rows),
            allowed_lateness_ms=limits.allowed_lateness_ms,
            forget_after_ms=limits.forget_after_ms,
            duplicate_horizon_ms=limits.duplicate_horizon_ms,
        )

    def _entity_plan(self, kind: str, limits: StateLimits) -> EntityPlan:
        rows = [row for row in self.rows if row.entity == kind]
        hops = {row.hop_ms for row in rows if row.hop_ms}
        if len(hops) != 1:
            raise ValueError(f"feature set {self.name}: the windows of a {kind} must share one hop, they have {hops}")
        hop = hops.pop()
        reach = max(row.delay_ms + max(row.window_ms, row.baseline_window_ms) for row in rows)
        return EntityPlan(
            kind=kind,
            hop_ms=hop,
            retention_ms=reach + limits.allowed_lateness_ms + hop,
            counts_customers=any(row.needs == "customers" for row in rows),
            counts_cards=any(row.needs == "cards" for row in rows),
            sums_amounts=any(row.needs == "amounts" for row in rows),
            counts_first_times=any(row.needs == "first_times" for row in rows),
        )

    def families(self, plan: StatePlan) -> list[tuple[str, slice, CustomerFamily | EntityFamily]]:
        """What computes the rows, one family after the other: what it reads, a kind of entity or the customer; which
        rows; and how. `plan` is this set's own.
        """
        found = []
        start = 0
        for family, rows in self._families:
            columns = slice(start, start + len(rows))
            found.append((self._read_by(rows), columns, family(rows, plan)))
            start = columns.stop
        kinds = [read_by for read_by, _, _ in found if read_by in ENTITY_KINDS]
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"feature set {self.name}: all rows of one kind of entity have one family, not {kinds}")
        return found

    def _read_by(self, rows: Sequence[Feature]) -> str:
        kinds = {row.entity for row in rows} & set(ENTITY_KINDS)
        if len(kinds) > 1:
            raise ValueError(f"feature set {self.name}: one family reads one kind of entity, not {sorted(kinds)}")
        return kinds.pop() if kinds else "customer"


_TYPES: dict[FeatureKind, type[Value]] = {"integer": int, "number": float, "boolean": bool}


def typed(kind: FeatureKind, value: float) -> Value:
    """A value of the matrix as it stands in a decision."""
    return value if value != value else _TYPES[kind](value)  # noqa: PLR0124
