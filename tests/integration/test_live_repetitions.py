"""What is sent again long after its duplicate horizon: the one declared difference between the service and a replay.

A replay remembers identities in memory and only so long; the service asks its history, which holds them for as long as
`history_retention_days`. So the service repeats the decision that stands, and a replay decides again. Neither counts
the transaction twice, and nothing else depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from live_worker import TopicReader, WorkerProcess, fraud, worker_environment
from undisturbed import replay, wait_for_all, write_lines

from fraud.stack import Stack

DAYS = 12


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    return worker_environment(stack, "repetitions", duplicate_horizon_days="7")


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def payment(day: int) -> str:
    return json.dumps(
        {
            "transaction_id": f"day-{day}",
            "user_id": "customer",
            "timestamp": f"2026-03-{day:02}T12:00:00Z",
            "amount": 10 + day,
            "currency": "EUR",
            "merchant_id": "baker",
            "card_id": "4929410000000000",
        }
    )


def test_a_repetition_of_long_ago_is_repeated_live_and_decided_again_as_late_in_a_replay(
    environment: dict[str, str], worker: WorkerProcess, tmp_path: Path
) -> None:
    lines = [*(payment(day) for day in range(1, DAYS)), payment(1), payment(DAYS)]
    out = tmp_path / "replayed"
    expected = replay(environment, write_lines(tmp_path / "transactions.jsonl", lines), out)
    replayed = (out / "decisions.jsonl").read_bytes().splitlines()
    again = [line for line in replayed if json.loads(line)["decision"]["transaction_id"] == "day-1"]
    assert [json.loads(line)["decision"]["late"] for line in again] == [False, True]
    fraud(environment, "init")
    worker.start()
    fraud(environment, "produce", tmp_path / "transactions.jsonl", "--speed", "max")
    with closing(TopicReader(environment, "decisions")) as decisions:
        messages = wait_for_all(decisions, expected.decisions, 1.0, worker)
        assert worker.stop() == 0
        published = [message.value for message in messages]
    # What is said again may come behind the rest of its batch.
    assert sorted(published) == sorted(again[0] if line == again[1] else line for line in replayed)
