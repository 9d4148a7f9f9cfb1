"""Tokens in place of clear identifiers: keyed, deterministic, and taken before anything is stored or shown."""

from __future__ import annotations

import base64
import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from hashlib import sha256

# 128 bits: with 10^10 cards the chance of any two sharing a token is below 10^-18.
TOKEN_BYTES = 16
# HMAC with a shorter key than this could be searched: card numbers are few once prefix and check digit are known.
KEY_MIN_BYTES = 16
# Tokens of the identifiers seen lately; the same card comes again within seconds. At 200 bytes an entry this is 13 MB.
REMEMBERED_TOKENS = 65_536

_CARD_NUMBER = re.compile(r"\d{12,19}")


@dataclass
class Tokeniser:
    """Replaces a clear value by `<key id>_<base32 of HMAC-SHA256, 128 bits>`; one field never yields another's token.

    Raises `ValueError` for a short key or a key id that is not made of letters and digits.
    """

    key: bytes = field(repr=False)
    key_id: str
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if len(self.key) < KEY_MIN_BYTES:
            raise ValueError(f"the token key must have at least {KEY_MIN_BYTES} bytes, it has {len(self.key)}")
        if not re.fullmatch(r"[a-z0-9]{1,16}", self.key_id):
            raise ValueError(f"key id {self.key_id!r} must be 1 to 16 small letters and digits")

    def token(self, field_name: str, value: str) -> str:
        """The token of `value` as a `field_name`."""
        known = self._tokens.get((field_name, value))
        if known is not None:
            return known
        digest = hmac.digest(self.key, f"{field_name}\0{value}".encode(), sha256)[:TOKEN_BYTES]
        token = f"{self.key_id}_{base64.b32encode(digest).decode().rstrip('=').lower()}"
        if len(self._tokens) >= REMEMBERED_TOKENS:
            self._tokens.clear()
        self._tokens[field_name, value] = token
        return token


class RotatingTokeniser(Tokeniser):
    """Makes tokens with the present key, and notes what the key `before` made of the same values.

    `former` has, by token, the token of the key before, for what was tokenised since it was last emptied. Raises
    `ValueError` if both keys have the same id.
    """

    def __init__(self, present: Tokeniser, before: Tokeniser) -> None:
        super().__init__(present.key, present.key_id)
        if present.key_id == before.key_id:
            raise ValueError(f"both token keys have the id {present.key_id!r}: each key has its own")
        self._before = before
        self.former: dict[str, str] = {}

    def token(self, field_name: str, value: str) -> str:
        """The token of `value` as a `field_name`, by the present key."""
        token = super().token(field_name, value)
        if token not in self.former:
            self.former[token] = self._before.token(field_name, value)
        return token


def card_prefix(card_id: str) -> str | None:
    """The first six digits of a card number (ISO/IEC 7812-1 issuer identification number); None when it isn't one."""
    digits = card_id.replace(" ", "").replace("-", "")
    return digits[:6] if _CARD_NUMBER.fullmatch(digits) else None


def ip_prefix(ip_address: str) -> str | None:
    """The network an address belongs to: /24 for IPv4, /48 for IPv6 (what one site is given, RFC 6177); None if
    unreadable.
    """
    parts = ip_address.split(".")
    if len(parts) == 4 and all(part.isdecimal() and part.isascii() and int(part) < 256 for part in parts):
        return f"{parts[0]}.{parts[1]}.{parts[2]}.0/24"
    try:
        address = ipaddress.IPv6Address(ip_address)
    except ValueError:
        return None
    network = int(address) >> 80 << 80
    return f"{ipaddress.IPv6Address(network)}/48"
