"""Customers from their history: a bounded cache of states over tables that are the source of truth."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from fraud.features.customer_state import CustomerState
from fraud.features.extraction import CustomerStates
from fraud.features.fingerprints import identity_fingerprints
from fraud.features.plan import StatePlan
from fraud.features.snapshot import SnapshotRefusedError, decode_customer, encode_customer
from fraud.ports import HistoryRecord, StoredDecision
from fraud.transaction import Transaction

# How many events a stored profile may lag behind the history. Each is read and folded again when its customer is
# loaded: more makes a cold cache slower, fewer writes a profile of some kilobytes more often.
EVENTS_BETWEEN_SNAPSHOTS = 16


@dataclass(frozen=True)
class Snapshot:
    """A customer's state as it was after `sequence` events; `newest_ms` its newest event time."""

    user_id: str
    sequence: int
    newest_ms: int
    content: bytes


class CustomerTables(Protocol):
    """The tables UserProfiles and TransactionHistory. Reads see every write that was answered before.

    Every method raises `StoreUnavailableError` when the tables cannot be reached.
    """

    async def read_snapshots(self, user_ids: Sequence[str], /) -> Mapping[str, Snapshot]:
        """The snapshots that there are."""
        ...

    async def read_events(self, user_id: str, from_ms: int | None, /) -> list[HistoryRecord]:
        """Events from this event time on (None: all), without their decisions, in any order."""
        ...

    async def read_decisions(self, keys: Sequence[tuple[str, int, str]], /) -> list[StoredDecision | None]:
        """What stands under user id, timestamp and transaction id."""
        ...

    async def write(
        self, records: Sequence[HistoryRecord], snapshots: Sequence[Snapshot], /
    ) -> Mapping[int, StoredDecision]:
        """Put each event unless its key is taken: then say what stands there. Snapshots replace older ones only."""
        ...


class CachedCustomers:
    """The customer store of a worker: it owns its customers' partitions, so what it holds is what history says.

    At most `capacity` customers stay in memory between batches, least recently used out first. One batch at a time.
    """

    def __init__(self, tables: CustomerTables, plan: StatePlan, *, capacity: int) -> None:
        self._tables = tables
        self._plan = plan
        self._capacity = capacity
        self._states: OrderedDict[str, CustomerState] = OrderedDict()
        # Up to which event each held customer's stored snapshot goes.
        self._snapshot_sequences: dict[str, int] = {}
        # The partition that each held customer's last new event came from.
        self._sources: dict[str, str] = {}
        self._batch: CustomerStates = {}
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._states)

    async def load(self, user_ids: Iterable[str]) -> CustomerStates:
        """The states of these customers, from memory or folded from snapshot and history."""
        self._settle()
        batch: CustomerStates = {}
        missing = []
        for user_id in dict.fromkeys(user_ids):
            state = self._states.get(user_id)
            if state is None:
                missing.append(user_id)
            else:
                self._states.move_to_end(user_id)
                batch[user_id] = state
        self.hits += len(batch)
        self.misses += len(missing)
        if missing:
            snapshots = await self._tables.read_snapshots(missing)
            states = await asyncio.gather(*(self._load_one(user_id, snapshots.get(user_id)) for user_id in missing))
            batch.update((user_id, state) for user_id, state in zip(missing, states, strict=True) if state is not None)
        self._batch = batch
        return batch

    async def _load_one(self, user_id: str, snapshot: Snapshot | None) -> CustomerState | None:
        state, from_ms = None, None
        if snapshot is not None:
            try:
                state = decode_customer(snapshot.content, self._plan)
            except SnapshotRefusedError:
                # Made for another feature set or by another version: history knows everything that it knew.
                pass
            else:
                from_ms = snapshot.newest_ms - self._plan.allowed_lateness_ms
        records = await self._tables.read_events(user_id, from_ms)
        self._snapshot_sequences[user_id] = 0 if state is None else state.sequence
        return fold(state, records, self._plan)

    async def stored(self, transactions: Sequence[Transaction]) -> list[StoredDecision | None]:
        """What history holds under these identities."""
        return await self._tables.read_decisions(
            [(one.user_id, one.timestamp_ms, one.transaction_id) for one in transactions]
        )

    async def commit(self, records: Sequence[HistoryRecord]) -> Mapping[int, StoredDecision]:
        """Write new events once, and the snapshots that are due; then what the batch changed stays in memory."""
        lost = await self._tables.write(records, self._due_snapshots(records))
        for record in records:
            self._sources[record.stored.transaction.user_id] = record.stored.origin.source
        self._settle()
        self._discard([records[place].stored.transaction.user_id for place in lost])
        return lost

    def abandon(self) -> None:
        """Forget every customer of the batch that was loaded last."""
        self._discard(list(self._batch))
        self._batch = {}

    def discard_source(self, source: str) -> None:
        """Forget the customers of a partition that may have been somebody else's meanwhile.

        Of customers that only repeated what was known the partition is not remembered, so they go, too.
        """
        self._settle()
        self._discard([user_id for user_id in self._states if self._sources.get(user_id, source) == source])

    def _discard(self, user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            self._states.pop(user_id, None)
            self._snapshot_sequences.pop(user_id, None)
            self._sources.pop(user_id, None)

    def _due_snapshots(self, records: Sequence[HistoryRecord]) -> list[Snapshot]:
        due: dict[str, Snapshot] = {}
        out_of_reach = self._out_of_reach(records)
        for user_id in {record.stored.transaction.user_id for record in records}:
            state = self._batch[user_id]
            written = self._snapshot_sequences.get(user_id, 0)
            if not written or state.sequence - written >= EVENTS_BETWEEN_SNAPSHOTS or user_id in out_of_reach:
                due[user_id] = Snapshot(user_id, state.sequence, state.newest_ms, encode_customer(state, self._plan))
                self._snapshot_sequences[user_id] = state.sequence
        return list(due.values())

    def _out_of_reach(self, records: Sequence[HistoryRecord]) -> set[str]:
        """Customers with an event so old that loading them would not find it: it must be in the snapshot."""
        return {
            record.stored.transaction.user_id
            for record in records
            if record.stored.transaction.timestamp_ms
            < self._batch[record.stored.transaction.user_id].newest_ms - self._plan.allowed_lateness_ms
        }

    def _settle(self) -> None:
        """The last batch is done: what it used is the most recent."""
        for user_id, state in self._batch.items():
            self._states[user_id] = state
            self._states.move_to_end(user_id)
        self._batch = {}
        while len(self._states) > self._capacity:
            self._discard([next(iter(self._states))])


def fold(state: CustomerState | None, records: Iterable[HistoryRecord], plan: StatePlan) -> CustomerState | None:
    """The state after those of `records` that come next in sequence; None if there is nothing at all.

    A gap ends it: what follows was written by a batch that did not finish, and that will be delivered again.
    """
    for record in sorted(records, key=attrgetter("sequence")):
        expected = 1 if state is None else state.sequence + 1
        if record.sequence < expected:
            continue
        if record.sequence > expected:
            break
        transaction = record.stored.transaction
        if state is None or state.is_forgotten(transaction.timestamp_ms, plan):
            state = CustomerState(plan, expected - 1)
        state.record(transaction, *identity_fingerprints(transaction), plan)
    return state
