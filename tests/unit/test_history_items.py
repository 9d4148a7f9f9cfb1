"""A stored event is the event: what history gives back is what was decided, in every process."""

from __future__ import annotations

import msgspec
import pytest
from payments import admission, payment

from fraud.features.fingerprints import identity_fingerprints
from fraud.ports import HistoryRecord, Origin, StoredDecision
from fraud.settings import Settings
from fraud.stores.history_items import DecisionCompression, UnreadableItemError, decode_body, encode_item
from fraud.transaction import Transaction

COMPRESSION = DecisionCompression(b'{"action":"allow","score":0.5}')
ORIGIN = Origin("topic:3", 17, 1_772_452_800_123)


def transaction() -> Transaction:
    message = msgspec.structs.replace(payment("t1"), card_id="4000123412341234", latitude=52.0, longitude=13.0)
    # As decoded from a message: text that is equal to a default without being the same object.
    return admission(Settings()).admit(msgspec.json.decode(msgspec.json.encode(message), type=type(message)))


def stored(canonical: bytes = b"") -> HistoryRecord:
    return HistoryRecord(
        4, StoredDecision(transaction(), ORIGIN, canonical, "ab" * 32 if canonical else "", True, False)
    )


def test_a_stored_event_is_the_same_event() -> None:
    record = stored()
    assert decode_body(encode_item(record, COMPRESSION, 60).body) == record


def test_an_event_that_is_read_again_is_recognised_as_the_same_content() -> None:
    read = decode_body(encode_item(stored(), COMPRESSION, 60).body).stored.transaction
    assert identity_fingerprints(read) == identity_fingerprints(transaction())


def test_attributes_in_any_order_are_the_same_content() -> None:
    one = msgspec.structs.replace(transaction(), attributes={"a": 1.0, "b": True})
    other = msgspec.structs.replace(transaction(), attributes={"b": True, "a": 1.0})
    assert identity_fingerprints(one) == identity_fingerprints(other)


def test_a_decision_is_compressed_and_comes_back_byte_for_byte() -> None:
    canonical = b'{"action":"allow","score":0.25}'
    item = encode_item(stored(canonical), COMPRESSION, 60)
    assert COMPRESSION.decompress(item.decision) == (canonical, "ab" * 32)


def test_a_decision_of_other_versions_is_read_once_its_dictionary_is_known() -> None:
    item = encode_item(stored(b'{"action":"block"}'), DecisionCompression(b'{"action":"block"}'), 60)
    reader = DecisionCompression(b"{}")
    assert reader.unknown(item.decision) == item.decision[:4]
    with pytest.raises(UnreadableItemError, match="is not known"):
        reader.decompress(item.decision)
    reader.learn(b'{"action":"block"}')
    assert reader.decompress(item.decision)[0] == b'{"action":"block"}'


def test_an_event_of_an_unknown_version_is_refused_by_name() -> None:
    with pytest.raises(UnreadableItemError, match="schema version 9"):
        decode_body(b"\x09" + encode_item(stored(), COMPRESSION, 60).body[1:])


def test_an_event_may_be_deleted_when_its_retention_is_over() -> None:
    assert encode_item(stored(), COMPRESSION, 60).expires_at_s == 1_772_452_800 + 60
