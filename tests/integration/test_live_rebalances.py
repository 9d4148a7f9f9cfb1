"""Workers that come, go, die and stand still under load: nothing is lost, doubled or changed."""

from __future__ import annotations

import json
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

TRANSACTIONS = 6_000
A_BIT, A_LOT = 40, 600
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


class Feed:
    """Sends lines bit by bit."""

    def __init__(self, environment: dict[str, str], lines: list[str], file: Path) -> None:
        self._environment, self._lines, self._file = environment, lines, file
        self._sent = 0

    def send(self, count: int) -> None:
        lines = self._lines[self._sent : self._sent + count]
        self._sent += len(lines)
        fraud(self._environment, "produce", write_lines(self._file, lines), "--speed", "max")

    def send_until_decided_by(self, *workers: WorkerProcess) -> None:
        """Until each of them has decided something since it was started."""
        while not all(worker.decided for worker in workers):
            assert self._sent < len(self._lines), [worker.last_lines for worker in workers]
            self.send(A_BIT)

    def send_rest(self) -> None:
        self.send(len(self._lines) - self._sent)


def test_customers_are_exact_whoever_has_their_partition(
    environment: dict[str, str], workers: list[WorkerProcess], tmp_path: Path
) -> None:
    lines = disorderly(simulated_lines(environment, tmp_path, TRANSACTIONS))
    expected = replay(environment, write_lines(tmp_path / "transactions.jsonl", lines), tmp_path / "replayed")
    fraud(environment, "init")
    first, second, third = workers
    feed = Feed(environment, lines, tmp_path / "part.jsonl")
    with closing(TopicReader(environment, "decisions")) as decisions:
        first.start()
        feed.send_until_decided_by(first)
        second.start()
        feed.send_until_decided_by(second)
        feed.send(A_LOT)
        # In the middle of it: when it goes on, it believes that it still has its partitions.
        second.pause()
        third.start()
        feed.send_until_decided_by(third)
        feed.send(A_LOT)
        second.resume()
        assert first.stop() == 0
        third.kill()
        third.start()
        feed.send_rest()
        messages = wait_for_all(decisions, expected.decisions, 1.0, second, third)
        found = expected.compare(messages, entities_exact=False)
        assert (second.stop(), third.stop()) == (0, 0)
        assert (found.wrong, found.degraded) == ({}, frozenset())
        _report(expected, decisions)


def _report(expected: Undisturbed, decisions: TopicReader) -> None:
    """How far entity features are from those of one partition: the order between partitions is not that of the file."""
    differing, total = differing_entity_cells(expected, decisions.messages)
    assert differing < total / 4
    REPORT.parent.mkdir(exist_ok=True)
    figures = {"partitions": 4, "entity features": total, "differing": differing, "share": round(differing / total, 4)}
    REPORT.write_text(json.dumps(figures, indent=2) + "\n")
