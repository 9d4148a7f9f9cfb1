"""What every store of entity windows that several workers tell must do: state as in memory, each event counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count
from random import Random
from typing import Any

import msgspec
import pytest
from entity_events import (
    HOP_MS,
    LEAPS_MS,
    PLAN,
    PLANS,
    RETENTION_MS,
    Mark,
    SourceEvent,
    all_keys,
    generate,
    mark_of,
    normal_form,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from payments import HOUR_MS, MINUTE_MS, START_MS
from redis_server import RedisServer

from fraud.features.compiled import name_hash
from fraud.features.entity_words import DISTINCT_CAP
from fraud.features.plan import ENTITY_KINDS
from fraud.ports import EntityEvent
from fraud.stores.entity_windows.windows import EntityWindows
from fraud.stores.memory_tables import MemoryEntityWindows

PATIENT_MS = 60_000
SOURCE = "topic:0"
NUMBERS = count()

Store = Any
Use = Callable[[Store], Awaitable[Any]]
# Runs a coroutine with a store that nobody has used before.
WithStore = Callable[[Use], Any]


def with_memory(use: Use) -> Any:
    async def used() -> Any:
        return await use(MemoryEntityWindows(PLAN))

    return asyncio.run(used())


def with_redis(url: str, use: Use, cached_rows: int = 1_000_000) -> Any:
    async def used() -> Any:
        prefix = f"contract{next(NUMBERS)}:"
        windows = EntityWindows(url, PLAN, prefix=prefix, deadline_ms=PATIENT_MS, cached_rows=cached_rows)
        try:
            assert await windows.initialise()
            return await use(windows)
        finally:
            await windows.close()

    return asyncio.run(used())


@pytest.fixture(params=["memory", "redis"])
def with_store(request: pytest.FixtureRequest) -> Iterator[WithStore]:
    if request.param == "memory":
        yield with_memory
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        yield lambda use: with_redis(server.url, use)


def event(
    offset: int, after_ms: int = 0, user_id: str = "customer", amount: int = 100, kind: str = "device", key: str = "d"
) -> EntityEvent:
    return EntityEvent(kind, key, offset, START_MS + after_ms, amount, user_id, f"card of {user_id}", True)


def left_by(*changes: Sequence[EntityEvent] | Mark, source: str = SOURCE) -> Use:
    """Applies the changes in order and gives the state of the device."""

    async def use(store: Store) -> Any:
        for change in changes:
            if isinstance(change, Mark):
                await store.mark(change.keys, change.transaction_id, change.timestamp_ms, change.is_fraud)
            else:
                await store.commit({source: change})
        return (await store.load([("device", "d")]))["device"].get("d")

    return use


def counts(state: Any) -> list[int]:
    steps: list[int] = normal_form(state)[1][0]
    return steps


def sights(*seen: tuple[str, int]) -> dict[int, int]:
    """What a state knows of customers or cards."""
    return {name_hash(name): seen_ms for name, seen_ms in seen}


def frauds(state: Any) -> list[int]:
    return [timestamp_ms - START_MS for timestamp_ms in state.fraud_timestamps_ms or ()]


def test_what_was_never_counted_is_not_there(with_store: WithStore) -> None:
    states = with_store(lambda store: store.load([("device", "d"), ("terminal", "t")]))
    assert {kind: dict(found) for kind, found in states.items()} == {kind: {} for kind in ENTITY_KINDS}


def test_loading_nothing_is_no_special_case(with_store: WithStore) -> None:
    assert set(with_store(lambda store: store.load([]))) == set(ENTITY_KINDS)


def test_committing_nothing_is_no_special_case(with_store: WithStore) -> None:
    assert with_store(left_by([])) is None


def test_an_entity_is_found_as_its_events_left_it(with_store: WithStore) -> None:
    state = with_store(left_by([event(0), event(1, 1, "other"), event(2, HOP_MS, "customer", 7)]))
    assert (counts(state), state.amounts[-1]) == ([1, 2], 207)
    assert list(state.customers.items()) == list(
        sights(("other", START_MS + 1), ("customer", START_MS + HOP_MS)).items()
    )
    assert list(state.cards) == [name_hash("card of other"), name_hash("card of customer")]
    assert (state.first_seen_ms, state.newest_ms) == (START_MS, START_MS + HOP_MS)
    assert state.absorbed_offsets == {SOURCE: 2}


def test_a_loaded_state_is_a_copy(with_store: WithStore) -> None:
    async def change_and_load(store: Store) -> Any:
        await store.commit({SOURCE: [event(0)]})
        state = (await store.load([("device", "d")]))["device"]["d"]
        state.absorb(START_MS + 1, 1, "other", None, False, PLANS["device"])
        return (await store.load([("device", "d")]))["device"]["d"]

    assert counts(with_store(change_and_load)) == [1]


def test_kinds_and_keys_are_kept_apart(with_store: WithStore) -> None:
    async def use(store: Store) -> Any:
        same_name = [event(0, kind=kind, key="x") for kind in PLANS]
        await store.commit({SOURCE: [*same_name, event(1, key="y"), event(2, key="y")]})
        return await store.load([*((kind, "x") for kind in PLANS), ("device", "y")])

    states = with_store(use)
    assert {kind: sorted(found) for kind, found in states.items() if found} == {
        **{kind: ["x"] for kind in PLANS},
        "device": ["x", "y"],
    }
    assert [states["device"][key].counts[-1] for key in "xy"] == [1, 2]


def test_an_event_told_again_is_counted_once(with_store: WithStore) -> None:
    batch = [event(0), event(1, 1), event(2, 2)]
    assert counts(with_store(left_by(batch[:2], batch, batch[1:], batch[:1]))) == [1, 2]


def test_every_source_has_offsets_of_its_own(with_store: WithStore) -> None:
    async def use(store: Store) -> Any:
        for source in ("topic:0", "topic:1", "another topic:0", "topic:0"):
            await store.commit({source: [event(5, 1)]})
        return (await store.load([("device", "d")]))["device"]["d"]

    state = with_store(use)
    assert counts(state) == [3]
    assert state.absorbed_offsets == {"topic:0": 5, "topic:1": 5, "another topic:0": 5}


def test_offsets_outlive_the_entity_that_counted_them(with_store: WithStore) -> None:
    old, new = event(0), event(1, PLAN.forget_after_ms + 1)
    state = with_store(left_by([old], [new], [old, new]))
    assert (counts(state), state.first_seen_ms) == ([1], new.timestamp_ms)


@pytest.mark.parametrize(("silent_ms", "remembered"), [(PLAN.forget_after_ms, True), (PLAN.forget_after_ms + 1, False)])
def test_only_what_is_silent_for_too_long_is_forgotten(with_store: WithStore, silent_ms: int, remembered: bool) -> None:
    state = with_store(left_by([event(0, user_id="old")], [event(1, silent_ms, "new")]))
    assert (name_hash("old") in state.customers) == remembered
    assert (state.first_seen_ms == START_MS) == remembered


def test_amounts_beyond_what_a_float_holds_are_exact(with_store: WithStore) -> None:
    huge = (1 << 53) + 1
    batch = [event(offset, amount=huge) for offset in range(101)]
    assert with_store(left_by(batch)).amounts[-1] == 101 * huge


def test_the_halves_of_an_amount_carry(with_store: WithStore) -> None:
    amounts = ((1 << 32) - 1, 1, (1 << 33) - 1, 1)
    batch = [event(offset, amount=amount) for offset, amount in enumerate(amounts)]
    assert with_store(left_by(batch[:2])).amounts[-1] == 1 << 32
    assert with_store(left_by(batch)).amounts[-1] == 3 << 32


def test_no_more_customers_are_remembered_than_count(with_store: WithStore) -> None:
    batch = [event(number, number, f"customer {number}") for number in range(DISTINCT_CAP + 3)]
    state = with_store(left_by(batch))
    assert list(state.customers) == [name_hash(f"customer {number}") for number in range(3, DISTINCT_CAP + 3)]


def test_a_straggler_is_put_in_its_place(with_store: WithStore) -> None:
    in_order = [event(number, number * HOP_MS, f"customer {number % 3}") for number in range(60)]
    straggler = event(60, 5 * HOP_MS + 1, "straggler")
    state = with_store(left_by(in_order, [straggler]))
    assert counts(state) == [1] * 6 + [2] + [1] * 53
    assert next(iter(state.customers)) == name_hash("straggler")


def test_a_straggler_from_beyond_every_window_leaves_no_row(with_store: WithStore) -> None:
    state = with_store(left_by([event(0, RETENTION_MS + HOP_MS), event(1, -HOP_MS)]))
    assert counts(state) == [1]
    assert state.first_seen_ms == START_MS - HOP_MS


def test_a_mark_counts_once_and_is_taken_back_once(with_store: WithStore) -> None:
    batch = [event(0), event(1, 1)]
    fraud, other = mark_of(batch[0], True), mark_of(batch[1], True)
    assert frauds(with_store(left_by(batch, fraud, fraud, other))) == [0, 1]
    assert frauds(with_store(left_by(batch, fraud, other, mark_of(batch[0], False), mark_of(batch[0], False)))) == [1]


def test_frauds_of_one_instant_are_told_apart(with_store: WithStore) -> None:
    batch = [event(0), event(1)]
    marks = [mark_of(one, True) for one in batch]
    assert frauds(with_store(left_by(batch, *marks))) == [0, 0]
    assert frauds(with_store(left_by(batch, *marks, mark_of(batch[0], False)))) == [0]


def test_taking_back_what_was_never_marked_changes_nothing(with_store: WithStore) -> None:
    batch = [event(0), event(1)]
    assert frauds(with_store(left_by(batch, mark_of(batch[0], True), mark_of(batch[1], False)))) == [0]
    assert with_store(left_by(mark_of(batch[0], False))) is None


def test_a_forgotten_entity_has_no_frauds(with_store: WithStore) -> None:
    old, new = event(0), event(1, PLAN.forget_after_ms + 1)
    assert frauds(with_store(left_by([old], mark_of(old, True), [new], mark_of(old, True)))) == []


async def _tell(store: Store, events: Sequence[SourceEvent]) -> None:
    """All sources in one call, as a batch of several partitions."""
    sources = sorted({source for source, _ in events})
    await store.commit({source: [event for of, event in events if of == source] for source in sources})


async def _both_ways(store: Store, events: list[SourceEvent], random: Random) -> None:
    """Tells `store` in random batches with redelivered ones, and a store in memory once; they agree all the time."""
    memory = MemoryEntityWindows(PLAN)
    keys = all_keys(events)
    marks: list[Mark] = []
    done = 0
    while done < len(events):
        batch = events[done : done + random.choice((1, 3, 20))]
        redelivered = events[max(0, done - random.choice((0, 0, 5))) : done]
        done += len(batch)
        await _tell(store, [*redelivered, *batch])
        await _tell(memory, batch)
        if random.random() < 0.5:
            marks.append(mark_of(random.choice(batch)[1], random.random() < 0.8))
            again = random.choice(marks)
            for mark in (marks[-1], Mark(again.keys, again.transaction_id, again.timestamp_ms, random.random() < 0.5)):
                await store.mark(mark.keys, mark.transaction_id, mark.timestamp_ms, mark.is_fraud)
                await memory.mark(mark.keys, mark.transaction_id, mark.timestamp_ms, mark.is_fraud)
        if random.random() < 0.2 or done == len(events):
            found, expected = await store.load(keys), await memory.load(keys)
            for kind in PLANS:
                assert {key: normal_form(state) for key, state in found[kind].items()} == {
                    key: normal_form(state) for key, state in expected[kind].items()
                }


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**9),
    events=st.sampled_from((3, 40, 250, 500)),
    keys=st.integers(1, 3),
    sources=st.integers(1, 3),
    calm=st.sampled_from((0.5, 0.9, 1.0)),
    cached_rows=st.sampled_from((0, 60, 1_000_000)),
)
def test_any_sequence_leaves_the_state_that_memory_has(
    redis_server: RedisServer, seed: int, events: int, keys: int, sources: int, calm: float, cached_rows: int
) -> None:
    random = Random(seed)
    sequence = generate(random, events, keys=keys, sources=sources, calm=calm)
    with_redis(redis_server.url, lambda store: _both_ways(store, sequence, random), cached_rows)


def test_a_busy_entity_is_the_same_after_every_batch(redis_server: RedisServer) -> None:
    in_order = [("topic:0", event(number, number * HOP_MS, amount=number)) for number in range(700)]
    stragglers = [
        ("topic:0", event(700 + number, (690 - 3 * number) * HOP_MS + MINUTE_MS, amount=1)) for number in range(80)
    ]
    leaps = [("topic:0", event(800 + number, 700 * HOP_MS + leap_ms)) for number, leap_ms in enumerate(LEAPS_MS)]
    with_redis(redis_server.url, lambda store: _both_ways(store, [*in_order, *stragglers, *leaps], Random(1)))


def test_what_a_worker_acknowledges_never_goes_back(redis_server: RedisServer) -> None:
    async def use(store: EntityWindows) -> list[int | None]:
        seen = [await store.applied(SOURCE)]
        for offset in (5, 3, 1 << 45):
            await store.set_applied(SOURCE, offset)
            seen.append(await store.applied(SOURCE))
        return [*seen, await store.applied("topic:1")]

    assert with_redis(redis_server.url, use) == [None, 5, 5, 1 << 45, None]


def test_a_mark_may_come_before_its_transaction(redis_server: RedisServer) -> None:
    first, revival = event(0), event(1, PLAN.forget_after_ms + 1)
    early = mark_of(first, True), mark_of(revival, True)
    states = [
        with_redis(redis_server.url, left_by(early[0], [first])),
        with_redis(redis_server.url, left_by([first], early[1])),
        with_redis(redis_server.url, left_by([first], *early, [revival])),
    ]
    assert [frauds(state) for state in states] == [[0], [], [PLAN.forget_after_ms + 1]]


def test_an_entity_that_expired_is_not_completed_from_what_was_read_before(redis_server: RedisServer) -> None:
    async def use(store: EntityWindows) -> list[int]:
        found = []
        for start in (0, 1_000):
            await store.commit({SOURCE: [event(start + number, (start + number) * HOP_MS) for number in range(60)]})
            await store.commit({SOURCE: [event(start + 60 + number, start * HOP_MS) for number in range(start // 100)]})
            state = (await store.load([("device", "d")]))["device"]["d"]
            found.append(state.counts[-1])
            client = await store.connection.client()
            for name in [name async for name in client.scan_iter(store.keys.everything_of("*")) if b":d" in name]:
                await client.unlink(name)
        return found

    assert with_redis(redis_server.url, use) == [60, 70]


def test_memory_is_bounded_by_the_wall_clock(redis_server: RedisServer) -> None:
    async def use(store: EntityWindows) -> list[int]:
        batch = [event(number, number * HOP_MS) for number in range(60)]
        await store.commit({SOURCE: batch})
        client = await store.connection.client()
        names = [name async for name in client.scan_iter(store.keys.everything_of("*"))]
        return [await client.pttl(name) for name in names if b":device:" in name]

    keep_ms = RETENTION_MS + PLAN.forget_after_ms
    left_ms = with_redis(redis_server.url, use)
    assert len(left_ms) == 2
    assert all(keep_ms - HOUR_MS < left <= keep_ms for left in left_ms)


def test_a_card_that_comes_under_another_name_is_counted_once(with_store: WithStore) -> None:
    """While a token key is replaced, events say what customer and card were called before."""
    renamed = msgspec.structs.replace(
        event(3, 3, "new name"), card_id="new card", former_user_id="old name", former_card_id="card of old name"
    )
    state = with_store(left_by([event(1, 1, "old name"), event(2, 2, "other"), renamed]))
    assert state.customers == sights(("other", START_MS + 2), ("new name", START_MS + 3))
    assert state.cards == sights(("card of other", START_MS + 2), ("new card", START_MS + 3))


def test_a_former_name_keeps_its_last_sight(with_store: WithStore) -> None:
    late = msgspec.structs.replace(event(3, 1, "new name"), former_user_id="old name")
    state = with_store(left_by([event(1, 5, "old name"), event(2, 2, "other"), late]))
    assert state.customers == sights(("other", START_MS + 2), ("new name", START_MS + 5))
