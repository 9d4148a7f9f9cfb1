"""What a worker holds is not walked by Python's collector, and is freed all the same."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from fraud.live.collection import keep_collections_short


class Held:
    """Something that lives long."""

    other: Held


@pytest.fixture
def exempt() -> Iterator[None]:
    async def once(_seconds: float) -> None:
        raise asyncio.CancelledError

    yield asyncio.run(_until_cancelled(once))
    gc.unfreeze()


async def _until_cancelled(sleep) -> None:
    with pytest.raises(asyncio.CancelledError):
        await keep_collections_short(sleep)


def test_a_full_collection_walks_only_what_has_come_since(request: pytest.FixtureRequest) -> None:
    held = [Held() for _ in range(10_000)]
    gc.collect()
    before = len(gc.get_objects())
    assert before > len(held)
    request.getfixturevalue("exempt")
    assert len(gc.get_objects()) < before / 10
    assert gc.get_freeze_count() > len(held)


def test_what_is_exempt_is_freed_when_nothing_refers_to_it(request: pytest.FixtureRequest) -> None:
    held = Held()
    watched = weakref.ref(held)
    request.getfixturevalue("exempt")
    del held
    assert watched() is None


def test_a_cycle_that_dies_young_is_collected(exempt: None) -> None:
    one, other = Held(), Held()
    one.other, other.other = other, one
    watched = weakref.ref(one)
    del one, other
    gc.collect(0)
    assert watched() is None
