"""What Faust's consumer does when messages are handed over without a task for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from fraud.live.fetching import FETCH_MAX_WAIT_MS, FETCH_MIN_BYTES, FetchingThread, FetchingTransport

PARTITION = TP("transactions", 0)


class HandedOver:
    """A consumer of which only the way from a fetched message to its agent is real."""

    def __init__(self, *, has_room: bool = True) -> None:
        self.taken: list[int] = []
        self.gaps: list[tuple[int, int]] = []
        self.tasks_before = 0
        consumer: Any = object.__new__(FetchingTransport.Consumer)
        consumer.app = SimpleNamespace(has_room=lambda: has_room)
        consumer._read_offset = {PARTITION: None}
        consumer.callback, consumer._add_gap = self._take, self._add_gap
        consumer.suspend_flow = asyncio.Event()
        consumer.wait_first = self._first
        self.consumer = consumer
        self.gave_up = 0

    async def _take(self, message: Any) -> None:
        self.tasks_before = max(self.tasks_before, len(asyncio.all_tasks()))
        self.taken.append(message.offset)

    async def _add_gap(self, _partition: TP, first: int, last: int) -> None:
        self.gaps.append((first, last))

    async def _first(self, taking: Any, suspended: Any) -> None:
        tasks = [asyncio.ensure_future(taking), asyncio.ensure_future(suspended)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self.gave_up += tasks[1] in done
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def messages(self, offsets: Sequence[int]) -> None:
        for offset in offsets:
            await self.consumer._hand_over(PARTITION, SimpleNamespace(offset=offset))


def test_messages_are_handed_over_in_order_without_a_task_for_each() -> None:
    async def case() -> None:
        consumer = HandedOver()
        await consumer.messages(range(5, 105))
        assert consumer.taken == list(range(5, 105))
        assert consumer.tasks_before == 1
        assert consumer.gaps == []

    asyncio.run(case())


def test_what_was_handed_over_before_a_rebalance_is_not_handed_over_again() -> None:
    async def case() -> None:
        consumer = HandedOver()
        await consumer.messages([7, 8, 6, 9])
        assert consumer.taken == [7, 8, 9]

    asyncio.run(case())


def test_offsets_that_no_message_has_count_as_acknowledged() -> None:
    async def case() -> None:
        consumer = HandedOver()
        await consumer.messages([7, 8, 12])
        assert consumer.gaps == [(9, 11)]

    asyncio.run(case())


def test_waiting_for_room_ends_when_a_rebalance_begins() -> None:
    async def case() -> None:
        consumer = HandedOver(has_room=False)
        consumer.consumer.callback = lambda _message: asyncio.Event().wait()
        consumer.consumer.suspend_flow.set()
        await consumer.messages([7])
        assert consumer.gave_up == 1

    asyncio.run(case())


def test_the_brokers_are_asked_for_more_than_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case() -> None:
        made = AIOKafkaConsumer(fetch_max_wait_ms=1_500)
        names = set(vars(made))
        monkeypatch.setattr(AIOKafkaConsumerThread, "_create_worker_consumer", lambda _thread, _transport: made)
        thread: Any = object.__new__(FetchingThread)
        assert thread._create_worker_consumer(None) is made
        assert (made._fetch_min_bytes, made._fetch_max_wait_ms) == (FETCH_MIN_BYTES, FETCH_MAX_WAIT_MS)
        # They are the client's own names: else setting them would change nothing.
        assert set(vars(made)) == names
        await made.stop()

    asyncio.run(case())
