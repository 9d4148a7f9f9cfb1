"""Entity windows filled again from what DynamoDB holds, while workers go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from fraud.bootstrap import Artefacts, state_limits
from fraud.features.extraction import Extraction
from fraud.labels import resolve_labels
from fraud.live.brokers import check_brokers
from fraud.live.dynamodb_client import dynamodb_client
from fraud.live.kafka import connection
from fraud.live.redis_windows import entity_windows
from fraud.live.topic_ids import topic_ids
from fraud.ports import EntityEvent
from fraud.settings import Settings
from fraud.stores.dynamodb import DynamoCustomerTables
from fraud.stores.dynamodb_labels import DynamoLabels
from fraud.stores.entity_windows.rebuild import EntityMark, RebuildReport, rebuild
from fraud.typical import typical_decision
from fraud.walk import entity_events

# Workers acknowledge every second what they have published and entity windows have counted. What Redis counted before
# it lost its data must be acknowledged when the offsets are read: else it would be told neither by history nor again.
_SETTLING_S = 5


async def rebuild_entities(
    settings: Settings, artefacts: Artefacts, *, now_ms: int, on_progress: Callable[[int], None]
) -> RebuildReport:
    """A new generation of entity windows from history and labels as known at `now_ms`, swapped in at the end.

    `on_progress` is told how many events were read. Raises `RebuildError`, `EntityStoreUnavailableError`,
    `StoreUnavailableError`, and what the Kafka client raises.
    """
    plan = artefacts.feature_set.plan(state_limits(settings))
    extraction = Extraction(artefacts.feature_set, plan, artefacts.rates.base_exponent)
    windows = entity_windows(settings, plan)
    try:
        async with dynamodb_client(settings) as client:
            tables = DynamoCustomerTables(
                client,
                settings.table_prefix,
                typical_decision=await typical_decision(settings, artefacts),
                retention_days=settings.history_retention_days,
            )
            labels = DynamoLabels(client, settings.table_prefix)
            await asyncio.sleep(_SETTLING_S)
            return await rebuild(
                windows,
                lambda: _history(tables, extraction),
                lambda: _marks(labels, tables, extraction, now_ms),
                acknowledged=await acknowledged_offsets(settings),
                on_progress=on_progress,
            )
    finally:
        await windows.close()


async def _history(tables: DynamoCustomerTables, extraction: Extraction) -> AsyncIterator[tuple[str, EntityEvent]]:
    async for record in tables.every_event():
        stored = record.stored
        if stored.late or stored.transaction.event_type != "authorisation":
            continue
        for event in entity_events(extraction, stored.transaction, stored.origin.offset, first_time=stored.first_time):
            yield stored.origin.source, event


async def _marks(
    labels: DynamoLabels, tables: DynamoCustomerTables, extraction: Extraction, now_ms: int
) -> AsyncIterator[EntityMark]:
    async for known in labels.every_transaction():
        # A label is counted when it comes, even if it says that it becomes known later.
        latest_ms = max(now_ms, *(label.known_at_ms for label in known))
        if resolve_labels(known, latest_ms) != "fraud":
            continue
        timestamps = [label.transaction_timestamp_ms for label in known if label.transaction_timestamp_ms is not None]
        found = await tables.find(known[0].user_id, known[0].transaction_id, timestamps[0] if timestamps else None)
        if found is None or found.late or found.transaction.event_type != "authorisation":
            continue
        transaction = found.transaction
        keys = tuple(extraction.entity_keys(transaction))
        yield EntityMark(keys, transaction.transaction_id, transaction.timestamp_ms)


async def acknowledged_offsets(settings: Settings) -> dict[str, int]:
    """The next offset of every partition of the transactions, by source; 0 where the group has acknowledged nothing."""
    to, topic = connection(settings), settings.transactions_topic
    await check_brokers(to)
    producer, admin = to.producer(), to.admin()
    try:
        await producer.start()
        await admin.start()
        ids = await topic_ids(producer.client, [topic])
        partitions = await producer.partitions_for(topic)
        found: dict[Any, Any] = await admin.list_consumer_group_offsets(settings.consumer_group)
    finally:
        await admin.close()
        await producer.stop()
    known = {place.partition: value.offset for place, value in found.items() if place.topic == topic}
    return {f"{ids[topic]}:{partition}": max(0, known.get(partition, 0)) for partition in partitions}
