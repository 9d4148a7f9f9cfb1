"""A feature is a row: what it is called, what it means, over which window of whose events, and one pure function."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan
from typing import Literal

import msgspec

from fraud.features.moment import Moment
from fraud.features.plan import ENTITY_KINDS, EntityPlan, SeriesPlan, StatePlan

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

# Missing, in any feature: not a number in the matrix, null in JSON.
MISSING = nan

FeatureKind = Literal["integer", "number", "boolean"]
Value = float | int | bool
Compute = Callable[[Moment], Value]


@dataclass(frozen=True)
class Place:
    """Where a feature finds its window in a `Moment`: positions that the plan assigned.

    `window` and `other_window` index `starts`; `entity` indexes `entities` and `cuts`, `series` and `head`, `tail` the cut places in it;
    `other_series`, `other_head` and `other_tail` likewise for the other window.
    """

    window: int = 0
    other_window: int = 0
    entity: int = 0
    series: int = 0
    head: int = 0
    tail: int = 0
    other_series: int = 0
    other_head: int = 0
    other_tail: int = 0


@dataclass(frozen=True)
class Feature:
    """One row of the table.

    `entity` is `customer`, `transaction`, or a kind of entity. `build` makes the function for an assigned place.
    `missing` says when the value is missing; empty if it never is. `detailed` features need the customer's details,
    `distinct` ones who was at the entity. `other_window_ms` is a second window that the function compares with.
    """

    name: str
    kind: FeatureKind
    meaning: str
    entity: str
    aggregation: str
    build: Callable[[Place], Compute]
    window_ms: int = 0
    other_window_ms: int = 0
    delay_ms: int = 0
    hop_ms: int = 0
    other_hop_ms: int = 0
    missing: str = ""
    detailed: bool = True
    distinct: Literal["", "customers", "cards"] = ""


def at_any_place(compute: Compute) -> Callable[[Place], Compute]:
    """For functions that need no window: the same one wherever it is placed."""

    def build(_place: Place) -> Compute:
        return compute

    return build


def over_window(compute: Callable[[int, Moment], Value]) -> Callable[[Place], Compute]:
    """For functions of a customer window: called with its number in `Moment.starts`."""

    def build(place: Place) -> Compute:
        return partial(compute, place.window)

    return build


def over_two_windows(compute: Callable[[int, int, Moment], Value]) -> Callable[[Place], Compute]:
    """For functions that compare two customer windows."""

    def build(place: Place) -> Compute:
        return partial(compute, place.window, place.other_window)

    return build


def of_entity(compute: Callable[[int, Moment], Value]) -> Callable[[Place], Compute]:
    """For functions of an entity without a window: called with its number in `Moment.entities`."""

    def build(place: Place) -> Compute:
        return partial(compute, place.entity)

    return build


@dataclass(frozen=True)
class StateLimits:
    """Limits that every store shares: see the settings of the same names."""

    allowed_lateness_ms: int = DAY_MS
    forget_after_ms: int = 90 * DAY_MS
    duplicate_horizon_ms: int = 7 * DAY_MS


class FeatureSet:
    """A named, ordered list of features with the state they need.

    `schema_hash` covers everything that can change a value's meaning: names, kinds, windows, delays and hops in order.
    """

    def __init__(self, name: str, rows: Sequence[Feature]) -> None:
        names = [row.name for row in rows]
        repeated = {row for row in names if names.count(row) > 1}
        if repeated:
            raise ValueError(f"feature set {name} names twice: {', '.join(sorted(repeated))}")
        self.name = name
        self.rows = tuple(rows)
        self.names = tuple(names)
        described = [
            (row.name, row.kind, row.entity, row.aggregation)
            + (row.window_ms, row.other_window_ms, row.delay_ms, row.hop_ms, row.other_hop_ms)
            for row in rows
        ]
        self.schema_hash = hashlib.sha256(msgspec.json.encode(described)).hexdigest()

    def plan(self, limits: StateLimits) -> StatePlan:
        """The state that these features need."""
        customer_rows = [row for row in self.rows if row.entity == "customer"]
        windows = sorted({length for row in customer_rows for length in (row.window_ms, row.other_window_ms) if length})
        kinds = {row.entity for row in self.rows}
        return StatePlan(
            customer_windows_ms=tuple(windows),
            entities=tuple(self._entity_plan(kind, limits) for kind in ENTITY_KINDS if kind in kinds),
            detailed=any(row.detailed for row in self.rows),
            allowed_lateness_ms=limits.allowed_lateness_ms,
            forget_after_ms=limits.forget_after_ms,
            duplicate_horizon_ms=limits.duplicate_horizon_ms,
        )

    def _entity_plan(self, kind: str, limits: StateLimits) -> EntityPlan:
        rows = [row for row in self.rows if row.entity == kind]
        cuts_of_hop: dict[int, set[int]] = {}
        for row in rows:
            for hop, window in ((row.hop_ms, row.window_ms), (row.other_hop_ms, row.other_window_ms)):
                if hop:
                    cuts_of_hop.setdefault(hop, set()).update((row.delay_ms, row.delay_ms + window))
        series = [
            SeriesPlan(hop, max(cuts) + limits.allowed_lateness_ms + hop, tuple(sorted(cuts)))
            for hop, cuts in sorted(cuts_of_hop.items())
        ]
        return EntityPlan(
            kind=kind,
            series=tuple(series),
            counts_customers=any(row.distinct == "customers" for row in rows),
            counts_cards=any(row.distinct == "cards" for row in rows),
            fraud_retention_ms=max((plan.retention_ms for plan in series), default=0),
        )

    def functions(self, plan: StatePlan) -> list[Compute]:
        """The function of each feature, in order, for moments of `plan` (made by this set's `plan`)."""
        return [row.build(self._place(row, plan)) for row in self.rows]

    @staticmethod
    def _place(row: Feature, plan: StatePlan) -> Place:
        if row.entity == "customer":
            windows = plan.customer_windows_ms
            return Place(
                window=windows.index(row.window_ms) if row.window_ms else 0,
                other_window=windows.index(row.other_window_ms) if row.other_window_ms else 0,
            )
        kinds = [entity.kind for entity in plan.entities]
        if row.entity not in kinds:
            return Place()
        entity = kinds.index(row.entity)
        series, head, tail = _cut_numbers(plan.entities[entity], row.hop_ms, row.delay_ms, row.window_ms)
        other = _cut_numbers(plan.entities[entity], row.other_hop_ms, row.delay_ms, row.other_window_ms)
        return Place(0, 0, entity, series, head, tail, *other)


def _cut_numbers(plan: EntityPlan, hop_ms: int, delay_ms: int, window_ms: int) -> tuple[int, int, int]:
    """Number of the series of this hop and of the window's head and tail cuts in it; zeros without a hop."""
    for number, series in enumerate(plan.series):
        if series.hop_ms == hop_ms:
            return number, series.cuts_ms.index(delay_ms), series.cuts_ms.index(delay_ms + window_ms)
    return 0, 0, 0
