"""A worker that is killed at any moment and started again loses, doubles and changes nothing."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from live_worker import WorkerProcess, fraud, identities, published, wait_for_decisions, worker_environment

from fraud.live.kafka import Publisher, connection
from fraud.live.outgoing import Outgoing
from fraud.settings import PREFIX, load_settings
from fraud.stack import Stack

TRANSACTIONS = 2_000
KILLS = 4


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    return worker_environment(stack, "crashes")


@pytest.fixture
def transactions(tmp_path: Path, environment: dict[str, str]) -> Path:
    """Simulated transactions without labels, some of them sent twice, and lines that are no transactions."""
    simulated, file = tmp_path / "simulated.jsonl", tmp_path / "transactions.jsonl"
    fraud(environment, "simulate", "--out", simulated, "--days", "40", "--customers", "120", "--seed", "5")
    spread = random.Random(5)
    lines = []
    for line in simulated.read_text().splitlines()[:TRANSACTIONS]:
        record = json.loads(line)
        lines.append(json.dumps({name: value for name, value in record.items() if not is_of_label(name)}))
        if spread.random() < 0.02:
            # Lately enough that a repetition is known as one.
            lines.append(spread.choice(lines[-100:]))
    file.write_text("\n".join(lines) + "\n")
    return file


def is_of_label(name: str) -> bool:
    return name.startswith("label") or name == "scenario"


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def test_messages_carry_the_time_at_which_they_were_published(environment: dict[str, str]) -> None:
    """A message without a time is older than any retention: the broker's next sweep would delete the decision."""

    async def publish_and_read() -> list[int]:
        settings = load_settings(environment)
        producer = connection(settings).producer()
        await producer.start()
        publisher = Publisher(producer, {"decisions": "times-alerts"}, now_ms=lambda: 1_772_452_800_000, random=float)
        await publisher.publish([Outgoing("decisions", 0, b"key", b"{}")])
        consumer = AIOKafkaConsumer(
            "times-alerts", bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest"
        )
        await consumer.start()
        times = [
            record.timestamp for records in (await consumer.getmany(timeout_ms=20_000)).values() for record in records
        ]
        await consumer.stop()
        await producer.stop()
        return times

    own = {name: value.replace("crashes", "times") for name, value in environment.items() if name.startswith(PREFIX)}
    environment.update(own)
    fraud(environment, "init")
    assert asyncio.run(publish_and_read()) == [1_772_452_800_000]


def test_a_worker_can_be_stopped_while_it_starts(environment: dict[str, str], worker: WorkerProcess) -> None:
    fraud(environment, "init")
    # From its first lines to a running app; before those lines the signal ends the interpreter.
    for after_s in (0.4, 0.8, 1.6, 3.2):
        worker.start()
        time.sleep(after_s)
        assert worker.stop() in (0, -signal.SIGTERM)
    worker.start()
    worker.wait_until_ready()
    assert worker.stop() == 0


def test_decisions_after_kills_are_those_of_an_undisturbed_replay(
    environment: dict[str, str], transactions: Path, worker: WorkerProcess, tmp_path: Path
) -> None:
    replayed = tmp_path / "replayed"
    fraud(environment, "replay", transactions, "--out", replayed, "--decisions-jsonl")
    expected = {
        message["decision"]["transaction_id"]: message
        for message in map(json.loads, (replayed / "decisions.jsonl").read_text().splitlines())
    }
    fraud(environment, "init")
    fraud(environment, "produce", transactions, "--speed", "max")
    moments = random.Random(11)
    for kill in range(1, KILLS + 1):
        worker.start()
        wait_for_decisions(environment, len(expected) * kill // (KILLS + 2), worker)
        # Anywhere in the batches that follow.
        time.sleep(moments.random())
        worker.kill()
    worker.start()
    worker.wait_until_ready()
    messages = wait_for_decisions(environment, len(expected), worker)
    assert worker.stop() == 0
    assert identities(messages) == expected.keys()
    differing = {
        (name, str(value), str(expected[decision["transaction_id"]]["decision"][part][name]))
        for decision in (message["decision"] for message in messages)
        for part in ("features", "profile")
        for name, value in decision[part].items()
        if value != expected[decision["transaction_id"]]["decision"][part][name]
    }
    assert differing == set()
    assert all(message == expected[message["decision"]["transaction_id"]] for message in messages)
    alerts = identities(published(environment, "alerts"))
    replayed_alerts = map(json.loads, (replayed / "alerts.jsonl").read_text().splitlines())
    assert alerts == identities(list(replayed_alerts))
