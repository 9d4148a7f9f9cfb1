"""Entity windows that were away catch up before they are read again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from fraud.features.extraction import EntityStates
from fraud.ports import EntityEvent, EntityStore, EntityStoreUnavailableError

# 200 bytes each: a tenth of a gigabyte. What is more waits in Kafka, and with it the decisions.
BACKLOG_MAX_EVENTS = 500_000
_PAUSE_S = 0.5


class EntityBacklog:
    """An entity store that never forgets what the one behind it has not counted yet.

    While there is a backlog, entity windows are behind: they count as away. `sleep` waits when the backlog is full.
    """

    def __init__(self, windows: EntityStore, sleep: Callable[[float], Any] = asyncio.sleep) -> None:
        self._windows = windows
        self._waiting: deque[tuple[str, Sequence[EntityEvent]]] = deque()
        self._waiting_events = 0
        self._sleep = sleep
        # Attempts to count that failed because the windows were away.
        self.failures = 0
        self._counting = asyncio.Lock()

    def __len__(self) -> int:
        return self._waiting_events

    def first_waiting_offset(self, source: str) -> int | None:
        """The first offset of `source` that the windows have not counted; None if there is none."""
        for waiting_source, events in self._waiting:
            if waiting_source == source:
                return events[0].offset
        return None

    def drop(self, source: str) -> None:
        """Forget what `source` has waiting: its partition belongs to somebody else, who is told again."""
        self._waiting = deque(entry for entry in self._waiting if entry[0] != source)
        self._waiting_events = sum(len(events) for _, events in self._waiting)

    async def load(self, keys: Iterable[tuple[str, str]]) -> EntityStates:
        """The states behind it, once nothing is waiting. Raises `EntityStoreUnavailableError`."""
        await self.catch_up()
        return await self._windows.load(keys)

    async def commit(self, events: Mapping[str, Sequence[EntityEvent]]) -> None:
        """Count now or later; returns with the events waiting if the windows are away."""
        self.add(events)
        await self.count()

    def add(self, events: Mapping[str, Sequence[EntityEvent]]) -> None:
        """Let these events wait to be counted."""
        for source, of_source in events.items():
            if of_source:
                self._waiting.append((source, of_source))
                self._waiting_events += len(of_source)

    async def count(self) -> None:
        """Count what waits, now or later; returns with it waiting still if the windows are away."""
        while True:
            try:
                await self.catch_up()
            except EntityStoreUnavailableError:
                if self._waiting_events <= BACKLOG_MAX_EVENTS:
                    return
                await self._sleep(_PAUSE_S)
            else:
                return

    async def mark(
        self, keys: Iterable[tuple[str, str]], transaction_id: str, timestamp_ms: int, is_fraud: bool
    ) -> None:
        """As in the store behind it, after what is waiting. Raises `EntityStoreUnavailableError`."""
        await self.catch_up()
        await self._windows.mark(keys, transaction_id, timestamp_ms, is_fraud)

    async def keep_catching_up(self) -> None:
        """Try again and again, until cancelled: a worker that gets no more events must catch up, too."""
        while True:
            await self._sleep(_PAUSE_S)
            with suppress(EntityStoreUnavailableError):
                await self.catch_up()

    async def catch_up(self) -> None:
        """Count what is waiting; who comes while it is counted waits for that. Raises `EntityStoreUnavailableError`."""
        if not self._waiting:
            return
        failures = self.failures
        async with self._counting:
            if self.failures != failures:
                # What this one waited for has failed. Each trying again would hold the next batch for many time-outs.
                raise EntityStoreUnavailableError("entity windows were away a moment ago")
            await self._count_waiting()

    async def _count_waiting(self) -> None:
        while self._waiting:
            # The order matters within a source only.
            first = dict(reversed(self._waiting))
            try:
                await self._windows.commit(first)
            except EntityStoreUnavailableError:
                self.failures += 1
                raise
            # A drop may have taken some away meanwhile.
            counted = {id(events) for events in first.values()}
            self._waiting = deque(entry for entry in self._waiting if id(entry[1]) not in counted)
            self._waiting_events = sum(len(events) for _, events in self._waiting)
