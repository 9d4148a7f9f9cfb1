"""What a decided batch says to the world: decisions, alerts, dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from fraud.decision import decision_message
from fraud.live.dead_letter import DeadLetterBox, MessagePlace, shown_key
from fraud.pipeline import BatchResult
from fraud.ports import StoredDecision
from fraud.transaction import InvalidTransactionError, Transaction
from fraud.walk import LiveBatch

DECISIONS, ALERTS, DEAD_LETTERS = "decisions", "alerts", "dead-letters"


class Outgoing(NamedTuple):
    """A message for one of this module's three topics, on the partition that its cause came from."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes


class _Published(NamedTuple):
    canonical: bytes
    content_hash: str
    is_alert: bool


class _Standing(msgspec.Struct, frozen=True, gc=False):
    """What of a stored decision tells whether somebody has to act."""

    action: str
    notifications: list[str]


_decode_standing = msgspec.json.Decoder(_Standing).decode


def _of_stored(stored: StoredDecision) -> _Published:
    if not stored.canonical:
        return _Published(b"", "", is_alert=False)
    standing = _decode_standing(stored.canonical)
    is_alert = standing.action != "allow" or bool(standing.notifications)
    return _Published(stored.canonical, stored.hash, is_alert)


def decided_messages(
    result: BatchResult, places: Sequence[MessagePlace], lost: Mapping[int, StoredDecision], stale_ms: int
) -> list[Outgoing]:
    """The decisions of a batch, and their alerts; where history knew another one before, that one."""
    outgoing: list[Outgoing] = []
    for row, position in enumerate(result.positions):
        content = _of_row(result, row, position, lost)
        _add(outgoing, places[position], content, result.gathered.transactions[row], stale_ms)
    return outgoing


def repeated_messages(
    result: BatchResult,
    live: LiveBatch,
    places: Sequence[MessagePlace],
    lost: Mapping[int, StoredDecision],
    stale_ms: int,
) -> list[Outgoing]:
    """For what was delivered or sent again, the decision that stands, byte for byte."""
    if not live.repeated:
        return []
    # An identity of long ago may come back as another transaction, even in one batch.
    rows = {
        (transaction.user_id, transaction.transaction_id, transaction.timestamp_ms): (row, position)
        for row, (position, transaction) in enumerate(zip(result.positions, result.gathered.transactions, strict=True))
    }
    outgoing: list[Outgoing] = []
    for position, transaction in live.repeated:
        stored = live.stored.get(position)
        if stored is not None:
            content = _of_stored(stored)
        else:
            found = rows.get((transaction.user_id, transaction.transaction_id, transaction.timestamp_ms))
            if found is None:
                # A refund or a reversal: there is no decision to repeat.
                continue
            content = _of_row(result, *found, lost)
        _add(outgoing, places[position], content, transaction, stale_ms)
    return outgoing


def sealed(
    box: DeadLetterBox,
    error: InvalidTransactionError,
    place: MessagePlace,
    value: bytes | None,
    secret_fields: tuple[str, ...],
) -> Outgoing:
    """The dead letter of a refused message."""
    return dead_letter(place, box.seal(error, place, value, secret_fields), secret_fields)


def dead_letter(place: MessagePlace, letter: bytes, secret_fields: tuple[str, ...]) -> Outgoing:
    """A letter as a message. The refused one's key may be what is tokenised elsewhere, so it is masked here, too."""
    key = shown_key(place, secret_fields)
    return Outgoing(DEAD_LETTERS, place.partition, None if key is None else key.encode(), letter)


def _of_row(result: BatchResult, row: int, position: int, lost: Mapping[int, StoredDecision]) -> _Published:
    decided = result.decided
    if position in lost:
        return _of_stored(lost[position])
    if decided is None:
        return _Published(b"", "", is_alert=False)
    return _Published(decided.canonical[row], decided.hashes[row], decided.is_alert(row))


def _add(
    outgoing: list[Outgoing], place: MessagePlace, content: _Published, transaction: Transaction, stale_ms: int
) -> None:
    if not content.canonical:
        return
    key = transaction.user_id.encode()
    message = decision_message(content.canonical, content.content_hash)
    outgoing.append(Outgoing(DECISIONS, place.partition, key, message))
    if content.is_alert:
        stale = place.ingested_ms - transaction.timestamp_ms > stale_ms
        outgoing.append(Outgoing(ALERTS, place.partition, key, _marked_stale(message) if stale else message))


def _marked_stale(message: bytes) -> bytes:
    """The alert with `"stale":true` beside the decision, outside of what is hashed."""
    return message[:-1] + b',"stale":true}'
