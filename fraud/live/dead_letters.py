"""The dead letters of a topic: found, opened, and sent once more to where they came from."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaConsumer

from fraud.live.dead_letter import DeadLetter, DeadLetterBox, decode_dead_letter

_PLACE = re.compile(r"(.+)/(\d+)/(\d+)")


class PlaceError(ValueError):
    """A text that names no place."""


@dataclass(frozen=True, order=True)
class LetterPlace:
    """Where the refused message stands: written `topic/partition/offset`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


def place_of(letter: DeadLetter) -> LetterPlace:
    """The place by which people name a letter."""
    return LetterPlace(letter.topic, letter.partition, letter.offset)


def parsed_place(text: str) -> LetterPlace:
    """The place that `text` names. Raises `PlaceError`."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise PlaceError(f"{text!r} is no place: write topic/partition/offset, as `fraud dead-letters list` does")
    return LetterPlace(found[1], int(found[2]), int(found[3]))


@dataclass(frozen=True)
class LetterFilter:
    """Which letters; None takes any. `since` is a UTC text as in the letters: messages from then on."""

    places: frozenset[LetterPlace] | None = None
    code: str | None = None
    topic: str | None = None
    since: str | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether the letter is one of them."""
        return (
            (self.places is None or place_of(letter) in self.places)
            and self.code in (None, letter.code)
            and self.topic in (None, letter.topic)
            and (self.since is None or letter.ingested_at >= self.since)
        )


async def letters_of(consumer: AIOKafkaConsumer, only: LetterFilter) -> AsyncIterator[DeadLetter]:
    """The letters that are there now, each refused message once, however often it was refused.

    `consumer` is started, reads a topic from its start, and belongs to no group.
    """
    ends = {tp: end for tp, end in (await consumer.end_offsets(consumer.assignment())).items() if end}
    seen = set()
    while ends:
        for tp, records in (await consumer.getmany(timeout_ms=200)).items():
            for record in records:
                letter = decode_dead_letter(record.value)
                source = letter.topic_id, letter.partition, letter.offset
                if record.offset < ends.get(tp, 0) and source not in seen and only.takes(letter):
                    seen.add(source)
                    yield letter
        ends = {tp: end for tp, end in ends.items() if await consumer.position(tp) < end}


async def send_again(
    letters: Sequence[DeadLetter], box: DeadLetterBox, send: Callable[[str, bytes | None, bytes], Awaitable[object]]
) -> int:
    """Open all letters, then send the original bytes to the topics that they came from; how many these are.

    Nothing is sent when one cannot be opened: raises `DeadLetterKeyError`. To send twice does no harm: what is
    decided keeps its decision.
    """
    opened = [(letter.topic, box.open(letter)) for letter in letters]
    for topic, value in opened:
        await send(topic, _key_of(value), value)
    return len(opened)


class _Keyed(msgspec.Struct):
    user_id: str


_decode_key = msgspec.json.Decoder(_Keyed).decode


def _key_of(value: bytes) -> bytes | None:
    # A letter shows its key shortened and masked; the message itself names the customer, by whom topics are keyed.
    try:
        return _decode_key(value).user_id.encode()
    except (msgspec.DecodeError, UnicodeError):
        return None
