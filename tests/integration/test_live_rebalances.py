"""Workers that come, go, die and stand still under load: nothing is lost, doubled or changed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from live_worker import TopicReader, WorkerProcess, fraud, worker_environment
from undisturbed import (
    Undisturbed,
    differing_entity_cells,
    disorderly,
    replay,
    simulated_lines,
    wait_for_all,
    write_lines,
)

from fraud.stack import Stack, StackPorts

TRANSACTIONS = 4_000
SESSION_TIMEOUT_S = 6
REPORT = Path(__file__).parents[2] / "build" / "partitions.json"


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    return worker_environment(
        stack, "rebalances", topic_partitions="4", session_timeout_seconds=str(SESSION_TIMEOUT_S), batch_size="32"
    )


@pytest.fixture
def workers(environment: dict[str, str], tmp_path: Path) -> Iterator[list[WorkerProcess]]:
    """Three of one group; none is started."""
    ports = [str(StackPorts.free().redis) for _ in range(3)]
    started = [
        WorkerProcess({**environment, "FRAUD_METRICS_PORT": port}, tmp_path / f"worker-{number}.log")
        for number, port in enumerate(ports)
    ]
    yield started
    for worker in started:
        worker.end()


def test_customers_are_exact_whoever_has_their_partition(
    environment: dict[str, str], workers: list[WorkerProcess], tmp_path: Path
) -> None:
    lines = disorderly(simulated_lines(environment, tmp_path, TRANSACTIONS))
    expected = replay(environment, write_lines(tmp_path / "transactions.jsonl", lines), tmp_path / "replayed")
    fraud(environment, "init")
    first, second, third = workers

    def send(part: int) -> None:
        quarter = len(lines) // 4
        some = lines[part * quarter : None if part == 3 else (part + 1) * quarter]
        fraud(environment, "produce", write_lines(tmp_path / "part.jsonl", some), "--speed", "max")

    with closing(TopicReader(environment, "decisions")) as decisions:
        send(0)
        first.start()
        wait_for_all(decisions, expected.decisions, 0.1, first)
        second.start()
        send(1)
        wait_for_all(decisions, expected.decisions, 0.45, first, second)
        third.start()
        send(2)
        # In the middle of it: it believes that it still has its partitions when it goes on.
        second.pause()
        wait_for_all(decisions, expected.decisions, 0.5, first, third)
        time.sleep(SESSION_TIMEOUT_S)
        wait_for_all(decisions, expected.decisions, 0.7, first, third)
        send(3)
        second.resume()
        assert first.stop() == 0
        third.kill()
        messages = wait_for_all(decisions, expected.decisions, 1.0, second)
        found = expected.compare(messages, entities_exact=False)
        assert second.stop() == 0
        assert (found.wrong, found.degraded) == ({}, frozenset())
        _report(expected, decisions)


def _report(expected: Undisturbed, decisions: TopicReader) -> None:
    """How far entity features are from those of one partition: the order between partitions is not that of the file."""
    differing, total = differing_entity_cells(expected, decisions.messages)
    assert differing < total / 4
    REPORT.parent.mkdir(exist_ok=True)
    figures = {"partitions": 4, "entity features": total, "differing": differing, "share": round(differing / total, 4)}
    REPORT.write_text(json.dumps(figures, indent=2) + "\n")
