"""What is no transaction becomes a dead letter with its reason, and costs no other a decision."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hostile_messages import Hostile, hostile
from live_worker import TopicReader, WorkerProcess, fraud, worker_environment
from undisturbed import disorderly, replay, simulated_lines, wait_for_all, wait_for_messages, write_lines

from fraud.live.dead_letter import DeadLetterBox, decode_dead_letter
from fraud.live.kafka import connection
from fraud.settings import load_settings
from fraud.stack import Stack

TRANSACTIONS, HOSTILE = 1_000, 10_000


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    return worker_environment(stack, "hostile", batch_size="256")


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def test_hostile_messages_are_dead_letters_and_all_others_are_decided(
    environment: dict[str, str], worker: WorkerProcess, tmp_path: Path
) -> None:
    lines = disorderly(simulated_lines(environment, tmp_path, TRANSACTIONS))
    expected = replay(environment, write_lines(tmp_path / "transactions.jsonl", lines), tmp_path / "replayed")
    fraud(environment, "init")
    worker.start()
    sent = asyncio.run(_send(environment, _mixed(lines)))
    decisions, letters = TopicReader(environment, "decisions"), TopicReader(environment, "dead_letter")
    with closing(decisions), closing(letters):
        found = expected.compare(wait_for_all(decisions, expected.decisions, 1.0, worker))
        published = wait_for_messages(letters, HOSTILE, worker)
        assert worker.stop() == 0
        assert (found.wrong, found.degraded) == ({}, frozenset())
        settings = load_settings(environment)
        box = DeadLetterBox(settings.dead_letter_key, settings.dead_letter_key_id, os.urandom)
        told = {letter.offset: letter for letter in (decode_dead_letter(one.value) for one in published)}
    assert told.keys() == sent.keys()
    wrong = {(sent[offset].code, told[offset].code) for offset in sent if sent[offset].code != told[offset].code}
    assert wrong == set()
    # Each can be read again, and answers for itself in words.
    assert all(box.open(told[offset]) == (sent[offset].value or b"") for offset in sent)
    assert all(letter.reason for letter in told.values())
    assert len(told) == HOSTILE
    assert len(Counter(letter.code for letter in told.values())) > 20


def _mixed(lines: Sequence[str]) -> list[tuple[bytes, Hostile | bytes]]:
    """Keys and messages: every transaction, each with some that are hostile right behind it."""
    spread = random.Random(7)
    mixed: list[tuple[bytes, Hostile | bytes]] = []
    for place, line in enumerate(lines):
        record = json.loads(line)
        key = record["user_id"].encode()
        mixed.append((key, line.encode()))
        count = HOSTILE * (place + 1) // len(lines) - HOSTILE * place // len(lines)
        mixed += [(key, hostile(record, spread)) for _ in range(count)]
    return mixed


async def _send(environment: dict[str, str], messages: Sequence[tuple[bytes, Hostile | bytes]]) -> dict[int, Hostile]:
    """The hostile ones by their offset."""
    settings = load_settings(environment)
    producer = connection(settings).producer(linger_ms=5)
    await producer.start()
    try:
        sent = []
        for key, message in messages:
            value = message.value if isinstance(message, Hostile) else message
            sent.append((message, await producer.send(settings.transactions_topic, value, key=key)))
        offsets = [(message, (await delivery).offset) for message, delivery in sent]
    finally:
        await producer.stop()
    return {offset: message for message, offset in offsets if isinstance(message, Hostile)}
