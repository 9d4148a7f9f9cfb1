"""Conversion of one source value, or a block of them, to what a field of a transaction holds.

Each conversion has two forms. `value` decides: it returns the converted value, None for a missing one, or raises
`Refusal`. `block` is the fast form for a whole column: it returns exactly what `value` would for each, or raises one of
`BLOCK_ERRORS`, upon which the caller goes value by value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from operator import attrgetter
from types import NoneType
from typing import Any, NamedTuple

import msgspec

from fraud.transaction import ATTRIBUTES_MAX_COUNT, IDENTIFIER_MAX_LENGTH, Attribute


class Refusal(Exception):  # noqa: N818 - what happened to the value, not a fault of the program
    """A value that can't be taken. The caller knows the field and the line."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class NotUniformError(Exception):
    """A block that the fast form does not cover."""


BLOCK_ERRORS = (NotUniformError, Refusal, ValueError, TypeError, KeyError, AttributeError, ArithmeticError)


class Conversion(NamedTuple):
    """The two forms of a conversion, see the module."""

    block: Callable[[Sequence[Any]], list[Any]]
    value: Callable[[Any], Any]


# Beyond it a double no longer holds every integer, so an identifier that went through one is no longer itself.
_DOUBLE_EXACT_MAX = 2**53
_BOOLEANS: dict[Any, bool | None] = {
    None: None,
    "": None,
    **dict.fromkeys((True, "true", "True", "TRUE", "1"), True),
    **dict.fromkeys((False, "false", "False", "FALSE", "0"), False),
}


def text_of(value: Any) -> str | None:
    """`value` as text, None if missing (None, empty, NaN). Whole numbers lose their point: 7.0 is `7`."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _integer_text(value)
    if isinstance(value, float):
        return _float_text(value)
    raise _wrong_type("text", value)


def _float_text(value: float) -> str | None:
    if math.isnan(value):
        return None
    return str(int(value)) if value.is_integer() and abs(value) <= _DOUBLE_EXACT_MAX else repr(value)


def _integer_text(value: int) -> str:
    # Python refuses to print integers above 4,300 digits, and no field takes more characters than this.
    if value.bit_length() > 4 * IDENTIFIER_MAX_LENGTH:
        raise Refusal("value_too_long", f"must have at most {IDENTIFIER_MAX_LENGTH} characters")
    return str(value)


def _wrong_type(expected: str, value: Any) -> Refusal:
    if isinstance(value, bytes):
        return Refusal("wrong_encoding", "must be UTF-8 text")
    names = {dict: "an object", list: "a list", bool: "true or false", str: "text", float: "a number", int: "a number"}
    return Refusal("wrong_type", f"must be {expected}, not {names.get(type(value), type(value).__name__)}")


def _texts(values: Sequence[Any]) -> list[str | None]:
    """`values` that are all text or None, with None for the empty ones."""
    if not set(map(type, values)) <= {str, NoneType}:
        raise NotUniformError
    return [value or None for value in values]


def text(max_length: int = IDENTIFIER_MAX_LENGTH) -> Conversion:
    """Text of at most `max_length` characters."""

    def value_form(value: Any) -> str | None:
        converted = text_of(value)
        if converted is not None and len(converted) > max_length:
            raise Refusal("value_too_long", f"must have at most {max_length} characters, has {len(converted)}")
        return converted

    def block(values: Sequence[Any]) -> list[Any]:
        converted = _texts(values)
        if max(map(len, filter(None, converted)), default=0) > max_length:
            raise NotUniformError
        return converted

    return Conversion(block, value_form)


def choice(allowed: Collection[str], code: str, reason: str) -> Conversion:
    """One of the `allowed` texts."""
    accepted = {None, *allowed}

    def value_form(value: Any) -> str | None:
        converted = text_of(value)
        if converted not in accepted:
            raise Refusal(code, reason)
        return converted

    def block(values: Sequence[Any]) -> list[Any]:
        converted = _texts(values)
        if not accepted.issuperset(converted):
            raise NotUniformError
        return converted

    return Conversion(block, value_form)


def currency() -> Conversion:
    """Text of three characters; which codes exist is for the core to say."""

    def value_form(value: Any) -> str | None:
        converted = text_of(value)
        if converted is not None and len(converted) != 3:
            raise Refusal("unknown_currency", "must be an ISO 4217 currency code (three capital letters)")
        return converted

    def block(values: Sequence[Any]) -> list[Any]:
        converted = _texts(values)
        if any(len(code) != 3 for code in set(converted) if code is not None):
            raise NotUniformError
        return converted

    return Conversion(block, value_form)


def amount() -> Conversion:
    """A finite float, or text as it stands, so that no digit is lost; the core says whether the text is a decimal."""

    def value_form(value: Any) -> float | str | None:
        if isinstance(value, str):
            return value or None
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong_type("a number", value)
        if isinstance(value, int):
            return float(value) if abs(value) <= _DOUBLE_EXACT_MAX else _integer_text(value)
        if not math.isfinite(value):
            raise Refusal("amount_not_finite", "must be a finite number")
        return value

    def block(values: Sequence[Any]) -> list[Any]:
        types = set(map(type, values))
        if types == {str}:
            return [value or None for value in values]
        if types == {float} and math.isfinite(sum(values)):
            return list(values)
        raise NotUniformError

    return Conversion(block, value_form)


def number(lowest: float = -math.inf, highest: float = math.inf, code: str = "not_a_number") -> Conversion:
    """A finite float between `lowest` and `highest`, both included."""
    bounded = (
        f"must be a number between {lowest:g} and {highest:g}" if lowest > -math.inf else "must be a finite number"
    )

    def value_form(value: Any) -> float | None:
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise _wrong_type("a number", value)
        if isinstance(value, str) and ("_" in value or not value.isascii()):
            raise Refusal(code, bounded)
        try:
            converted = float(value)
        except (ValueError, OverflowError):
            raise Refusal(code, bounded) from None
        if not math.isfinite(converted) or not lowest <= converted <= highest:
            raise Refusal(code, bounded)
        return converted

    def block(values: Sequence[Any]) -> list[Any]:
        types = set(map(type, values))
        if types == {str}:
            joined = "".join(values)
            if "_" in joined or not joined.isascii():
                raise NotUniformError
            converted = [float(value) if value else None for value in values]
        elif types <= {float, int, NoneType}:
            converted = [None if value is None else float(value) for value in values]
        else:
            raise NotUniformError
        present = [value for value in converted if value is not None]
        if not math.isfinite(sum(present)) or (present and not lowest <= min(present) <= max(present) <= highest):
            raise NotUniformError
        return converted

    return Conversion(block, value_form)


def boolean() -> Conversion:
    """True or false; text `true`, `false`, `1` and `0` in the usual spellings."""

    def value_form(value: Any) -> bool | None:
        try:
            return _BOOLEANS[value]
        except (KeyError, TypeError):
            raise Refusal("wrong_type", "must be true or false") from None

    return Conversion(lambda values: [_BOOLEANS[value] for value in values], value_form)


def json_object() -> Conversion:
    """A JSON object of texts, numbers and booleans, as an object or as its JSON text; missing is an empty object."""
    decode = msgspec.json.Decoder(dict[str, Attribute]).decode
    reason = f"must be a JSON object of at most {ATTRIBUTES_MAX_COUNT} texts, numbers and booleans"

    def value_form(value: Any) -> dict[str, Attribute]:
        if value is None or value == "":
            return {}
        try:
            if isinstance(value, str):
                return decode(value)
            present = {name: item for name, item in value.items() if item is not None}
            return msgspec.convert(present, dict[str, Attribute])
        except (msgspec.MsgspecError, AttributeError, RecursionError, UnicodeError):
            raise Refusal("wrong_type", reason) from None

    return Conversion(lambda values: [value_form(value) for value in values], value_form)


def iso_moment(zone: tzinfo | None, pattern: str | None = None) -> Conversion:
    """An aware datetime from ISO 8601 text, from text of a strptime `pattern`, or from a datetime.

    A time that names no zone is in `zone`; without one it is refused.
    """
    shown = "an ISO 8601 time such as 2026-03-01T12:00:00Z" if pattern is None else f"a time of the form {pattern}"

    parse = datetime.fromisoformat if pattern is None else _pattern_parser(pattern)

    def value_form(value: Any) -> datetime | None:
        if value is None or value == "":
            return None
        if not isinstance(value, str | datetime):
            raise _wrong_type(shown, value)
        try:
            moment = parse(value) if isinstance(value, str) else value
        except ValueError:
            raise Refusal("invalid_timestamp", f"must be {shown}") from None
        if moment.tzinfo is not None:
            return moment
        if zone is None:
            raise Refusal("timestamp_without_zone", "must name its zone (a trailing Z is UTC), or the mapping must")
        return moment.replace(tzinfo=zone)

    def block(values: Sequence[Any]) -> list[Any]:
        if type(values[0]) is str:
            # Three times as fast as setting the zone afterwards.
            if pattern is None and zone is UTC and parse(values[0]).tzinfo is None:
                values = [value + "+00:00" for value in values]
            values = list(map(parse, values))
        zones = set(map(attrgetter("tzinfo"), values))
        if None not in zones:
            return list(values)
        if zone is None:
            raise NotUniformError
        return [moment if moment.tzinfo is not None else moment.replace(tzinfo=zone) for moment in values]

    return Conversion(block, value_form)


def _pattern_parser(pattern: str) -> Callable[[str], datetime]:
    def parse(text: str) -> datetime:
        # The zone, where the pattern has none, comes from the mapping.
        return datetime.strptime(text, pattern)  # noqa: DTZ007

    return parse


def elapsed_moment(origin: datetime, unit: timedelta, shown: str) -> Conversion:
    """The aware datetime that lies a number of `unit` after `origin`; a datetime with a zone stands as it is."""
    elapsed = number(code="invalid_timestamp")

    def value_form(value: Any) -> datetime | None:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value
        units = elapsed.value(value)
        try:
            return None if units is None else origin + unit * units
        except OverflowError:
            raise Refusal("invalid_timestamp", f"must be {shown}, within the years 1 to 9999") from None

    return Conversion(lambda values: [origin + unit * units for units in elapsed.block(values)], value_form)


def with_prefix(prefix: str, conversion: Conversion) -> Conversion:
    """`prefix` set before each value that is there."""

    def prefixed(value: Any) -> str | None:
        converted = text_of(value)
        return None if converted is None else prefix + converted

    return Conversion(
        lambda values: conversion.block([None if value is None else prefix + value for value in _texts(values)]),
        lambda value: conversion.value(prefixed(value)),
    )


def translated(translation: Mapping[str, str | None], conversion: Conversion) -> Conversion:
    """Values named in `translation` replaced; others stay as they are, for `conversion` to judge."""
    table: dict[str | None, str | None] = dict(translation.items())

    def translate(value: Any) -> Any:
        converted = text_of(value)
        return table.get(converted, value)

    return Conversion(
        lambda values: conversion.block([table.get(value, value) for value in _texts(values)]),
        lambda value: conversion.value(translate(value)),
    )


def joined(separator: str, conversion: Conversion) -> Conversion:
    """The texts of several columns (each value is a tuple) joined; missing if one of them is."""

    def join(parts: tuple[Any, ...]) -> str | None:
        texts = [text_of(part) for part in parts]
        return None if None in texts else separator.join(text for text in texts if text is not None)

    return Conversion(
        lambda values: conversion.block([join(parts) for parts in values]), lambda value: conversion.value(join(value))
    )
