"""How a batch is split into transactions of DynamoDB, so that no snapshot is ever ahead of history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fraud.ports import HistoryRecord
from fraud.stores.customers import Snapshot

# The most that DynamoDB takes in one transaction. A call costs a worker about as much as ten payments do, and DynamoDB
# Local half as much an item in full ones: smaller parts at once made small batches slower, not faster.
TRANSACTION_ACTIONS = 100
# Transactions in flight: more gain little.
WRITES_IN_FLIGHT = 4

# What is put, and the place of an event in its batch; None for a snapshot.
Put = tuple[int | None, HistoryRecord | Snapshot]
Part = list[Put]


class WriteParts(NamedTuple):
    """The parts of a batch: those of `first` in any order and at once, then those of `afterwards`."""

    first: list[Part]
    afterwards: list[Part]


def write_parts(records: Sequence[HistoryRecord], snapshots: Sequence[Snapshot]) -> WriteParts:
    """Split a batch: each snapshot stands in one transaction with its customer's events, or comes after all of them.

    A transaction is made whole or not at all. A snapshot that were put without one of its events would know a payment
    that history lacks, and the payment would be lost when its message comes again.
    """
    due = {snapshot.user_id: snapshot for snapshot in snapshots}
    groups: list[Part] = []
    of_customer: dict[str, Part] = {user_id: [] for user_id in due}
    for place, record in enumerate(records):
        user_id = record.stored.transaction.user_id
        if user_id in due:
            of_customer[user_id].append((place, record))
        else:
            groups.append([(place, record)])
    afterwards: list[Part] = []
    for user_id, events in of_customer.items():
        if len(events) < TRANSACTION_ACTIONS:
            groups.append([*events, (None, due[user_id])])
        else:
            groups += [[event] for event in events]
            afterwards.append([(None, due[user_id])])
    return WriteParts(_filled(groups), _filled(afterwards))


def _filled(groups: Iterable[Part]) -> list[Part]:
    """Parts that DynamoDB takes; no group is divided. The longest first, so that few places stay empty."""
    parts: list[Part] = []
    for group in sorted(groups, key=len, reverse=True):
        if not parts or len(parts[-1]) + len(group) > TRANSACTION_ACTIONS:
            parts.append([])
        parts[-1] += group
    return parts
