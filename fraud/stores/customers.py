"""Customers from their history: a bounded cache of states over tables that are the source of truth."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from fraud.features.customer_state import CustomerState
from fraud.features.extraction import CustomerStates
from fraud.features.fingerprints import identity_fingerprints
from fraud.features.plan import StatePlan
from fraud.features.snapshot import SnapshotRefusedError, decode_customer, encode_customer
from fraud.ports import HistoryRecord, Origin, StoredDecision
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
        """Put each event unless its key is taken: then say what stands there.

        Snapshots replace older ones only, and are put when all events are: one that is ahead of history could never be
        told from what is lost.
        """
        ...


@dataclass
class _Standing:
    """How a customer who is held stands in the tables: the stored snapshot (sequence 0: none), the last event."""

    snapshot_sequence: int = 0
    snapshot_newest_ms: int = 0
    origin: Origin | None = None


class CustomerCache:
    """Customers between batches, at most `capacity`, least recently used out first.

    Several batches may be in hand, each of other customers. Those of a batch are not here but in its hands, so that
    nothing that it may not complete is ever seen by another.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._customers: OrderedDict[str, tuple[CustomerState, _Standing]] = OrderedDict()
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._customers)

    def take(self, user_id: str) -> tuple[CustomerState, _Standing] | None:
        """The customer, who is not here from now on; None if it was not."""
        held = self._customers.pop(user_id, None)
        if held is None:
            self.misses += 1
        else:
            self.hits += 1
        return held

    def put(self, user_id: str, state: CustomerState, standing: _Standing) -> None:
        """This customer is what history says; it is the most recently used."""
        self._customers[user_id] = state, standing
        if len(self._customers) > self._capacity:
            self._customers.popitem(last=False)

    def discard_source(self, source: str) -> None:
        """Forget the customers of a partition that may have been somebody else's meanwhile. No batch is of it now."""
        origins = {user_id: standing.origin for user_id, (_, standing) in self._customers.items()}
        for user_id, origin in origins.items():
            if origin is None or origin.source == source:
                del self._customers[user_id]


class CachedCustomers:
    """The customer store of a worker: it owns its customers' partitions, so what it holds is what history says.

    One batch at a time, from `load` until `commit` or `abandon`; for batches at once, one of these each, on the same
    `cache`.
    """

    def __init__(
        self,
        tables: CustomerTables,
        plan: StatePlan,
        cache: CustomerCache,
        *,
        events_between_snapshots: int = EVENTS_BETWEEN_SNAPSHOTS,
    ) -> None:
        self._tables = tables
        self._plan = plan
        self._cache = cache
        self._events_between_snapshots = events_between_snapshots
        self._standings: dict[str, _Standing] = {}
        self._batch: CustomerStates = {}

    async def load(self, user_ids: Iterable[str]) -> CustomerStates:
        """The states of these customers, from memory or folded from snapshot and history."""
        batch: CustomerStates = {}
        self._batch, self._standings = batch, {}
        missing = []
        for user_id in dict.fromkeys(user_ids):
            held = self._cache.take(user_id)
            if held is None:
                missing.append(user_id)
            else:
                batch[user_id], self._standings[user_id] = held
        if missing:
            snapshots = await self._tables.read_snapshots(missing)
            loaded = await asyncio.gather(*(self._load_one(user_id, snapshots.get(user_id)) for user_id in missing))
            for user_id, (state, standing) in zip(missing, loaded, strict=True):
                self._standings[user_id] = standing
                if state is not None:
                    batch[user_id] = state
        return batch

    async def _load_one(self, user_id: str, snapshot: Snapshot | None) -> tuple[CustomerState | None, _Standing]:
        state, from_ms, standing = None, None, _Standing()
        if snapshot is not None:
            try:
                state = decode_customer(snapshot.content, self._plan)
            except SnapshotRefusedError:
                # Made for another feature set or by another version: history knows everything that it knew.
                pass
            else:
                from_ms = snapshot.newest_ms - self._plan.allowed_lateness_ms
                standing = _Standing(state.sequence, snapshot.newest_ms)
        records = sorted(await self._tables.read_events(user_id, from_ms), key=attrgetter("sequence"))
        state = fold(state, records, self._plan)
        held = [record.stored.origin for record in records if state is not None and record.sequence <= state.sequence]
        # What the snapshot holds and is not read came after the last that is, and is older than the customer's newest:
        # the identities know it without its origin.
        standing.origin = held[-1] if held else None
        return state, standing

    def has_passed(self, user_id: str, origin: Origin) -> bool:
        """Whether a customer of the batch holds an event from `origin` or from later in its source."""
        standing = self._standings.get(user_id)
        known = None if standing is None else standing.origin
        return known is not None and known.source == origin.source and origin.offset <= known.offset

    async def stored(self, transactions: Sequence[Transaction]) -> list[StoredDecision | None]:
        """What history holds under these identities."""
        return await self._tables.read_decisions(
            [(one.user_id, one.timestamp_ms, one.transaction_id) for one in transactions]
        )

    async def commit(self, records: Sequence[HistoryRecord]) -> Mapping[int, StoredDecision]:
        """Write new events once, and the snapshots that are due; then the batch's customers stay in memory."""
        lost: Mapping[int, StoredDecision] = {}
        if records:
            lost = await self._tables.write(records, self._due_snapshots(records))
        for record in records:
            self._standings[record.stored.transaction.user_id].origin = record.stored.origin
        self._keep(without={records[place].stored.transaction.user_id for place in lost})
        return lost

    def checkpoint(self, user_ids: Iterable[str]) -> None:
        """Write a snapshot of each with its next event."""
        for user_id in user_ids:
            self._standings[user_id].snapshot_sequence = 0

    def abandon(self) -> None:
        """Forget every customer of the batch that was loaded last."""
        self._batch, self._standings = {}, {}

    def _keep(self, without: Collection[str] = ()) -> None:
        """The batch is done: what it used is the most recent, but for what history holds otherwise."""
        for user_id, state in self._batch.items():
            if user_id not in without:
                self._cache.put(user_id, state, self._standings[user_id])
        self._batch, self._standings = {}, {}

    def _due_snapshots(self, records: Sequence[HistoryRecord]) -> list[Snapshot]:
        due: list[Snapshot] = []
        out_of_reach = self._out_of_reach(records)
        for user_id in dict.fromkeys(record.stored.transaction.user_id for record in records):
            state, standing = self._batch[user_id], self._standings[user_id]
            lag = state.sequence - standing.snapshot_sequence
            if not standing.snapshot_sequence or lag >= self._events_between_snapshots or user_id in out_of_reach:
                due.append(Snapshot(user_id, state.sequence, state.newest_ms, encode_customer(state, self._plan)))
                standing.snapshot_sequence, standing.snapshot_newest_ms = state.sequence, state.newest_ms
        return due

    def _out_of_reach(self, records: Sequence[HistoryRecord]) -> set[str]:
        """Customers with an event so old that loading them would not find it: it must be in the snapshot.

        So must what follows when a customer was forgotten and its newest event is older than in the snapshot.
        """
        found = set()
        for record in records:
            user_id = record.stored.transaction.user_id
            newest_ms = self._batch[user_id].newest_ms
            is_old = record.stored.transaction.timestamp_ms < newest_ms - self._plan.allowed_lateness_ms
            if is_old or newest_ms < self._standings[user_id].snapshot_newest_ms:
                found.add(user_id)
        return found


def fold(state: CustomerState | None, records: Iterable[HistoryRecord], plan: StatePlan) -> CustomerState | None:
    """The state after those of `records`, sorted by sequence, that come next; None if there is nothing at all.

    A gap ends it: what follows was written by a batch that did not finish, and that will be delivered again.
    """
    for record in records:
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
