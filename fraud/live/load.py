"""Past transactions and labels made durable as if they had been processed live; nothing is published."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from fraud.bootstrap import Artefacts
from fraud.live.backlog import EntityBacklog
from fraud.live.brokers import check_brokers
from fraud.live.dead_letter import MessagePlace
from fraud.live.decisions import Arrival, Publish
from fraud.live.kafka import connection
from fraud.live.outgoing import DEAD_LETTERS, Outgoing
from fraud.live.produce import FileProducer, Produced
from fraud.live.worker import Worker
from fraud.ports import EntityStoreUnavailableError
from fraud.settings import Settings
from fraud.sources.reader import TransactionFiles
from fraud.sources.records import RejectedRecord

_TRANSACTIONS, _LABELS = "load", "load-labels"
# Nobody waits for an answer here, and a decision without entity windows would stay in history as it is.
_REDIS_PATIENCE_MS = 60_000.0
_PAUSE_S = 0.5
# A broker that has just started makes the topic of its groups first: half a minute of attempts.
_COORDINATOR_ATTEMPTS = 60
# Where the members stand in Kafka's description of a consumer group.
_MEMBERS = 5

Decide = Callable[[Sequence[Arrival], Publish], Awaitable[None]]
Learn = Callable[[Sequence[Arrival]], Awaitable[Sequence[Outgoing]]]


@dataclass(frozen=True)
class Loaded:
    """What was read from the files, and how many of it the services refused."""

    read: Produced
    refused: int


class Loader:
    """Collects what a `FileProducer` sends into batches for the services, in the order in which it came.

    A label is learnt after the transactions before it and before those after it, as in a replay. `digest` names the
    files: the same record of the same files has the same place, so that a load can be run again. `refuse` gets the
    dead letters that a worker would have published. `loaded_ms` is now: labels that wait, wait from then on.
    """

    def __init__(
        self,
        decide: Decide,
        learn: Learn,
        *,
        digest: str,
        batch_size: int,
        loaded_ms: int,
        refuse: Callable[[bytes], None],
    ) -> None:
        self._decide, self._learn = decide, learn
        self._offsets = {_TRANSACTIONS: itertools.count(), _LABELS: itertools.count()}
        self._digest = digest
        self._batch_size = batch_size
        self._loaded_ms = loaded_ms
        self._refuse = refuse
        self._held: list[Arrival] = []
        self._held_of = _TRANSACTIONS
        self.refused = 0

    async def send(self, topic: str, key: bytes, value: bytes, moment_ms: int) -> Awaitable[Any]:
        """Take a message; batches that are full are handled before it returns."""
        if topic != self._held_of or len(self._held) >= self._batch_size:
            await self.flush()
            self._held_of = topic
        ingested_ms = moment_ms if topic == _TRANSACTIONS else self._loaded_ms
        place = MessagePlace(topic, f"{topic}-{self._digest}", 0, next(self._offsets[topic]), ingested_ms, key)
        self._held.append(Arrival(place, value))
        return asyncio.sleep(0)

    async def flush(self) -> None:
        """Handle what is held."""
        held, self._held = self._held, []
        if not held:
            return
        if self._held_of == _TRANSACTIONS:
            await self._decide(held, self._keep_refused)
        else:
            await self._keep_refused(await self._learn(held))

    async def _keep_refused(self, outgoing: Sequence[Outgoing]) -> None:
        for message in outgoing:
            if message.topic == DEAD_LETTERS:
                self.refused += 1
                self._refuse(message.value)


async def load(
    settings: Settings,
    artefacts: Artefacts,
    source: TransactionFiles,
    *,
    digest: str,
    label_delay_days: float,
    loaded_ms: int,
    advance: Callable[[int, int], None],
    reject: Callable[[RejectedRecord], None],
    refuse: Callable[[bytes], None],
) -> Loaded:
    """Load files; returns when history, profiles and entity windows have everything.

    Raises `EntityStoreUnavailableError` or `StoreUnavailableError` when a store is away at the start; later it waits.
    """
    worker = Worker(settings, artefacts)
    try:
        _, windows = await worker.open_stores(_REDIS_PATIENCE_MS)
        await windows.check()
        loader = Loader(
            worker.lanes[0].service.handle,
            worker.labels.handle,
            digest=digest,
            batch_size=settings.batch_size,
            loaded_ms=loaded_ms,
            refuse=refuse,
        )
        producer = FileProducer(
            loader.send,
            _TRANSACTIONS,
            _LABELS,
            speed=0.0,
            label_delay_days=label_delay_days,
            clock=float,
            refuse=reject,
        )
        read = await producer.run(source, advance)
        await loader.flush()
        await _caught_up(worker.backlog)
    finally:
        await worker.stop()
    return Loaded(read, loader.refused)


async def _caught_up(backlog: EntityBacklog) -> None:
    while True:
        try:
            await backlog.catch_up()
        except EntityStoreUnavailableError:
            await asyncio.sleep(_PAUSE_S)
        else:
            return


def files_digest(files: Sequence[Path], mapping_name: str) -> str:
    """Names what is loaded: the files by content, and how they are read. Raises `OSError`."""
    named = hashlib.sha256()
    mapping_file = Path(mapping_name)
    named.update(mapping_file.read_bytes() if mapping_file.is_file() else mapping_name.encode())
    for file in files:
        with file.open("rb") as opened:
            named.update(hashlib.file_digest(opened, "sha256").digest())
    return named.hexdigest()[:32]


async def working_members(settings: Settings) -> int:
    """How many workers the consumer group has now. Raises `BrokersUnreachableError`, `KafkaError`."""
    to = connection(settings)
    await check_brokers(to)
    admin = to.admin()
    try:
        await admin.start()
        answers = await _described(admin, settings.consumer_group)
    finally:
        await admin.close()
    return sum(len(group[_MEMBERS]) for answer in answers for group in answer.groups)


async def _described(admin: AIOKafkaAdminClient, group: str) -> Sequence[Any]:
    for _ in range(_COORDINATOR_ATTEMPTS):
        try:
            return list(await admin.describe_consumer_groups([group]))
        except KafkaError as error:
            if not error.retriable:
                raise
            await asyncio.sleep(_PAUSE_S)
    return list(await admin.describe_consumer_groups([group]))
