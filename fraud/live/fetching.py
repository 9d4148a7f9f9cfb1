"""How messages come from Kafka to Faust's agents: fetched in larger pieces, handed over without a task for each."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport

# Kafka answers a fetch when it has so many bytes, or after so long. Left to itself it answers with the first message
# that comes, and each answer costs several changes of thread, which a busy worker pays instead of deciding. A
# transaction waits no longer than the second one says; longer than that is seen in the latencies of `make bench-live`.
FETCH_MIN_BYTES = 100_000
FETCH_MAX_WAIT_MS = 25

# How long one wait for messages lasts before the loop looks whether it is to end, as in Faust.
_WAIT_S = 1.0
# After so many messages whatever else waits in the event loop has its turn, as in Faust.
_MESSAGES_A_TURN = 100
# What Faust says of its parts belongs among what Faust says.
_faust_log = logging.getLogger(Consumer.__module__)


class FetchingThread(AIOKafkaConsumerThread):
    """Faust's thread that fetches; Faust hands on no setting for how much it waits for."""

    logger = _faust_log

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes = FETCH_MIN_BYTES
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        return consumer


class _Consumer(Consumer):
    app: Any
    logger = _faust_log

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return FetchingThread(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand over what comes, until stopped.

        As in Faust, but that Faust makes four tasks for each message, so that it can give up waiting for room when a
        rebalance begins; that is done only where there is none.
        """
        try:
            while not (self.should_stop or fetcher.should_stop):
                handed_over = 0
                async for partition, message in self.getmany(timeout=_WAIT_S):
                    await self._hand_over(partition, message)
                    handed_over += 1
                    if not handed_over % _MESSAGES_A_TURN:
                        await asyncio.sleep(0)
                await asyncio.sleep(0)
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    async def _hand_over(self, partition: Any, message: Any) -> None:
        read, offset = self._read_offset[partition], message.offset
        if read is not None and offset < read:
            return
        if read and offset - read > 1:
            # Offsets that no message has, left by transactions of a producer: else they would never be acknowledged.
            await self._add_gap(partition, read + 1, offset - 1)
        if self.app.has_room():
            await self.callback(message)
        else:
            await self.wait_first(self.callback(message), self.suspend_flow.wait())
        self._read_offset[partition] = offset


class FetchingTransport(Transport):
    """Faust's transport with this consumer."""

    Consumer = _Consumer
