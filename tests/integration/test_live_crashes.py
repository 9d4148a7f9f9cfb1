"""A worker that is killed at any moment and started again loses, doubles and changes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from statistics import median

import killed_worker
import pytest
from aiokafka import AIOKafkaConsumer
from killed_worker import STAGES
from live_worker import PATIENCE_S, Message, TopicReader, WorkerProcess, fraud, worker_environment
from undisturbed import Differences, disorderly, identity_of, replay, simulated_lines, wait_for_all, write_lines

from fraud.live.kafka import Publisher, connection
from fraud.live.outgoing import Outgoing
from fraud.settings import PREFIX, load_settings
from fraud.stack import Stack

ANY_MOMENT = "any moment"
# `make soak` goes through every stage, in so many rounds; without it, through those that leave most behind.
SOAK_ROUNDS = int(os.environ.get("SOAK_ROUNDS", "0"))
SHORT = ("half of history written", "history written", "entities being counted", "half published", "acknowledged")
KILLS = [*STAGES, ANY_MOMENT] * SOAK_ROUNDS if SOAK_ROUNDS else [*SHORT, ANY_MOMENT]
# A worker handles up to three batches of 64 until it is killed; some are left for the last one.
TRANSACTIONS_A_KILL = 250
SESSION_TIMEOUT_S = 6
KILLED_WORKER = Path(killed_worker.__file__)
REPORT = Path(__file__).parents[2] / "build" / "crashes.json"


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The only place for temporary files that the processes of a test know."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(stack: Stack, temporary: Path) -> dict[str, str]:
    known = worker_environment(stack, "crashes", session_timeout_seconds=str(SESSION_TIMEOUT_S))
    return {**known, "TMPDIR": str(temporary)}


@pytest.fixture
def transactions(tmp_path: Path, environment: dict[str, str]) -> Path:
    """Simulated transactions without labels, some of them sent twice, some late."""
    lines = simulated_lines(environment, tmp_path, TRANSACTIONS_A_KILL * len(KILLS))
    return write_lines(tmp_path / "transactions.jsonl", disorderly(lines))


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
    # From its first lines to a running app; before those lines the signal ends the interpreter, or the command.
    for after_s in (0.4, 0.8, 1.6, 3.2):
        worker.start()
        time.sleep(after_s)
        assert worker.stop() in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    worker.start()
    worker.wait_until_ready()
    assert worker.stop() == 0


def test_decisions_after_kills_are_those_of_an_undisturbed_replay(
    environment: dict[str, str], transactions: Path, worker: WorkerProcess, tmp_path: Path, temporary: Path
) -> None:
    """Killed at every stage of a batch, and at random moments; the long form of `make soak` kills more often."""
    expected = replay(environment, transactions, tmp_path / "replayed")
    fraud(environment, "init")
    fraud(environment, "produce", transactions, "--speed", "max")
    moments = random.Random(11)
    decisions, alerts = TopicReader(environment, "decisions"), TopicReader(environment, "alerts")
    killed_ms = []
    with closing(decisions), closing(alerts):
        for kill, stage in enumerate(KILLS, 1):
            if stage == ANY_MOMENT:
                worker.start()
                wait_for_all(decisions, expected.decisions, 0.9 * kill / len(KILLS), worker)
                time.sleep(moments.random())
                worker.kill()
            else:
                # A worker stops once, but takes many batches.
                visit = 1 if stage == "stopping" else moments.randrange(1, 4)
                worker.start((sys.executable, str(KILLED_WORKER), stage, str(visit)))
                if stage == "stopping":
                    wait_for_all(decisions, expected.decisions, 0.9 * kill / len(KILLS), worker)
                    worker.wait_until_ready()
                    worker.running.send_signal(signal.SIGTERM)
                assert worker.running.wait(PATIENCE_S) == -signal.SIGKILL, (stage, worker.last_lines)
            killed_ms.append(time.time_ns() // 1_000_000)
        worker.start()
        found = expected.compare(wait_for_all(decisions, expected.decisions, 1.0, worker))
        # All may have been decided before the last kill: until it is ready, Python itself may not have started.
        worker.wait_until_ready()
        assert worker.stop() == 0
        _report(found, decisions.read(), killed_ms)
        assert (found.wrong, found.degraded) == ({}, frozenset())
        assert expected.compare_alerts(alerts.read()).wrong == {}
        assert list(temporary.iterdir()) == []


def _report(found: Differences, messages: Sequence[Message], killed_ms: Sequence[int]) -> None:
    """What the kills came to, for whoever runs the long form."""
    published_ms = sorted(message.published_ms for message in messages)
    # Of those who came back to publish something before they were killed again.
    recovered_s = sorted(
        (published_ms[place] - moment) / 1_000
        for moment, next_kill_ms in pairwise([*killed_ms, published_ms[-1] + 1])
        if (place := bisect_right(published_ms, moment)) < len(published_ms) and published_ms[place] < next_kill_ms
    )
    figures = {
        "kills": len(killed_ms),
        "kills after which a decision came before the next kill": len(recovered_s),
        "decisions": len({identity_of(message.value) for message in messages}),
        "lost": len(found.lost),
        "doubled": len(found.doubled),
        "changed": len(found.changed),
        "published again with the same bytes": found.repeated,
        "seconds from a kill to the next decision": {
            "median": round(median(recovered_s), 1),
            "worst": round(recovered_s[-1], 1),
        },
        "seconds after which a silent worker loses its partitions": SESSION_TIMEOUT_S,
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(figures, indent=2) + "\n")
