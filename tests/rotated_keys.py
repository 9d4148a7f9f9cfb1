"""Workers on durable stores in memory, one after the other, each with its token keys: what a rotation looks like."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from payments import DEFAULT_POLICY, artefacts

from fraud.bootstrap import build_pipeline, state_limits
from fraud.features.table import Value
from fraud.pipeline import BatchResult, NoLabels, Period, Pipeline, StageTimings
from fraud.ports import EntityStore, HistoryRecord, Origin, StoredDecision
from fraud.settings import Settings
from fraud.stores.customers import CachedCustomers, CustomerCache
from fraud.stores.memory_tables import MemoryEntityWindows, MemoryTables
from fraud.transaction import TransactionMessage

SOURCE = "topic:0"
FIRST_KEY = ("the first key of all, in use", "k1")
SECOND_KEY = ("the second key, which follows", "k2")
THIRD_KEY = ("the third key, after some time", "k3")


def keyed(settings: Settings, key: tuple[str, str], before: tuple[str, str] | None = None) -> Settings:
    """`settings` with these token keys."""
    previous, previous_id = before or (None, None)
    values = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    values |= {"token_key": key[0], "token_key_id": key[1]}
    return Settings(**{**values, "token_previous_key": previous, "token_previous_key_id": previous_id})


@dataclass
class Stores:
    """What outlives workers; `next_offset` is where the log goes on."""

    settings: Settings
    next_offset: int = 0
    tables: MemoryTables = field(default_factory=MemoryTables)
    batches: list[BatchResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan = artefacts(self.settings, "default").feature_set.plan(state_limits(self.settings))
        self.names = artefacts(self.settings, "default").feature_set.names
        self.windows: EntityStore = MemoryEntityWindows(self.plan)

    def worker(self, settings: Settings) -> Worker:
        """A worker that just started."""
        return Worker(self, settings)


class Worker:
    """Decides, writes history once, tells the entity windows."""

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self.stores = stores
        self.customers = CachedCustomers(stores.tables, stores.plan, CustomerCache(capacity=1_000))
        self.pipeline: Pipeline = build_pipeline(
            settings,
            artefacts(settings, "default", DEFAULT_POLICY),
            self.customers,
            stores.windows,
            timings=StageTimings(lambda: 0.0),
            period=Period(),
        )

    def take(self, messages: Sequence[TransactionMessage], batch_size: int = 1_000, *, again: bool = False) -> None:
        """Process messages as the next ones of the log, or `again` as its last ones."""
        first = self.stores.next_offset - len(messages) if again else self.stores.next_offset
        self.stores.next_offset = first + len(messages)
        asyncio.run(self.process(messages, batch_size, first))

    async def process(self, messages: Sequence[TransactionMessage], batch_size: int, first: int) -> None:
        """Process messages whose first one has this offset."""
        for start in range(0, len(messages), batch_size):
            batch = messages[start : start + batch_size]
            origins = [Origin(SOURCE, first + start + place, 0) for place in range(len(batch))]
            result = await self.pipeline.process(batch, NoLabels(), origins)
            self.stores.batches.append(result)
            assert result.live is not None
            lost = await self.customers.commit([_record(result, origins, place) for place in range(_new(result))])
            assert not lost
            await self.stores.windows.commit(result.live.entity_events)


def _new(result: BatchResult) -> int:
    return 0 if result.live is None else len(result.live.new_events)


def _record(result: BatchResult, origins: Sequence[Origin], place: int) -> HistoryRecord:
    assert result.live is not None
    assert result.decided is not None
    event = result.live.new_events[place]
    canonical = b"" if event.row is None else result.decided.canonical[event.row]
    stored = StoredDecision(event.transaction, origins[event.position], canonical, "", event.late, event.first_time)
    return HistoryRecord(event.sequence, stored)


def values(stores: Stores) -> list[dict[str, Value]]:
    """The feature values of all that was decided, by name."""
    rows = [row for result in stores.batches for row in result.gathered.matrix.tolist()]
    return [dict(zip(stores.names, row, strict=True)) for row in rows]


def refusals(stores: Stores) -> list[str]:
    """The codes of all that was refused."""
    return [error.code for result in stores.batches for _, error in result.refused]
