"""Redis loses everything while a worker runs, and `fraud rebuild entities` brings it back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from live_worker import TopicReader, WorkerProcess, fraud, worker_environment
from test_live_labels import LABEL, counted, payment, send, wait_until
from undisturbed import replay, simulated_lines, wait_for_all, write_lines

from fraud.stack import Stack

TRANSACTIONS = 600


@pytest.fixture
def environment(stack: Stack, request: pytest.FixtureRequest) -> dict[str, str]:
    return worker_environment(stack, f"rebuilt-{len(request.node.name)}")


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def test_after_a_rebuild_decisions_are_those_of_windows_that_were_never_lost(
    environment: dict[str, str], worker: WorkerProcess, tmp_path: Path
) -> None:
    lines = simulated_lines(environment, tmp_path, TRANSACTIONS)
    before, after = lines[: TRANSACTIONS // 2], lines[TRANSACTIONS // 2 :]
    expected = replay(environment, write_lines(tmp_path / "all.jsonl", lines), tmp_path / "replayed")
    fraud(environment, "init")
    worker.start()
    reader = TopicReader(environment, "decisions")
    fraud(environment, "produce", write_lines(tmp_path / "before.jsonl", before), "--speed", "max")
    wait_for_all(reader, expected.decisions, 0.49, worker)

    redis.Redis.from_url(environment["FRAUD_REDIS_URL"]).flushdb()
    assert "fraud rebuild entities" in fraud(environment, "init")
    report = fraud(environment, "rebuild", "entities")
    assert "entities from" in report
    assert "differs" not in fraud(environment, "init")

    fraud(environment, "produce", write_lines(tmp_path / "after.jsonl", after), "--speed", "max")
    differences = expected.compare(wait_for_all(reader, expected.decisions, 1, worker))
    assert not differences.wrong
    assert not differences.degraded
    reader.close()


def test_known_frauds_come_back_with_a_rebuild(environment: dict[str, str], worker: WorkerProcess) -> None:
    fraud(environment, "init")
    worker.start()
    reader = TopicReader(environment, "decisions")
    send(environment, "TRANSACTIONS", payment("t1", 2))
    wait_until(reader.read)
    send(environment, "LABELS", {**LABEL, "label_id": "l1", "transaction_id": "t1"})
    wait_until(lambda: counted(environment, "counted"))
    redis.Redis.from_url(environment["FRAUD_REDIS_URL"]).flushdb()
    assert "1 frauds" in fraud(environment, "rebuild", "entities")
    send(environment, "TRANSACTIONS", payment("t2", 4))
    wait_until(lambda: any(b'"t2"' in message.value for message in reader.read()))
    (decided,) = [json.loads(message.value) for message in reader.read() if b'"t2"' in message.value]
    assert decided["decision"]["features"]["merchant_hours_since_fraud"] == 48
    reader.close()
