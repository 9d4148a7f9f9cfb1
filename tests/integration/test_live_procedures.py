"""What operators do to a running service, as docs/going-live.md says: partitions, topics made again, new versions."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from live_worker import FRAUD, PATIENCE_S, TopicReader, WorkerProcess, fraud, published, worker_environment
from undisturbed import replay, simulated_lines, wait_for_all, write_lines

from fraud.live.add_partitions import not_acknowledged
from fraud.live.kafka import connection
from fraud.settings import load_settings
from fraud.stack import Stack, StackPorts

TRANSACTIONS = 2_400
OLDER_WORKER = (sys.executable, str(Path(__file__).parents[1] / "older_worker.py"))


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[WorkerProcess]]:
    """Workers that a test has started; they end with it."""
    workers: list[WorkerProcess] = []
    yield workers
    for worker in workers:
        worker.end()


def one_more(
    started: list[WorkerProcess],
    environment: dict[str, str],
    tmp_path: Path,
    command: tuple[str, ...] = (),
    *,
    waits: bool = True,
) -> WorkerProcess:
    own_port = {**environment, "FRAUD_METRICS_PORT": str(StackPorts.free().redis)}
    worker = WorkerProcess(own_port, tmp_path / f"worker-{len(started)}.log", command or (FRAUD, "worker"))
    started.append(worker)
    worker.start()
    if waits:
        worker.wait_until_ready()
    return worker


def send(environment: dict[str, str], lines: list[str], file: Path) -> None:
    fraud(environment, "produce", write_lines(file, lines), "--speed", "max")


def refused(environment: dict[str, str], *arguments: str) -> str:
    """What a command that must be refused says."""
    finished = subprocess.run([FRAUD, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 2, finished.stdout + finished.stderr
    return finished.stderr


def wait_until_acknowledged(environment: dict[str, str], worker: WorkerProcess, partitions: int) -> None:
    settings = load_settings(environment)
    end = time.monotonic() + PATIENCE_S
    while asyncio.run(not_acknowledged(settings, {settings.transactions_topic: partitions})):
        assert time.monotonic() < end, worker.last_lines
        time.sleep(0.5)


async def delete_topics(environment: dict[str, str], *names: str) -> None:
    admin = connection(load_settings(environment)).admin()
    await admin.start()
    try:
        await admin.delete_topics(list(names))
        while set(names) & set(await admin.list_topics()):
            await asyncio.sleep(0.1)
    finally:
        await admin.close()


def test_partitions_are_added_once_everybody_has_caught_up_and_stopped(
    stack: Stack, started: list[WorkerProcess], tmp_path: Path
) -> None:
    environment = worker_environment(stack, "more-partitions", topic_partitions="2")
    more = {**environment, "FRAUD_TOPIC_PARTITIONS": "5"}
    lines = simulated_lines(environment, tmp_path, TRANSACTIONS)
    expected = replay(environment, write_lines(tmp_path / "transactions.jsonl", lines), tmp_path / "replayed")
    half = len(lines) // 2
    fraud(environment, "init")
    worker = one_more(started, environment, tmp_path)
    assert "are at work" in refused(more, "add-partitions")
    assert worker.stop() == 0
    send(environment, lines[:half], tmp_path / "part.jsonl")
    assert "not acknowledged" in refused(more, "add-partitions")
    worker = one_more(started, environment, tmp_path)
    wait_until_acknowledged(environment, worker, 2)
    assert worker.stop() == 0
    assert "2 -> 5" in fraud(more, "add-partitions")
    assert "->" not in fraud(more, "add-partitions")
    workers = [one_more(started, more, tmp_path) for _ in range(2)]
    send(more, lines[half:], tmp_path / "part.jsonl")
    with closing(TopicReader(environment, "decisions")) as decisions:
        messages = wait_for_all(decisions, expected.decisions, 1.0, *workers)
    found = expected.compare(messages, entities_exact=False)
    assert (found.wrong, found.degraded) == ({}, frozenset())


def test_a_topic_that_is_made_again_is_another_one_with_the_same_name(
    stack: Stack, started: list[WorkerProcess], tmp_path: Path
) -> None:
    environment = worker_environment(stack, "made-again")
    lines = simulated_lines(environment, tmp_path, TRANSACTIONS)
    expected = replay(environment, write_lines(tmp_path / "transactions.jsonl", lines), tmp_path / "replayed")
    half = len(lines) // 2
    fraud(environment, "init")
    worker = one_more(started, environment, tmp_path)
    with closing(TopicReader(environment, "decisions")) as decisions:
        send(environment, lines[:half], tmp_path / "part.jsonl")
        wait_until_acknowledged(environment, worker, 1)
        assert worker.stop() == 0
        asyncio.run(delete_topics(environment, environment["FRAUD_TRANSACTIONS_TOPIC"]))
        fraud(environment, "init")
        # Its offsets begin at 0 again: nothing of it was seen before, whatever history holds under such offsets.
        send(environment, lines[half:], tmp_path / "part.jsonl")
        worker = one_more(started, environment, tmp_path)
        messages = wait_for_all(decisions, expected.decisions, 1.0, worker)
        found = expected.compare(messages)
        assert (found.wrong, found.degraded) == ({}, frozenset())


def test_a_worker_ends_when_its_topic_is_made_again_under_it(
    stack: Stack, started: list[WorkerProcess], tmp_path: Path
) -> None:
    environment = worker_environment(stack, "under-it")
    fraud(environment, "init")
    worker = one_more(started, environment, tmp_path)
    asyncio.run(delete_topics(environment, environment["FRAUD_TRANSACTIONS_TOPIC"]))
    fraud(environment, "init")
    assert worker.running.wait(PATIENCE_S) != 0
    assert f"the topic {environment['FRAUD_TRANSACTIONS_TOPIC']} was deleted and made again" in worker.last_lines


def test_workers_of_two_versions_stand_side_by_side_while_one_replaces_the_other(
    stack: Stack, started: list[WorkerProcess], tmp_path: Path
) -> None:
    environment = worker_environment(stack, "upgrade", topic_partitions="4", batch_size="32")
    lines = simulated_lines(environment, tmp_path, TRANSACTIONS)
    expected = replay(environment, write_lines(tmp_path / "transactions.jsonl", lines), tmp_path / "replayed")
    part = len(lines) // 4
    fraud(environment, "init")
    before = [one_more(started, environment, tmp_path, OLDER_WORKER) for _ in range(2)]
    send(environment, lines[:part], tmp_path / "part.jsonl")
    now = []
    for number, worker in enumerate(before, 1):
        # Ready once it has a partition, which may be when the other has left.
        now.append(one_more(started, environment, tmp_path, waits=False))
        send(environment, lines[number * part : (number + 1) * part], tmp_path / "part.jsonl")
        assert worker.stop() == 0
        now[-1].wait_until_ready()
    # Back again: what was upgraded must be able to go back while nothing new is in use.
    assert now.pop().stop() == 0
    again = one_more(started, environment, tmp_path, OLDER_WORKER)
    send(environment, lines[3 * part :], tmp_path / "part.jsonl")
    with closing(TopicReader(environment, "decisions")) as decisions:
        messages = wait_for_all(decisions, expected.decisions, 1.0, *now, again)
        found = expected.compare(messages, entities_exact=False)
        assert (found.wrong, found.degraded) == ({}, frozenset())
    assert published(environment, "dead_letter") == []
