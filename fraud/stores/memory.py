"""State in this process's memory: what replay, backtests and training run on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

from fraud.features.customer_state import CustomerState
from fraud.features.entity_state import EntityState
from fraud.features.plan import ENTITY_KINDS, StatePlan
from fraud.ports import EntityEvent, HistoryRecord, Origin, StoredDecision, WaitingLabel
from fraud.transaction import Label, Transaction


class MemoryCustomers:
    """Customer states by `user_id`. Every customer is in memory, so loading is the dictionary itself."""

    def __init__(self) -> None:
        self._states: dict[str, CustomerState] = {}

    async def load(self, _user_ids: Iterable[str]) -> dict[str, CustomerState]:
        """The states of (at least) these customers; new customers are added to it by the caller."""
        return self._states

    def has_passed(self, _user_id: str, _origin: Origin) -> bool:
        """Never: what runs on states in memory reads its input once."""
        return False

    async def stored(self, transactions: Sequence[Transaction]) -> list[StoredDecision | None]:
        """Nothing: states are kept, histories are not."""
        return [None] * len(transactions)

    async def commit(self, _records: Sequence[HistoryRecord]) -> dict[int, StoredDecision]:
        """Nothing to do: what the pipeline changed is what is remembered."""
        return {}

    def checkpoint(self, _user_ids: Iterable[str]) -> None:
        """Nothing to do: states are what is remembered."""

    def abandon(self) -> None:
        """Nothing to do: the caller of a replay that failed starts anew."""

    def forget(self, now_ms: int, plan: StatePlan) -> int:
        """Free the customers that are new again to every event from `now_ms` on; returns how many."""
        forgotten = [user_id for user_id, state in self._states.items() if state.is_forgotten(now_ms, plan)]
        for user_id in forgotten:
            del self._states[user_id]
        return len(forgotten)

    def __len__(self) -> int:
        return len(self._states)


class MemoryEntities:
    """Entity states by kind and identifier."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, EntityState]] = {kind: {} for kind in ENTITY_KINDS}

    async def load(self, _keys: Iterable[tuple[str, str]]) -> dict[str, dict[str, EntityState]]:
        """The states of (at least) these entities by kind; new ones are added to it by the caller."""
        return self._states

    async def commit(self, _events: Mapping[str, Sequence[EntityEvent]]) -> None:
        """Nothing to do: what the pipeline changed is what is remembered."""

    async def mark(
        self, _keys: Iterable[tuple[str, str]], _transaction_id: str, _timestamp_ms: int, _is_fraud: bool
    ) -> None:
        """Nothing to do: the label feed of a replay marks the states themselves."""

    def forget(self, now_ms: int, plan: StatePlan) -> int:
        """Free the entities that are new again to every event from `now_ms` on; returns how many."""
        count = 0
        for states in self._states.values():
            forgotten = [key for key, state in states.items() if state.is_idle(now_ms, plan)]
            for key in forgotten:
                del states[key]
            count += len(forgotten)
        return count

    def __len__(self) -> int:
        return sum(len(states) for states in self._states.values())


class MemoryLabels:
    """Every label of a transaction, in order of arrival."""

    def __init__(self) -> None:
        self._labels: dict[tuple[str, str], list[Label]] = {}
        self._waiting: dict[tuple[str, str, str], WaitingLabel] = {}

    async def append(self, label: Label) -> list[Label]:
        """Keep a label (once per `label_id`) and return all of its transaction, this one included."""
        labels = self._labels.setdefault((label.user_id, label.transaction_id), [])
        if all(known.label_id != label.label_id for known in labels):
            labels.append(label)
        return labels

    async def park(self, label: Label, origin: Origin, sealed: bytes) -> None:
        """Let a label wait; one that waits already goes on waiting from when it began."""
        key = label.user_id, label.transaction_id, label.label_id
        self._waiting.setdefault(key, WaitingLabel(label, origin, sealed))

    async def settle(self, label: Label) -> None:
        """It waits no longer."""
        self._waiting.pop((label.user_id, label.transaction_id, label.label_id), None)

    async def waiting(self) -> list[WaitingLabel]:
        """The labels that wait, longest first."""
        return sorted(self._waiting.values(), key=attrgetter("origin.ingested_ms"))
