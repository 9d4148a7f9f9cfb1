"""However a batch is split into transactions, a kill between two of them leaves no snapshot ahead of history."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from payments import START_MS, admission, payment

from fraud.ports import HistoryRecord, Origin, StoredDecision
from fraud.settings import Settings
from fraud.stores.customers import Snapshot
from fraud.stores.write_parts import TRANSACTION_ACTIONS, write_parts

ADMITTED = admission(Settings()).admit(payment("t", 0))
# How many events each customer has in the batch, and whether a snapshot of the customer is due.
batches = st.lists(st.tuples(st.integers(1, 130), st.booleans()), min_size=1, max_size=40)


def record(user: int, number: int) -> HistoryRecord:
    transaction = msgspec.structs.replace(ADMITTED, user_id=f"u{user}", transaction_id=f"t{number}")
    stored = StoredDecision(transaction, Origin("topic:0", number, START_MS), b"{}", "", False, False)
    return HistoryRecord(number, stored)


def split(batch: list[tuple[int, bool]]) -> tuple[list[Any], list[Any], Any]:
    records = [record(user, number) for user, (events, _) in enumerate(batch) for number in range(events)]
    snapshots = [Snapshot(f"u{user}", 1, START_MS, b"") for user, (_, is_due) in enumerate(batch) if is_due]
    return records, snapshots, write_parts(records, snapshots)


@given(batches)
def test_everything_is_put_once_at_its_place(batch: list[tuple[int, bool]]) -> None:
    records, snapshots, parts = split(batch)
    put = [one for wave in parts for part in wave for one in part]
    events = sorted(place for place, item in put if place is not None)
    assert events == list(range(len(records)))
    assert all(item is records[place] for place, item in put if place is not None)
    assert sorted(item.user_id for place, item in put if place is None) == sorted(one.user_id for one in snapshots)


@given(batches)
def test_no_part_has_more_than_dynamodb_takes(batch: list[tuple[int, bool]]) -> None:
    _, _, parts = split(batch)
    assert all(0 < len(part) <= TRANSACTION_ACTIONS for wave in parts for part in wave)


@given(batches)
def test_a_snapshot_stands_with_all_events_of_its_customer_or_comes_after_them(batch: list[tuple[int, bool]]) -> None:
    _, _, parts = split(batch)
    for part in parts.first:
        of_part = [item.stored.transaction.user_id for _, item in part if isinstance(item, HistoryRecord)]
        for _, item in part:
            if isinstance(item, Snapshot):
                assert of_part.count(item.user_id) == batch[int(item.user_id[1:])][0]
    assert all(isinstance(item, Snapshot) for part in parts.afterwards for _, item in part)


def test_no_more_transactions_are_made_than_are_needed() -> None:
    _, _, parts = split([(1, False)] * (2 * TRANSACTION_ACTIONS + 1))
    assert [len(part) for part in parts.first] == [TRANSACTION_ACTIONS, TRANSACTION_ACTIONS, 1]
