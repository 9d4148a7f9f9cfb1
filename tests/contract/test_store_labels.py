"""What every store of labels must do. A new implementation is one more branch of the fixture."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import msgspec
import pytest
from dynamodb_tables import with_tables

from fraud.labels import resolve_labels
from fraud.ports import LabelStore, Origin, WaitingLabel
from fraud.stack import Stack
from fraud.stores.dynamodb_labels import DynamoLabels
from fraud.stores.memory import MemoryLabels
from fraud.transaction import Label, LabelName

Use = Callable[[LabelStore], Awaitable[Any]]
# Runs a coroutine with a store that nobody has used before.
WithLabels = Callable[[Use], Any]
ORIGIN = Origin("labels:0", 7, 1_000)
SEALED = b"\x00its message, \xff encrypted"


def label(label_id: str, transaction_id: str = "t1", user_id: str = "customer", name: LabelName = "fraud") -> Label:
    return Label(label_id, transaction_id, user_id, name, "analyst", 5)


def with_memory(use: Use) -> Any:
    async def used() -> Any:
        return await use(MemoryLabels())

    return asyncio.run(used())


@pytest.fixture(params=["memory", "dynamodb"])
def with_labels(request: pytest.FixtureRequest) -> WithLabels:
    if request.param == "memory":
        return with_memory
    stack = request.getfixturevalue("stack")
    return lambda use: with_tables(stack, lambda client, prefix: use(DynamoLabels(client, prefix)))


def ids(known: Sequence[Label]) -> list[str]:
    return sorted(one.label_id for one in known)


def append(*added: Label) -> Use:
    """What each call returns, by label id."""

    async def all_of_them(store: LabelStore) -> list[list[str]]:
        return [ids(await store.append(one)) for one in added]

    return all_of_them


def test_every_label_of_a_transaction_is_returned(with_labels: WithLabels) -> None:
    assert with_labels(append(label("a"), label("b"))) == [["a"], ["a", "b"]]


def test_the_same_label_again_is_kept_once(with_labels: WithLabels) -> None:
    assert with_labels(append(label("a"), label("a"), label("b"), label("a")))[-1] == ["a", "b"]


def test_the_first_content_of_a_label_stays(with_labels: WithLabels) -> None:
    async def both(store: LabelStore) -> list[Label]:
        await store.append(label("a", name="fraud"))
        return await store.append(label("a", name="legitimate"))

    assert resolve_labels(with_labels(both), 10) == "fraud"


def test_transactions_and_customers_are_kept_apart(with_labels: WithLabels) -> None:
    added = label("a"), label("a", "t2"), label("a", "t1", "other"), label("#a", "t"), label("a", "t1#")
    assert with_labels(append(*added)) == [["a"], ["a"], ["a"], ["#a"], ["a"]]


def test_a_label_comes_back_as_it_was(with_labels: WithLabels) -> None:
    known = msgspec.structs.replace(label("a"), source="chargeback", transaction_timestamp_ms=77)

    async def appended(store: LabelStore) -> list[Label]:
        return await store.append(known)

    assert with_labels(appended) == [known]


def test_labels_are_only_ever_added(with_labels: WithLabels) -> None:
    random = Random(3)
    added = [label(random.choice("abcd"), random.choice(("t1", "t2"))) for _ in range(40)]
    expected = []
    for place, one in enumerate(added):
        of_transaction = (other for other in added[: place + 1] if other.transaction_id == one.transaction_id)
        expected.append(sorted({other.label_id for other in of_transaction}))
    assert with_labels(append(*added)) == expected


def waiting_after(*steps: tuple[str, Label, int]) -> Use:
    """The labels that wait after they were appended, and then parked at a time or settled."""

    async def use(store: LabelStore) -> list[WaitingLabel]:
        for step, one, at_ms in steps:
            await store.append(one)
            if step == "park":
                await store.park(one, msgspec.structs.replace(ORIGIN, ingested_ms=at_ms), SEALED)
            else:
                await store.settle(one)
        return await store.waiting()

    return use


def test_labels_that_wait_come_back_with_their_origin_longest_first(with_labels: WithLabels) -> None:
    later, sooner = label("a"), label("b", "t2")
    waiting = with_labels(waiting_after(("park", later, 20), ("park", sooner, 10)))
    assert [(one.label, one.origin.ingested_ms) for one in waiting] == [(sooner, 10), (later, 20)]
    assert waiting[0].origin == msgspec.structs.replace(ORIGIN, ingested_ms=10)
    assert [one.sealed for one in waiting] == [SEALED, SEALED]


def test_a_label_that_is_parked_again_waits_since_the_first_time(with_labels: WithLabels) -> None:
    (waiting,) = with_labels(waiting_after(("park", label("a"), 10), ("park", label("a"), 20)))
    assert waiting.origin.ingested_ms == 10


def test_a_settled_label_waits_no_longer_and_is_still_known(with_labels: WithLabels) -> None:
    assert with_labels(waiting_after(("park", label("a"), 10), ("settle", label("a"), 0))) == []

    async def known_after(store: LabelStore) -> list[str]:
        await waiting_after(("park", label("a"), 10), ("settle", label("a"), 0), ("settle", label("a"), 0))(store)
        return ids(await store.append(label("b")))

    assert with_labels(known_after) == ["a", "b"]


def test_a_label_that_an_earlier_version_lets_wait_is_read(stack: Stack) -> None:
    async def parked_before(client: Any, prefix: str) -> list[WaitingLabel]:
        store = DynamoLabels(client, prefix)
        await store.append(label("a"))
        await store.park(label("a"), ORIGIN, SEALED)
        # As it was before messages were kept.
        key = {"user_id": {"S": "customer"}, "label": {"S": "t1#a"}}
        await client.update_item(TableName=f"{prefix}Labels", Key=key, UpdateExpression="REMOVE waiting_message")
        return await store.waiting()

    assert with_tables(stack, parked_before) == [WaitingLabel(label("a"), ORIGIN, None)]
