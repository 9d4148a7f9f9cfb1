"""What a payment looks like: on the wire (`TransactionMessage`), in the core (`Transaction`), and the labels that
follow it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import astuple

EVENT_TYPES = ("authorisation", "refund", "reversal")
AUTH_RESULTS = ("approved", "declined")
ENTRY_MODES = ("chip", "contactless", "magstripe", "manual", "ecommerce")
LABELS = ("fraud", "legitimate")
LABEL_SOURCES = ("chargeback", "issuer_alert", "analyst", "customer", "representment")

EventType = Literal["authorisation", "refund", "reversal"]
AuthResult = Literal["approved", "declined"]
EntryMode = Literal["chip", "contactless", "magstripe", "manual", "ecommerce"]
LabelName = Literal["fraud", "legitimate"]
LabelSource = Literal["chargeback", "issuer_alert", "analyst", "customer", "representment"]
Attribute = str | float | bool

# Identifiers become store keys: DynamoDB allows 1,024 bytes for a sort key that also carries a timestamp, and a
# character takes up to four bytes. Longer ones would be refused by the store instead of here.
IDENTIFIER_MAX_LENGTH = 200
# Free attributes are stored with every transaction; more than this and one record could fill a 400 KB history item.
ATTRIBUTE_MAX_LENGTH = 1_000
ATTRIBUTES_MAX_COUNT = 50

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=IDENTIFIER_MAX_LENGTH)]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Card payments by ISO 8583 exist from 1987 on; an earlier time is an unset clock (1970) or a day and year swapped.
EARLIEST_TIMESTAMP_MS = 536_457_600_000
# 2100-01-01: beyond it is a unit error (microseconds read as milliseconds), and it would hold every window open.
LATEST_TIMESTAMP_MS = 4_102_444_800_000

_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class TransactionMessage(msgspec.Struct, frozen=True, gc=False):
    """A transaction as it arrives: clear values, the currency's own unit, any zone.

    `amount` is in major units (12.34 EUR), a JSON number or a decimal string. `timestamp` carries its zone.
    """

    transaction_id: Identifier
    user_id: Identifier
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    amount: float | str
    currency: Annotated[str, msgspec.Meta(min_length=3, max_length=3)]
    event_type: EventType = "authorisation"
    auth_result: AuthResult | None = None
    original_transaction_id: Identifier | None = None
    entry_mode: EntryMode | None = None
    is_recurring: bool | None = None
    card_id: Identifier | None = None
    merchant_id: Identifier | None = None
    merchant_category: Identifier | None = None
    terminal_id: Identifier | None = None
    counterparty_id: Identifier | None = None
    channel: Identifier | None = None
    country: Identifier | None = None
    city: Identifier | None = None
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)] | None = None
    device_id: Identifier | None = None
    ip_address: Identifier | None = None
    attributes: dict[Identifier, Attribute] = {}


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """A valid transaction inside the core: UTC milliseconds, integer minor units, tokens in place of clear identifiers.

    Fields are only ever added, at the end and with a default: then what was stored before has the same fingerprint.

    `amount_minor` is in the transaction's currency, `base_amount_minor` in the base currency. None is a missing value.
    `card_prefix` and `ip_prefix` are taken from the clear values before these become tokens.
    """

    transaction_id: str
    user_id: str
    timestamp_ms: int
    amount_minor: int
    currency: str
    base_amount_minor: int
    event_type: EventType = "authorisation"
    auth_result: AuthResult | None = None
    original_transaction_id: str | None = None
    entry_mode: EntryMode | None = None
    is_recurring: bool | None = None
    card_id: str | None = None
    card_prefix: str | None = None
    merchant_id: str | None = None
    merchant_category: str | None = None
    terminal_id: str | None = None
    counterparty_id: str | None = None
    channel: str | None = None
    country: str | None = None
    city: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    device_id: str | None = None
    ip_address: str | None = None
    ip_prefix: str | None = None
    attributes: dict[str, Attribute] = {}


class Label(msgspec.Struct, frozen=True, gc=False):
    """What somebody found out about a transaction, and when it became known (UTC milliseconds)."""

    label_id: str
    transaction_id: str
    user_id: str
    label: LabelName
    source: LabelSource
    known_at_ms: int
    transaction_timestamp_ms: int | None = None


class InvalidTransactionError(Exception):
    """A record that cannot be decided.

    Attributes: `code` (stable, for machines), `field` (dotted name, empty for the whole record), `reason` (a sentence
    for people), `value` (the offending value as text, never card data; the writer shortens and masks it).
    """

    def __init__(self, code: str, field: str, reason: str, value: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.code = code
        self.field = field
        self.reason = reason
        self.value = value


def timestamp_to_ms(timestamp: datetime) -> int:
    """UTC milliseconds since 1970 of an aware `timestamp`, finer digits cut off (never rounded into the next
    millisecond).
    """
    elapsed = timestamp - EPOCH
    return elapsed.days * 86_400_000 + elapsed.seconds * 1_000 + elapsed.microseconds // 1_000


def timestamp_to_text(timestamp_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, such as `2026-03-01T12:00:00.000Z`."""
    day, of_day = divmod(timestamp_ms, 86_400_000)
    seconds, milliseconds = divmod(of_day, 1_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{_day_text(day)}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z"


@lru_cache(maxsize=4_096)
def _day_text(day: int) -> str:
    # Remembered, since a stream stays on one day for long.
    return (EPOCH + timedelta(days=day)).date().isoformat()


def check_timestamp(timestamp_ms: int) -> None:
    """Raise `InvalidTransactionError` unless the time is one in which card payments exist."""
    if not EARLIEST_TIMESTAMP_MS <= timestamp_ms < LATEST_TIMESTAMP_MS:
        raise InvalidTransactionError(
            "timestamp_out_of_range",
            "timestamp",
            f"must be between {timestamp_to_text(EARLIEST_TIMESTAMP_MS)} and {timestamp_to_text(LATEST_TIMESTAMP_MS)}: "
            "check the unit and the date format",
            timestamp_to_text(timestamp_ms) if abs(timestamp_ms) < 2**47 else str(timestamp_ms),
        )


_TEXT_FIELDS = (
    "transaction_id",
    "user_id",
    "original_transaction_id",
    "card_id",
    "merchant_id",
    "merchant_category",
    "terminal_id",
    "counterparty_id",
    "channel",
    "country",
    "city",
    "device_id",
    "ip_address",
)


def message_columns(messages: Sequence[TransactionMessage]) -> dict[str, Sequence[Any]]:
    """The values of at least one message, by field."""
    return dict(zip(TransactionMessage.__struct_fields__, zip(*map(astuple, messages), strict=True), strict=True))


def check_texts(columns: Mapping[str, Sequence[Any]]) -> None:
    """Raise `InvalidTransactionError` if a message has control characters, blank identifiers, oversized attributes."""
    # One pass over all text together, since nearly all of it is fine; the culprit is looked for only after a hit. A
    # blank value shows as a space in front of the separator.
    texts = chain.from_iterable(columns[name] for name in _TEXT_FIELDS)
    together = "|".join(filter(None, texts)) + "|"
    if not together.isprintable() or " |" in together:
        for name in _TEXT_FIELDS:
            _check_each_text(name, columns[name])
    for attributes in filter(None, columns["attributes"]):
        _check_attributes(attributes)


def _check_each_text(name: str, texts: Sequence[str | None]) -> None:
    for text in texts:
        if text is not None and _CONTROL_CHARACTER.search(text):
            raise InvalidTransactionError("control_character", name, "must not contain control characters", text)
        if text is not None and not text.strip():
            raise InvalidTransactionError("empty_value", name, "must not be blank", text)


def _check_attributes(attributes: dict[str, Attribute]) -> None:
    if len(attributes) > ATTRIBUTES_MAX_COUNT:
        raise InvalidTransactionError(
            "too_many_attributes",
            "attributes",
            f"must have at most {ATTRIBUTES_MAX_COUNT} entries",
            str(len(attributes)),
        )
    for name, value in attributes.items():
        field = f"attributes.{name}"
        if isinstance(value, str):
            if len(value) > ATTRIBUTE_MAX_LENGTH:
                raise InvalidTransactionError(
                    "value_too_long", field, f"must have at most {ATTRIBUTE_MAX_LENGTH} characters", value
                )
            if _CONTROL_CHARACTER.search(value) or _CONTROL_CHARACTER.search(name):
                raise InvalidTransactionError("control_character", field, "must not contain control characters", value)
