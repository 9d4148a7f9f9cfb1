"""Entity windows that Redis has lost come back from history, as they were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from redis_server import RedisServer

from fraud.features import feature_set
from fraud.features.entity_state import EntityState
from fraud.features.table import StateLimits
from fraud.ports import EntityEvent, EntityStoreUnavailableError
from fraud.stores.entity_windows.rebuild import EntityMark, rebuild
from fraud.stores.entity_windows.windows import EntityWindows

PLAN = feature_set("default").plan(StateLimits())
START_MS = 1_772_452_800_000
HOUR_MS = 3_600_000
KEYS = [("merchant", "baker"), ("merchant", "grocer"), ("device", "phone")]
SOURCES = ("topic:0", "topic:1")


def history() -> list[tuple[str, EntityEvent]]:
    spread = Random(3)
    events = []
    for offset in range(120):
        kind, key = spread.choice(KEYS)
        user = f"customer-{spread.randrange(20)}"
        after_ms = offset * HOUR_MS - spread.choice((0, 0, 3 * HOUR_MS))
        event = EntityEvent(kind, key, offset, START_MS + after_ms, 100 + offset, user, None, spread.random() < 0.3)
        events.append((SOURCES[offset % 2], event))
    return events


def content(state: EntityState) -> dict[str, Any]:
    """What a feature can read of a state."""
    names = ("key", "first_seen_ms", "newest_ms", "customers", "cards", "fraud_timestamps_ms", "rows")
    values = {name: getattr(state, name) for name in names}
    return {name: list(value.items()) if isinstance(value, dict) else value for name, value in values.items()}


def test_windows_that_were_flushed_are_rebuilt_from_history(redis_server: RedisServer) -> None:
    events = history()
    fraud = next(event for _, event in events if event.key == "grocer")

    async def past() -> AsyncIterator[tuple[str, EntityEvent]]:
        for entry in events:
            yield entry

    async def marks() -> AsyncIterator[EntityMark]:
        yield EntityMark((("merchant", "grocer"),), "fraud", fraud.timestamp_ms)

    async def scenario() -> None:
        windows = EntityWindows(redis_server.url, PLAN, prefix="flushed-", deadline_ms=10_000)
        await windows.initialise()
        for source, event in events:
            await windows.commit({source: [event]})
        await windows.mark([("merchant", "grocer")], "fraud", fraud.timestamp_ms, True)
        before = await windows.load(KEYS)
        redis_server.command("FLUSHALL")
        with pytest.raises(EntityStoreUnavailableError):
            await windows.load(KEYS)
        report = await rebuild(windows, past, marks, acknowledged=dict.fromkeys(SOURCES, len(events)))
        assert (report.entities, report.events, report.marks) == (len(KEYS), len(events), 1)
        after = await windows.load(KEYS)
        for kind, key in KEYS:
            assert content(after[kind][key]) == content(before[kind][key])
        # What history brought is not counted again when a worker is told to.
        await windows.commit(_first(events))
        again = await windows.load(KEYS)
        assert content(again["merchant"]["grocer"]) == content(after["merchant"]["grocer"])
        await windows.close()

    asyncio.run(scenario())


def _first(events: list[tuple[str, EntityEvent]]) -> dict[str, list[EntityEvent]]:
    source, event = next(entry for entry in events if entry[1].key == "grocer")
    return {source: [event]}
