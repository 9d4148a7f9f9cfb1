"""Fingerprints of identifiers and contents: the same in every process and version, so that they can be stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import msgspec
import numpy as np
from msgspec.structs import astuple

from fraud.transaction import Transaction

# 64 bits: among the thousands of events of one customer's duplicate horizon two different ones share a fingerprint with
# a chance below 10^-12. With 32 bits one payment in a few millions would be refused as a repetition.
_DIGEST_BYTES = 8
# Copying a prepared hash costs less than preparing one for each call.
_EMPTY = blake2b(digest_size=_DIGEST_BYTES)
_SIGNED = np.dtype("<i8")
# Attributes in any order are the same content.
_CONTENT = msgspec.msgpack.Encoder(order="deterministic")
_FIELDS = len(Transaction.__struct_fields__)


def fingerprint(content: bytes | str) -> int:
    """BLAKE2b (RFC 7693) of `content` (text as UTF-8), 64 bits, as a signed integer."""
    return _fingerprints([content.encode() if isinstance(content, str) else content])[0]


def identity_fingerprints(transaction: Transaction) -> tuple[int, int]:
    """The fingerprints of its identifier and of its whole content, the same for equal transactions."""
    return identity_fingerprints_of_each([transaction])[0]


def identity_fingerprints_of_each(transactions: Sequence[Transaction]) -> list[tuple[int, int]]:
    """As `identity_fingerprints`, of each transaction."""
    contents = []
    end = _FIELDS
    for values in map(astuple, transactions):
        # A field that is added later is missing in what was stored before. Most end where the one before them does.
        if any(values[end:]):
            end = _FIELDS
        while not values[end - 1]:
            end -= 1
        contents.append(_CONTENT.encode(values[:end]))
    identifiers = [transaction.transaction_id.encode() for transaction in transactions]
    return list(zip(_fingerprints(identifiers), _fingerprints(contents), strict=True))


def _fingerprints(contents: Iterable[bytes]) -> list[int]:
    digests = bytearray()
    for content in contents:
        digest = _EMPTY.copy()
        digest.update(content)
        digests += digest.digest()
    numbers: list[int] = np.frombuffer(digests, _SIGNED).tolist()
    return numbers
