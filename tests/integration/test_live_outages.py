"""Servers that are slow, away, restarted or answer with errors change nothing but what is declared."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path

import redis
from dynamodb_fault_proxy import FAULTS, running_dynamodb_fault_proxy
from fault_proxy import FaultProxy, running_fault_proxy
from live_worker import Message, TopicReader, WorkerProcess, fraud, worker_environment
from undisturbed import Undisturbed, disorderly, replay, simulated_lines, wait_for_all, write_lines

from fraud.stack import Stack

# In `make soak` as long as an operator would call an outage, and more of everything.
AWAY_S = float(os.environ.get("SOAK_OUTAGE_SECONDS", "6"))
TRANSACTIONS = 6_000 if "SOAK_OUTAGE_SECONDS" in os.environ else 1_500


@contextmanager
def working(environment: dict[str, str], folder: Path) -> Iterator[WorkerProcess]:
    """A worker that must end well."""
    worker = WorkerProcess(environment, folder / "worker.log")
    worker.start()
    try:
        worker.wait_until_ready()
        yield worker
        assert worker.stop() == 0, worker.last_lines
    finally:
        worker.end()


class Parts:
    """Transactions that are sent bit by bit, so that a fault meets a worker at work, and one that has to wait."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment, self._folder = environment, folder
        self._lines = disorderly(simulated_lines(environment, folder, TRANSACTIONS))
        self._sent = 0
        file = write_lines(folder / "transactions.jsonl", self._lines)
        self.expected: Undisturbed = replay(environment, file, folder / "replayed")
        fraud(environment, "init")

    def send(self, share: float) -> None:
        """All that is lacking until this share of the whole is sent."""
        lines = self._lines[self._sent : round(share * len(self._lines))]
        self._sent += len(lines)
        fraud(self._environment, "produce", write_lines(self._folder / "part.jsonl", lines), "--speed", "max")


def test_a_restart_of_kafka_changes_nothing(stack: Stack, tmp_path: Path) -> None:
    environment = worker_environment(stack, "kafka-restart", stall_minutes="0.06")
    parts = Parts(environment, tmp_path)
    with closing(TopicReader(environment, "decisions")) as decisions, working(environment, tmp_path) as worker:
        parts.send(0.6)
        wait_for_all(decisions, parts.expected.decisions, 0.1, worker)
        stack.restart("kafka")
        wait_for_all(decisions, parts.expected.decisions, 0.5, worker)
        stack.kill("kafka")
        time.sleep(AWAY_S)
        # To start it anew would not bring the brokers back.
        assert worker.health("live")[0] == HTTPStatus.OK
        stack.start("kafka")
        parts.send(1.0)
        found = parts.expected.compare(wait_for_all(decisions, parts.expected.decisions, 1.0, worker))
        assert (found.wrong, found.degraded) == ({}, frozenset())


def test_errors_and_outages_of_dynamodb_change_nothing(stack: Stack, tmp_path: Path) -> None:
    with running_dynamodb_fault_proxy(stack.environment["FRAUD_DYNAMODB_ENDPOINT_URL"], seed=3) as proxy:
        # A cache of a tenth of the customers, so that many are read again.
        environment = worker_environment(
            stack, "dynamodb-faults", dynamodb_endpoint_url=proxy.url, cached_customers="30", batch_size="16"
        )
        parts = Parts(environment, tmp_path)
        with closing(TopicReader(environment, "decisions")) as decisions, working(environment, tmp_path) as worker:
            proxy.share = 0.04
            parts.send(0.6)
            wait_for_all(decisions, parts.expected.decisions, 0.3, worker)
            proxy.go_away(AWAY_S)
            wait_for_all(decisions, parts.expected.decisions, 0.55, worker)
            parts.send(1.0)
            found = parts.expected.compare(wait_for_all(decisions, parts.expected.decisions, 1.0, worker))
            assert (found.wrong, found.degraded) == ({}, frozenset())
            proxy.share = 0.0
    assert proxy.met.keys() == {*FAULTS, "away"}


def test_an_outage_of_redis_changes_entity_features_and_nothing_else(stack: Stack, tmp_path: Path) -> None:
    redis_port = int(stack.environment["FRAUD_REDIS_URL"].rpartition(":")[2].partition("/")[0])
    with running_fault_proxy(redis_port) as proxy:
        # Patient enough that a busy machine alone does not degrade a decision.
        environment = worker_environment(stack, "redis-faults", redis_deadline_ms="2000")
        environment["FRAUD_REDIS_URL"] = environment["FRAUD_REDIS_URL"].replace(f":{redis_port}/", f":{proxy.port}/")
        parts = Parts(environment, tmp_path)
        with closing(TopicReader(environment, "decisions")) as decisions, working(environment, tmp_path) as worker:
            _degrade_and_recover(parts, decisions, worker, proxy)


def _degrade_and_recover(parts: Parts, decisions: TopicReader, worker: WorkerProcess, proxy: FaultProxy) -> None:
    faults = ("slow", "frozen", "refusing", "losing answers")
    for number, fault in enumerate(faults):
        done = number / len(faults)
        sound = _decided(parts, decisions, worker, done + 0.1)
        proxy.delay_s = 2.5 if fault == "slow" else 0.0
        proxy.frozen, proxy.refuses = fault == "frozen", fault == "refusing"
        proxy.loses_answers = fault == "losing answers"
        if fault == "refusing":
            proxy.cut()
        before = parts.expected.compare(sound).degraded
        hurt = _decided(parts, decisions, worker, done + 0.2)
        assert parts.expected.compare(hurt).degraded > before, fault
        proxy.delay_s, proxy.frozen, proxy.refuses, proxy.loses_answers = 0.0, False, False, False
        worker.wait_until_ready()
    found = parts.expected.compare(_decided(parts, decisions, worker, 1.0))
    # Compare says of degraded decisions that all but what follows from entity windows is equal, and of those that
    # came after each outage that their entity windows have caught up.
    assert found.wrong == {}
    assert len(found.degraded) < len(parts.expected.decisions) / 2
    assert 'fraud_degraded_total{part="entity_windows"}' in worker.metrics


def _decided(parts: Parts, decisions: TopicReader, worker: WorkerProcess, share: float) -> Sequence[Message]:
    """What is decided once all up to this share of the whole is. A few of it came again or late, and are no more."""
    parts.send(share)
    return wait_for_all(decisions, parts.expected.decisions, share if share == 1 else share - 0.03, worker)


def test_entity_windows_that_redis_has_lost_are_not_taken_for_empty(stack: Stack, tmp_path: Path) -> None:
    environment = worker_environment(stack, "redis-flushed")
    parts = Parts(environment, tmp_path)
    with closing(TopicReader(environment, "decisions")) as decisions, working(environment, tmp_path) as worker:
        sound = _decided(parts, decisions, worker, 0.5)
        assert parts.expected.compare(sound).degraded == frozenset()
        flush(environment)
        found = parts.expected.compare(_decided(parts, decisions, worker, 1.0))
        assert found.wrong == {}
        assert len(found.degraded) >= 0.4 * len(parts.expected.decisions)
        assert not worker.is_ready


def flush(environment: dict[str, str]) -> None:
    """Only the database that this test's worker uses."""
    with closing(redis.Redis.from_url(environment["FRAUD_REDIS_URL"])) as client:
        client.flushdb()
