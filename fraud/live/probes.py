"""What a worker depends on, looked at every few seconds: whether it answers, and how far behind the worker is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from fraud.live.measures import Measures

# An outage is known soon after it begins; each look costs a read unit and a round trip to each server.
PROBE_INTERVAL_S = 2.0
# What takes longer is away, whatever it answers in the end.
PROBE_DEADLINE_S = 5.0

Check = Callable[[], Awaitable[object]]

_log = logging.getLogger(__name__)


class Probes:
    """Asks each of `checks` (by what people call it) over and over; one that raises, or takes too long, is away."""

    def __init__(self, checks: Mapping[str, Check], measures: Measures, sleep: Callable[[float], Any]) -> None:
        self._checks = checks
        self._measures = measures
        self._sleep = sleep
        self._problems: dict[str, str] = {}

    @property
    def problem(self) -> str:
        """What is away, in words; empty if everything answered when it was asked last."""
        return "; ".join(self._problems[part] for part in sorted(self._problems))

    async def watch(self, looked: Callable[[], None] = lambda: None) -> None:
        """Look until cancelled; `looked` is called after each look."""
        while True:
            await self.look()
            looked()
            await self._sleep(PROBE_INTERVAL_S)

    async def look(self) -> None:
        """Ask everything once, at the same time."""
        await asyncio.gather(*(self._ask(part, check) for part, check in self._checks.items()))

    async def _ask(self, part: str, check: Check) -> None:
        try:
            await asyncio.wait_for(check(), PROBE_DEADLINE_S)
        except TimeoutError:
            self._away(part, f"no answer within {PROBE_DEADLINE_S:g} seconds")
        except Exception as error:  # noqa: BLE001 whatever a client raises says that its server is not there
            self._away(part, str(error) or type(error).__name__)
        else:
            if self._problems.pop(part, None):
                _log.warning("%s answers again", part)
            self._measures.reachable.labels(part).set(1)

    def _away(self, part: str, why: str) -> None:
        if part not in self._problems:
            _log.error("%s does not answer: %s", part, why)
        self._problems[part] = f"{part}: {why}"
        self._measures.reachable.labels(part).set(0)


class ConsumerLag:
    """How many messages of its partitions a worker has not acknowledged, as the brokers see it.

    `observer` is started, belongs to no partition, and knows the group. `unanswered` has, by topic and partition, the
    offset that is acknowledged, where messages came since it was first seen there.
    """

    def __init__(self, observer: AIOKafkaConsumer, measures: Measures) -> None:
        self._observer = observer
        self._measures = measures
        # By partition: what is acknowledged, and where the partition ended when that was first seen.
        self._first_seen: dict[TopicPartition, tuple[int, int]] = {}
        self.unanswered: dict[tuple[str, int], int] = {}

    async def measure(self, assigned: Iterable[tuple[str, int]]) -> None:
        """Set the gauge for these topics and partitions. Raises `KafkaError`."""
        partitions = [TopicPartition(topic, partition) for topic, partition in assigned]
        ends = await self._observer.end_offsets(partitions) if partitions else {}
        offsets = await asyncio.gather(*(self._acknowledged(partition) for partition in partitions))
        acknowledged = dict(zip(partitions, offsets, strict=True))
        self._measures.lag({(tp.topic, tp.partition): max(0, ends[tp] - offset) for tp, offset in acknowledged.items()})
        self._note_unanswered(acknowledged, ends)

    def _note_unanswered(self, acknowledged: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> None:
        # To lag alone means nothing: behind a transaction of its producer a partition ends with a marker that nobody
        # reads.
        before, self._first_seen, self.unanswered = self._first_seen, {}, {}
        for tp, offset in acknowledged.items():
            known = before.get(tp)
            self._first_seen[tp] = known if known is not None and known[0] == offset else (offset, ends[tp])
            if ends[tp] > self._first_seen[tp][1]:
                self.unanswered[tp.topic, tp.partition] = offset

    async def _acknowledged(self, partition: TopicPartition) -> int:
        offset: int | None = await self._observer.committed(partition)
        if offset is None:
            # Nothing yet: the group begins with the oldest message.
            offset = (await self._observer.beginning_offsets([partition]))[partition]
        return offset
