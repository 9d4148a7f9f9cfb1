"""Labels of a file, each becoming known at its own time while the file is replayed."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Sequence

from fraud.features.table import DAY_MS
from fraud.labels import resolve_labels
from fraud.sources.records import GroundTruth
from fraud.transaction import Label, Transaction


class WaitingLabels:
    """What becomes known of transactions, each at its own time; at one time in the order in which it was added."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Transaction, bool]] = []
        self._count = 0
        # When the next change becomes known; infinity if none is waiting.
        self.next_due_ms: float = math.inf

    def due(self, timestamp_ms: int) -> list[tuple[Transaction, bool]]:
        """Take the transactions that are known as fraud, or no longer, by then."""
        changed = []
        while self._waiting and self._waiting[0][0] <= timestamp_ms:
            _, _, transaction, is_fraud = heapq.heappop(self._waiting)
            changed.append((transaction, is_fraud))
        self.next_due_ms = self._waiting[0][0] if self._waiting else math.inf
        return changed

    def add(self, known_at_ms: int, transaction: Transaction, *, is_fraud: bool) -> None:
        """Let it wait until then that the transaction is known as fraud, or no longer."""
        self._count += 1
        heapq.heappush(self._waiting, (known_at_ms, self._count, transaction, is_fraud))
        self.next_due_ms = self._waiting[0][0]


class FileLabelFeed(WaitingLabels):
    """A label becomes known at the time that the file gives, else `label_delay_days` after its transaction.

    Only frauds wait here: a transaction counts as legitimate until it is known as fraud.
    """

    def __init__(self, label_delay_days: float) -> None:
        super().__init__()
        self._delay_ms = round(label_delay_days * DAY_MS)
        self._truths: Sequence[GroundTruth | None] = ()
        # Where the file tells of a fraud.
        self.following: Collection[int] = ()

    def known_at_ms(self, truth: GroundTruth, transaction: Transaction) -> int:
        """When this label is known, UTC milliseconds."""
        return truth.known_at_ms if truth.known_at_ms is not None else transaction.timestamp_ms + self._delay_ms

    def begin_batch(self, truths: Sequence[GroundTruth | None]) -> None:
        """What the file says about the messages of the batch that comes next."""
        self._truths = truths
        self.following = {
            position for position, truth in enumerate(truths) if truth is not None and truth.label == "fraud"
        }

    def absorbed(self, position: int, transaction: Transaction) -> None:
        """Let the label of the message at `position`, a fraud, follow."""
        truth = self._truths[position]
        if truth is None:
            return
        known_at_ms = self.known_at_ms(truth, transaction)
        label = Label(
            label_id=f"{transaction.transaction_id}#file",
            transaction_id=transaction.transaction_id,
            user_id=transaction.user_id,
            label="fraud",
            source=truth.source or "chargeback",
            known_at_ms=known_at_ms,
            transaction_timestamp_ms=transaction.timestamp_ms,
        )
        self.add(known_at_ms, transaction, is_fraud=resolve_labels((label,), known_at_ms) == "fraud")
