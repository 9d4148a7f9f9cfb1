"""Fingerprints of identifiers and contents: the same in every process and version, so that they can be stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

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


# Of an event: the fingerprints of its identifier and of its whole content.
Identity = tuple[int, int]


def fingerprint(content: bytes | str) -> int:
    """BLAKE2b (RFC 7693) of `content` (text as UTF-8), 64 bits, as a signed integer."""
    return int(_fingerprints([content.encode() if isinstance(content, str) else content])[0])


def identity_fingerprints(transaction: Transaction) -> Identity:
    """The fingerprints of its identifier and of its whole content, the same for equal transactions."""
    [(identifier, content)] = identity_fingerprints_of_each([transaction]).tolist()
    return identifier, content


def identity_fingerprints_of_each(transactions: Sequence[Transaction]) -> NDArray[np.int64]:
    """As `identity_fingerprints`, of each transaction: int64 [n, 2]."""
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
    return np.stack([_fingerprints(identifiers), _fingerprints(contents)], axis=1)


def _fingerprints(contents: Iterable[bytes]) -> NDArray[np.int64]:
    digests = bytearray()
    for content in contents:
        digest = _EMPTY.copy()
        digest.update(content)
        digests += digest.digest()
    return np.frombuffer(digests, _SIGNED).astype(np.int64, copy=False)
