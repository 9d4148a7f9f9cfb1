"""Payments into a topic, at once or at a rate, and the times of what comes out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from numpy.typing import NDArray

from benchmarks.live.payments import Payment, transaction_id_of
from benchmarks.live.processes import PATIENCE_S

# Sends are bundled for so long, far below what is measured. Each is a request to Kafka, which shares the cores: with a
# fifth of it the load alone would take a good part of one.
_TICK_S = 0.01
_IN_FLIGHT = 5_000
_LINGER_MS = 5


class Traffic:
    """One case's topics, from outside: `environment` is its settings."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._servers = environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"]
        self._input = environment["FRAUD_TRANSACTIONS_TOPIC"]
        self._output = environment["FRAUD_DECISIONS_TOPIC"]

    @asynccontextmanager
    async def _producer(self, linger_ms: int) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(bootstrap_servers=self._servers, acks="all", linger_ms=linger_ms)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            self._output, bootstrap_servers=self._servers, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def send(self, payments: Sequence[Payment]) -> None:
        """Send all, as fast as it goes; returns when the broker has them."""
        async with self._producer(_LINGER_MS) as producer:
            for first in range(0, len(payments), _IN_FLIGHT):
                part = payments[first : first + _IN_FLIGHT]
                await asyncio.gather(*[await producer.send(self._input, one.value, one.key) for one in part])

    async def published(self) -> int:
        """How many decisions there are."""
        async with self._consumer() as consumer:
            return sum((await consumer.end_offsets(consumer.assignment())).values())

    async def wait_for(self, count: int) -> None:
        """Return when there are so many decisions."""
        end = time.monotonic() + PATIENCE_S
        async with self._consumer() as consumer:
            while sum((await consumer.end_offsets(consumer.assignment())).values()) < count:
                if time.monotonic() > end:
                    raise TimeoutError(f"{count} decisions are not there after {PATIENCE_S} s")
                await asyncio.sleep(0.1)

    async def times_ms(self) -> NDArray[np.int64]:
        """When each decision was published, ascending: milliseconds since 1970, by the worker's clock."""
        times: list[int] = []
        async with self._consumer() as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    times += [record.timestamp for record in records]
        return np.sort(np.array(times, dtype=np.int64))

    async def open_loop(
        self, payments: Sequence[Payment], rate: float, while_running: asyncio.Task[None] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Send at `rate` a second whether answered or not.

        Returns when each was due (seconds from the first) and after how many milliseconds its decision was read,
        counted from when it was due: what waits because the worker, or this process, is behind counts as waiting.
        """
        sent_names = {transaction_id_of(one.value) for one in payments}
        answered: dict[bytes, float] = {}
        async with self._consumer() as consumer, self._producer(0) as producer:
            await consumer.seek_to_end()
            for place in consumer.assignment():
                await consumer.position(place)
            start = time.perf_counter() + _TICK_S
            sending = asyncio.create_task(self._send_at(producer, payments, rate, start))
            end = time.monotonic() + len(payments) / rate + PATIENCE_S
            while len(answered) < len(payments):
                found = await consumer.getmany(timeout_ms=100)
                now = time.perf_counter()
                for records in found.values():
                    # After a redelivery decisions of earlier payments are published again.
                    for name in sent_names.intersection(transaction_id_of(record.value) for record in records):
                        answered.setdefault(name, now)
                if time.monotonic() > end:
                    raise TimeoutError(f"{len(payments) - len(answered)} of {len(payments)} have no decision")
            await sending
            if while_running is not None:
                await while_running
        due = np.arange(len(payments)) / rate
        read = np.array([answered[transaction_id_of(one.value)] for one in payments]) - start
        return due, (read - due) * 1_000

    async def _send_at(
        self, producer: AIOKafkaProducer, payments: Sequence[Payment], rate: float, start: float
    ) -> None:
        sent = 0
        while sent < len(payments):
            due = due_after(time.perf_counter() - start, rate, len(payments))
            for one in payments[sent:due]:
                await producer.send(self._input, one.value, one.key)
            sent = due
            await asyncio.sleep(_TICK_S)


def due_after(elapsed_s: float, rate: float, payments: int) -> int:
    """How many payments are due so long after the first one; none before it."""
    return 0 if elapsed_s < 0 else min(payments, int(elapsed_s * rate) + 1)


def rate_between(times_ms: NDArray[np.int64], first: int, last: int) -> float:
    """Decisions a second from the `first` one to the `last`, of ascending times in milliseconds."""
    return float((last - first) / max(1, times_ms[last] - times_ms[first]) * 1_000)
