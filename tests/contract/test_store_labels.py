"""What every store of labels must do. A new implementation is one more line in its list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.labels import resolve_labels
from fraud.stores.memory import MemoryLabels
from fraud.transaction import Label, LabelName

LABEL_STORES: dict[str, Callable[[], Any]] = {"memory": MemoryLabels}


def label(label_id: str, transaction_id: str = "t1", user_id: str = "customer", name: LabelName = "fraud") -> Label:
    return Label(label_id, transaction_id, user_id, name, "analyst", 5)


@pytest.fixture(params=LABEL_STORES.values(), ids=LABEL_STORES)
def labels(request: pytest.FixtureRequest) -> Any:
    return request.param()


def ids(known: list[Label]) -> list[str]:
    return [one.label_id for one in known]


def append(store: Any, *added: Label) -> list[list[str]]:
    """What each call returns, by label id."""

    async def all_of_them() -> list[list[str]]:
        return [ids(await store.append(one)) for one in added]

    return asyncio.run(all_of_them())


def test_every_label_of_a_transaction_is_returned(labels: Any) -> None:
    assert append(labels, label("a"), label("b")) == [["a"], ["a", "b"]]


def test_the_same_label_again_is_kept_once(labels: Any) -> None:
    assert append(labels, label("a"), label("a"), label("b"), label("a"))[-1] == ["a", "b"]


def test_the_first_content_of_a_label_stays(labels: Any) -> None:
    append(labels, label("a", name="fraud"))
    assert resolve_labels(asyncio.run(labels.append(label("a", name="legitimate"))), 10) == "fraud"


def test_transactions_and_customers_are_kept_apart(labels: Any) -> None:
    assert append(labels, label("a"), label("a", "t2"), label("a", "t1", "other")) == [["a"], ["a"], ["a"]]


@pytest.mark.parametrize("make", LABEL_STORES.values(), ids=LABEL_STORES)
@given(added=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["t1", "t2"])), max_size=12))
def test_labels_are_only_ever_added(make: Callable[[], Any], added: list[tuple[str, str]]) -> None:
    store = make()
    expected: dict[str, list[str]] = {}
    for label_id, transaction_id in added:
        known = expected.setdefault(transaction_id, [])
        if label_id not in known:
            known.append(label_id)
        assert append(store, label(label_id, transaction_id)) == [known]
