"""Stores that others use at the same time and that fail: each step of each call happens when the turn says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random

from fraud.features.extraction import EntityStates
from fraud.ports import (
    EntityEvent,
    EntityStore,
    EntityStoreUnavailableError,
    HistoryRecord,
    StoredDecision,
    StoreUnavailableError,
)
from fraud.stores.customers import CustomerTables, Snapshot

Effect = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Faults:
    """How likely each fault is where it can happen: at a call to a store, or at a turn of the whole simulation."""

    store_refuses: float = 0
    """A call to the tables fails before it does anything."""
    store_answer_lost: float = 0
    """A call to the tables does its work, and says that it failed."""
    store_writes_part: float = 0
    """Of a write, any part is done; the rest is lost or comes later."""
    windows_fail: float = 0
    """A call to the entity windows fails: before, after, or in the middle of its work."""
    windows_away: float = 0
    """For some turns nobody reaches the entity windows."""
    publishing_fails: float = 0
    """A message is not published, or is and the answer is lost: it is published again."""
    crashes: float = 0
    """A worker ends at once; what it had asked for may still happen."""
    pauses: float = 0
    """A worker stands still, loses its partitions, and goes on later without knowing."""
    rebalances: float = 0
    """Partitions go to other workers."""
    cancellations: float = 0
    """What a worker is doing is cancelled; the worker goes on with what it has in memory."""


class Chance:
    """Seeded luck. Faults come to an end, so that a run does."""

    def __init__(self, random: Random, faults_at_most: int) -> None:
        self.random = random
        self.faults_left = faults_at_most

    def strikes(self, probability: float) -> bool:
        """Whether a fault of this probability happens now."""
        if not probability or not self.faults_left or self.random.random() >= probability:
            return False
        self.faults_left -= 1
        return True


class Turns:
    """Everything that waits, resumed one at a time in a seeded order: nothing else decides what happens next."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._waiting: list[tuple[object, asyncio.Future[None]]] = []
        self._later: list[Effect] = []
        self.paused: set[object] = set()

    async def wait(self, owner: object) -> None:
        """Until it is this one's turn; not while `owner` is paused."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((owner, future))
        await future

    def later(self, effect: Effect) -> None:
        """Let `effect` happen at some turn."""
        self._later.append(effect)

    @property
    def effects_waiting(self) -> int:
        """How much is still to happen by itself."""
        return len(self._later)

    async def take(self) -> None:
        """One turn."""
        self._waiting = [entry for entry in self._waiting if not entry[1].done()]
        able = [entry for entry in self._waiting if entry[0] not in self.paused]
        number = self._random.randrange(len(able) + len(self._later)) if able or self._later else None
        if number is not None and number < len(able):
            self._waiting.remove(able[number])
            able[number][1].set_result(None)
        elif number is not None:
            await self._later.pop(number - len(able))()
        # Whoever was woken goes on to where it waits next.
        await asyncio.sleep(0)


class FaultyTables:
    """The tables as one worker reaches them."""

    def __init__(self, tables: CustomerTables, turns: Turns, chance: Chance, faults: Faults, owner: object) -> None:
        self._tables = tables
        self._turns = turns
        self._chance = chance
        self._faults = faults
        self._owner = owner

    async def _request(self) -> None:
        await self._turns.wait(self._owner)
        self._refuse(self._chance.strikes(self._faults.store_refuses), "refused")

    async def _reply(self) -> None:
        await self._turns.wait(self._owner)
        self._refuse(self._chance.strikes(self._faults.store_answer_lost), "the answer was lost")

    @staticmethod
    def _refuse(fails: bool, why: str) -> None:
        if fails:
            raise StoreUnavailableError(why)

    async def read_snapshots(self, user_ids: Sequence[str]) -> Mapping[str, Snapshot]:
        await self._request()
        answer = await self._tables.read_snapshots(user_ids)
        await self._reply()
        return answer

    async def read_events(self, user_id: str, from_ms: int | None) -> list[HistoryRecord]:
        await self._request()
        answer = await self._tables.read_events(user_id, from_ms)
        await self._reply()
        return answer

    async def read_decisions(self, keys: Sequence[tuple[str, int, str]]) -> list[StoredDecision | None]:
        await self._request()
        answer = await self._tables.read_decisions(keys)
        await self._reply()
        return answer

    async def write(
        self, records: Sequence[HistoryRecord], snapshots: Sequence[Snapshot]
    ) -> Mapping[int, StoredDecision]:
        """In any order, others looking on; snapshots come when all events are there.

        What was asked for may happen after the asker has given up, or is no more.
        """
        lost: dict[int, StoredDecision] = {}
        waiting = list(range(len(records)))
        self._chance.random.shuffle(waiting)

        async def put_one() -> None:
            place = waiting.pop()
            found = await self._tables.write([records[place]], [])
            lost.update((place, stored) for stored in found.values())

        async def put_rest() -> None:
            while waiting:
                await put_one()
            await self._tables.write([], snapshots)

        stops_at = None
        if self._chance.strikes(self._faults.store_writes_part):
            stops_at = self._chance.random.randrange(len(waiting) + 1)
        try:
            await self._request()
            while waiting and len(waiting) != stops_at:
                await put_one()
                if self._chance.random.random() < 0.3:
                    await self._turns.wait(self._owner)
            self._refuse(stops_at is not None, "written in part")
        except (StoreUnavailableError, asyncio.CancelledError):
            if self._chance.random.random() < 0.5:
                self._turns.later(put_rest)
            raise
        await self._tables.write([], snapshots)
        await self._reply()
        return lost


class FaultyWindows:
    """The entity windows as one worker reaches them; `away` tells whether nobody does."""

    def __init__(
        self,
        windows: EntityStore,
        turns: Turns,
        chance: Chance,
        faults: Faults,
        owner: object,
        away: Callable[[], bool],
    ) -> None:
        self._windows = windows
        self._turns = turns
        self._chance = chance
        self._faults = faults
        self._owner = owner
        self._away = away

    async def _turn(self) -> None:
        await self._turns.wait(self._owner)
        if self._away() or self._chance.strikes(self._faults.windows_fail):
            raise EntityStoreUnavailableError("away")

    async def load(self, keys: Iterable[tuple[str, str]]) -> EntityStates:
        keys = list(keys)
        await self._turn()
        states = await self._windows.load(keys)
        await self._turn()
        return states

    async def commit(self, events: Mapping[str, Sequence[EntityEvent]]) -> None:
        """Key by key, in any order of keys; what was asked for may happen after the asker has given up."""
        await self._turn()
        by_key = [
            {source: list(group)}
            for source, of_source in events.items()
            for _, group in groupby(sorted(of_source, key=_key), key=_key)
        ]
        self._chance.random.shuffle(by_key)

        async def count_rest() -> None:
            while by_key:
                await self._windows.commit(by_key.pop())

        try:
            while by_key:
                await self._windows.commit(by_key.pop())
                if self._chance.random.random() < 0.2:
                    await self._turn()
        except (EntityStoreUnavailableError, asyncio.CancelledError):
            if self._chance.random.random() < 0.5:
                self._turns.later(count_rest)
            raise
        await self._turn()

    async def mark(
        self, keys: Iterable[tuple[str, str]], transaction_id: str, timestamp_ms: int, is_fraud: bool
    ) -> None:
        await self._turn()
        await self._windows.mark(keys, transaction_id, timestamp_ms, is_fraud)
        await self._turn()


def _key(event: EntityEvent) -> tuple[str, str]:
    return event.kind, event.key
