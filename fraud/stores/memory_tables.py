"""The durable stores in this process's memory: the same promises as DynamoDB and Redis, for simulation and trial runs.

Everything that is read is a copy, as from a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fraud.features.entity_state import EntityState, name_hashes
from fraud.features.plan import ENTITY_KINDS, EntityPlan, StatePlan
from fraud.ports import EntityEvent, HistoryRecord, StoredDecision
from fraud.stores.customers import Snapshot


class MemoryTables:
    """UserProfiles and TransactionHistory as dictionaries."""

    def __init__(self) -> None:
        self.snapshots: dict[str, Snapshot] = {}
        self.history: dict[str, dict[tuple[int, str], HistoryRecord]] = {}

    async def read_snapshots(self, user_ids: Sequence[str]) -> dict[str, Snapshot]:
        """The snapshots that there are."""
        return {user_id: self.snapshots[user_id] for user_id in user_ids if user_id in self.snapshots}

    async def read_events(self, user_id: str, from_ms: int | None) -> list[HistoryRecord]:
        """Events from this event time on."""
        events = self.history.get(user_id, {})
        return [record for (timestamp_ms, _), record in events.items() if from_ms is None or timestamp_ms >= from_ms]

    async def read_decisions(self, keys: Sequence[tuple[str, int, str]]) -> list[StoredDecision | None]:
        """What stands under user id, timestamp and transaction id."""
        records = [self.history.get(user_id, {}).get((time_ms, name)) for user_id, time_ms, name in keys]
        return [None if record is None else record.stored for record in records]

    async def find(self, user_id: str, transaction_id: str, _timestamp_ms: int | None) -> StoredDecision | None:
        """A transaction of a customer by its id."""
        for (_, name), record in self.history.get(user_id, {}).items():
            if name == transaction_id:
                return record.stored
        return None

    async def write(
        self, records: Sequence[HistoryRecord], snapshots: Sequence[Snapshot]
    ) -> Mapping[int, StoredDecision]:
        """Put each event unless its key is taken; snapshots replace older ones only."""
        lost = {}
        for place, record in enumerate(records):
            transaction = record.stored.transaction
            events = self.history.setdefault(transaction.user_id, {})
            standing = events.setdefault((transaction.timestamp_ms, transaction.transaction_id), record)
            if standing is not record:
                lost[place] = standing.stored
        for snapshot in snapshots:
            known = self.snapshots.get(snapshot.user_id)
            if known is None or known.sequence < snapshot.sequence:
                self.snapshots[snapshot.user_id] = snapshot
        return lost


class MemoryEntityWindows:
    """Entity windows that count each offset of a source once, as a server does that several workers tell."""

    def __init__(self, plan: StatePlan) -> None:
        self._plan = plan
        self._plans: dict[str, EntityPlan] = {entity.kind: entity for entity in plan.entities}
        self._states: dict[str, dict[str, EntityState]] = {kind: {} for kind in ENTITY_KINDS}
        self._frauds: set[tuple[str, str, str]] = set()

    async def load(self, keys: Iterable[tuple[str, str]]) -> dict[str, dict[str, EntityState]]:
        """Copies of those states that there are."""
        found: dict[str, dict[str, EntityState]] = {kind: {} for kind in ENTITY_KINDS}
        for kind, key in keys:
            state = self._states[kind].get(key)
            if state is not None:
                found[kind][key] = state.copied()
        return found

    async def commit(self, events: Mapping[str, Sequence[EntityEvent]]) -> None:
        """Count events whose offset their entity has not counted yet."""
        for source, event in ((source, event) for source, of_source in events.items() for event in of_source):
            plan = self._plans[event.kind]
            states = self._states[event.kind]
            state = states.get(event.key)
            if state is None:
                state = states[event.key] = _new(event.key, plan, {})
            counted = state.absorbed_offsets
            assert counted is not None  # noqa: S101 `_new` gave it one
            if event.offset <= counted.get(source, -1):
                continue
            if state.newest_ms < event.timestamp_ms - self._plan.forget_after_ms:
                state = states[event.key] = _new(event.key, plan, counted)
            counted[source] = event.offset
            state.rename(name_hashes(_names(event)))
            state.absorb(event.timestamp_ms, event.amount, event.user_id, event.card_id, event.first_time, plan)

    async def mark(
        self, keys: Iterable[tuple[str, str]], transaction_id: str, timestamp_ms: int, is_fraud: bool
    ) -> None:
        """Hold a transaction for fraud, or no longer, with each of its entities."""
        for kind, key in keys:
            state = self._states[kind].get(key)
            mark = (kind, key, transaction_id)
            if state is None or (mark in self._frauds) == is_fraud:
                continue
            if not state.first_seen_ms <= timestamp_ms <= state.newest_ms:
                continue
            if is_fraud:
                self._frauds.add(mark)
                state.mark_fraud(timestamp_ms, self._plans[kind])
            else:
                self._frauds.discard(mark)
                state.unmark_fraud(timestamp_ms)

    def flush(self) -> None:
        """Lose everything."""
        for states in self._states.values():
            states.clear()
        self._frauds.clear()


def _names(event: EntityEvent) -> dict[str, str]:
    """What customer and card of `event` are called now, by what they were called before."""
    pairs = ((event.former_user_id, event.user_id), (event.former_card_id, event.card_id))
    return {former: name for former, name in pairs if former is not None and name is not None}


def _new(key: str, plan: EntityPlan, absorbed_offsets: dict[str, int]) -> EntityState:
    state = EntityState.new(key, plan)
    state.absorbed_offsets = absorbed_offsets
    return state
