"""`/health/live` tells an orchestrator to start a worker anew when that helps, and only then."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import stuck_worker
from aiokafka import AIOKafkaProducer
from dynamodb_fault_proxy import running_dynamodb_fault_proxy
from fault_proxy import running_fault_proxy
from live_worker import PATIENCE_S, WorkerProcess, fraud, identities, published, worker_environment

from fraud.stack import Stack, StackPorts

# Two looks at what has to move; the worker must be found stuck soon, and an outage be longer.
SHORT_PATIENCE = "0.06"
# These take longer than the patience.
ATTEMPTS_WITHOUT_DYNAMODB, DECISIONS_WITHOUT_REDIS = 15, 40
REASONS = {
    "a batch that hangs": "the same batch of {} is in hand for 0.06 minutes",
    "an agent that has ended": "no agent consumes {} for 0.06 minutes",
    "a consumer that fetches no more": "messages come on {}/0, none is acknowledged for 0.06 minutes",
}


def send(environment: dict[str, str], number: int) -> None:
    payment = {
        "transaction_id": f"t{number}",
        "user_id": "u1",
        "timestamp": f"2026-03-02T12:{number % 60:02}:00Z",
        "amount": 12.5,
        "currency": "EUR",
        "merchant_id": "m1",
    }

    async def send_one() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"])
        await producer.start()
        topic = environment["FRAUD_TRANSACTIONS_TOPIC"]
        await producer.send_and_wait(topic, json.dumps(payment).encode(), key=b"u1")
        await producer.stop()

    asyncio.run(send_one())


def wait_until(holds: Callable[[], Any], worker: WorkerProcess) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, worker.last_lines
        time.sleep(0.2)


def retries(worker: WorkerProcess) -> float:
    (line,) = [line for line in worker.metrics.splitlines() if line.startswith('fraud_retries_total{what="trans')]
    return float(line.split()[-1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """`start(environment, COMMAND...)`: a worker that is ended with the test."""
    workers: list[WorkerProcess] = []

    def started(environment: dict[str, str], *command: str) -> WorkerProcess:
        log = tmp_path / f"worker-{len(workers)}.log"
        workers.append(WorkerProcess(environment, log, command) if command else WorkerProcess(environment, log))
        workers[-1].start()
        return workers[-1]

    yield started
    for worker in workers:
        worker.end()


@pytest.mark.parametrize("how", stuck_worker.WAYS)
def test_a_worker_that_is_stuck_is_not_live_and_says_why(
    stack: Stack, how: str, start: Callable[..., WorkerProcess]
) -> None:
    name = f"stuck-{list(stuck_worker.WAYS).index(how)}"
    environment = worker_environment(stack, name, stall_minutes=SHORT_PATIENCE)
    fraud(environment, "init")
    worker = start(environment, sys.executable, stuck_worker.__file__, how)
    worker.wait_until_ready()
    send(environment, 0)
    wait_until(lambda: worker.decided == 1, worker)
    sent = 1
    while worker.health("live")[0] == HTTPStatus.OK:
        send(environment, sent)
        sent += 1
    status, reason = worker.health("live")
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert REASONS[how].format(f"{name}-transactions") in reason
    assert not worker.is_ready
    # What an orchestrator does then; nothing is lost.
    worker.kill()
    fresh = start(environment)
    wait_until(lambda: len(identities(published(environment, "decisions"))) == sent, fresh)
    assert fresh.health("live")[0] == HTTPStatus.OK
    assert fresh.stop() == 0


def test_a_worker_that_waits_for_a_server_or_for_work_is_live(
    stack: Stack, start: Callable[..., WorkerProcess]
) -> None:
    with running_dynamodb_fault_proxy(stack.environment["FRAUD_DYNAMODB_ENDPOINT_URL"], seed=1) as proxy:
        environment = worker_environment(
            stack, "waiting", stall_minutes=SHORT_PATIENCE, dynamodb_endpoint_url=proxy.url
        )
        fraud(environment, "init")
        busy = start(environment)
        busy.wait_until_ready()
        # There is one partition, so it has nothing to do.
        idle = start({**environment, "FRAUD_METRICS_PORT": str(StackPorts.free().redis)})
        wait_until(lambda: answers(idle), idle)
        proxy.go_away(PATIENCE_S)
        send(environment, 0)
        wait_until(lambda: retries(busy) + retries(idle) >= ATTEMPTS_WITHOUT_DYNAMODB, busy)
        assert [worker.health("live")[0] for worker in (busy, idle)] == [HTTPStatus.OK] * 2
        assert not busy.is_ready
        proxy.go_away(0)
        wait_until(lambda: identities(published(environment, "decisions")) == {"t0"}, busy)
        assert [worker.stop() for worker in (busy, idle)] == [0, 0]
    assert "not live" not in busy.log.read_text() + idle.log.read_text()


def test_a_worker_whose_entity_windows_are_away_is_live(stack: Stack, start: Callable[..., WorkerProcess]) -> None:
    redis = urlsplit(stack.environment["FRAUD_REDIS_URL"])
    assert redis.port is not None
    with running_fault_proxy(redis.port) as proxy:
        environment = worker_environment(stack, "degraded", stall_minutes=SHORT_PATIENCE)
        fraud(environment, "init")
        environment["FRAUD_REDIS_URL"] = environment["FRAUD_REDIS_URL"].replace(f":{redis.port}/", f":{proxy.port}/")
        worker = start(environment)
        worker.wait_until_ready()
        proxy.refuses = True
        proxy.cut()
        # All of it is decided, and acknowledged only once Redis has counted it.
        for number in range(DECISIONS_WITHOUT_REDIS):
            send(environment, number)
            wait_until(lambda decided=number + 1: worker.decided == decided, worker)
        assert worker.health("live")[0] == HTTPStatus.OK
        proxy.refuses = False
        worker.wait_until_ready()
        assert worker.stop() == 0
    assert "not live" not in worker.log.read_text()


def answers(worker: WorkerProcess) -> bool:
    with suppress(OSError):
        return worker.health("live")[0] == HTTPStatus.OK
    return False
