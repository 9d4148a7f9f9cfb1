"""How large what the service keeps and publishes is, read from where it lies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis
from aiokafka import AIOKafkaConsumer

from fraud.live.dynamodb_client import dynamodb_client
from fraud.settings import Settings

# Enough for a mean; a table may have hundreds of thousands.
_SAMPLE = 2_000


@dataclass
class Sizes:
    """Mean bytes: of a published decision, of items as DynamoDB counts them, of an entity's keys in Redis."""

    decision_bytes: int
    history_item_bytes: int
    profile_item_bytes: int
    entity_bytes: int
    entities: int


async def measured_sizes(settings: Settings) -> Sizes:
    """The sizes in the topic, the tables and the Redis database of these settings."""
    async with dynamodb_client(settings) as client:
        items = {
            table: [item async for item in _items(client, settings.table_prefix + table)]
            for table in ("TransactionHistory", "UserProfiles")
        }
    means = {table: sum(map(_item_bytes, found)) // max(1, len(found)) for table, found in items.items()}
    entity_bytes, entities = _entity_sizes(settings)
    return Sizes(
        await _decision_bytes(settings), means["TransactionHistory"], means["UserProfiles"], entity_bytes, entities
    )


async def _items(client: Any, table: str) -> AsyncIterator[Mapping[str, Mapping[str, Any]]]:
    found = 0
    async for page in client.get_paginator("scan").paginate(TableName=table):
        for item in page["Items"]:
            yield item
            found += 1
        if found >= _SAMPLE:
            return


def _item_bytes(item: Mapping[str, Mapping[str, Any]]) -> int:
    """Names and values; numbers take about a byte for two digits (DynamoDB's developer guide, "item sizes")."""
    size = 0
    for name, typed in item.items():
        ((kind, value),) = typed.items()
        size += len(name) + (len(value) // 2 + 1 if kind == "N" else len(value))
    return size


async def _decision_bytes(settings: Settings) -> int:
    consumer = AIOKafkaConsumer(
        settings.decisions_topic,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        lengths: list[int] = []
        while len(lengths) < _SAMPLE:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                lengths += [len(record.value) for record in records]
    finally:
        await consumer.stop()
    return sum(lengths) // len(lengths)


def _entity_sizes(settings: Settings) -> tuple[int, int]:
    """Mean bytes of an entity, its past included, and how many there are."""
    with redis.Redis.from_url(settings.redis_url) as client:
        names: list[Any] = list(client.scan_iter(match=f"{settings.table_prefix}*", count=1_000))
        entities = sum(b":past:" not in name and name.count(b":") >= 3 for name in names)
        every = max(1, len(names) // _SAMPLE)
        sample: list[Any] = [client.memory_usage(name) for name in names[::every]]
    return int(sum(sample) * every / max(1, entities)), entities
