"""Which partitions the next batch is of: several batches are in hand at once, never two of one partition."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

# A batch costs the worker and the servers as much as some ten events do, whatever it has. With fewer than these
# waiting, to begin another one beside it makes the batch in hand slower and both smaller.
EVENTS_WORTH_ANOTHER = 16

Event = TypeVar("Event")


class PartitionQueues(Generic[Event]):
    """What waits, by partition.

    A batch has at most `batch_size` events (an event of each of its partitions, if those are more) and is of
    partitions that no other batch is of; at most `batches_at_once` batches are in hand, and beside another only one
    that is worth it, of `worth_another` events or more.
    """

    def __init__(self, batch_size: int, batches_at_once: int, worth_another: int = EVENTS_WORTH_ANOTHER) -> None:
        self._batch_size = batch_size
        self._batches_at_once = batches_at_once
        self._worth_another = min(batch_size, worth_another)
        # In the order in which they were served: who waits longest comes first.
        self._waiting: dict[int, deque[Event]] = {}
        self._in_hand: set[int] = set()
        self._waiting_events = 0

    def __len__(self) -> int:
        return self._waiting_events

    def add(self, partition: int, event: Event) -> None:
        """Let `event` wait behind the others of its partition."""
        waiting = self._waiting.get(partition)
        if waiting is None:
            waiting = self._waiting[partition] = deque()
        waiting.append(event)
        self._waiting_events += 1

    def take(self) -> dict[int, list[Event]]:
        """The next batch, by partition; empty if too little waits of partitions that are free. Give it back when done.

        It leaves partitions for the batches beside it: with all of them in one batch, the others would have none.
        """
        free = [partition for partition in self._waiting if partition not in self._in_hand]
        known = len(self._waiting.keys() | self._in_hand)
        chosen = free[: min(-(-known // self._batches_at_once), self._batch_size)]
        if self._in_hand and sum(len(self._waiting[partition]) for partition in chosen) < self._worth_another:
            return {}
        batch = {}
        for partition in chosen:
            waiting = self._waiting.pop(partition)
            number = min(len(waiting), self._batch_size // len(chosen))
            batch[partition] = [waiting.popleft() for _ in range(number)]
            if waiting:
                self._waiting[partition] = waiting
            self._waiting_events -= number
        self._in_hand |= batch.keys()
        return batch

    def give_back(self, partitions: Iterable[int]) -> None:
        """No batch is of these any more."""
        self._in_hand.difference_update(partitions)

    def is_in_hand(self, partition: int) -> bool:
        """Whether a batch is of this partition."""
        return partition in self._in_hand


def in_order(batch: Mapping[int, Iterable[Event]]) -> list[Event]:
    """All events of a batch, each partition's in its order."""
    return [event for events in batch.values() for event in events]
