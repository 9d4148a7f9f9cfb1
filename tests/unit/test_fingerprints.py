"""Fingerprints are those of BLAKE2b over a stored form, whichever transactions are taken together."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from fraud.features.fingerprints import fingerprint, identity_fingerprints, identity_fingerprints_of_each
from fraud.transaction import Transaction

PLAIN = Transaction("t1", "customer", 1_700_000_000_000, 1_250, "EUR", 1_250)
TRANSACTIONS = [
    PLAIN,
    msgspec.structs.replace(PLAIN, transaction_id="ä", attributes={"basket": 3.0}),
    msgspec.structs.replace(PLAIN, card_id="card", latitude=0.0),
    msgspec.structs.replace(PLAIN, ip_prefix="192.0.2.0/24"),
    PLAIN,
]


def test_a_fingerprint_is_blake2b_of_eight_bytes() -> None:
    digest = blake2b("ä".encode(), digest_size=8).digest()
    assert fingerprint("ä") == fingerprint("ä".encode()) == int.from_bytes(digest, "little", signed=True)


def test_trailing_fields_without_a_value_do_not_count() -> None:
    known = ("t1", "customer", 1_700_000_000_000, 1_250, "EUR", 1_250, "authorisation")
    assert identity_fingerprints(PLAIN) == (fingerprint("t1"), fingerprint(msgspec.msgpack.encode(known)))


def test_fingerprints_do_not_depend_on_what_is_taken_together() -> None:
    for some in (TRANSACTIONS, TRANSACTIONS[::-1], TRANSACTIONS[1:3]):
        assert identity_fingerprints_of_each(some).tolist() == [list(identity_fingerprints(one)) for one in some]
    assert len(identity_fingerprints_of_each([])) == 0
