"""A transaction file into the topics, at the pace of its own timestamps or faster."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from fraud.live.labels import encode_label
from fraud.sources.reader import TransactionFiles
from fraud.sources.records import RejectedRecord, SourceRecord
from fraud.transaction import EPOCH, Label, TransactionMessage, timestamp_to_ms

# Messages on their way before the next are read: enough to fill batches, little enough to hold.
_IN_FLIGHT = 2_000
_encode = msgspec.json.Encoder().encode


@dataclass
class Produced:
    """What was sent, refused by the reader, and not sent because it is known only after the file's last event."""

    transactions: int = 0
    labels: int = 0
    rejected: int = 0
    first_rejected: str = ""
    labels_to_come: int = 0


class FileProducer:
    """Sends the records of files. `send(topic, key, value, moment_ms)` hands over a message and returns its delivery.

    `moment_ms` is the time of the event, or when its label becomes known; refused records go to `refuse`. `speed` is
    event time over real time, 0 for as fast as it goes; `clock` and `sleep` are real time in seconds.
    """

    def __init__(
        self,
        send: Callable[[str, bytes, bytes, int], Awaitable[Awaitable[Any]]],
        transactions_topic: str,
        labels_topic: str,
        *,
        speed: float,
        label_delay_days: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        refuse: Callable[[RejectedRecord], None] = lambda _: None,
    ) -> None:
        self._send = send
        self._refuse = refuse
        self._topics = transactions_topic, labels_topic
        self._speed = speed
        self._label_delay_ms = round(label_delay_days * 86_400_000)
        self._clock = clock
        self._sleep = sleep
        self._waiting: list[tuple[int, int, Label]] = []
        self._deliveries: list[Awaitable[Any]] = []
        self._started: tuple[float, int] | None = None
        self.produced = Produced()

    async def run(self, files: TransactionFiles, advance: Callable[[int, int], None]) -> Produced:
        """Send everything; returns when the brokers have it."""
        for block in files.blocks():
            for record in block:
                if isinstance(record, RejectedRecord):
                    self._refuse(record)
                    self.produced.rejected += 1
                    self.produced.first_rejected = self.produced.first_rejected or (
                        f"{record.file}:{record.line}: {record.field} {record.reason}"
                    )
                else:
                    await self._take(record)
            advance(files.bytes_read, self.produced.transactions)
        await asyncio.gather(*self._deliveries)
        self.produced.labels_to_come = len(self._waiting)
        return self.produced

    async def _take(self, record: SourceRecord) -> None:
        message = record.message
        event_ms = timestamp_to_ms(message.timestamp)
        while self._waiting and self._waiting[0][0] <= event_ms:
            known_at_ms, _, label = heapq.heappop(self._waiting)
            await self._pace(known_at_ms)
            await self._hand_over(self._topics[1], label.user_id, encode_label(label), known_at_ms)
            self.produced.labels += 1
        await self._pace(event_ms)
        await self._hand_over(self._topics[0], message.user_id, encode_transaction(message), event_ms)
        self.produced.transactions += 1
        truth = record.label
        if truth is not None and truth.label is not None:
            known_at_ms = event_ms + self._label_delay_ms if truth.known_at_ms is None else truth.known_at_ms
            label = Label(
                f"{message.transaction_id}#file",
                message.transaction_id,
                message.user_id,
                truth.label,
                truth.source or "chargeback",
                known_at_ms,
                event_ms,
            )
            heapq.heappush(self._waiting, (known_at_ms, self.produced.transactions, label))

    async def _pace(self, event_ms: int) -> None:
        if not self._speed:
            return
        if self._started is None:
            self._started = self._clock(), event_ms
        started_s, first_ms = self._started
        due_s = started_s + (event_ms - first_ms) / 1_000 / self._speed
        ahead_s = due_s - self._clock()
        if ahead_s > 0:
            await self._sleep(ahead_s)

    async def _hand_over(self, topic: str, key: str, value: bytes, moment_ms: int) -> None:
        self._deliveries.append(await self._send(topic, key.encode(), value, moment_ms))
        if len(self._deliveries) >= _IN_FLIGHT:
            await asyncio.gather(*self._deliveries)
            self._deliveries.clear()


def encode_transaction(message: TransactionMessage) -> bytes:
    """The message of the topic; what is missing is left out."""
    fields = {name: getattr(message, name) for name in TransactionMessage.__struct_fields__}
    fields["timestamp"] = EPOCH + timedelta(milliseconds=timestamp_to_ms(message.timestamp))
    return _encode({name: value for name, value in fields.items() if value is not None and value != {}})
