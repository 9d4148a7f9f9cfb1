"""A file is sent at its own pace, or a faster one, and its labels when they become known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from fraud.live.produce import FileProducer, Produced
from fraud.sources.mapping import load_mapping
from fraud.sources.reader import TransactionFiles

DAY_S = 86_400.0
# A payment a day; the first is fraud, the third legitimate, nobody knows about the others.
LABELS = {1: "fraud", 3: "legitimate"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "payments.jsonl"
    with path.open("w") as lines:
        for day in range(1, 6):
            record = {
                "transaction_id": f"t{day}",
                "user_id": "u1",
                "timestamp": f"2026-03-0{day}T12:00:00Z",
                "amount": 12.5,
                "currency": "EUR",
            }
            label = {"label": LABELS[day]} if day in LABELS else {}
            lines.write(json.dumps(record | label) + "\n")
        lines.write('{"transaction_id": "t9", "amount": "much"}\n')
    return path


class Sent:
    """What was sent, and at how many seconds of a clock on which nothing but waiting takes time."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.messages: list[tuple[float, str, dict[str, Any]]] = []

    async def send(self, topic: str, key: bytes, value: bytes, _moment_ms: int) -> Awaitable[Any]:
        message = json.loads(value)
        assert key.decode() == message["user_id"]
        self.messages.append((self.now_s - 100.0, topic, message))
        return asyncio.sleep(0)

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def produce(self, file: Path, speed: float, label_delay_days: float) -> Produced:
        producer = FileProducer(
            self.send,
            "transactions",
            "labels",
            speed=speed,
            label_delay_days=label_delay_days,
            clock=lambda: self.now_s,
            sleep=self.sleep,
        )
        files = TransactionFiles((file,), load_mapping("native"))
        return asyncio.run(producer.run(files, lambda _bytes, _records: None))

    def times(self, topic: str) -> dict[str, float]:
        return {message["transaction_id"]: at for at, of, message in self.messages if of == topic}


@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_messages_are_sent_at_the_times_of_their_events_divided_by_the_speed(file: Path, speed: float) -> None:
    sent = Sent()
    sent.produce(file, speed, label_delay_days=1.5)
    expected = {f"t{day}": pytest.approx((day - 1) * DAY_S / speed) for day in range(1, 6)}
    assert sent.times("transactions") == expected
    assert sent.times("labels") == {"t1": pytest.approx(1.5 * DAY_S / speed), "t3": pytest.approx(3.5 * DAY_S / speed)}


def test_as_fast_as_it_goes_labels_still_come_between_the_events_that_they_came_between(file: Path) -> None:
    sent = Sent()
    sent.produce(file, 0.0, label_delay_days=1.5)
    order = [(topic, message["transaction_id"]) for _, topic, message in sent.messages]
    assert sent.now_s == 100.0
    assert order == [
        ("transactions", "t1"),
        ("transactions", "t2"),
        ("labels", "t1"),
        ("transactions", "t3"),
        ("transactions", "t4"),
        ("labels", "t3"),
        ("transactions", "t5"),
    ]


def test_what_was_sent_refused_and_left_out_is_counted(file: Path) -> None:
    produced = Sent().produce(file, 0.0, label_delay_days=3.0)
    assert (produced.transactions, produced.labels, produced.labels_to_come, produced.rejected) == (5, 1, 1, 1)
    assert produced.first_rejected.startswith(f"{file}:6: ")
