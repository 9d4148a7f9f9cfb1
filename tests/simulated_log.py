"""The log that a simulated service reads: generated messages of customers in partitions, with garbage in between."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from random import Random

import msgspec
from event_sequences import SMALL_LIMITS, STEPS_MS, TINY_LIMITS, Pools, generate
from payments import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

from fraud.bootstrap import state_limits
from fraud.live.dead_letter import MessagePlace
from fraud.live.decisions import Arrival, DecisionLimits
from fraud.settings import Settings
from fraud.transaction import TransactionMessage, timestamp_to_ms

TOPIC, TOPIC_ID = "transactions", "T"
DECISION_LIMITS = DecisionLimits(future_tolerance_ms=HOUR_MS, stale_alert_ms=DAY_MS)
# Ordinary times alone: nothing expires, and no entity is forgotten.
CALM_STEPS_MS = (0, 0, SECOND_MS, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 7 * HOUR_MS, -MINUTE_MS, -30 * MINUTE_MS)
_GARBAGE = (
    None,
    b"",
    b"\xff\xfe\x00garbage",
    b"[]",
    b"null",
    b'{"transaction_id":"cut',
    b'{"transaction_id":"t","user_id":"customer0"}',
    b"[" * 2_000,
    b'{"transaction_id":"\\u0000","user_id":"customer0","timestamp":"2026-03-02T12:00:00Z","amount":1,"currency":"EUR"}',
    b'{"transaction_id":"t","user_id":"customer0","timestamp":"2026-03-02T12:00:00Z","amount":1.234,"currency":"EUR"}',
    b'{"transaction_id":"t","user_id":"customer0","timestamp":"2026-03-02T12:00:00Z","amount":-1,"currency":"EUR"}',
    b'{"transaction_id":"t","user_id":"customer0","timestamp":"2026-03-02T12:00:00Z","amount":1,"currency":"XXX"}',
    b'{"transaction_id":"t","user_id":"customer0","timestamp":"1970-01-01T00:00:00Z","amount":1,"currency":"EUR"}',
)


@dataclass(frozen=True)
class Log:
    """`partitions` hold what stands in each, offsets ascending from 0; `sent` all of it in the order of sending.

    `unreadable` are places, (partition, offset), that must become dead letters whatever came before.
    """

    settings: Settings
    partitions: list[list[Arrival]]
    sent: list[Arrival]
    unreadable: set[tuple[int, int]]


# Few, so that nearly every message meets the state that an earlier one has left.
_FEW = Pools(customers=2, merchants=2, others=2)


@dataclass(frozen=True)
class Shape:
    """What a log is made of. `repeats_in_horizon` leaves out messages that repeat an identity of long ago."""

    messages: int = 30
    partitions: int = 1
    settings: Settings = SMALL_LIMITS
    pools: Pools = _FEW
    steps_ms: tuple[int, ...] = STEPS_MS
    garbage: float = 0.08
    repeats_in_horizon: bool = True


SMALL_SHAPE = Shape()
TINY_SHAPE = Shape(settings=TINY_LIMITS)
CALM_SHAPE = Shape(partitions=3, pools=Pools(customers=5, merchants=2, others=2), steps_ms=CALM_STEPS_MS)
ANCIENT_SHAPE = Shape(settings=TINY_LIMITS, repeats_in_horizon=False)


def make_log(random: Random, shape: Shape) -> Log:
    """The same log for the same random numbers."""
    messages = generate(random, shape.messages, shape.pools, shape.steps_ms).messages
    if shape.repeats_in_horizon:
        messages = _without_ancient_repeats(messages, state_limits(shape.settings).duplicate_horizon_ms)
    partitions: list[list[Arrival]] = [[] for _ in range(shape.partitions)]
    sent: list[Arrival] = []
    unreadable = set()
    clock_ms = 0

    def append(partition: int, value: bytes | None, key: bytes | None) -> None:
        place = MessagePlace(TOPIC, TOPIC_ID, partition, len(partitions[partition]), clock_ms, key)
        arrival = Arrival(place, value)
        partitions[partition].append(arrival)
        sent.append(arrival)

    for message in messages:
        clock_ms = max(clock_ms, timestamp_to_ms(message.timestamp) + SECOND_MS)
        if random.random() < shape.garbage:
            partition = random.randrange(shape.partitions)
            unreadable.add((partition, len(partitions[partition])))
            append(partition, _garbage(random, message), random.choice((None, b"\xff", b"customer0")))
        partition = int(message.user_id.removeprefix("customer")) % shape.partitions
        append(partition, msgspec.json.encode(message), message.user_id.encode())
    return Log(shape.settings, partitions, sent, unreadable)


def _garbage(random: Random, message: TransactionMessage) -> bytes | None:
    if random.random() < 0.2:
        ahead = message.timestamp + timedelta(days=400)
        return msgspec.json.encode(msgspec.structs.replace(message, transaction_id="ahead", timestamp=ahead))
    return random.choice(_GARBAGE)


def _without_ancient_repeats(messages: list[TransactionMessage], horizon_ms: int) -> list[TransactionMessage]:
    """Past the horizon a known identity is a new one to replay, and nothing is promised."""
    kept = []
    first_seen_ms: dict[tuple[str, str], int] = {}
    newest_ms: dict[str, int] = defaultdict(int)
    for message in messages:
        identity = message.user_id, message.transaction_id
        timestamp_ms = timestamp_to_ms(message.timestamp)
        if (
            first_seen_ms.get(identity, timestamp_ms) < newest_ms[message.user_id] - horizon_ms
            and identity in first_seen_ms
        ):
            continue
        first_seen_ms.setdefault(identity, timestamp_ms)
        newest_ms[message.user_id] = max(newest_ms[message.user_id], timestamp_ms)
        kept.append(message)
    return kept
