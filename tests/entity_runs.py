"""Runs of transactions at a few entities, and what passes of compiled code make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from payments import DAY_MS, HOUR_MS, MINUTE_MS, START_MS

from fraud.features import feature_set
from fraud.features.compiled import Reals
from fraud.features.entity_pass import EntityPass, EntityRun
from fraud.features.entity_run import EntityFamily
from fraud.features.entity_state import EntityState
from fraud.features.facts import facts_of
from fraud.features.passage import Mark, Passages
from fraud.features.table import StateLimits
from fraud.transaction import Transaction

LIMITS = StateLimits(forget_after_ms=40 * DAY_MS)
STEPS_MS = (0, 0, 1, MINUTE_MS, 5 * MINUTE_MS, 20 * MINUTE_MS, HOUR_MS, DAY_MS)
LEAPS_MS = (-1, -MINUTE_MS, -HOUR_MS, -30 * HOUR_MS, 8 * DAY_MS, 39 * DAY_MS, 41 * DAY_MS)

States = dict[str, EntityState]


@dataclass(frozen=True)
class Passage:
    """One transaction, on its way past its entities alone."""

    transaction: Transaction
    late: bool = False
    first_time: bool = False
    due: Sequence[Mark] = ()
    origin: tuple[str, int] = ("", 0)


def passes(feature_set_name: str) -> list[tuple[EntityPass, int]]:
    """The passes of all kinds of a set, each with how many columns it has; they start at the first one."""
    chosen = feature_set(feature_set_name)
    plan = chosen.plan(LIMITS)
    plans = {entity.kind: entity for entity in plan.entities}
    return [
        (EntityPass(plans[read_by], plan, family, 0), columns.stop - columns.start)
        for read_by, columns, family in chosen.families(plan)
        if isinstance(family, EntityFamily)
    ]


def at_terminal(number: int, timestamp_ms: int, user: int = 0, terminal: str | None = "t") -> Transaction:
    """A payment that names entities of every kind after its terminal."""
    names = dict.fromkeys(("merchant_id", "terminal_id", "device_id", "ip_address", "counterparty_id"), terminal)
    return Transaction(
        f"transaction {number}", f"user {user}", timestamp_ms, 100 + number, "EUR", 100 + number,
        card_id=f"card {user}" if user % 5 else None, **names,
    )  # fmt: skip


def passage(transaction: Transaction, *, late: bool = False, due: Sequence[Mark] = ()) -> Passage:
    return Passage(transaction, late, due=due)


def generate(random: Random, count: int, *, terminals: int, users: int, calm: float) -> list[Passage]:
    """Passages with marks between them; `calm` is the share that steps forward by little."""
    timestamp_ms = START_MS
    passages: list[Passage] = []
    for number in range(count):
        step_ms = random.choice(STEPS_MS if random.random() < calm else LEAPS_MS)
        terminal = random.choice((None, *(f"t{place}" for place in range(terminals))))
        transaction = at_terminal(number, timestamp_ms + step_ms, random.randrange(users), terminal)
        timestamp_ms += max(0, step_ms)
        due = []
        while passages and random.random() < 0.4:
            due.append((random.choice(passages[-60:]).transaction, random.random() < 0.8))
        late, first_time = random.random() < 0.1, random.random() < 0.3
        passages.append(Passage(transaction, late, first_time, due))
    return passages


def go(entity_pass: EntityPass, columns: int, passages: Sequence[Passage], states: States, at_once: int) -> Reals:
    """The values of all passages, in runs of `at_once`."""
    values = np.full((len(passages), columns), -1.0)
    for start in range(0, len(passages), at_once):
        run = passages[start : start + at_once]
        together = Passages(
            [one.transaction for one in run],
            [None] * len(run),
            [one.late for one in run],
            due=[(place, one.due) for place, one in enumerate(run) if one.due],
            origins=[one.origin for one in run] if any(one.origin[0] for one in run) else None,
        )
        first_times = np.array([one.first_time for one in run], np.int64)
        known = facts_of(together.transactions, feature_set("default").plan(LIMITS)).events
        entity_pass.go(EntityRun(together, known, first_times), states, values[start : start + at_once])
    return values


def content(states: States) -> dict[str, tuple[object, ...]]:
    """All that the states hold, whatever room they have."""
    return {
        key: (
            *(state.first_seen_ms, state.newest_ms, state.rows, list(state.fraud_timestamps_ms)),
            *(None if sights is None else list(sights.items()) for sights in (state.customers, state.cards)),
            state.absorbed_offsets,
        )
        for key, state in states.items()
    }
