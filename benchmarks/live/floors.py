"""`python -m benchmarks.live.floors aiokafka|faust|stores`: what a worker does beside deciding, with canned answers.

aiokafka: consume and publish with that client alone. faust: the same through the service's own agents. stores: that,
and for each batch the calls to Redis and DynamoDB that the service makes for customers it holds in memory, with canned
payloads. Settings are the service's; `FLOOR_*` say what the payloads are.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer

from benchmarks.live.payments import Customers
from fraud.bootstrap import load_artefacts, state_limits
from fraud.live.decisions import Arrival
from fraud.live.dynamodb_client import dynamodb_client
from fraud.live.kafka import Publisher, connection
from fraud.live.outgoing import DECISIONS, Outgoing
from fraud.live.stream import Handler, create_app, run_app
from fraud.live.topic_ids import topic_ids
from fraud.ports import EntityEvent
from fraud.settings import Settings, load_settings
from fraud.stores.customers import EVENTS_BETWEEN_SNAPSHOTS
from fraud.stores.entity_windows.generations import SHARDS, shard_of
from fraud.stores.entity_windows.windows import EntityWindows
from fraud.stores.transaction_writer import TransactionWriter
from fraud.stores.write_parts import TRANSACTION_ACTIONS, WRITES_IN_FLIGHT

# Entities that the canned calls go round: those of so many payments.
CANNED_PAYMENTS = 20_000
_EXPIRES_AT_S = "99999999999"


class CannedStores:
    """Calls as the service makes them for a batch of payments by customers it holds, whatever the batch is."""

    def __init__(self, settings: Settings, item_bytes: int, snapshot_bytes: int, customers: int) -> None:
        self._settings = settings
        self._item, self._snapshot = b"x" * item_bytes, b"x" * snapshot_bytes
        self._payments = itertools.cycle(Customers(customers).payments(0, CANNED_PAYMENTS))
        self._numbers = itertools.count()
        self._writes = asyncio.Semaphore(WRITES_IN_FLIGHT)
        self._resources = AsyncExitStack()
        self._writer: TransactionWriter
        self._windows: EntityWindows
        self._generations: dict[int, str] = {}

    async def start(self) -> None:
        """Connect."""
        settings = self._settings
        artefacts = load_artefacts(
            settings, settings.feature_set, {}, policy_file=settings.policy_file, model_folder=None
        )
        plan = artefacts.feature_set.plan(state_limits(settings))
        client = await self._resources.enter_async_context(dynamodb_client(settings))
        self._writer = TransactionWriter(client)
        self._windows = EntityWindows(settings.redis_url, plan, prefix=settings.table_prefix, deadline_ms=10_000)
        self._resources.push_async_callback(self._windows.close)
        for shard, view in (await self._windows.read_views(range(SHARDS))).items():
            assert view.control.current is not None
            self._generations[shard] = view.control.current.name

    async def stop(self) -> None:
        """Let go of everything."""
        await self._resources.aclose()

    async def answer(self, arrivals: Sequence[Arrival]) -> None:
        """Read entity windows, write history and snapshots, count in the entity windows."""
        by_source: dict[str, list[EntityEvent]] = defaultdict(list)
        heads: dict[int, list[str]] = defaultdict(list)
        seen = set()
        now_ms = time.time_ns() // 1_000_000
        for arrival in arrivals:
            payment = next(self._payments)
            user_id = payment.key.decode()
            for kind, key in payment.entities:
                event = EntityEvent(kind, key, arrival.place.offset, now_ms, 1_000, user_id, user_id, first_time=False)
                by_source[arrival.place.source].append(event)
                if (kind, key) not in seen:
                    seen.add((kind, key))
                    shard = shard_of(kind, key)
                    heads[shard].append(self._windows.keys.entity(shard, self._generations[shard], kind, key))
        names = self._windows.keys
        await self._windows.connection.ask([["MGET", names.control(shard), *heads[shard]] for shard in heads], 10)
        actions = [self._put("TransactionHistory", self._item) for _ in arrivals]
        actions += [self._put("UserProfiles", self._snapshot) for _ in arrivals[::EVENTS_BETWEEN_SNAPSHOTS]]
        parts = [actions[at : at + TRANSACTION_ACTIONS] for at in range(0, len(actions), TRANSACTION_ACTIONS)]
        await asyncio.gather(*map(self._write, parts))
        await self._windows.commit(by_source)

    def _put(self, table: str, content: bytes) -> dict[str, Any]:
        name = {"S": f"floor-{next(self._numbers)}"}
        item = {"user_id": name, "event": name, "transaction_id": name, "body": {"B": content}}
        return {
            "Put": {
                "TableName": self._settings.table_prefix + table,
                "Item": item | {"expires_at": {"N": _EXPIRES_AT_S}},
                "ConditionExpression": "attribute_not_exists(user_id)",
            }
        }

    async def _write(self, actions: Sequence[dict[str, Any]]) -> None:
        async with self._writes:
            await self._writer.write(actions)


class Floor:
    """Answers every message with itself, padded to the length of a decision; the stores' work is done before."""

    def __init__(self, settings: Settings, answer_bytes: int, stores: CannedStores | None) -> None:
        self._settings = settings
        self._answer_bytes = answer_bytes
        self._stores = stores
        self._resources = AsyncExitStack()
        self._publisher: Publisher
        self.topic_ids: dict[str, str] = {}

    async def start(self) -> None:
        """Connect."""
        settings = self._settings
        producer = connection(settings).producer()
        await producer.start()
        self._resources.push_async_callback(producer.stop)
        spread = random.SystemRandom().random
        self._publisher = Publisher(
            producer, {DECISIONS: settings.decisions_topic}, now_ms=lambda: time.time_ns() // 1_000_000, random=spread
        )
        self.topic_ids.update(await topic_ids(producer.client, [settings.transactions_topic]))
        if self._stores is not None:
            await self._stores.start()
            self._resources.push_async_callback(self._stores.stop)

    async def stop(self) -> None:
        """Let go of everything."""
        await self._resources.aclose()

    async def answer(self, arrivals: Sequence[Arrival]) -> None:
        """Call the stores, then publish."""
        if self._stores is not None:
            await self._stores.answer(arrivals)
        await self.publish([(one.place.partition, one.place.key, one.value or b"") for one in arrivals])

    async def publish(self, messages: Sequence[tuple[int, bytes | None, bytes]]) -> None:
        """Publish messages (partition, key, value) padded with blanks, which are legal behind a JSON value."""
        width = self._answer_bytes
        await self._publisher.publish(
            [Outgoing(DECISIONS, partition, key, value.ljust(width)) for partition, key, value in messages]
        )


def run_faust(settings: Settings, floor: Floor) -> None:
    """Run until a signal stops it."""
    handler = Handler(
        settings.transactions_topic,
        settings.batch_size,
        [floor.answer] * settings.batches_at_once,
        lambda _source: None,
        lambda _source: None,
    )
    app = create_app(
        connection(settings),
        settings.consumer_group,
        [handler],
        floor.topic_ids,
        prepare=floor.start,
        finish=floor.stop,
        session_timeout_s=settings.session_timeout_seconds,
    )
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    run_app(app, loop)


async def run_aiokafka(settings: Settings, floor: Floor) -> None:
    """Run until a signal stops it."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    consumer = AIOKafkaConsumer(
        settings.transactions_topic,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=settings.consumer_group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    await floor.start()
    try:
        while True:
            found = await consumer.getmany(timeout_ms=500, max_records=settings.batch_size)
            if found:
                records = itertools.chain.from_iterable(found.values())
                await floor.publish([(record.partition, record.key, record.value) for record in records])
                await consumer.commit()
    except asyncio.CancelledError:
        await consumer.stop()
        await floor.stop()


def main() -> None:
    """Run the floor that the command line names."""
    kind, settings = sys.argv[1], load_settings(os.environ)
    sizes = {name: int(os.environ[f"FLOOR_{name}"]) for name in ("DECISION_BYTES", "ITEM_BYTES", "SNAPSHOT_BYTES")}
    stores = None
    if kind == "stores":
        customers = int(os.environ["FLOOR_CUSTOMERS"])
        stores = CannedStores(settings, sizes["ITEM_BYTES"], sizes["SNAPSHOT_BYTES"], customers)
    floor = Floor(settings, sizes["DECISION_BYTES"], stores)
    if kind == "aiokafka":
        uvloop.run(run_aiokafka(settings, floor))
    else:
        run_faust(settings, floor)


if __name__ == "__main__":
    main()
