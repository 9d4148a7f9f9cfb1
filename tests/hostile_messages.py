"""Messages that are no transactions, each with the code that its dead letter must have."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

Record = dict[str, Any]


class Hostile(NamedTuple):
    """The bytes of a message, and why they must be refused."""

    code: str
    value: bytes | None


def _with(**changes: Any) -> Callable[[Record, random.Random], bytes]:
    def make(record: Record, _spread: random.Random) -> bytes:
        return json.dumps({**record, **changes}).encode()

    return make


def _truncated(record: Record, spread: random.Random) -> bytes:
    text = json.dumps(record).encode()
    return text[: spread.randrange(1, len(text))]


def _overwritten(record: Record, spread: random.Random) -> bytes:
    """A control byte in the middle, which JSON allows nowhere but between its parts."""
    text = bytearray(json.dumps(record, separators=(",", ":")).encode())
    text[spread.randrange(len(text))] = spread.choice((0, 1, 7, 27, 31))
    return bytes(text)


def _wrong_encoding(record: Record, _spread: random.Random) -> bytes:
    return json.dumps({**record, "city": "Zuerich"}).encode().replace(b"Zue", b"Z\xfc")


def _without(name: str) -> Callable[[Record, random.Random], bytes]:
    def make(record: Record, _spread: random.Random) -> bytes:
        return json.dumps({key: value for key, value in record.items() if key != name}).encode()

    return make


def _no_object(_record: Record, spread: random.Random) -> bytes:
    return spread.choice((b"[]", b"null", b"17", b'"transaction"', b"true", b"[{}]"))


def _nested(_record: Record, spread: random.Random) -> bytes:
    return b'{"unknown":' + b"[" * spread.randrange(20_000, 30_000)


def _long(record: Record, spread: random.Random) -> bytes:
    return json.dumps({**record, "city": "x" * spread.randrange(262_144, 300_000)}).encode()


def _tombstone(_record: Record, _spread: random.Random) -> None:
    return None


# A thousandth each: they are large.
_RARE: tuple[tuple[str, Callable[[Record, random.Random], bytes | None]], ...] = (
    ("nested_too_deeply", _nested),
    ("message_too_long", _long),
)
_KINDS: tuple[tuple[str, Callable[[Record, random.Random], bytes | None]], ...] = (
    ("broken_json", _truncated),
    ("broken_json", _overwritten),
    ("empty_message", _tombstone),
    ("wrong_encoding", _wrong_encoding),
    ("wrong_type", _no_object),
    ("wrong_type", _with(amount=True)),
    ("wrong_type", _with(user_id=17)),
    ("wrong_type", _with(attributes={"basket": {"items": []}})),
    ("wrong_type", _with(amount={"$gt": 0})),
    *(("missing_field", _without(name)) for name in ("transaction_id", "user_id", "timestamp", "amount", "currency")),
    ("invalid_timestamp", _with(timestamp="yesterday")),
    ("invalid_timestamp", _with(timestamp="2026-02-30T12:00:00Z")),
    ("timestamp_without_zone", _with(timestamp="2026-03-01T12:00:00")),
    ("timestamp_out_of_range", _with(timestamp="1970-01-01T00:00:00Z")),
    ("unknown_currency", _with(currency="EURO")),
    ("unknown_currency", _with(currency="XXQ")),
    ("amount_negative", _with(amount=-12.5)),
    ("amount_zero", _with(amount=0)),
    ("amount_not_decimal", _with(amount="1e5")),
    ("amount_not_decimal", _with(amount="NaN")),
    ("amount_not_decimal", _with(amount="9" * 10_000)),
    ("amount_not_decimal", _with(amount="12,50")),
    ("amount_too_large", _with(amount=1e300, currency="EUR")),
    ("too_many_decimals", _with(amount=1.234, currency="EUR")),
    ("invalid_coordinate", _with(latitude=91.0, longitude=0.0)),
    ("half_a_position", _with(latitude=50.0, longitude=None)),
    ("value_too_long", _with(merchant_id="m" * 201)),
    ("value_too_long", _with(attributes={"note": "n" * 1_001})),
    ("too_many_attributes", _with(attributes={f"a{number}": number for number in range(51)})),
    ("control_character", _with(merchant_id="shop\x00'; DROP TABLE history; --")),
    ("control_character", _with(transaction_id="one\ntwo")),
    ("empty_value", _with(user_id="")),
    ("invalid_value", _with(event_type="gift")),
    ("transaction_id_reused", _with(amount=98_765.43, currency="EUR")),
)


def hostile(record: Record, spread: random.Random) -> Hostile:
    """A message that must be refused, made of a transaction that was taken just before."""
    code, make = spread.choice(_RARE if spread.random() < 0.002 else _KINDS)
    return Hostile(code, make(record, spread))
