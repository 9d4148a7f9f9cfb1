"""Card numbers, addresses and what else settings name leave the input topic as tokens only."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import redis
from live_worker import TopicReader, WorkerProcess, fraud, worker_environment
from undisturbed import replay, simulated_lines, wait_for_all, wait_for_messages, write_lines

from fraud.live.dynamodb_client import dynamodb_client
from fraud.live.kafka import connection
from fraud.settings import load_settings
from fraud.stack import Stack
from fraud.stores.history_items import DecisionCompression

TRANSACTIONS = 300
TOPICS_OF_OURS = ("decisions", "alerts", "dead_letter")


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    return worker_environment(stack, "privacy", tokenised_fields="attributes.email,user_id", log_level="debug")


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


class Secrets:
    """Recognisable clear values, as many as transactions, and what must be found nowhere."""

    def __init__(self) -> None:
        spread = random.Random(17)
        self.cards = [f"492941{spread.randrange(10**10):010}" for _ in range(40)]
        self.addresses = [f"203.0.{spread.randrange(100, 256)}.{spread.randrange(100, 256)}" for _ in range(40)]
        self.emails = [f"clear.person.{number}@mail.example" for number in range(40)]
        self.customers = [f"clear-customer-{number:02}" for number in range(40)]

    @property
    def needles(self) -> dict[str, bytes]:
        """The first six digits of a card and the network of an address are kept on purpose."""
        cards = {f"card {card}": card[6:].encode() for card in self.cards}
        return cards | {value: value.encode() for value in [*self.addresses, *self.emails, *self.customers]}

    def found_in(self, content: bytes) -> list[str]:
        return [name for name, needle in self.needles.items() if needle in content]


def test_clear_values_are_found_nowhere_but_in_the_input(
    environment: dict[str, str], worker: WorkerProcess, stack: Stack, tmp_path: Path
) -> None:
    secrets = Secrets()
    lines = _with_secrets(simulated_lines(environment, tmp_path, TRANSACTIONS), secrets)
    out = tmp_path / "replayed"
    file = write_lines(tmp_path / "transactions.jsonl", [*lines, *(line.decode() for line in _refused(lines, secrets))])
    expected = replay(environment, file, out)
    fraud(environment, "init")
    worker.start()
    fraud(environment, "produce", write_lines(tmp_path / "produced.jsonl", lines), "--speed", "max")
    refused = [*_refused(lines, secrets), *_cut_short(lines)]
    customer = secrets.customers[0].encode()
    asyncio.run(_send(environment, "transactions_topic", refused, customer))
    labels = _labels(secrets)
    asyncio.run(_send(environment, "labels_topic", labels, customer))
    readers = {topic: TopicReader(environment, topic) for topic in TOPICS_OF_OURS}
    places: dict[str, bytes] = {}
    wait_for_all(readers["decisions"], expected.decisions, 1.0, worker)
    wait_for_messages(readers["dead_letter"], len(refused) + len(labels) - 1, worker)
    places["/metrics"] = worker.metrics.encode()
    assert worker.stop() == 0
    for topic, reader in readers.items():
        with closing(reader):
            places[f"topic {topic}"] = b"\n".join(message.value for message in reader.read())
            places[f"files of topic {topic}"] = _log_files(stack, environment[f"FRAUD_{topic.upper()}_TOPIC"])
    places["tables"] = asyncio.run(_tables(environment))
    places["redis"] = _redis(environment)
    places["log"] = worker.log.read_bytes()
    places |= {f"replayed/{path.name}": _content(path) for path in out.rglob("*") if path.is_file()}
    assert {
        place: secrets.found_in(content)[:3] for place, content in places.items() if secrets.found_in(content)
    } == {}
    # It was searched where something is: each place holds what it should, and the search finds what is there.
    assert [place for place, content in places.items() if not content] == []
    assert b"492941" in places["tables"]
    assert len(places["topic dead_letter"].splitlines()) == len(refused) + len(labels) - 1
    inputs = _log_files(stack, environment["FRAUD_TRANSACTIONS_TOPIC"])
    assert set(secrets.found_in(inputs)) == secrets.needles.keys()


def _with_secrets(lines: list[str], secrets: Secrets) -> list[str]:
    made = []
    for number, line in enumerate(lines):
        record = json.loads(line)
        place = number % len(secrets.cards)
        record |= {"card_id": secrets.cards[place], "ip_address": secrets.addresses[place]}
        record["user_id"] = secrets.customers[place]
        record["attributes"] = {**record.get("attributes", {}), "email": secrets.emails[place], "basket": "3 items"}
        made.append(json.dumps(record))
    return made


def _refused(lines: list[str], secrets: Secrets) -> list[bytes]:
    """Secrets where they are refused: too long, with control characters, in columns of others, under a used name."""
    record = json.loads(lines[-1])
    card, address, email = secrets.cards[0], secrets.addresses[0], secrets.emails[0]
    changes: list[dict[str, Any]] = [
        {"card_id": card * 20},
        {"card_id": f"{card}\x07"},
        {"ip_address": f"{address}\x07"},
        {"ip_address": f"{address} " * 30},
        {"attributes": {"email": f"{email}\x07"}},
        {"attributes": {"email": email * 100}},
        {"amount": card},
        {"amount": f"{address}"},
        {"currency": card[:3], "card_id": card},
        {"merchant_id": f"{card}\x07"},
        {"city": f"{address}\x07"},
        {"user_id": f"{record['user_id']}\x07"},
        {"timestamp": card},
        {"event_type": card},
        {"amount": 98_765.43, "currency": "EUR", "card_id": card},
    ]
    return [json.dumps({**record, **change}).encode() for change in changes]


def _labels(secrets: Secrets) -> list[bytes]:
    """One that waits for its transaction, and some that are refused."""
    customer = secrets.customers[0]
    waits = {"label_id": "l1", "transaction_id": "none", "user_id": customer, "label": "fraud", "source": "analyst"}
    waits["known_at"] = "2026-03-02T13:00:00Z"
    changes = [{}, {"user_id": f"{customer}\x07"}, {"label": "perhaps"}, {"known_at": "yesterday"}]
    return [json.dumps({**waits, **change}).encode() for change in changes]


def _cut_short(lines: list[str]) -> list[bytes]:
    """Lines that end somewhere behind the secrets that they hold."""
    return [line.encode()[:-length] for length, line in enumerate(lines[:20], 1)]


async def _send(environment: dict[str, str], topic: str, messages: list[bytes], key: bytes) -> None:
    settings = load_settings(environment)
    producer = connection(settings).producer(linger_ms=5)
    await producer.start()
    for message in messages:
        await producer.send_and_wait(getattr(settings, topic), message, key=key)
    await producer.stop()


def _log_files(stack: Stack, topic: str) -> bytes:
    """What the broker has on its disk, as it is."""
    data = stack.directory / "kafka" / "data"
    return b"\n".join(path.read_bytes() for path in sorted(data.rglob(f"{topic}-*/*.log")))


async def _tables(environment: dict[str, str]) -> bytes:
    """Every value of every table, and every decision decompressed."""
    settings = load_settings(environment)
    values: list[bytes] = []
    compression = DecisionCompression(b"")
    decisions: list[bytes] = []
    async with dynamodb_client(settings) as client:
        # A page of the list holds a hundred names, and other tests have tables too.
        pages = [page async for page in client.get_paginator("list_tables").paginate()]
        names = [name for page in pages for name in page["TableNames"]]
        for table in (name for name in names if name.startswith(settings.table_prefix)):
            async for page in client.get_paginator("scan").paginate(TableName=table):
                for item in page["Items"]:
                    values += [_bytes(value) for kinds in item.values() for value in kinds.values()]
                    if item["user_id"]["S"].startswith("\x01dictionary:"):
                        compression.learn(bytes(item["content"]["B"]))
                    if "decision" in item:
                        decisions.append(bytes(item["decision"]["B"]))
    assert decisions
    return b"\n".join([*values, *(compression.decompress(decision)[0] for decision in decisions)])


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes) else str(value).encode()


def _redis(environment: dict[str, str]) -> bytes:
    """Every key and its value, of whatever type."""
    with closing(redis.Redis.from_url(environment["FRAUD_REDIS_URL"])) as client:
        read: dict[bytes, Callable[[str], Any]] = {
            b"string": lambda key: [client.get(key)],
            b"hash": lambda key: [part for pair in dict(client.hgetall(key)).items() for part in pair],
            b"set": client.smembers,
            b"list": lambda key: client.lrange(key, 0, -1),
        }
        keys = list(client.scan_iter(count=1_000))
        kinds: list[Any] = [client.type(key) for key in keys]
        values = [value for key, kind in zip(keys, kinds, strict=True) for value in read[kind](key)]
        return b"\n".join([*keys, *values])


def _content(path: Path) -> bytes:
    if path.suffix == ".parquet":
        return json.dumps(pq.read_table(path).to_pylist(), default=str).encode()
    return path.read_bytes()
