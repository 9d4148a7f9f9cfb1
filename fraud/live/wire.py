"""Messages of the topics: bytes in, valid messages or a refusal by name out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from fraud.sources.validation import explain_validation
from fraud.transaction import (
    Identifier,
    InvalidTransactionError,
    Label,
    LabelName,
    LabelSource,
    TransactionMessage,
    timestamp_to_ms,
)

# A transaction has half a kilobyte. What is larger than the largest history item can't be kept and is no payment.
MESSAGE_MAX_BYTES = 256 * 1_024


class LabelMessage(msgspec.Struct, frozen=True, gc=False):
    """A label as it arrives."""

    label_id: Identifier
    transaction_id: Identifier
    user_id: Identifier
    label: LabelName
    source: LabelSource
    known_at: Annotated[datetime, msgspec.Meta(tz=True)]
    transaction_timestamp: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


_decode_transaction = msgspec.json.Decoder(TransactionMessage).decode
_decode_label = msgspec.json.Decoder(LabelMessage).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def decode_transaction(value: bytes | None) -> TransactionMessage:
    """The transaction of a message. Raises `InvalidTransactionError`."""
    if value is None or len(value) > MESSAGE_MAX_BYTES:
        raise _unreadable(value)
    try:
        return _decode_transaction(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(value, error) from None


def decode_label(value: bytes | None) -> Label:
    """The label of a message. Raises `InvalidTransactionError`."""
    if value is None or len(value) > MESSAGE_MAX_BYTES:
        raise _unreadable(value)
    try:
        message = _decode_label(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(value, error) from None
    for name in ("label_id", "transaction_id", "user_id"):
        text = getattr(message, name)
        if not text.isprintable() or not text.strip():
            raise InvalidTransactionError("control_character", name, "must be printable and not blank", text)
    timestamp = message.transaction_timestamp
    return Label(
        message.label_id,
        message.transaction_id,
        message.user_id,
        message.label,
        message.source,
        timestamp_to_ms(message.known_at),
        None if timestamp is None else timestamp_to_ms(timestamp),
    )


def _unreadable(value: bytes | None) -> InvalidTransactionError:
    if value is None:
        return InvalidTransactionError("empty_message", "", "has no content")
    return InvalidTransactionError(
        "message_too_long", "", f"has {len(value):,} bytes; {MESSAGE_MAX_BYTES:,} are the most that is taken"
    )


def _refusal(value: bytes, error: Exception) -> InvalidTransactionError:
    if isinstance(error, UnicodeDecodeError):
        return InvalidTransactionError("wrong_encoding", "", "is not UTF-8 text")
    if isinstance(error, RecursionError):
        return InvalidTransactionError("nested_too_deeply", "", "is nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        reason = f"is not valid JSON: {str(error).removeprefix('JSON is malformed: ')}"
        return InvalidTransactionError("broken_json", "", reason)
    field, code, reason = explain_validation(str(error))
    return InvalidTransactionError(code, field, reason, _value_of(value, field))


def _value_of(value: bytes, field: str) -> str:
    try:
        found: Any = _decode_object(value)
        for name in field.split(".") if field else ():
            found = found.get(name, "")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, AttributeError):
        return ""
    return found if isinstance(found, str) else "" if not field else repr(found)
