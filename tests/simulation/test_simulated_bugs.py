"""The simulation finds bugs: each is planted, and has to be found within a few runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from simulated_ports import Faults, FaultyTables
from simulated_run import ALL_FAULTS, SHAPES, judge
from simulated_service import SOUND, Parts, SimulatedWorker

from fraud.live.decisions import Arrival, DecisionService
from fraud.live.outgoing import Outgoing
from fraud.live.partition_queues import PartitionQueues
from fraud.pipeline import BatchResult
from fraud.ports import EntityEvent, HistoryRecord, Origin, StoredDecision
from fraud.stores.customers import CachedCustomers, Snapshot
from fraud.stores.memory_tables import MemoryEntityWindows, MemoryTables
from fraud.walk import LiveBatch

WITHIN_RUNS = 150


class AcknowledgesFirst(SimulatedWorker):
    async def take(self, service: DecisionService, arrivals: Sequence[Arrival]) -> None:
        outgoing: list[Outgoing] = []

        async def keep(decided: Sequence[Outgoing]) -> None:
            outgoing.extend(decided)

        if arrivals:
            await service.handle(arrivals, keep)
            self.finish(arrivals)
            await self.acknowledge()
            await self.publish(outgoing)


class ForgetsBacklog(SimulatedWorker):
    """Acknowledges what entity windows have not counted."""

    def first_pending_offset(self, _partition: int) -> int | None:
        return None


class TrustsItsCache(SimulatedWorker):
    """Goes on with customers that others have served meanwhile."""

    def forget(self, partition: int) -> None:
        self._held.pop(partition, None)


class CountsTwice(MemoryEntityWindows):
    async def commit(self, events: Mapping[str, Sequence[EntityEvent]]) -> None:
        for states in self._states.values():
            for state in states.values():
                state.absorbed_offsets = {}
        await super().commit(events)


class SharesPartitions(PartitionQueues[Any]):
    """Two batches of one partition may be in hand."""

    def take(self) -> dict[int, list[Any]]:
        self._in_hand.clear()
        return super().take()


class ForgetsInTheMiddle(SimulatedWorker):
    """A partition that was somebody else's meanwhile is forgotten while a batch is of it, and not after that."""

    def learn(self) -> None:
        queues, self._queues = self._queues, PartitionQueues(1, 1)
        super().learn()
        self._queues = queues


class KeepsWhatFailed(CachedCustomers):
    def abandon(self) -> None:
        self._keep()


class KnowsNoRedelivery(CachedCustomers):
    def has_passed(self, _user_id: str, _origin: Origin) -> bool:
        return False


class PublishesItsOwn(DecisionService):
    """What history held before does not count."""

    async def _commit(self, result: BatchResult, live: LiveBatch) -> dict[int, StoredDecision]:
        await super()._commit(result, live)
        return {}


class CountsBeforeItIsDurable(DecisionService):
    async def _commit(self, result: BatchResult, live: LiveBatch) -> dict[int, StoredDecision]:
        await self._entities.commit(live.entity_events)
        return await super()._commit(result, live)


class Overwrites(MemoryTables):
    async def write(
        self, records: Sequence[HistoryRecord], snapshots: Sequence[Snapshot]
    ) -> Mapping[int, StoredDecision]:
        for record in records:
            transaction = record.stored.transaction
            events = self.history.setdefault(transaction.user_id, {})
            events.pop((transaction.timestamp_ms, transaction.transaction_id), None)
        return await super().write(records, snapshots)


class SnapshotsFirst(FaultyTables):
    """A snapshot may be ahead of history."""

    async def write(
        self, records: Sequence[HistoryRecord], snapshots: Sequence[Snapshot]
    ) -> Mapping[int, StoredDecision]:
        await self._tables.write([], snapshots)
        return await super().write(records, [])


BUGS: dict[str, tuple[Parts, Faults, str]] = {
    "acknowledged before published": (replace(SOUND, worker=AcknowledgesFirst), Faults(crashes=0.02), "small"),
    "acknowledged before counted": (
        replace(SOUND, worker=ForgetsBacklog),
        Faults(crashes=0.02, windows_away=0.02),
        "small",
    ),
    "customers kept that others served": (replace(SOUND, worker=TrustsItsCache), Faults(rebalances=0.05), "small"),
    "no watermark": (replace(SOUND, windows=CountsTwice), Faults(crashes=0.02), "small"),
    "two batches of a partition": (replace(SOUND, queues=SharesPartitions), Faults(), "small"),
    "forgotten while in hand": (replace(SOUND, worker=ForgetsInTheMiddle), Faults(rebalances=0.05), "partitions"),
    "cache not abandoned": (replace(SOUND, customers=KeepsWhatFailed), Faults(store_refuses=0.1), "small"),
    "redelivery not recognised": (replace(SOUND, customers=KnowsNoRedelivery), Faults(crashes=0.02), "tiny"),
    "own decision published": (replace(SOUND, service=PublishesItsOwn), ALL_FAULTS, "small"),
    "counted before durable": (replace(SOUND, service=CountsBeforeItIsDurable), Faults(crashes=0.03), "small"),
    "history overwritten": (replace(SOUND, history=Overwrites), ALL_FAULTS, "small"),
    "snapshot before history": (replace(SOUND, tables=SnapshotsFirst), Faults(crashes=0.03), "small"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str, record_property: pytest.RecordProperty) -> None:
    parts, faults, shape = BUGS[bug]
    needed = next((seed for seed in range(WITHIN_RUNS) if judge(seed, SHAPES[shape], faults, parts).wrong), None)
    assert needed is not None
    record_property("found in run", needed)
