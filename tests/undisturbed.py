"""What a run of the live service should have published: the decisions of an undisturbed replay of the same file."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from live_worker import PATIENCE_S, Message, TopicReader, WorkerProcess, fraud

from fraud.features import feature_set
from fraud.features.plan import ENTITY_KINDS

# Sent again within so many records: soon enough that it is known as a repetition.
_REPEATED_WITHIN = 100
_ENTITY_FEATURES = frozenset(row.name for row in feature_set("default").rows if row.entity in ENTITY_KINDS)
# What follows from entity windows, besides their features.
_FOLLOWS = frozenset(
    (
        *("action", "degraded", "features", "notifications", "reason_codes", "recommended_action", "rule_hits"),
        *("score", "score_reasons"),
    )
)


class Identity(NamedTuple):
    """What decides whether two decisions are about the same transaction."""

    user_id: str
    transaction_id: str
    timestamp: str


class _Named(msgspec.Struct):
    user_id: str
    transaction_id: str
    timestamp: str
    degraded: list[str]


class _Message(msgspec.Struct):
    decision: _Named


_decode = msgspec.json.Decoder(_Message).decode


def identity_of(message: bytes) -> Identity:
    named = _decode(message).decision
    return Identity(named.user_id, named.transaction_id, named.timestamp)


@dataclass(frozen=True)
class Differences:
    """Transactions by what went wrong with them; `contents` counts those published with more than one content.

    `degraded` are not wrong: decided without entity windows, and equal in everything else. `repeated` counts messages
    that said again, byte for byte, what was said before.
    """

    lost: frozenset[Identity]
    invented: frozenset[Identity]
    doubled: frozenset[Identity]
    changed: dict[Identity, str]
    degraded: frozenset[Identity]
    repeated: int

    @property
    def wrong(self) -> dict[str, object]:
        """What must not be, the first few of each kind."""
        kinds = {"lost": self.lost, "invented": self.invented, "doubled": self.doubled, "changed": self.changed}
        return {
            name: (len(found), sorted(found.items() if isinstance(found, dict) else found)[:3])
            for name, found in kinds.items()
            if found
        }


@dataclass(frozen=True)
class Undisturbed:
    """Decisions and alerts of a replay, as messages."""

    decisions: dict[Identity, bytes]
    alerts: dict[Identity, bytes]

    def compare(self, messages: Iterable[Message], *, entities_exact: bool = True) -> Differences:
        """How published decisions differ; without `entities_exact` what follows from entity windows may."""
        return _compare(self.decisions, messages, entities_exact)

    def compare_alerts(self, messages: Iterable[Message]) -> Differences:
        """How published alerts differ."""
        return _compare(self.alerts, messages, entities_exact=True)


def _compare(expected: dict[Identity, bytes], messages: Iterable[Message], entities_exact: bool) -> Differences:
    contents: dict[Identity, set[bytes]] = defaultdict(set)
    count = 0
    for message in messages:
        contents[identity_of(message.value)].add(message.value)
        count += 1
    changed, degraded = {}, set()
    for identity in contents.keys() & expected.keys():
        for content in contents[identity]:
            is_degraded = bool(_decode(content).decision.degraded)
            if is_degraded:
                degraded.add(identity)
            told = first_difference(content, expected[identity], entities_exact=entities_exact and not is_degraded)
            if told:
                changed[identity] = told
    return Differences(
        lost=frozenset(expected.keys() - contents.keys()),
        invented=frozenset(contents.keys() - expected.keys()),
        doubled=frozenset(identity for identity, found in contents.items() if len(found) > 1),
        changed=changed,
        degraded=frozenset(degraded),
        repeated=count - sum(len(found) for found in contents.values()),
    )


def first_difference(content: bytes, expected: bytes, *, entities_exact: bool) -> str:
    """Empty if they are equal byte for byte; without `entities_exact` but for what follows from entity windows."""
    if content == expected:
        return ""
    is_one, should_one = (_flat(json.loads(message), entities_exact) for message in (content, expected))
    for name in sorted(is_one.keys() | should_one.keys()):
        if is_one.get(name) != should_one.get(name):
            return f"{name} is {is_one.get(name)!r}, should be {should_one.get(name)!r}"
    return "bytes differ, values do not" if entities_exact else ""


def _flat(message: dict[str, Any], entities_exact: bool) -> dict[str, Any]:
    decision = message["decision"]
    flat = {f"features.{name}": value for name, value in decision["features"].items()}
    flat |= {name: value for name, value in decision.items() if name != "features"}
    if entities_exact:
        return {**flat, "hash": message["hash"]}
    return {
        name: value
        for name, value in flat.items()
        if name not in _FOLLOWS and name.removeprefix("features.") not in _ENTITY_FEATURES
    }


def differing_entity_cells(expected: Undisturbed, messages: Iterable[Message]) -> tuple[int, int]:
    """How many entity features of decisions that are not degraded differ from the replay's, of how many."""
    differing = total = 0
    for content in {message.value for message in messages}:
        if not _decode(content).decision.degraded:
            is_one = json.loads(content)["decision"]["features"]
            should_one = json.loads(expected.decisions[identity_of(content)])["decision"]["features"]
            names = _ENTITY_FEATURES & should_one.keys()
            total += len(names)
            differing += sum(is_one[name] != should_one[name] for name in names)
    return differing, total


def replay(environment: dict[str, str], transactions: Path, out: Path, *options: str) -> Undisturbed:
    """Replay a file into the folder `out`."""
    fraud(environment, "replay", transactions, "--out", out, "--decisions-jsonl", *options)
    decisions, alerts = (
        {identity_of(line): line for line in (out / name).read_bytes().splitlines()}
        for name in ("decisions.jsonl", "alerts.jsonl")
    )
    return Undisturbed(decisions, alerts)


def wait_for_all(
    reader: TopicReader, expected: Collection[Identity], share: float, *workers: WorkerProcess
) -> Sequence[Message]:
    """The decisions, once this share of all is there. What `workers` say last is told if they never are."""
    end = time.monotonic() + PATIENCE_S
    while True:
        messages = reader.read()
        decided = {identity_of(message.value) for message in messages} & set(expected)
        if len(decided) >= share * len(expected):
            return messages
        told = [worker.last_lines for worker in workers]
        assert time.monotonic() < end, f"{len(decided)} of {len(expected)} decided; {told}"
        time.sleep(0.3)


def wait_for_messages(reader: TopicReader, count: int, worker: WorkerProcess) -> Sequence[Message]:
    """Everything in a topic, once it has so many messages."""
    end = time.monotonic() + PATIENCE_S
    while len(reader.read()) < count:
        assert time.monotonic() < end, f"{len(reader.messages)} of {count} published; {worker.last_lines}"
        time.sleep(0.3)
    return reader.messages


def simulated_lines(environment: dict[str, str], folder: Path, count: int) -> list[str]:
    """Simulated transactions as lines of JSON, without labels."""
    simulated = folder / "simulated.jsonl"
    fraud(environment, "simulate", "--out", simulated, "--days", "60", "--customers", "300", "--seed", "5")
    lines = []
    for line in simulated.read_text().splitlines()[:count]:
        record = json.loads(line)
        lines.append(json.dumps({name: value for name, value in record.items() if not _is_of_label(name)}))
    return lines


def _is_of_label(name: str) -> bool:
    return name.startswith("label") or name == "scenario"


def disorderly(lines: Sequence[str]) -> list[str]:
    """The same lines, some of them sent twice, some a little late, some so late that they are not absorbed."""
    spread = random.Random(5)
    places: list[tuple[float, str]] = []
    for place, line in enumerate(lines):
        draw = spread.random()
        places.append((place + (spread.choice((20, 200, 1_500)) if draw < 0.03 else 0), line))
        if draw > 0.98:
            places.append((place + spread.randrange(_REPEATED_WITHIN), line))
    return [line for _, line in sorted(places, key=lambda entry: entry[0])]


def write_lines(file: Path, lines: Sequence[str]) -> Path:
    file.write_text("\n".join(lines) + "\n")
    return file
