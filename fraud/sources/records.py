"""What reading a file yields: accepted records, refused records, and how a refused value may be shown."""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from fraud.transaction import LabelName, LabelSource, TransactionMessage

SHOWN_MAX_LENGTH = 80
# Whole values are never needed to show 80 characters, and masking a 10 MB field would cost more than reading it.
# Masking keeps positions, so what the cut does to a number at the end of this stretch is never shown.
_LOOKED_AT_LENGTH = 4 * SHOWN_MAX_LENGTH
# Card numbers have 12 to 19 digits (ISO/IEC 7812); a longer run may contain one. People group them.
_CARD_NUMBER = re.compile(r"(?<!\d)\d(?:[ -]?\d){11,}")
# IPv4; and IPv6 with all its groups or with a gap, so that a time of day is none.
_ADDRESS = re.compile(
    r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d)|(?:[\da-f]{1,4}:){7}[\da-f]{1,4}|[\da-f:]*::[\da-f:]*", re.IGNORECASE
)
_ADDRESS_DIGIT = re.compile(r"[\da-f]", re.IGNORECASE)
WHOLLY_MASKED_FIELDS = frozenset({"card_id", "ip_address"})
_LAST_DIGITS_SHOWN = 4
# PCI DSS allows the first six and last four; of a number under 16 digits fewer, so that as many stay hidden.
_FIRST_DIGITS_SHOWN = 6


class SourceError(Exception):
    """Input that can't be read at all (a missing file, a folder, a wrong mapping): one line for people."""


class MappingError(SourceError):
    """A column mapping that is wrong or does not fit the file; names file, line and column of the mapping."""


class GroundTruth(msgspec.Struct, frozen=True, gc=False):
    """What the file says about a transaction: its label, who found out, when it became known, and the kind of fraud.

    `known_at_ms` (UTC milliseconds) is None where the file and the mapping don't say. `scenario` is for reports alone.
    """

    label: LabelName | None = None
    source: LabelSource | None = None
    known_at_ms: int | None = None
    scenario: str | None = None


class SourceRecord(msgspec.Struct, frozen=True, gc=False):
    """An accepted record. `line` is the physical line it starts on, from 1; in Parquet the row number, from 1."""

    message: TransactionMessage
    label: GroundTruth | None
    file: str
    line: int


class RejectedRecord(msgspec.Struct, frozen=True, gc=False):
    """A refused record, or with line 0 a refused file. `value` is clear: show it through `shown_value` only."""

    file: str
    line: int
    field: str
    value: str
    code: str
    reason: str

    @property
    def place_and_reason(self) -> str:
        """Where it stood and why it was refused, in one line without its value."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {' '.join(filter(None, (self.field, self.reason)))}"


Record = SourceRecord | RejectedRecord


def shown_value(value: str, field: str = "", secret_fields: Collection[str] = ()) -> str:
    """`value` as it may be written to a report: at most 80 characters, card numbers and addresses masked, on one line.

    A run of 12 digits or more keeps at most its first 6 and last 4. `card_id` and `ip_address` keep the last 4
    characters at most, and so do `secret_fields`; with these a whole line (no `field`) does too, and so does an object
    that they are fields of: it may hold them.
    """
    looked_at = value[:_LOOKED_AT_LENGTH]
    if field in WHOLLY_MASKED_FIELDS or _may_hold(field, secret_fields):
        looked_at = wholly_masked(looked_at, is_whole=len(value) <= _LOOKED_AT_LENGTH)
    else:
        looked_at = _ADDRESS.sub(_mask_address, masked_numbers(looked_at))
    if len(looked_at) > SHOWN_MAX_LENGTH or len(value) > _LOOKED_AT_LENGTH:
        return looked_at[: SHOWN_MAX_LENGTH - 1] + "…"
    return looked_at


def _may_hold(field: str, secret_fields: Collection[str]) -> bool:
    return any(not field or secret == field or secret.startswith(f"{field}.") for secret in secret_fields)


def masked_numbers(text: str) -> str:
    """`text` of any length, in which each run of 12 digits or more keeps at most its first 6 and last 4."""
    return _CARD_NUMBER.sub(_mask_digits, text)


def wholly_masked(value: str, *, is_whole: bool = True) -> str:
    """`value` with nothing left but its last 4 characters; of a short one, or of what `is_whole` denies, nothing."""
    # Of a short value the last four would be most of it.
    kept = value[-_LAST_DIGITS_SHOWN:] if is_whole and len(value) > 2 * _LAST_DIGITS_SHOWN else ""
    return "*" * (len(value) - len(kept)) + kept


def _mask_address(address: re.Match[str]) -> str:
    return _ADDRESS_DIGIT.sub("*", address.group())


def _mask_digits(run: re.Match[str]) -> str:
    text = run.group()
    digits = sum(map(str.isdigit, text))
    first = min(_FIRST_DIGITS_SHOWN, max(0, digits - _FIRST_DIGITS_SHOWN - _LAST_DIGITS_SHOWN))
    shown: list[str] = []
    seen = 0
    for character in text:
        seen += character.isdigit()
        hidden = character.isdigit() and first < seen <= digits - _LAST_DIGITS_SHOWN
        shown.append("*" if hidden else character)
    return "".join(shown)
