"""Sequences of entity events and marks that hit the edges of entity windows, and states in a form to compare."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
from payments import HOUR_MS, MINUTE_MS, START_MS

from fraud.features.entity_state import EntityState
from fraud.features.plan import EntityPlan, StatePlan
from fraud.ports import EntityEvent

HOP_MS = 5 * MINUTE_MS
RETENTION_MS = 20 * HOUR_MS


def entity_plan(kind: str, *, customers: bool, cards: bool, amounts: bool, first_times: bool) -> EntityPlan:
    return EntityPlan(
        kind=kind,
        hop_ms=HOP_MS,
        retention_ms=RETENTION_MS,
        counts_customers=customers,
        counts_cards=cards,
        sums_amounts=amounts,
        counts_first_times=first_times,
    )


# Short windows, so that a short sequence fills, passes and forgets them.
PLAN = StatePlan(
    customer_windows_ms=(HOUR_MS,),
    entities=(
        entity_plan("card", customers=False, cards=False, amounts=False, first_times=False),
        entity_plan("merchant", customers=False, cards=False, amounts=True, first_times=True),
        entity_plan("terminal", customers=True, cards=True, amounts=False, first_times=True),
        entity_plan("device", customers=True, cards=True, amounts=True, first_times=False),
    ),
    detailed=True,
    allowed_lateness_ms=2 * HOUR_MS,
    forget_after_ms=30 * HOUR_MS,
    duplicate_horizon_ms=HOUR_MS,
)
PLANS = {plan.kind: plan for plan in PLAN.entities}
STEPS_MS = (0, 0, 1, MINUTE_MS, HOP_MS, HOP_MS, HOP_MS - 1, HOP_MS + 1, 10 * MINUTE_MS, HOUR_MS)
BACKWARDS_MS = (-1, -HOP_MS, -30 * MINUTE_MS, -2 * HOUR_MS, -9 * HOUR_MS, -40 * HOUR_MS)
LEAPS_MS = (5 * HOUR_MS, 19 * HOUR_MS, 20 * HOUR_MS, 30 * HOUR_MS, 30 * HOUR_MS + 1, 55 * HOUR_MS)
# A sum of a few of them passes 32 bits; a few hundred of the last pass what a number of Lua holds exactly.
AMOUNTS = (0, 1, 999, 123_456, (1 << 32) - 1, 1 << 32, (1 << 53) + 1)

SourceEvent = tuple[str, EntityEvent]


class Mark(msgspec.Struct, frozen=True):
    """A call of `mark`."""

    keys: tuple[tuple[str, str], ...]
    transaction_id: str
    timestamp_ms: int
    is_fraud: bool


def generate(random: Random, count: int, *, keys: int = 2, sources: int = 2, calm: float = 0.9) -> list[SourceEvent]:
    """`count` events of one entity each; `calm` is the share that steps forward by little."""
    timestamp_ms = START_MS
    offsets = [random.choice((0, 1 << 40))] * sources
    events = []
    for _ in range(count):
        steps = STEPS_MS if random.random() < calm else random.choice((BACKWARDS_MS, BACKWARDS_MS, LEAPS_MS))
        step_ms = random.choice(steps)
        source = random.randrange(sources)
        offsets[source] += random.choice((1, 1, 7))
        event = EntityEvent(
            kind=random.choice(PLAN.entities).kind,
            key=f"ключ {random.randrange(keys)}",
            offset=offsets[source],
            timestamp_ms=timestamp_ms + step_ms,
            amount=random.choice(AMOUNTS),
            user_id=random.choice(("ü" * 200, "x" * 32, *(f"customer{number}" for number in range(40)))),
            card_id=random.choice((None, *(f"card{number}" for number in range(36)))),
            first_time=random.random() < 0.3,
        )
        events.append((f"topic:{source}", event))
        # A step back is one straggler, not a new present.
        timestamp_ms += max(0, step_ms)
    return events


def mark_of(event: EntityEvent, is_fraud: bool) -> Mark:
    # Of two sources, events may have the same offset; a transaction has one time.
    transaction_id = f"{event.kind} {event.key} {event.offset} {event.timestamp_ms}"
    return Mark(((event.kind, event.key),), transaction_id, event.timestamp_ms, is_fraud)


def normal_form(state: EntityState) -> Any:
    """What two equal states agree in, whatever was dropped lazily: rows by bucket, and the order of last sight."""
    state = deepcopy(state)
    state.drop_expired(PLANS[_kind_of(state)])
    columns = [column for column in (state.counts, state.amounts, state.first_times) if column is not None]
    rows = [[after - before for before, after in pairwise(column)] for column in columns]
    return (
        list(state.buckets[1:]),
        rows,
        None if state.customers is None else list(state.customers.items()),
        None if state.cards is None else list(state.cards.items()),
        state.first_seen_ms,
        state.newest_ms,
        list(state.fraud_timestamps_ms or ()),
        dict(sorted((state.absorbed_offsets or {}).items())),
    )


def _kind_of(state: EntityState) -> str:
    kept = (state.customers is not None, state.amounts is not None)
    return {(False, False): "card", (False, True): "merchant", (True, False): "terminal", (True, True): "device"}[kept]


def all_keys(events: list[SourceEvent]) -> list[tuple[str, str]]:
    return sorted({(event.kind, event.key) for _, event in events})
