"""What a worker says of itself: measures that equal what was done, readiness that names what is missing, and logs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from aiokafka import AIOKafkaProducer
from fault_proxy import FaultProxy, running_fault_proxy
from live_worker import PATIENCE_S, WorkerProcess, fraud, worker_environment
from prometheus_client.parser import text_string_to_metric_families

from fraud.stack import Stack

CARD = "4929123412341234"
PAYMENTS = 5
STAGES = {"validate", "enrich", "features", "score", "rules", "decide", "history", "entities", "publication"}

Series = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def proxy(stack: Stack) -> Iterator[FaultProxy]:
    port = urlsplit(stack.environment["FRAUD_REDIS_URL"]).port
    assert port is not None
    with running_fault_proxy(port) as between:
        yield between


@pytest.fixture
def environment(stack: Stack, proxy: FaultProxy) -> dict[str, str]:
    own = worker_environment(stack, "measures", redis_deadline_ms="500")
    database = own["FRAUD_REDIS_URL"].rpartition("/")[2]
    return {**own, "FRAUD_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/{database}"}


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def payment(number: int, **fields: Any) -> dict[str, Any]:
    known = {"user_id": f"u{number % 2}", "merchant_id": "m1", "amount": 12.5, "currency": "EUR", "card_id": CARD}
    return {**known, "transaction_id": f"t{number}", "timestamp": f"2026-03-02T12:{number:02}:00Z", **fields}


def send(environment: dict[str, str], topic: str, *messages: dict[str, Any]) -> None:
    async def send_all() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"])
        await producer.start()
        for message in messages:
            await producer.send_and_wait(environment[f"FRAUD_{topic}_TOPIC"], json.dumps(message).encode(), key=b"u1")
        await producer.stop()

    asyncio.run(send_all())


def answer_of(environment: dict[str, str], path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{environment['FRAUD_METRICS_PORT']}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def measured(environment: dict[str, str]) -> Series:
    """Every series by its name and the values of its labels, these in the order of their names."""
    _, text = answer_of(environment, "/metrics")
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, tuple(sample.labels.values())): sample.value for sample in samples}


def wait_until(holds: Callable[[], Any], worker: WorkerProcess) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, worker.log.read_text()[-3000:]
        time.sleep(0.3)


def total(series: Series, name: str) -> float:
    return sum(value for (of, _), value in series.items() if of == name)


def test_measures_say_what_was_done_and_readiness_what_is_missing(
    environment: dict[str, str], worker: WorkerProcess, proxy: FaultProxy
) -> None:
    fraud(environment, "init")
    payments = [payment(number) for number in range(PAYMENTS)]
    refund = payment(20, event_type="refund", original_transaction_id="t1")
    send(environment, "TRANSACTIONS", *payments, payments[0], refund, payment(30, amount=-1), payment(31, currency="?"))
    worker.start()
    worker.wait_until_ready()
    lag = [("fraud_consumer_lag", ("0", f"measures-{topic}")) for topic in ("transactions", "labels")]
    wait_until(lambda: [measured(environment).get(one) for one in lag] == [0, 0], worker)
    check_what_was_done(measured(environment))

    proxy.refuses = True
    proxy.cut()
    wait_until(lambda: answer_of(environment, "/health/ready")[0] == HTTPStatus.SERVICE_UNAVAILABLE, worker)
    assert "Redis" in json.loads(answer_of(environment, "/health/ready")[1])["reason"]
    assert answer_of(environment, "/health/live")[0] == HTTPStatus.OK
    send(environment, "TRANSACTIONS", payment(40))
    wait_until(lambda: measured(environment)["fraud_degraded_total", ("entity_windows",)] == 1, worker)
    wait_until(lambda: measured(environment)[lag[0]] == 1, worker)
    away = measured(environment)
    assert away["fraud_reachable", ("Redis",)] == 0
    assert away["fraud_reachable", ("DynamoDB",)] == 1
    assert away["fraud_entity_backlog", ()] > 0

    proxy.refuses = False
    worker.wait_until_ready()
    wait_until(lambda: measured(environment)[lag[0]] == 0, worker)
    assert measured(environment)["fraud_entity_backlog", ()] == 0
    assert worker.stop() == 0
    check_log(worker.log.read_text())


def check_what_was_done(series: Series) -> None:
    outcomes = {"decided": PAYMENTS, "recorded": 1, "repeated": 1}
    assert {name: series["fraud_transactions_total", (name,)] for name in outcomes} == outcomes
    assert total(series, "fraud_actions_total") == PAYMENTS
    assert series["fraud_score_count", ()] == PAYMENTS
    assert series["fraud_published_total", ("decisions",)] == PAYMENTS + 1
    refused = {labels: value for (name, labels), value in series.items() if name == "fraud_dead_letters_total"}
    assert sum(refused.values()) == series["fraud_published_total", ("dead-letters",)] == 2
    assert {source for _, source in refused} == {"measures-transactions"}
    assert series["fraud_latency_seconds_count", ()] == PAYMENTS + 4
    assert series["fraud_batch_transactions_sum", ()] == PAYMENTS + 2
    batches = series["fraud_batch_transactions_count", ()]
    assert {labels[0] for (name, labels) in series if name == "fraud_stage_seconds_count"} == STAGES
    assert all(1 <= series["fraud_stage_seconds_count", (stage,)] <= batches + 1 for stage in STAGES)
    assert series["fraud_customer_cache_total", ("miss",)] >= 2
    assert all(series["fraud_reachable", (part,)] == 1 for part in ("DynamoDB", "Kafka", "Redis"))
    assert total(series, "fraud_degraded_total") == total(series, "fraud_retries_total") == 0
    assert not [name for name, _ in series if name.endswith("_created")]


def check_log(log: str) -> None:
    lines = [json.loads(line) for line in log.splitlines()]
    assert CARD not in log
    assert [line["level"] for line in lines if "Redis does not answer" in line["message"]] == ["error"]
    assert any("Redis answers again" in line["message"] for line in lines)
