"""Redis slow, away, cut off, flushed or restarted: entity windows say that they are away, and nothing counts twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from entity_events import PLAN
from fault_proxy import FaultProxy, running_fault_proxy
from payments import START_MS
from redis_server import RedisServer, free_port, running_redis

from fraud.features import feature_set
from fraud.features.table import StateLimits
from fraud.ports import EntityEvent, EntityStoreUnavailableError
from fraud.stores.entity_windows.generations import FORMAT, SHARDS, shard_of
from fraud.stores.entity_windows.windows import EntityWindows

DEADLINE_MS = 200.0
PATIENT_MS = 60_000.0
SOURCE = "topic:0"
KEYS = [("device", f"device {number}") for number in range(40)]
NUMBERS = count()


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[FaultProxy]:
    with running_fault_proxy(redis_server.port) as between:
        yield between


def events(first_offset: int) -> list[EntityEvent]:
    """One event of each device; an offset each."""
    return [
        EntityEvent(kind, key, first_offset + place, START_MS, 1, "customer", None, False)
        for place, (kind, key) in enumerate(KEYS)
    ]


async def counted(windows: EntityWindows) -> set[int]:
    """How often each device was counted."""
    states = await windows.load(KEYS)
    return {states[kind][key].counts[-1] if key in states[kind] else 0 for kind, key in KEYS}


def through(port: int, use: Callable[[EntityWindows], Awaitable[Any]], deadline_ms: float = DEADLINE_MS) -> Any:
    async def used() -> Any:
        url = f"redis://127.0.0.1:{port}/0"
        windows = EntityWindows(url, PLAN, prefix=f"faults{next(NUMBERS)}:", deadline_ms=deadline_ms)
        try:
            return await use(windows)
        finally:
            await windows.close()

    return asyncio.run(used())


async def recovered(windows: EntityWindows) -> set[int]:
    """What is counted, once Redis answers in time again."""
    while True:
        try:
            return await counted(windows)
        except EntityStoreUnavailableError:
            await asyncio.sleep(0.01)


def test_a_slow_answer_is_not_waited_for_and_not_mixed_up_later(proxy: FaultProxy) -> None:
    async def use(windows: EntityWindows) -> set[int]:
        await windows.initialise()
        await windows.commit({SOURCE: events(0)})
        assert await counted(windows) == {1}
        proxy.delay_s = 1.0
        with pytest.raises(EntityStoreUnavailableError, match="not answered within 200 ms"):
            await windows.load(KEYS[:3])
        with pytest.raises(EntityStoreUnavailableError, match="not answered an earlier call yet"):
            await windows.load(KEYS)
        proxy.delay_s = 0.0
        return await recovered(windows)

    assert through(proxy.port, use) == {1}


def test_time_in_which_this_process_did_something_else_does_not_count_against_redis(proxy: FaultProxy) -> None:
    """Another batch is computed while this one waits for its entities."""

    async def compute() -> None:
        await asyncio.sleep(0)
        time.sleep(2 * DEADLINE_MS / 1000)

    async def use(windows: EntityWindows) -> set[int]:
        await windows.initialise()
        await windows.commit({SOURCE: events(0)})
        found, _ = await asyncio.gather(counted(windows), compute())
        return found

    assert through(proxy.port, use) == {1}


def test_a_server_that_hangs_fails_loads_by_the_deadline_and_commits_within_seconds(proxy: FaultProxy) -> None:
    async def use(windows: EntityWindows) -> set[int]:
        await windows.initialise()
        await windows.commit({SOURCE: events(0)})
        proxy.frozen = True
        with pytest.raises(EntityStoreUnavailableError):
            await windows.load(KEYS)
        with pytest.raises(EntityStoreUnavailableError, match="Redis failed"):
            await windows.commit({SOURCE: events(100)})
        proxy.frozen = False
        await windows.commit({SOURCE: events(100)})
        return await recovered(windows)

    assert through(proxy.port, use) == {2}


def test_a_commit_whose_answer_is_lost_counts_once(proxy: FaultProxy) -> None:
    async def use(windows: EntityWindows) -> set[int]:
        await windows.initialise()
        await windows.commit({SOURCE: events(0)})
        proxy.loses_answers = True
        with pytest.raises(EntityStoreUnavailableError):
            await windows.commit({SOURCE: events(100)})
        proxy.loses_answers = False
        assert await recovered(windows) == {2}
        await windows.commit({SOURCE: events(100)})
        return await counted(windows)

    assert through(proxy.port, use) == {2}


def test_connections_that_were_cut_are_made_again(proxy: FaultProxy) -> None:
    async def use(windows: EntityWindows) -> set[int]:
        await windows.initialise()
        for start in (0, 100, 200):
            await windows.commit({SOURCE: events(start)})
            proxy.cut()
            assert await counted(windows) == {1 + start // 100}
            proxy.cut()
        return await counted(windows)

    assert through(proxy.port, use, PATIENT_MS) == {3}


def test_a_server_that_is_away_from_the_start_may_come_later(proxy: FaultProxy) -> None:
    async def use(windows: EntityWindows) -> set[int]:
        proxy.refuses = True
        for attempt in (
            windows.load(KEYS),
            windows.commit({SOURCE: events(0)}),
            windows.mark(KEYS, "t", START_MS, True),
        ):
            with pytest.raises(EntityStoreUnavailableError):
                await attempt
        proxy.refuses = False
        await windows.initialise()
        await windows.commit({SOURCE: events(0)})
        return await counted(windows)

    assert through(proxy.port, use, PATIENT_MS) == {1}


def test_nobody_listens(redis_server: RedisServer) -> None:
    async def use(windows: EntityWindows) -> None:
        await windows.load(KEYS)

    with pytest.raises(EntityStoreUnavailableError, match="Redis failed"):
        through(free_port(), use, PATIENT_MS)


async def _is_away(windows: EntityWindows, reason: str) -> None:
    for attempt in (windows.load(KEYS), windows.commit({SOURCE: events(0)}), windows.mark(KEYS, "t", START_MS, True)):
        with pytest.raises(EntityStoreUnavailableError, match=reason):
            await attempt


def test_a_new_server_has_no_entity_windows_until_somebody_says_that_history_is_empty(
    redis_server: RedisServer,
) -> None:
    async def use(windows: EntityWindows) -> list[bool]:
        await _is_away(windows, "never initialised")
        said = [await windows.initialise(), await windows.initialise()]
        await windows.commit({SOURCE: events(0)})
        assert await counted(windows) == {1}
        return said

    assert through(redis_server.port, use, PATIENT_MS) == [True, False]


def test_a_server_that_lost_everything_is_noticed_and_not_taken_for_new(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:

        async def use(windows: EntityWindows) -> None:
            await windows.initialise()
            await windows.commit({SOURCE: events(0)})
            # Data and functions are gone, as after a restart without persistence.
            server.stop()
            server.start()
            await _is_away(windows, "flushed")

        through(server.port, use, PATIENT_MS)


def test_functions_that_are_gone_are_loaded_again(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:

        async def use(windows: EntityWindows) -> set[int]:
            await windows.initialise()
            await windows.commit({SOURCE: events(0)})
            server.command("FUNCTION", "FLUSH")
            await windows.commit({SOURCE: events(100)})
            return await counted(windows)

        assert through(server.port, use, PATIENT_MS) == {2}


def test_a_shard_that_lost_its_data_is_noticed(redis_server: RedisServer) -> None:
    async def use(windows: EntityWindows) -> None:
        await windows.initialise()
        await windows.commit({SOURCE: events(0)})
        client = await windows.connection.client()
        await client.unlink(windows.keys.control(shard_of(*KEYS[0])))
        with pytest.raises(EntityStoreUnavailableError, match="flushed"):
            await counted(windows)
        with pytest.raises(EntityStoreUnavailableError, match="1 of 32 shards lost"):
            await windows.initialise()

    through(redis_server.port, use, PATIENT_MS)


def test_windows_of_another_feature_set_are_not_read(redis_server: RedisServer) -> None:
    prefix = f"faults{next(NUMBERS)}:"
    handbook = feature_set("handbook").plan(StateLimits())

    async def use() -> None:
        first = EntityWindows(redis_server.url, PLAN, prefix=prefix, deadline_ms=PATIENT_MS)
        second = EntityWindows(redis_server.url, handbook, prefix=prefix, deadline_ms=PATIENT_MS)
        await first.initialise()
        with pytest.raises(EntityStoreUnavailableError, match="another feature set"):
            await second.load([("terminal", "t")])
        await first.close()
        await second.close()

    asyncio.run(use())


def test_windows_of_another_version_are_neither_read_nor_written(redis_server: RedisServer) -> None:
    async def use(windows: EntityWindows) -> None:
        await windows.initialise()
        client = await windows.connection.client()
        for shard in range(SHARDS):
            await client.set(windows.keys.control(shard), msgspec.msgpack.encode([FORMAT + 1, "something", "new"]))
        await _is_away(windows, "another version")

    through(redis_server.port, use, PATIENT_MS)


def test_a_server_that_would_throw_entities_away_is_refused(tmp_path: Path) -> None:
    with running_redis(tmp_path, ("--maxmemory-policy", "volatile-lru")) as server:

        async def use(windows: EntityWindows) -> None:
            await _is_away(windows, r"maxmemory-policy volatile-lru.*noeviction")

        through(server.port, use, PATIENT_MS)


def test_a_value_of_somebody_else_is_named(redis_server: RedisServer) -> None:
    async def use(windows: EntityWindows) -> None:
        await windows.initialise()
        await windows.commit({SOURCE: events(0)})
        client = await windows.connection.client()
        names = [name async for name in client.scan_iter(windows.keys.everything_of("*")) if b"device 3" in name]
        await client.set(names[0], "not ours")
        with pytest.raises(EntityStoreUnavailableError, match=r"device 3.*no entity"):
            await counted(windows)

    through(redis_server.port, use, PATIENT_MS)
