"""What a setting may be: each kind turns the text of a setting into its value, or says what it must be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

# Raises `ValueError` with words that follow the name of the setting, such as "must be a number".
Parse = Callable[[str], object]

# HMAC and AES keys that are shorter can be searched; see `fraud.privacy`.
KEY_MIN_BYTES = 16
# Stands for what is left out on purpose, such as a model.
NONE = "none"


class SecretRefusedError(ValueError):
    """What a secret must be; raised where the value itself must not be shown."""


def text(text: str) -> str:
    """Any text but none."""
    return text


def matching(pattern: str, what: str) -> Parse:
    """Text of a certain form, which `what` says in words."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {what}")
        return text

    return parse


def one_of(*choices: str) -> Parse:
    """One of a few words, in capitals or not."""

    def parse(text: str) -> str:
        for choice in choices:
            if choice.lower() == text.lower():
                return choice
        raise ValueError(f"must be one of {', '.join(choices)}")

    return parse


def texts(text: str) -> tuple[str, ...]:
    """Texts between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def number(text: str) -> float:
    """A number above zero."""
    value = _float(text)
    if not 0 < value < 10**9:
        raise ValueError("must be above zero")
    return value


def whole(at_least: int, at_most: int) -> Parse:
    """A whole number within bounds."""

    def parse(text: str) -> int:
        value = _float(text)
        if not (at_least <= value <= at_most and value.is_integer()):
            raise ValueError(f"must be a whole number from {at_least:,} to {at_most:,}")
        return int(value)

    return parse


def path(text: str) -> Path:
    """A file or folder; a relative one is looked for where the process runs."""
    return Path(text)


def path_or_none(text: str) -> Path | None:
    """A file or folder, or the word none."""
    return None if text.lower() == NONE else Path(text)


def url(*schemes: str) -> Parse:
    """An address with a host."""

    def parse(text: str) -> str:
        wanted = f"must be an address such as {schemes[0]}://127.0.0.1:1234 ({', '.join(schemes)})"
        try:
            parts = urlsplit(text)
            complete = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            complete = False
        if not complete:
            # The address may hold a password, so it is not shown.
            raise SecretRefusedError(wanted)
        return text

    return parse


def servers(text: str) -> str:
    """HOST:PORT entries between commas."""
    entries = texts(text)
    if not entries or not all(re.fullmatch(r"[^\s:/@]+:\d{1,5}|\[[\da-fA-F:]+\]:\d{1,5}", entry) for entry in entries):
        raise ValueError("must be HOST:PORT, several with commas between")
    return ",".join(entries)


def key(text: str) -> str:
    """A secret key."""
    length = len(text.encode())
    if length < KEY_MIN_BYTES:
        raise SecretRefusedError(f"must have at least {KEY_MIN_BYTES} bytes, it has {length}")
    return text


def secret(text: str) -> str:
    """A secret that somebody else has chosen."""
    return text


def masked_url(url: str) -> str:
    """The address without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is most like, if it is like any."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.8)
    return near[0] if near else None


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("must be a number") from None
    if not math.isfinite(value):
        raise ValueError("must be above zero")
    return value
