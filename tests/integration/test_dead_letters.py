"""What the service refuses can be found, read and sent once more."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from live_worker import FRAUD, PATIENCE_S, WorkerProcess, fraud, identities, published, worker_environment

from fraud.stack import Stack

CARD = "4929123412341234"
SOUND = {"user_id": "u1", "timestamp": "2026-03-02T12:00:00Z", "amount": 12.5, "currency": "EUR", "card_id": CARD}
# Refused for as long as the base currency has no rate for it, decided once a rate file has one.
UNKNOWN_CURRENCY = {**SOUND, "transaction_id": "t2", "currency": "NZD"}
MESSAGES = [
    {**SOUND, "transaction_id": "t1"},
    UNKNOWN_CURRENCY,
    {**SOUND, "transaction_id": "t3", "amount": -1},
    {**SOUND, "transaction_id": "t4", "timestamp": "yesterday"},
]


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    return worker_environment(stack, "refused")


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def send(environment: dict[str, str], messages: list[bytes]) -> None:
    async def send_all() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"])
        await producer.start()
        for message in messages:
            await producer.send_and_wait(environment["FRAUD_TRANSACTIONS_TOPIC"], message, key=b"u1")
        await producer.stop()

    asyncio.run(send_all())


def wait_for_letters(environment: dict[str, str], count: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while len(published(environment, "dead_letter")) < count:
        assert time.monotonic() < end
        time.sleep(0.5)


def refusal(environment: dict[str, str], *arguments: str) -> str:
    command = [FRAUD, "dead-letters", *arguments]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    return finished.stderr


def test_refused_messages_are_listed_shown_and_retried(
    environment: dict[str, str], worker: WorkerProcess, tmp_path: Path
) -> None:
    fraud(environment, "init")
    send(environment, [json.dumps(message).encode() for message in MESSAGES] + [b"{cut"])
    worker.start()
    wait_for_letters(environment, 4)
    worker.wait_until_ready()
    assert worker.stop() == 0

    listed = fraud(environment, "dead-letters", "list")
    assert len(listed.splitlines()) == 4
    assert CARD not in listed
    topic = environment["FRAUD_TRANSACTIONS_TOPIC"]
    places = [json.loads(line) for line in fraud(environment, "dead-letters", "list", "--json").splitlines()]
    assert [letter["offset"] for letter in places] == [1, 2, 3, 4]
    code = places[0]["code"]
    chosen = fraud(environment, "dead-letters", "list", "--code", code, "--since", "2026-01-01", "--topic", topic)
    assert chosen.splitlines()[0].startswith(f"{topic}/0/1 ")
    assert fraud(environment, "dead-letters", "list", "--since", "2999-01-01") == ""

    assert CARD not in fraud(environment, "dead-letters", "show", f"{topic}/0/1")
    assert json.dumps(UNKNOWN_CURRENCY) in fraud(environment, "dead-letters", "show", f"{topic}/0/1", "--payload")
    assert f"no letter of {topic}/0/77" in refusal(environment, "show", f"{topic}/0/77")
    assert "write topic/partition/offset" in refusal(environment, "show", "t/x")
    assert "say --all" in refusal(environment, "retry")
    another_key = {**environment, "FRAUD_DEAD_LETTER_KEY_ID": "k2"}
    assert "FRAUD_DEAD_LETTER_KEY" in refusal(another_key, "retry", "--all")

    rates = tmp_path / "rates.csv"
    rates.write_text("currency,first_day,last_day,rate\nNZD,2026-01-01,2026-12-31,0.55\n")
    with_rate = {**environment, "FRAUD_RATES_FILE": str(rates)}
    assert "1 message sent again" in fraud(with_rate, "dead-letters", "retry", f"{topic}/0/1")
    assert "1 message sent again" in fraud(with_rate, "dead-letters", "retry", "--code", code)
    again = WorkerProcess(with_rate, tmp_path / "worker.log")
    again.start()
    end = time.monotonic() + PATIENCE_S
    while identities(published(environment, "decisions")) != {"t1", "t2"}:
        assert time.monotonic() < end
        time.sleep(0.5)
    again.end()
    contents = {
        json.dumps(one) for one in published(environment, "decisions") if one["decision"]["transaction_id"] == "t2"
    }
    assert len(contents) == 1
