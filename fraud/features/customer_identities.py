"""The identities of a customer's events within the duplicate horizon: the last section of `customer_words`.

In order of arrival. Identifiers and contents are kept as fingerprints (`fraud.features.fingerprints`). What is not
there is new; what is there may be too old to count, since what is older than the horizon is dropped in bulk.
"""

from __future__ import annotations

from typing import Final

from fraud.features.compiled import Integers, compiled, integers_at
from fraud.features.customer_words import (
    EVENT_ADDRESS,
    EVENT_CONTENT,
    EVENT_IDENTIFIER,
    EVENT_IS_PAYMENT,
    EVENT_LATE,
    EVENT_TIMESTAMP_MS,
    IDENTITIES_AT,
    IDENTITY_COUNT,
    LENGTH,
    NEWEST_MS,
    ROW_COUNT,
    SEQUENCE,
    delete_rows,
    row_at,
    rows_until,
)

# An identity, by word: its identifier, its content, the customer's newest event time at arrival (which never goes
# back), and its own timestamp, negative for what is not in the windows: refunds, reversals, late and reversed payments.
IDENTIFIER: Final = 0
CONTENT: Final = 1
ARRIVAL_MS: Final = 2
OWN_MS: Final = 3
IDENTITY_WORDS: Final = 4

# What is to be asked about an event before it is remembered: its identifier is there, its customer has been silent.
IS_THERE: Final = 1
WAS_SILENT: Final = 2


@compiled
def look_up(events: Integers, forget_after_ms: int, questions: Integers) -> bool:
    """Fill `questions`, int64 [n], about `events` of different customers; whether there are any."""
    any_question = 0
    for number in range(len(events)):
        event = events[number]
        words = integers_at(event[EVENT_ADDRESS])
        question = 0
        for place in range(words[IDENTITY_COUNT]):
            if words[_identity_at(words, place)] == event[EVENT_IDENTIFIER]:
                question = IS_THERE
        if event[EVENT_TIMESTAMP_MS] - words[NEWEST_MS] > forget_after_ms:
            question |= WAS_SILENT
        questions[number] = question
        any_question |= question
    return any_question != 0


@compiled
def remember(events: Integers, start: int, lateness_ms: int, horizon_ms: int) -> int:
    """Remember the events from `start` on, and note in EVENT_LATE which of them come too late for the windows.

    Returns how many are done. If not all are, the next one's state has no room for an identity.
    """
    for number in range(start, len(events)):
        event = events[number]
        words = integers_at(event[EVENT_ADDRESS])
        if _identity_at(words, words[IDENTITY_COUNT] + 1) > words[LENGTH]:
            return number
        timestamp_ms, newest_ms = event[EVENT_TIMESTAMP_MS], words[NEWEST_MS]
        event[EVENT_LATE] = timestamp_ms < newest_ms - lateness_ms
        words[SEQUENCE] += 1
        # A refund may be newer than what is absorbed; arrivals never go back.
        arrival_ms = max(newest_ms, timestamp_ms, newest_arrival_ms(words))
        _drop_older(words, arrival_ms - horizon_ms)
        at = _identity_at(words, words[IDENTITY_COUNT])
        words[at + IDENTIFIER] = event[EVENT_IDENTIFIER]
        words[at + CONTENT] = event[EVENT_CONTENT]
        words[at + ARRIVAL_MS] = arrival_ms
        words[at + OWN_MS] = timestamp_ms if event[EVENT_IS_PAYMENT] and not event[EVENT_LATE] else -timestamp_ms
        words[IDENTITY_COUNT] += 1
    return len(events)


@compiled
def content_of(address: int, identifier: int, horizon_ms: int) -> tuple[bool, int]:
    """Whether an identifier is there within the horizon, and the content that it had."""
    words = integers_at(address)
    at = _found(words, identifier, horizon_ms)
    return at != 0, words[at + CONTENT]


@compiled
def take_out(address: int, identifier: int, horizon_ms: int) -> None:
    """A payment that is reversed leaves the windows, if it is in them still."""
    words = integers_at(address)
    at = _found(words, identifier, horizon_ms)
    if at == 0 or words[at + OWN_MS] < 0:
        return
    timestamp_ms = words[at + OWN_MS]
    words[at + OWN_MS] = -timestamp_ms
    same_time_after = 0
    for later in range(at + IDENTITY_WORDS, _identity_at(words, words[IDENTITY_COUNT]), IDENTITY_WORDS):
        same_time_after += words[later + OWN_MS] == timestamp_ms
    place = rows_until(words, timestamp_ms, words[ROW_COUNT]) - 1 - same_time_after
    if place >= 0 and words[row_at(words, place)] == timestamp_ms:
        delete_rows(words, place, place + 1)


@compiled
def newest_arrival_ms(words: Integers) -> int:
    """The customer's newest event time at the last arrival, 0 before the first."""
    count = words[IDENTITY_COUNT]
    return int(words[_identity_at(words, count - 1) + ARRIVAL_MS]) if count else 0


@compiled
def newest_arrival_at(address: int) -> int:
    """As `newest_arrival_ms`, of the words at an address."""
    return newest_arrival_ms(integers_at(address))


@compiled
def _identity_at(words: Integers, place: int) -> int:
    return int(words[IDENTITIES_AT] + place * IDENTITY_WORDS)


@compiled
def _found(words: Integers, identifier: int, horizon_ms: int) -> int:
    """The word at which the first identity of this identifier within the horizon stands, 0 if there is none."""
    oldest_ms = newest_arrival_ms(words) - horizon_ms
    for place in range(words[IDENTITY_COUNT]):
        at = _identity_at(words, place)
        if words[at + IDENTIFIER] == identifier and words[at + ARRIVAL_MS] >= oldest_ms:
            return at
    return 0


@compiled
def _drop_older(words: Integers, oldest_ms: int) -> None:
    """Drop what arrived before, in bulk: shifting all for each one that expires would cost more than they take."""
    count = words[IDENTITY_COUNT]
    if count == 0 or words[_identity_at(words, count >> 4) + ARRIVAL_MS] >= oldest_ms:
        return
    expired = 0
    while expired < count and words[_identity_at(words, expired) + ARRIVAL_MS] < oldest_ms:
        expired += 1
    start, source = _identity_at(words, 0), _identity_at(words, expired)
    for word in range((count - expired) * IDENTITY_WORDS):
        words[start + word] = words[source + word]
    words[IDENTITY_COUNT] = count - expired
