"""An alert on an event that was old when it came says so: nobody can stop that payment any more."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from live_worker import TopicReader, WorkerProcess, fraud, worker_environment
from undisturbed import wait_for_messages, write_lines

from fraud.stack import Stack

POLICY = """
policy: large
version: 1
description: Large payments are looked at
rules:
  - id: large_payment
    description: The payment is large
    condition: amount > 1000
    action: review
    reason_code: LARGE_PAYMENT
"""
AGES = {
    "old": timedelta(hours=2),
    "fresh": timedelta(seconds=5),
}


@pytest.fixture
def environment(stack: Stack, tmp_path: Path) -> dict[str, str]:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    return worker_environment(stack, "stale", stale_alert_minutes="60", policy_file=str(policy), model_folder="none")


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def payment(name: str, age: timedelta, amount: int) -> str:
    return json.dumps(
        {
            "transaction_id": f"{name}-{amount}",
            "user_id": name,
            "timestamp": (datetime.fromtimestamp(time.time_ns() // 10**9, UTC) - age).isoformat(),
            "amount": amount,
            "currency": "EUR",
        }
    )


def test_alerts_on_events_older_than_the_set_age_are_marked_stale_and_others_are_not(
    environment: dict[str, str], worker: WorkerProcess, tmp_path: Path
) -> None:
    fraud(environment, "init")
    lines = [payment(name, age, amount) for name, age in AGES.items() for amount in (10, 5_000)]
    # What is sent again repeats its alert.
    lines.append(lines[1])
    fraud(environment, "produce", write_lines(tmp_path / "payments.jsonl", lines), "--speed", "max")
    worker.start()
    with closing(TopicReader(environment, "alerts")) as alerts, closing(TopicReader(environment, "decisions")) as all_:
        sent = [json.loads(message.value) for message in wait_for_messages(alerts, 3, worker)]
        decided = [message.value for message in wait_for_messages(all_, len(lines), worker)]
        contents = [message.value for message in alerts.messages]
    assert worker.stop() == 0
    marks = {alert["decision"]["transaction_id"]: alert.get("stale") for alert in sent}
    assert marks == {"old-5000": True, "fresh-5000": None}
    # The mark stands beside the decision, which is the same to the byte with and without it.
    assert all(b"stale" not in decision for decision in decided)
    assert {content.replace(b',"stale":true}', b"}") for content in contents} <= set(decided)
    for content, alert in zip(contents, sent, strict=True):
        frozen = content[len(b'{"decision":') : content.index(b',"hash":')]
        assert hashlib.sha256(frozen).hexdigest() == alert["hash"]
    shown = fraud(environment, "tail", "alerts", "--from-start", "--limit", "3").splitlines()
    assert [line.endswith("[stale]") for line in shown] == ["old-5000" in line for line in shown]
    check_filters(environment)


def check_filters(environment: dict[str, str]) -> None:
    of_one = fraud(environment, "tail", "decisions", "--from-start", "--user", "fresh", "--limit", "2", "--json")
    assert {json.loads(line)["decision"]["transaction_id"] for line in of_one.splitlines()} == {
        "fresh-10",
        "fresh-5000",
    }
    reviewed = fraud(environment, "tail", "decisions", "--from-start", "--action", "review", "--limit", "2")
    assert all(" review " in line and "LARGE_PAYMENT" in line for line in reviewed.splitlines())
