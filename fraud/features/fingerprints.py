"""Fingerprints of identifiers and contents: the same in every process and version, so that they can be stored."""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct

import msgspec

from fraud.transaction import Transaction

# 64 bits: among the thousands of events of one customer's duplicate horizon two different ones share a fingerprint with
# a chance below 10^-12. With 32 bits one payment in a few millions would be refused as a repetition.
_DIGEST_BYTES = 8
# Copying a prepared hash costs less than preparing one for each call.
_EMPTY = blake2b(digest_size=_DIGEST_BYTES)
_SIGNED = Struct("<q")
# Attributes in any order are the same content.
_CONTENT = msgspec.msgpack.Encoder(order="deterministic")


def fingerprint(content: bytes | str) -> int:
    """BLAKE2b (RFC 7693) of `content` (text as UTF-8), 64 bits, as a signed integer."""
    digest = _EMPTY.copy()
    digest.update(content.encode() if isinstance(content, str) else content)
    value: int = _SIGNED.unpack(digest.digest())[0]
    return value


def identity_fingerprints(transaction: Transaction) -> tuple[int, int]:
    """The fingerprints of its identifier and of its whole content, the same for equal transactions."""
    values = msgspec.structs.astuple(transaction)
    end = len(values)
    # A field that is added later is missing in what was stored before.
    while not values[end - 1]:
        end -= 1
    return fingerprint(transaction.transaction_id), fingerprint(_CONTENT.encode(values[:end]))
