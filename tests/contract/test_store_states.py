"""What every store of states must do. A new implementation is one more line in its list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest
from event_sequences import Pools, generate
from feature_oracle import Oracle
from oracle_events import Limits
from payments import DAY_MS, HOUR_MS, MINUTE_MS, START_MS, ScheduledLabels, admission, artefacts, payment

from fraud.bootstrap import build_pipeline, state_limits
from fraud.features import feature_set
from fraud.features.customer_state import CustomerState
from fraud.features.entity_state import EntityState
from fraud.features.plan import ENTITY_KINDS, StatePlan
from fraud.features.table import StateLimits
from fraud.pipeline import Period, StageTimings
from fraud.settings import Settings
from fraud.stores.memory import MemoryCustomers, MemoryEntities
from fraud.transaction import TransactionMessage

CUSTOMER_STORES: dict[str, Callable[[], Any]] = {"memory": MemoryCustomers}
ENTITY_STORES: dict[str, Callable[[], Any]] = {"memory": MemoryEntities}

SETTINGS = Settings(forget_after_days=40)
PLAN: StatePlan = feature_set("default").plan(state_limits(SETTINGS))
REPLACE = msgspec.structs.replace


@pytest.fixture(params=CUSTOMER_STORES.values(), ids=CUSTOMER_STORES)
def customers(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture(params=ENTITY_STORES.values(), ids=ENTITY_STORES)
def entities(request: pytest.FixtureRequest) -> Any:
    return request.param()


def process(customers: Any, entities: Any, *batches: list[TransactionMessage]) -> list[list[float]]:
    """The feature values of all batches; each batch by a pipeline of its own, so that only the stores remember."""
    labels = ScheduledLabels({})
    rows: list[list[float]] = []
    for batch in batches:
        pipeline = build_pipeline(
            SETTINGS,
            artefacts(SETTINGS, "default"),
            customers,
            entities,
            timings=StageTimings(lambda: 0.0),
            period=Period(),
        )
        rows.extend(asyncio.run(pipeline.process(batch, labels)).gathered.matrix.tolist())
    return rows


def counted(row: list[float], name: str) -> float:
    return row[feature_set("default").names.index(name)]


def at_terminal(transaction_id: str, after_ms: int, user_id: str) -> TransactionMessage:
    return REPLACE(payment(transaction_id, after_ms, user_id=user_id), terminal_id="terminal")


def test_a_new_store_knows_nobody(customers: Any, entities: Any) -> None:
    assert len(customers) == 0
    assert len(entities) == 0
    assert "nobody" not in asyncio.run(customers.load(["nobody"]))
    states = asyncio.run(entities.load([("terminal", "nowhere")]))
    assert set(states) >= set(ENTITY_KINDS)
    assert not any(states.values())


def test_loading_nobody_is_no_special_case(customers: Any, entities: Any) -> None:
    asyncio.run(customers.load([]))
    asyncio.run(entities.load([]))


def test_a_customer_is_found_as_the_pipeline_left_it(customers: Any) -> None:
    rows = process(customers, MemoryEntities(), [payment("a")], [payment("b", 1)], [payment("c", 2)])
    assert [counted(row, "customer_count_1h") for row in rows] == [1, 2, 3]
    assert isinstance(asyncio.run(customers.load(["customer"]))["customer"], CustomerState)


def test_customers_are_kept_apart(customers: Any) -> None:
    first, second = payment("a", user_id="one"), payment("a", user_id="other")
    rows = process(customers, MemoryEntities(), [first], [second])
    assert [counted(row, "customer_count_1h") for row in rows] == [1, 1]
    assert len(customers) == 2


def test_a_repetition_is_recognised_in_a_later_batch(customers: Any) -> None:
    assert len(process(customers, MemoryEntities(), [payment("a")], [payment("a")])) == 1


def test_an_entity_is_found_as_the_pipeline_left_it(entities: Any) -> None:
    batches = [[at_terminal(name, number, name)] for number, name in enumerate("abc")]
    rows = process(MemoryCustomers(), entities, *batches)
    assert [counted(row, "terminal_distinct_customers_1h") for row in rows] == [1, 2, 3]
    states = asyncio.run(entities.load([("terminal", "terminal")]))
    assert isinstance(states["terminal"]["terminal"], EntityState)


def test_kinds_of_entities_are_kept_apart(entities: Any) -> None:
    same_name = REPLACE(payment("a"), terminal_id="x", merchant_id="x", device_id="x")
    process(MemoryCustomers(), entities, [same_name])
    states = asyncio.run(entities.load([("terminal", "x"), ("merchant", "x"), ("device", "x"), ("card", "x")]))
    assert [kind for kind in ENTITY_KINDS if "x" in states[kind]] == ["merchant", "terminal", "device"]
    assert len(entities) == 3


def test_only_what_is_silent_for_too_long_is_freed(customers: Any, entities: Any) -> None:
    process(customers, entities, [at_terminal("a", 0, "old")], [payment("b", DAY_MS, user_id="newer")])
    limit_ms = START_MS + 40 * DAY_MS
    assert (customers.forget(limit_ms, PLAN), entities.forget(limit_ms, PLAN)) == (0, 0)
    assert (customers.forget(limit_ms + 1, PLAN), entities.forget(limit_ms + 1, PLAN)) == (1, 1)
    assert (len(customers), len(entities)) == (1, 0)
    assert list(asyncio.run(customers.load(["newer", "old"]))) == ["newer"]


def test_a_customer_who_only_had_refunds_is_freed_too(customers: Any) -> None:
    refunds = [REPLACE(payment(name, days * DAY_MS), event_type="refund") for name, days in (("a", 5), ("b", 0))]
    process(customers, MemoryEntities(), refunds)
    silent_since_ms = START_MS + 5 * DAY_MS
    assert customers.forget(silent_since_ms + PLAN.forget_after_ms, PLAN) == 0
    assert customers.forget(silent_since_ms + PLAN.forget_after_ms + 1, PLAN) == 1
    assert len(customers) == 0


def test_what_was_freed_comes_back_as_new(customers: Any, entities: Any) -> None:
    process(customers, entities, [at_terminal("a", 0, "customer")])
    later = [at_terminal("b", 40 * DAY_MS + 1, "customer")]
    customers.forget(START_MS + 40 * DAY_MS + 1, PLAN)
    entities.forget(START_MS + 40 * DAY_MS + 1, PLAN)
    (row,) = process(customers, entities, later)
    assert counted(row, "customer_tenure_days") == 0
    assert counted(row, "terminal_age_days") == 0


@pytest.mark.parametrize("seed", range(3))
def test_long_use_gives_the_values_of_the_oracle(customers: Any, entities: Any, seed: int) -> None:
    steps_ms = (0, MINUTE_MS, HOUR_MS, DAY_MS, 9 * DAY_MS, -HOUR_MS)
    messages = generate(Random(seed), 80, Pools(customers=4), steps_ms).messages
    rows = iter(process(customers, entities, *(messages[start : start + 5] for start in range(0, 80, 5))))
    limits: StateLimits = state_limits(SETTINGS)
    oracle = Oracle(
        "default", Limits(limits.allowed_lateness_ms, limits.forget_after_ms, limits.duplicate_horizon_ms), {}
    )
    admit = admission(SETTINGS).admit
    for message in messages:
        what, _, values = oracle.process(admit(message))
        if what == "decided":
            row = [float(value) for value in next(rows)]
            expected = [float(values[name]) for name in feature_set("default").names]
            assert row == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)
