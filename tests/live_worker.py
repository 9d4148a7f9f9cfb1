"""A worker as a process on real servers, what it has published, and where it publishes it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from fraud.stack import Stack, StackPorts

FRAUD = str(Path(sys.executable).parent / "fraud")
# What a slow machine needs at most for one stretch; only a hang takes longer.
PATIENCE_S = 240
# Redis has 16. Tests run one after the other, so the one that shares a database with another has it for itself.
_REDIS_DATABASES = 16
_databases: dict[str, int] = {}
_DECIDED = re.compile(r'^fraud_transactions_total\{outcome="decided"\} (\S+)', re.MULTILINE)
_TOPICS = ("transactions", "labels", "decisions", "alerts", "dead-letter")


def worker_environment(stack: Stack, name: str, **settings: str) -> dict[str, str]:
    """Names that no other test uses, and one partition, so that entity windows are exact, too.

    `settings` are by name, without the prefix, in lower case.
    """
    redis = stack.environment["FRAUD_REDIS_URL"]
    database = _databases.setdefault(name, 1 + len(_databases) % (_REDIS_DATABASES - 1))
    own = {f"{topic.replace('-', '_')}_topic": f"{name}-{topic}" for topic in _TOPICS}
    chosen = {
        "table_prefix": f"{name}-",
        "redis_url": f"{redis.rsplit('/', 1)[0]}/{database}",
        "consumer_group": name,
        "topic_partitions": "1",
        "topic_replication": "1",
        "session_timeout_seconds": "6",
        "redis_deadline_ms": "10000",
        "batch_size": "64",
        "metrics_port": str(StackPorts.free().redis),
        # The simulated year may lie ahead of the machine's clock.
        "future_tolerance_minutes": "99999999",
        # Or behind it, and a replay knows nothing of stale alerts.
        "stale_alert_minutes": "99999999",
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


class Message(NamedTuple):
    """A published message, and when: milliseconds since 1970."""

    published_ms: int
    value: bytes


class WorkerProcess:
    """A worker that can be killed. `command` starts it in another way than `fraud worker`."""

    def __init__(self, environment: dict[str, str], log: Path, command: Sequence[str] = (FRAUD, "worker")) -> None:
        self._environment, self.log, self._command = environment, log, tuple(command)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str] = ()) -> None:
        """Start it, this once by `command` if one is given."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command or self._command, env=self._environment, stderr=log, stdout=log, stdin=subprocess.DEVNULL
            )

    def wait_until_ready(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while not self.is_ready:
            assert time.monotonic() < end, f"the worker does not become ready: {self.last_lines}"
            time.sleep(0.2)

    @property
    def is_ready(self) -> bool:
        """What it says of itself."""
        with suppress(OSError):
            return self.health("ready")[0] == HTTPStatus.OK
        return False

    def health(self, kind: str) -> tuple[int, str]:
        """Status and content of the answer about `live` or `ready`. Raises `OSError` while it does not answer."""
        url = f"http://127.0.0.1:{self._environment['FRAUD_METRICS_PORT']}/health/{kind}"
        try:
            with urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    @property
    def last_lines(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    @property
    def metrics(self) -> str:
        """What it tells Prometheus."""
        with urlopen(f"http://127.0.0.1:{self._environment['FRAUD_METRICS_PORT']}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    @property
    def decided(self) -> int:
        """How many transactions it has decided since it was started; none while it does not answer."""
        with suppress(OSError):
            found = _DECIDED.search(self.metrics)
            return 0 if found is None else int(float(found[1]))
        return 0

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        self.running.kill()
        self.running.wait()

    def pause(self) -> None:
        """It stands still until `resume`: to everybody else it is away."""
        self.running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.running.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(PATIENCE_S)

    def end(self) -> None:
        """Whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self.kill()


class TopicReader:
    """Reads a topic as it grows: `decisions`, `alerts`, `dead_letter`. Needs to be closed."""

    def __init__(self, environment: dict[str, str], name: str) -> None:
        self._runner = asyncio.Runner()
        self._topic = environment[f"FRAUD_{name.upper()}_TOPIC"]
        self._servers = environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"]
        self._consumer: AIOKafkaConsumer | None = None
        self.messages: list[Message] = []

    def read(self) -> list[Message]:
        """Everything that the topic holds now."""
        self._runner.run(self._read())
        return self.messages

    async def _read(self) -> None:
        if self._consumer is None:
            self._consumer = AIOKafkaConsumer(
                self._topic,
                bootstrap_servers=self._servers,
                enable_auto_commit=False,
                # Not by a seek, which would race with where a consumer starts by itself.
                auto_offset_reset="earliest",
            )
            await self._consumer.start()
        # Brokers may be away for a while, and that is what is tested.
        with suppress(KafkaError):
            ends = await self._consumer.end_offsets(self._consumer.assignment())
            while any([await self._consumer.position(tp) < end for tp, end in ends.items()]):
                for records in (await self._consumer.getmany(timeout_ms=500)).values():
                    self.messages += [Message(record.timestamp, record.value) for record in records]

    def close(self) -> None:
        if self._consumer is not None:
            self._runner.run(self._consumer.stop())
        self._runner.close()


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
    raise AssertionError(f"{len(identities(messages))} of {count} decided; {worker.last_lines}")
