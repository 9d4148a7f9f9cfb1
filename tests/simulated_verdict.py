"""What must hold after any run, whatever befell it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from payments import DEFAULT_POLICY, artefacts
from simulated_log import Log
from simulated_service import FEATURE_SET, Outcome

from fraud.bootstrap import state_limits
from fraud.features.customer_words import drop_expired
from fraud.features.plan import ENTITY_KINDS, StatePlan
from fraud.features.snapshot import encode_customer
from fraud.live.outgoing import ALERTS, DEAD_LETTERS, DECISIONS
from fraud.settings import Settings
from fraud.stores.customers import CachedCustomers, CustomerCache

# What follows from entity windows, besides the features of entities themselves.
_FOLLOWS = frozenset(
    (
        "action",
        "degraded",
        "features",
        "notifications",
        "reason_codes",
        "recommended_action",
        "rule_hits",
        "score",
        "score_reasons",
    )
)

Identity = tuple[str, str, str]
Place = tuple[int, int]


@dataclass(frozen=True)
class Facts:
    """A run, reduced to what is compared.

    `decisions` are canonical bytes by user, transaction and timestamp; `refused` the codes of dead letters by partition
    and offset; `history` sequence, flags and origin by customer, time and transaction; `customers` snapshots;
    `entities` what each has counted.
    """

    decisions: dict[Identity, set[bytes]]
    alerts: set[Identity]
    refused: dict[Place, set[str]]
    history: dict[tuple[str, int, str], tuple[object, ...]]
    customers: dict[str, bytes]
    entities: dict[tuple[str, str], tuple[object, ...]]


class _Frozen(msgspec.Struct):
    decision: msgspec.Raw
    hash: str
    stale: bool = False


class _Identified(msgspec.Struct):
    action: str
    notifications: list[str]
    timestamp: str
    transaction_id: str
    user_id: str
    degraded: list[str]


_decode_message = msgspec.json.Decoder(_Frozen).decode
_decode_identity = msgspec.json.Decoder(_Identified).decode


def identity_of(canonical: bytes) -> Identity:
    """Who decided about what: user, transaction, timestamp."""
    one = _decode_identity(canonical)
    return one.user_id, one.transaction_id, one.timestamp


def facts(log: Log, outcome: Outcome) -> Facts:
    """What a run came to; its customers are read from its tables anew."""
    decisions: dict[Identity, set[bytes]] = defaultdict(set)
    refused: dict[Place, set[str]] = defaultdict(set)
    alerts = set()
    for message in outcome.published:
        if message.topic == DEAD_LETTERS:
            letter: dict[str, Any] = msgspec.json.decode(message.value)
            refused[letter["partition"], letter["offset"]].add(letter["code"])
            continue
        canonical = bytes(_decode_message(message.value).decision)
        identity = identity_of(canonical)
        if message.topic == DECISIONS:
            decisions[identity].add(canonical)
        elif message.topic == ALERTS:
            alerts.add(identity)
    plan = artefacts(log.settings, FEATURE_SET, DEFAULT_POLICY).feature_set.plan(state_limits(log.settings))
    history = {
        (user_id, *key): (record.sequence, record.stored.late, record.stored.first_time, record.stored.origin)
        for user_id, events in outcome.tables.history.items()
        for key, record in events.items()
    }
    return Facts(
        dict(decisions),
        alerts,
        dict(refused),
        history,
        asyncio.run(_customers(outcome, plan)),
        _entities(outcome, plan),
    )


async def _customers(outcome: Outcome, plan: StatePlan) -> dict[str, bytes]:
    store = CachedCustomers(outcome.tables, plan, CustomerCache(capacity=0))
    states = await store.load(sorted(outcome.tables.history))
    for state in states.values():
        # How many expired rows are still held depends on when a late event asked.
        drop_expired(np.frombuffer(state.words, np.int64), plan.customer_retention_ms)
    return {user_id: encode_customer(state, plan) for user_id, state in states.items()}


def _entities(outcome: Outcome, plan: StatePlan) -> dict[tuple[str, str], tuple[object, ...]]:
    found = {}
    for entity_plan in plan.entities:
        for key, state in outcome.windows._states[entity_plan.kind].items():
            state.drop_expired(entity_plan)
            columns = [None if column is None else column.tolist() for column in (state.amounts, state.first_times)]
            found[entity_plan.kind, key] = (
                state.buckets.tolist(),
                state.counts.tolist(),
                columns,
                state.first_seen_ms,
                state.newest_ms,
                state.customers,
                state.cards,
                state.absorbed_offsets,
            )
    return found


@lru_cache
def entity_features(settings: Settings) -> frozenset[str]:
    """The names of the features that entity windows give."""
    rows = artefacts(settings, FEATURE_SET, DEFAULT_POLICY).feature_set.rows
    return frozenset(row.name for row in rows if row.entity in ENTITY_KINDS)


def without_entities(canonical: bytes, names: frozenset[str]) -> dict[str, object]:
    """A decision without entity features, which have these names, and what follows from them."""
    decision: dict[str, Any] = msgspec.json.decode(canonical)
    rest = {name: value for name, value in decision.items() if name not in _FOLLOWS}
    rest["customer features"] = {name: value for name, value in decision["features"].items() if name not in names}
    return rest


def problems(log: Log, found: Facts, expected: Facts) -> list[str]:
    """Every way in which a run differs from the undisturbed one; empty is right.

    With several partitions, or where entity windows were away, entity features and what follows may differ.
    """
    told = [
        f"{name} differ: {difference(getattr(found, name), getattr(expected, name))}"
        for name in ("refused", "history", "customers", "entities")
        if getattr(found, name) != getattr(expected, name)
    ]
    told += [f"missing: {identity}" for identity in expected.decisions.keys() - found.decisions.keys()]
    told += [f"invented: {identity}" for identity in found.decisions.keys() - expected.decisions.keys()]
    told += [f"no alert: {identity}" for identity in _asking(found.decisions) - found.alerts]
    told += [f"needless alert: {identity}" for identity in found.alerts - _asking(found.decisions)]
    for identity, contents in found.decisions.items():
        if len(contents) != 1:
            told.append(f"published with {len(contents)} contents: {identity}")
        for content in contents:
            wanted = next(iter(expected.decisions.get(identity, {content})))
            if content == wanted:
                continue
            inexact = len(log.partitions) > 1 or bool(_decode_identity(content).degraded)
            names = entity_features(log.settings)
            if not inexact or without_entities(content, names) != without_entities(wanted, names):
                told.append(f"changed: {identity}\n  is     {content!r}\n  should {wanted!r}")
    return told


def _asking(decisions: dict[Identity, set[bytes]]) -> set[Identity]:
    """Decisions that ask somebody to act."""
    standings = {identity: _decode_identity(next(iter(contents))) for identity, contents in decisions.items()}
    return {identity for identity, one in standings.items() if one.action != "allow" or one.notifications}


def differing_cells(log: Log, found: Facts, expected: Facts) -> tuple[int, int]:
    """Entity features of decisions that are not degraded: how many differ, of how many."""
    names = entity_features(log.settings)
    differing = total = 0
    for identity, contents in found.decisions.items():
        is_one, should_one = (
            msgspec.json.decode(next(iter(content))) for content in (contents, expected.decisions[identity])
        )
        if not is_one["degraded"]:
            total += len(names)
            differing += sum(is_one["features"][name] != should_one["features"][name] for name in names)
    return differing, total


def difference(found: dict[Any, Any], expected: dict[Any, Any]) -> str:
    """The first few keys under which two dictionaries differ, and how."""
    keys = sorted((key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)), key=repr)
    return "; ".join(f"{key!r} is {found.get(key)!r}, should be {expected.get(key)!r}" for key in keys[:3])
