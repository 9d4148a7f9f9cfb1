"""What every store of customers' profiles and history must do, in memory and in DynamoDB."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any

import msgspec
import pytest
from dynamodb_tables import with_tables
from payments import HOUR_MS, START_MS, admission, payment

from fraud.ports import HistoryRecord, Origin, StoredDecision, StoreUnavailableError
from fraud.settings import Settings
from fraud.stores.customers import Snapshot
from fraud.stores.dynamodb import DynamoCustomerTables
from fraud.stores.memory_tables import MemoryTables
from fraud.transaction import Transaction

Tables = Any
Use = Callable[[Tables], Awaitable[Any]]
# Runs a coroutine with tables that nobody has used before.
WithTables = Callable[[Use], Any]


@pytest.fixture(params=["memory", "dynamodb"])
def with_store(request: pytest.FixtureRequest) -> WithTables:
    if request.param == "memory":
        return with_memory
    stack = request.getfixturevalue("stack")
    return lambda use: with_tables(stack, lambda client, prefix: used_in_dynamodb(client, prefix, use))


def with_memory(use: Use) -> Any:
    async def used() -> Any:
        return await use(MemoryTables())

    return asyncio.run(used())


async def used_in_dynamodb(client: Any, prefix: str, use: Use) -> Any:
    tables = DynamoCustomerTables(client, prefix, typical_decision=b'{"action":"allow"}', retention_days=400)
    await tables.start()
    return await use(tables)


def transaction(transaction_id: str, after_ms: int = 0, user_id: str = "customer") -> Transaction:
    message = msgspec.structs.replace(
        payment(transaction_id, after_ms, user_id=user_id), card_id="4111111111111111", attributes={"shop": "a"}
    )
    return admission(Settings()).admit(message)


def record(sequence: int, after_ms: int = 0, user_id: str = "customer", score: float = 0.5) -> HistoryRecord:
    canonical = b'{"action":"allow","score":%f}' % score
    stored = StoredDecision(
        transaction(f"t{sequence}", after_ms, user_id),
        Origin("topic:0", sequence, START_MS),
        canonical,
        "ab" * 32,
        late=sequence % 2 == 0,
        first_time=sequence % 3 == 0,
    )
    return HistoryRecord(sequence, stored)


def key(of: HistoryRecord) -> tuple[str, int, str]:
    known = of.stored.transaction
    return known.user_id, known.timestamp_ms, known.transaction_id


def test_of_nobody_there_is_nothing(with_store: WithTables) -> None:
    async def use(tables: Tables) -> None:
        assert await tables.read_snapshots(["nobody"]) == {}
        assert await tables.read_events("nobody", None) == []
        assert await tables.read_decisions([("nobody", START_MS, "t1")]) == [None]
        assert await tables.find("nobody", "t1", START_MS) is None
        assert await tables.find("nobody", "t1", None) is None

    with_store(use)


def test_what_was_written_comes_back_as_it_was(with_store: WithTables) -> None:
    # More than one call of DynamoDB takes.
    records = [record(number, number * HOUR_MS) for number in range(1, 251)]

    async def use(tables: Tables) -> None:
        assert await tables.write(records, []) == {}
        assert await tables.read_decisions([key(one) for one in records]) == [one.stored for one in records]
        events = await tables.read_events("customer", None)
        assert sorted((one.sequence, key(one), one.stored.origin) for one in events) == [
            (one.sequence, key(one), one.stored.origin) for one in records
        ]
        assert [one.stored.late for one in sorted(events, key=attrgetter("sequence"))] == [
            one.stored.late for one in records
        ]

    with_store(use)


def test_events_are_read_from_a_time_on(with_store: WithTables) -> None:
    async def use(tables: Tables) -> list[int]:
        await tables.write([record(1), record(2, 1), record(3, 2), record(4, 2, "other")], [])
        return sorted(one.sequence for one in await tables.read_events("customer", START_MS + 1))

    assert with_store(use) == [2, 3]


def test_who_comes_second_is_told_what_stands_there(with_store: WithTables) -> None:
    first, again = record(1, score=0.25), record(1, score=0.75)

    async def use(tables: Tables) -> None:
        await tables.write([first], [])
        assert await tables.write([record(2, 1), again, record(3, 2)], []) == {1: first.stored}
        assert await tables.read_decisions([key(again)]) == [first.stored]
        assert len(await tables.read_events("customer", None)) == 3

    with_store(use)


def test_a_transaction_is_found_by_its_id_with_and_without_its_time(with_store: WithTables) -> None:
    async def use(tables: Tables) -> None:
        await tables.write([record(1), record(1, HOUR_MS, "other")], [])
        for time_ms in (START_MS + HOUR_MS, None):
            assert await tables.find("other", "t1", time_ms) == record(1, HOUR_MS, "other").stored
        assert await tables.find("other", "t2", None) is None

    with_store(use)


def test_the_snapshot_of_more_events_stays(with_store: WithTables) -> None:
    older, newer = Snapshot("customer", 1, START_MS, b"older"), Snapshot("customer", 2, START_MS + 1, b"newer")

    async def use(tables: Tables) -> None:
        await tables.write([record(1)], [older])
        assert await tables.read_snapshots(["customer", "nobody"]) == {"customer": older}
        await tables.write([record(2, 1)], [newer])
        await tables.write([record(3, 2)], [older])
        assert await tables.read_snapshots(["customer"]) == {"customer": newer}

    with_store(use)


class FailingOnce:
    """A client of DynamoDB of which one transaction fails, as with a worker that is killed before it is made."""

    def __init__(self, client: Any, failing: int) -> None:
        self._client, self._left = client, failing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def transact_write_items(self, **request: Any) -> Any:
        self._left -= 1
        if self._left == -1:
            raise TimeoutError("no answer")
        return await self._client.transact_write_items(**request)


@pytest.mark.parametrize("failing", range(4))
def test_a_batch_that_is_cut_short_leaves_no_snapshot_ahead_of_history(stack: Any, failing: int) -> None:
    """A payment that the snapshot knows and history lacks would be taken for a repetition, and be lost."""
    users = {f"u{number}": 1 + number % 5 for number in range(80)} | {"many": 120}
    records = [record(number, number, user_id) for user_id, events in users.items() for number in range(1, events + 1)]
    snapshots = [Snapshot(user_id, events, START_MS + events, b"state") for user_id, events in users.items()]

    async def use(client: Any, prefix: str) -> int:
        tables = DynamoCustomerTables(FailingOnce(client, failing), prefix, typical_decision=b"{}", retention_days=400)
        await tables.start()
        with pytest.raises(StoreUnavailableError):
            await tables.write(records, snapshots)
        found = await tables.read_snapshots(list(users))
        for user_id in found:
            assert len(await tables.read_events(user_id, None)) == users[user_id]
        return len(found)

    assert 0 < with_tables(stack, use) < len(users)


def test_a_decision_of_another_version_of_the_service_is_read(stack: Any) -> None:
    """Each version compresses against a decision of its own, which stands in the tables."""

    async def use(client: Any, prefix: str) -> None:
        before, after = (
            DynamoCustomerTables(client, prefix, typical_decision=typical, retention_days=400)
            for typical in (b'{"action":"allow"}', b'{"action":"block","added":1}')
        )
        await before.start()
        await after.start()
        await before.write([record(1)], [])
        await after.write([record(2, 1)], [])
        for reader in (before, after):
            assert await reader.read_decisions([key(record(1)), key(record(2, 1))]) == [
                record(1).stored,
                record(2, 1).stored,
            ]

    with_tables(stack, use)
