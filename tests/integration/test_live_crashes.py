"""A worker that is killed at any moment and started again loses, doubles and changes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from fraud.live.kafka import Publisher, connection
from fraud.live.outgoing import Outgoing
from fraud.settings import PREFIX, load_settings
from fraud.stack import Stack, StackPorts

FRAUD = str(Path(sys.executable).parent / "fraud")
TRANSACTIONS = 2_000
KILLS = 4
# What a slow machine needs at most for one stretch; only a hang takes longer.
PATIENCE_S = 240
NAMES = ("transactions", "labels", "decisions", "alerts", "dead-letter")


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    """One partition, so that entity windows are exact, too; names that no other test uses."""
    own = {f"FRAUD_{name.upper().replace('-', '_')}_TOPIC": f"crashes-{name}" for name in NAMES}
    return {
        **os.environ,
        **stack.environment,
        **own,
        "FRAUD_TABLE_PREFIX": "crashes-",
        "FRAUD_CONSUMER_GROUP": "crashes",
        "FRAUD_TOPIC_PARTITIONS": "1",
        "FRAUD_TOPIC_REPLICATION": "1",
        "FRAUD_SESSION_TIMEOUT_SECONDS": "6",
        "FRAUD_REDIS_DEADLINE_MS": "10000",
        "FRAUD_BATCH_SIZE": "64",
        "FRAUD_METRICS_PORT": str(StackPorts.free().redis),
        # The simulated year may lie ahead of the machine's clock.
        "FRAUD_FUTURE_TOLERANCE_MINUTES": "99999999",
    }


@pytest.fixture
def transactions(tmp_path: Path, environment: dict[str, str]) -> Path:
    """Simulated transactions without labels, some of them sent twice, and lines that are no transactions."""
    simulated, file = tmp_path / "simulated.jsonl", tmp_path / "transactions.jsonl"
    command = [FRAUD, "simulate", "--out", simulated, "--days", "40", "--customers", "120", "--seed", "5"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
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


class WorkerProcess:
    """A worker that can be killed."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment, self._log = environment, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([FRAUD, "worker"], env=self._environment, stderr=log, stdout=log)

    def wait_until_ready(self) -> None:
        url = f"http://127.0.0.1:{self._environment['FRAUD_METRICS_PORT']}/health/ready"
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with suppress(OSError), urlopen(url, timeout=10) as answer:
                if answer.status == HTTPStatus.OK:
                    return
            time.sleep(0.2)
        raise AssertionError(f"the worker does not become ready: {self._log.read_text()[-3000:]}")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    if worker._process is not None and worker._process.poll() is None:
        worker.kill()


def published(environment: dict[str, str], topic: str) -> list[dict[str, Any]]:
    """Every message of a topic now."""

    async def read() -> list[dict[str, Any]]:
        servers = environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"]
        # Not by a seek, which would race with where a consumer starts by itself.
        consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partition = TopicPartition(topic, 0)
            consumer.assign([partition])
            end = (await consumer.end_offsets([partition]))[partition]
            messages: list[dict[str, Any]] = []
            while await consumer.position(partition) < end:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    messages += [json.loads(record.value) for record in records]
            return messages
        finally:
            await consumer.stop()

    return asyncio.run(read())


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
    subprocess.run([FRAUD, "init"], env=environment, check=True, capture_output=True)
    assert asyncio.run(publish_and_read()) == [1_772_452_800_000]


def identities(messages: list[dict[str, Any]]) -> set[str]:
    return {message["decision"]["transaction_id"] for message in messages}


def wait_for(environment: dict[str, str], count: int, log: Path) -> list[dict[str, Any]]:
    """The decisions, once there are `count` different ones."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        messages = published(environment, "crashes-decisions")
        if len(identities(messages)) >= count:
            return messages
        time.sleep(0.5)
    raise AssertionError(f"{len(identities(messages))} of {count} decided; {log.read_text()[-3000:]}")


def test_a_worker_can_be_stopped_while_it_starts(environment: dict[str, str], worker: WorkerProcess) -> None:
    subprocess.run([FRAUD, "init"], env=environment, check=True, capture_output=True)
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
    command = [FRAUD, "replay", str(transactions), "--out", str(replayed), "--decisions-jsonl"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    expected = {
        message["decision"]["transaction_id"]: message
        for message in map(json.loads, (replayed / "decisions.jsonl").read_text().splitlines())
    }
    subprocess.run([FRAUD, "init"], env=environment, check=True, capture_output=True)
    subprocess.run(
        [FRAUD, "produce", str(transactions), "--speed", "max"], env=environment, check=True, capture_output=True
    )
    log = tmp_path / "worker.log"
    moments = random.Random(11)
    for kill in range(1, KILLS + 1):
        worker.start()
        wait_for(environment, len(expected) * kill // (KILLS + 2), log)
        # Anywhere in the batches that follow.
        time.sleep(moments.random())
        worker.kill()
    worker.start()
    worker.wait_until_ready()
    messages = wait_for(environment, len(expected), log)
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
    alerts = identities(published(environment, "crashes-alerts"))
    replayed_alerts = map(json.loads, (replayed / "alerts.jsonl").read_text().splitlines())
    assert alerts == identities(list(replayed_alerts))
