"""A worker as a process on real servers, what it has published, and where it publishes it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from aiokafka import AIOKafkaConsumer

from fraud.stack import Stack, StackPorts

FRAUD = str(Path(sys.executable).parent / "fraud")
# What a slow machine needs at most for one stretch; only a hang takes longer.
PATIENCE_S = 240
# Redis has 16; no two tests share one.
_databases: dict[str, int] = {}
_TOPICS = ("transactions", "labels", "decisions", "alerts", "dead-letter")


def worker_environment(stack: Stack, name: str, **settings: str) -> dict[str, str]:
    """Names that no other test uses, and one partition, so that entity windows are exact, too.

    `settings` are by name, without the prefix, in lower case.
    """
    redis = stack.environment["FRAUD_REDIS_URL"]
    own = {f"{topic.replace('-', '_')}_topic": f"{name}-{topic}" for topic in _TOPICS}
    chosen = {
        "table_prefix": f"{name}-",
        "redis_url": f"{redis.rsplit('/', 1)[0]}/{_databases.setdefault(name, 1 + len(_databases))}",
        "consumer_group": name,
        "topic_partitions": "1",
        "topic_replication": "1",
        "session_timeout_seconds": "6",
        "redis_deadline_ms": "10000",
        "batch_size": "64",
        "metrics_port": str(StackPorts.free().redis),
        # The simulated year may lie ahead of the machine's clock.
        "future_tolerance_minutes": "99999999",
        **own,
        **settings,
    }
    return {**os.environ, **stack.environment, **{f"FRAUD_{key.upper()}": value for key, value in chosen.items()}}


def fraud(environment: dict[str, str], *arguments: str | Path) -> str:
    """The output of a command that must succeed."""
    command = [FRAUD, *map(str, arguments)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


class WorkerProcess:
    """A worker that can be killed."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment, self.log = environment, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([FRAUD, "worker"], env=self._environment, stderr=log, stdout=log)

    def wait_until_ready(self) -> None:
        url = f"http://127.0.0.1:{self._environment['FRAUD_METRICS_PORT']}/health/ready"
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with suppress(OSError), urlopen(url, timeout=10) as answer:
                if answer.status == HTTPStatus.OK:
                    return
            time.sleep(0.2)
        raise AssertionError(f"the worker does not become ready: {self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def end(self) -> None:
        """Whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self.kill()


def published(environment: dict[str, str], name: str) -> list[dict[str, Any]]:
    """Every message of a topic now: `decisions`, `alerts` or `dead_letter`."""

    async def read() -> list[dict[str, Any]]:
        consumer = AIOKafkaConsumer(
            environment[f"FRAUD_{name.upper()}_TOPIC"],
            bootstrap_servers=environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"],
            enable_auto_commit=False,
            # Not by a seek, which would race with where a consumer starts by itself.
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            ends = {tp: end for tp, end in (await consumer.end_offsets(consumer.assignment())).items() if end}
            messages: list[dict[str, Any]] = []
            while ends:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    messages += [json.loads(record.value) for record in records]
                ends = {tp: end for tp, end in ends.items() if await consumer.position(tp) < end}
            return messages
        finally:
            await consumer.stop()

    return asyncio.run(read())


def identities(messages: list[dict[str, Any]]) -> set[str]:
    """The transactions decided."""
    return {message["decision"]["transaction_id"] for message in messages}


def wait_for_decisions(environment: dict[str, str], count: int, worker: WorkerProcess) -> list[dict[str, Any]]:
    """The decisions, once there are `count` different ones."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        messages = published(environment, "decisions")
        if len(identities(messages)) >= count:
            return messages
        time.sleep(0.5)
    raise AssertionError(f"{len(identities(messages))} of {count} decided; {worker.log.read_text()[-3000:]}")
