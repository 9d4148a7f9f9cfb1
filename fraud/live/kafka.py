"""How the service speaks to Kafka: connections, topic ids, and publishing in whole batches."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from fraud.certificates import TlsFiles, UnusableTlsFileError
from fraud.live.outgoing import Outgoing
from fraud.settings import Settings, SettingsError

# Kafka's default limit of a request, which brokers are set to, too.
_REQUEST_MAX_BYTES = 1_048_576
# Half of what brokers take by default. A partition has one batch on its way at a time: with the client's own 16 KiB,
# which are four decisions, a worker at its peak waits for dozens of answers, one after the other, in each batch that it
# decides; the stage `publication` of `make bench-live` shows it.
_BATCH_MAX_BYTES = 524_288
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Connection:
    """What every client of the brokers is given."""

    bootstrap_servers: str
    security_protocol: str
    ssl_context: SSLContext | None
    sasl_mechanism: str
    sasl_username: str | None
    sasl_password: str | None
    has_certificate: bool = False

    def admin(self) -> AIOKafkaAdminClient:
        """A client for topics, not started yet."""
        return AIOKafkaAdminClient(
            bootstrap_servers=self.bootstrap_servers,
            security_protocol=self.security_protocol,
            ssl_context=self.ssl_context,
            sasl_mechanism=self.sasl_mechanism,
            sasl_plain_username=self.sasl_username,
            sasl_plain_password=self.sasl_password,
        )

    def consumer(self, topic: str, *, from_start: bool) -> AIOKafkaConsumer:
        """A consumer of every partition that acknowledges nothing, not started yet."""
        return AIOKafkaConsumer(
            topic,
            bootstrap_servers=self.bootstrap_servers,
            security_protocol=self.security_protocol,
            ssl_context=self.ssl_context,
            sasl_mechanism=self.sasl_mechanism,
            sasl_plain_username=self.sasl_username,
            sasl_plain_password=self.sasl_password,
            auto_offset_reset="earliest" if from_start else "latest",
            enable_auto_commit=False,
        )

    def observer(self, group: str) -> AIOKafkaConsumer:
        """A client that reads no partition and only asks about them and about what `group` acknowledged, not started
        yet.
        """
        return AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers,
            security_protocol=self.security_protocol,
            ssl_context=self.ssl_context,
            sasl_mechanism=self.sasl_mechanism,
            sasl_plain_username=self.sasl_username,
            sasl_plain_password=self.sasl_password,
            group_id=group,
            enable_auto_commit=False,
        )

    def producer(self, linger_ms: int = 0) -> AIOKafkaProducer:
        """A producer whose messages are there once all replicas have them, not started yet."""
        return AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers,
            security_protocol=self.security_protocol,
            ssl_context=self.ssl_context,
            sasl_mechanism=self.sasl_mechanism,
            sasl_plain_username=self.sasl_username,
            sasl_plain_password=self.sasl_password,
            acks="all",
            linger_ms=linger_ms,
            max_request_size=_REQUEST_MAX_BYTES,
            max_batch_size=_BATCH_MAX_BYTES,
            # Decisions name themselves: whoever reads them takes each identity once.
            enable_idempotence=False,
        )


def connection(settings: Settings) -> Connection:
    """The connection that the settings describe. Raises `SettingsError` for a file of TLS that cannot be used."""
    return Connection(
        settings.kafka_bootstrap_servers,
        settings.kafka_security_protocol,
        _ssl_context(settings) if settings.kafka_security_protocol in ("SSL", "SASL_SSL") else None,
        settings.kafka_sasl_mechanism or "PLAIN",
        settings.kafka_sasl_username,
        settings.kafka_sasl_password,
        settings.kafka_ssl_certificate_file is not None,
    )


def _ssl_context(settings: Settings) -> SSLContext:
    files = TlsFiles(
        "FRAUD_KAFKA", settings.kafka_ssl_ca_file, settings.kafka_ssl_certificate_file, settings.kafka_ssl_key_file
    )
    try:
        return files.context()
    except UnusableTlsFileError as error:
        raise SettingsError(str(error)) from error


class Publisher:
    """Publishes what a batch decided: returns when every broker that must have it has it.

    `topics` are the names on the cluster of the three topics of `outgoing`, `now_ms` the time since 1970: a message
    without a time would be older than any retention, and be deleted by the broker's next sweep. `retried` is told of
    every attempt that failed.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topics: Mapping[str, str],
        *,
        now_ms: Callable[[], int],
        random: Callable[[], float],
        retried: Callable[[], None] = lambda: None,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._now_ms = now_ms
        self._retried = retried
        self._producer = producer
        self._topics = topics
        self._random = random
        self._sleep = sleep

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Publish in order within each partition; waits as long as the brokers are away."""
        groups: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        for message in outgoing:
            groups[self._topics[message.topic], message.partition].append(message)
        await asyncio.gather(*(self._publish_group(topic, part, group) for (topic, part), group in groups.items()))

    async def _publish_group(self, topic: str, partition: int, group: Sequence[Outgoing]) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._send(topic, partition, group)
            except KafkaError as error:
                self._retried()
                _log.warning("%d messages wait for %s: %r", len(group), topic, error)
                await self._sleep(pause_s * (0.5 + self._random()))
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)
            else:
                return

    async def _send(self, topic: str, partition: int, group: Sequence[Outgoing]) -> None:
        count = len(await self._producer.partitions_for(topic))
        deliveries = []
        now_ms = self._now_ms()
        batch = self._producer.create_batch()
        for message in group:
            if batch.append(key=message.key, value=message.value, timestamp=now_ms) is None:
                deliveries.append(await self._producer.send_batch(batch, topic, partition=partition % count))
                batch = self._producer.create_batch()
                batch.append(key=message.key, value=message.value, timestamp=now_ms)
        deliveries.append(await self._producer.send_batch(batch, topic, partition=partition % count))
        await asyncio.gather(*deliveries)
