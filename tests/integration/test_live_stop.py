"""A worker that is told to stop finishes its work and leaves; what it knew then is there for `fraud profile`."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from live_worker import FRAUD, WorkerProcess, fraud, identities, published, wait_for_decisions, worker_environment

from fraud.stack import Stack

CARD = "4929123412341234"
CUSTOMERS = 20
PAYMENTS = 6_000


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    return worker_environment(stack, "stop", batch_size="16")


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def payment(number: int) -> dict[str, Any]:
    user, minute = number % CUSTOMERS, number // CUSTOMERS
    return {
        "transaction_id": f"t{number}",
        "user_id": f"u{user}",
        "timestamp": f"2026-03-02T{minute // 60:02}:{minute % 60:02}:00Z",
        "amount": 12.5,
        "currency": "EUR",
        "card_id": CARD,
        "merchant_id": f"m{number % 7}",
        "country": "DE",
    }


def send(environment: dict[str, str], messages: list[dict[str, Any]]) -> None:
    async def send_all() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"], linger_ms=20)
        await producer.start()
        topic = environment["FRAUD_TRANSACTIONS_TOPIC"]
        sent = [await producer.send(topic, json.dumps(one).encode(), key=one["user_id"].encode()) for one in messages]
        await asyncio.gather(*sent)
        await producer.stop()

    asyncio.run(send_all())


def acknowledged(environment: dict[str, str]) -> int:
    async def ask() -> int:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"],
            group_id=environment["FRAUD_CONSUMER_GROUP"],
            enable_auto_commit=False,
        )
        await consumer.start()
        offset = await consumer.committed(TopicPartition(environment["FRAUD_TRANSACTIONS_TOPIC"], 0))
        await consumer.stop()
        return offset or 0

    return asyncio.run(ask())


def members(environment: dict[str, str]) -> int:
    async def ask() -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"])
        await admin.start()
        (answer,) = await admin.describe_consumer_groups([environment["FRAUD_CONSUMER_GROUP"]])
        await admin.close()
        return len(answer.groups[0][5])

    return asyncio.run(ask())


def test_a_worker_stopped_under_load_acknowledges_all_that_it_published_and_leaves(
    environment: dict[str, str], worker: WorkerProcess
) -> None:
    fraud(environment, "init")
    send(environment, [payment(number) for number in range(PAYMENTS)])
    worker.start()
    wait_for_decisions(environment, 200, worker)
    assert worker.stop() == 0
    decided = published(environment, "decisions")
    assert acknowledged(environment) == len(decided) == len(identities(decided))
    assert len(decided) < PAYMENTS
    assert members(environment) == 0
    assert CARD not in worker.log.read_text()
    assert all(json.loads(line)["message"] for line in worker.log.read_text().splitlines())
    worker.start()
    decided = wait_for_decisions(environment, PAYMENTS, worker)
    assert worker.stop() == 0
    assert len(decided) == PAYMENTS
    check_profile(environment)


def check_profile(environment: dict[str, str]) -> None:
    shown = fraud(environment, "profile", "u3", "--last", "4")
    of_each = PAYMENTS // CUSTOMERS
    assert CARD not in shown
    assert f"events         {of_each:,}, of these" in shown
    assert f"payments       {of_each:,}, mean 12.50 EUR, largest 12.50 EUR" in shown
    assert "home country   DE" in shown
    known = json.loads(fraud(environment, "profile", "u3", "--last", "4", "--json"))
    assert [one["transaction_id"] for one in known["transactions"]] == [f"t{PAYMENTS - 77 + 20 * n}" for n in range(4)]
    assert all(one["action"] for one in known["transactions"])
    assert 0 < known["snapshot_events"] <= known["events"] == of_each
    assert set(known["habits"]["merchants"]) == {f"m{number}" for number in range(7)}
    nobody = subprocess.run([FRAUD, "profile", "nobody"], env=environment, capture_output=True, text=True, check=False)
    assert nobody.returncode == 2
    assert "nobody: no such customer" in nobody.stderr
