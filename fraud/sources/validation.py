"""What a decoder says about a message, in words for people."""

from __future__ import annotations

import re
from typing import get_args

from fraud.transaction import AuthResult, EntryMode, EventType, LabelName, LabelSource

_MISSING = re.compile(r"missing required field `(\w+)`")
_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_TYPES = re.compile(r"`([\w| ]+)`")
_TYPE_NAMES = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "dict": "an object",
    "array": "a list",
    "datetime": "an RFC 3339 time in text",
}
_CHOICES = {
    "event_type": get_args(EventType),
    "auth_result": get_args(AuthResult),
    "entry_mode": get_args(EntryMode),
    "label": get_args(LabelName),
    "label_source": get_args(LabelSource),
    "source": get_args(LabelSource),
}
# What each complaint contains, the code that it becomes, and the reason; the first that fits counts. `{}` is the number
# that the complaint ends on.
_COMPLAINTS = (
    ("timezone", "timestamp_without_zone", "must name its zone (a trailing Z is UTC)"),
    ("RFC3339", "invalid_timestamp", "must be an RFC 3339 time such as 2026-03-01T12:00:00Z"),
    ("length >= 1", "empty_value", "must not be empty"),
    ("length >= 3", "unknown_currency", "must be an ISO 4217 currency code (three capital letters)"),
    ("length <= 3", "unknown_currency", "must be an ISO 4217 currency code (three capital letters)"),
    ("length <=", "value_too_long", "must have at most {} characters"),
    ("float` >=", "invalid_coordinate", "must be a number of at least {}"),
    ("float` <=", "invalid_coordinate", "must be a number of at most {}"),
    ("Number out of range", "wrong_type", "must be a finite number"),
)


def explain_validation(problem: str) -> tuple[str, str, str]:
    """Field, code and reason, from the message of a msgspec `ValidationError`."""
    if missing := _MISSING.search(problem):
        return missing[1], "missing_field", "is missing"
    path = _PATH.search(problem)
    field = path[1].replace("[...]", "").rstrip(".") if path else ""
    complaint = _PATH.sub("", problem)
    if "Invalid enum value" in complaint:
        return field, "invalid_value", f"must be one of {', '.join(_CHOICES[field])}"
    for part, code, reason in _COMPLAINTS:
        if part in complaint:
            return field, code, reason.format(complaint.rsplit(" ", 1)[-1])
    readable = _TYPES.sub(_readable_types, complaint)
    return field, "wrong_type", readable.replace("Expected", "must be").replace("got", "not")


def _readable_types(types: re.Match[str]) -> str:
    names = [_TYPE_NAMES.get(name.strip(), name.strip()) for name in types[1].split("|")]
    return " or ".join(dict.fromkeys(names))
