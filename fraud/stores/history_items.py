"""The bytes of one event in the history: compact, with a schema version, readable long after they were written."""

from __future__ import annotations

import hashlib

import msgspec
import zstandard

from fraud.ports import HistoryRecord, Origin, StoredDecision
from fraud.transaction import Transaction, timestamp_to_text

# The first byte of a stored event. A reader knows its own version and the one before; raise it when fields change
# their meaning or order (a field added at the end of Transaction needs no new version).
SCHEMA_VERSION = 1
_LATE, _FIRST_TIME = 1, 2
_ENCODE = msgspec.msgpack.Encoder().encode
# Against a typical decision of the same versions, a decision of 4.3 KB takes half a kilobyte: one write unit, not five.
_COMPRESSION_LEVEL = 3
DICTIONARY_ID_LENGTH = 4


class UnreadableItemError(Exception):
    """A stored item of a version that this program does not know."""


def event_key(timestamp_ms: int, transaction_id: str) -> str:
    """The sort key of an event: `timestamp#transaction_id`, which sorts by time."""
    return f"{timestamp_to_text(timestamp_ms)}#{transaction_id}"


def first_event_key(timestamp_ms: int) -> str:
    """Sorts before every event of this time and after every earlier one."""
    return timestamp_to_text(timestamp_ms)


class HistoryItem(msgspec.Struct, frozen=True, gc=False):
    """One event as a table holds it. `event` is sort key, `body` the event without its decision, `decision` compressed
    canonical bytes with their hash (empty for what is not decided).
    """

    user_id: str
    event: str
    transaction_id: str
    sequence: int
    body: bytes
    decision: bytes
    expires_at_s: int


class DecisionCompression:
    """Compresses decisions against a typical one, and reads what was compressed against any known one.

    A dictionary is named by the first bytes of its SHA-256; it must be stored before what was written with it.
    """

    def __init__(self, typical_decision: bytes) -> None:
        self.dictionary = typical_decision
        self.dictionary_id = hashlib.sha256(typical_decision).digest()[:DICTIONARY_ID_LENGTH]
        self._compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, dict_data=_raw(typical_decision))
        self._decompressors: dict[bytes, zstandard.ZstdDecompressor] = {}
        self.learn(typical_decision)

    def learn(self, dictionary: bytes) -> None:
        """Be able to read what was written with this one."""
        identifier = hashlib.sha256(dictionary).digest()[:DICTIONARY_ID_LENGTH]
        self._decompressors[identifier] = zstandard.ZstdDecompressor(dict_data=_raw(dictionary))

    def unknown(self, stored: bytes) -> bytes | None:
        """The id of the dictionary that has to be learnt before `stored` can be read; None if it is known."""
        identifier = stored[:DICTIONARY_ID_LENGTH]
        return identifier if stored and identifier not in self._decompressors else None

    def compress(self, canonical: bytes, content_hash: str) -> bytes:
        """Canonical bytes and their SHA-256 as they are stored; empty for an event without a decision."""
        if not canonical:
            return b""
        return self.dictionary_id + bytes.fromhex(content_hash) + self._compressor.compress(canonical)

    def decompress(self, stored: bytes) -> tuple[bytes, str]:
        """Canonical bytes and hash. Raises `UnreadableItemError` for an unknown dictionary."""
        if not stored:
            return b"", ""
        decompressor = self._decompressors.get(stored[:DICTIONARY_ID_LENGTH])
        if decompressor is None:
            raise UnreadableItemError(f"the dictionary {stored[:DICTIONARY_ID_LENGTH].hex()} is not known")
        end = DICTIONARY_ID_LENGTH + 32
        return decompressor.decompress(stored[end:]), stored[DICTIONARY_ID_LENGTH:end].hex()


def _raw(dictionary: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def encode_item(record: HistoryRecord, compression: DecisionCompression, retention_s: int) -> HistoryItem:
    """The item of a new event; it may be deleted `retention_s` after it was ingested."""
    stored = record.stored
    transaction, origin = stored.transaction, stored.origin
    flags = _LATE * stored.late + _FIRST_TIME * stored.first_time
    body = _ENCODE(
        (record.sequence, flags, origin.source, origin.offset, origin.ingested_ms, msgspec.structs.astuple(transaction))
    )
    return HistoryItem(
        user_id=transaction.user_id,
        event=event_key(transaction.timestamp_ms, transaction.transaction_id),
        transaction_id=transaction.transaction_id,
        sequence=record.sequence,
        body=bytes((SCHEMA_VERSION,)) + body,
        decision=compression.compress(stored.canonical, stored.hash),
        expires_at_s=origin.ingested_ms // 1_000 + retention_s,
    )


def decode_body(body: bytes, canonical: bytes = b"", content_hash: str = "") -> HistoryRecord:
    """The event of an item; its decision is what the caller has decompressed. Raises `UnreadableItemError`."""
    if body[0] != SCHEMA_VERSION:
        raise UnreadableItemError(
            f"an event of schema version {body[0]} cannot be read by this program, which knows {SCHEMA_VERSION}; "
            "upgrade every worker before the first one writes a new version"
        )
    sequence, flags, source, offset, ingested_ms, values = msgspec.msgpack.decode(memoryview(body)[1:])
    stored = StoredDecision(
        Transaction(*values),
        Origin(source, offset, ingested_ms),
        canonical,
        content_hash,
        bool(flags & _LATE),
        bool(flags & _FIRST_TIME),
    )
    return HistoryRecord(sequence, stored)
