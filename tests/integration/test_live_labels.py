"""Labels that come before their transaction, or for none."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from aiokafka import AIOKafkaProducer
from live_worker import PATIENCE_S, WorkerProcess, fraud, published, worker_environment

from fraud.stack import Stack

LABEL = {"user_id": "u1", "label": "fraud", "source": "analyst", "known_at": "2026-03-03T00:00:00Z"}


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    # Seven seconds: what waits is looked at every other second.
    return worker_environment(stack, "labels", label_wait_hours="0.002", tokenised_fields="user_id")


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def send(environment: dict[str, str], topic: str, message: dict[str, Any]) -> None:
    async def send_one() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"])
        await producer.start()
        await producer.send_and_wait(environment[f"FRAUD_{topic}_TOPIC"], json.dumps(message).encode(), key=b"u1")
        await producer.stop()

    asyncio.run(send_one())


def wait_until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.5)


def counted(environment: dict[str, str], outcome: str) -> bool:
    with urlopen(f"http://127.0.0.1:{environment['FRAUD_METRICS_PORT']}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return any("label" in line and f'"{outcome}"' in line and float(line.split()[-1]) >= 1 for line in lines)


def payment(transaction_id: str, day: int) -> dict[str, Any]:
    moment = f"2026-03-{day:02}T12:00:00Z"
    known = {"user_id": "u1", "merchant_id": "m1", "amount": 12.5, "currency": "EUR", "timestamp": moment}
    return {**known, "transaction_id": transaction_id}


def test_a_label_waits_for_its_transaction_and_is_a_dead_letter_when_none_comes(
    environment: dict[str, str], worker: WorkerProcess
) -> None:
    fraud(environment, "init")
    worker.start()
    worker.wait_until_ready()
    send(environment, "LABELS", {**LABEL, "label_id": "l1", "transaction_id": "t1"})
    wait_until(lambda: counted(environment, "parked"))
    send(environment, "TRANSACTIONS", payment("t1", 2))
    wait_until(lambda: counted(environment, "found"))
    send(environment, "TRANSACTIONS", payment("t2", 4))
    wait_until(lambda: len(published(environment, "decisions")) == 2)
    features = published(environment, "decisions")[1]["decision"]["features"]
    assert features["merchant_hours_since_fraud"] == 48

    send(environment, "LABELS", {**LABEL, "label_id": "l2", "transaction_id": "never"})
    wait_until(lambda: published(environment, "dead_letter"))
    (letter,) = published(environment, "dead_letter")
    assert (letter["code"], letter["topic"], letter["offset"]) == ("unknown_transaction", "labels-labels", 1)
    assert "did not come within" in letter["reason"]
    # It is sent again as it came, and finds its transaction like any other.
    shown = fraud(environment, "dead-letters", "show", "labels-labels/0/1", "--payload")
    assert json.loads(shown.splitlines()[-1]) == {**LABEL, "label_id": "l2", "transaction_id": "never"}
    send(environment, "TRANSACTIONS", payment("never", 5))
    wait_until(lambda: len(published(environment, "decisions")) == 3)
    fraud(environment, "dead-letters", "retry", "--all")
    wait_until(lambda: counted(environment, "counted"))
    assert worker.stop() == 0


def test_a_label_that_waits_finds_a_transaction_that_comes_after_a_change_of_the_token_key(
    stack: Stack, tmp_path: Path
) -> None:
    environment = worker_environment(stack, "labels-rotated", label_wait_hours="0.05", tokenised_fields="user_id")
    former = {"FRAUD_TOKEN_KEY": "the first key of all, in use", "FRAUD_TOKEN_KEY_ID": "k1"}
    present = {
        "FRAUD_TOKEN_KEY": "the second key, which follows",
        "FRAUD_TOKEN_KEY_ID": "k2",
        "FRAUD_TOKEN_PREVIOUS_KEY": former["FRAUD_TOKEN_KEY"],
        "FRAUD_TOKEN_PREVIOUS_KEY_ID": "k1",
    }
    fraud(environment, "init")
    workers = [WorkerProcess({**environment, **keys}, tmp_path / "worker.log") for keys in (former, present)]
    try:
        workers[0].start()
        workers[0].wait_until_ready()
        send(environment, "LABELS", {**LABEL, "label_id": "l1", "transaction_id": "t1"})
        wait_until(lambda: counted(environment, "parked"))
        assert workers[0].stop() == 0
        workers[1].start()
        workers[1].wait_until_ready()
        send(environment, "TRANSACTIONS", payment("t1", 2))
        wait_until(lambda: counted(environment, "found"))
        assert workers[1].stop() == 0
    finally:
        for worker in workers:
            worker.end()
    assert published(environment, "dead_letter") == []
