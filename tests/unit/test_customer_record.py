"""What a customer's state takes in: counted by sequence, folded in the same way live and from stored history."""

from __future__ import annotations

import asyncio

import msgspec
from payments import DAY_MS, HOUR_MS, Bench, admission, payment

from fraud.bootstrap import state_limits
from fraud.features import feature_set
from fraud.features.customer_identities import ARRIVAL_MS, IDENTIFIER, IDENTITY_WORDS, OWN_MS
from fraud.features.customer_record import amounts_of, details_of, rows_of
from fraud.features.customer_state import CustomerState
from fraud.features.extraction import CustomerStates, Extraction
from fraud.features.fingerprints import fingerprint
from fraud.settings import Settings
from fraud.transaction import Transaction, TransactionMessage

SETTINGS = Settings(forget_after_days=40)
PLAN = feature_set("default").plan(state_limits(SETTINGS))
REPLACE = msgspec.structs.replace
# BLAKE2b with a digest of 8 bytes (`b2sum -l 64`), little-endian, signed.
FINGERPRINT_OF_TRANSACTION = 982_122_586_892_887_065


def recorded(state: CustomerState, message: TransactionMessage) -> bool:
    transaction: Transaction = admission(SETTINGS).admit(message)
    return state.record(transaction, fingerprint(transaction.transaction_id), fingerprint("content"), PLAN)


def test_every_event_counts_in_the_sequence() -> None:
    state = CustomerState(PLAN)
    payments = [payment("a", 3 * DAY_MS), payment("late"), REPLACE(payment("refund"), event_type="refund")]
    late = [recorded(state, message) for message in payments]
    assert late == [False, True, True]
    assert state.sequence == 3
    assert len(rows_of(state)[0]) == 1


def test_a_reversal_takes_its_original_out_of_the_windows() -> None:
    state = CustomerState(PLAN)
    recorded(state, payment("a"))
    recorded(state, REPLACE(payment("b", HOUR_MS), event_type="reversal", original_transaction_id="a"))
    assert (state.sequence, rows_of(state)) == (2, ([], []))


def test_history_folded_in_gives_the_state_that_the_pipeline_left() -> None:
    messages = [
        payment("a"),
        REPLACE(payment("b", HOUR_MS), merchant_id="m", device_id="d", country="AT"),
        REPLACE(payment("c", HOUR_MS), event_type="refund"),
        payment("d", 3 * DAY_MS),
        payment("late", HOUR_MS),
        REPLACE(payment("e", 3 * DAY_MS), event_type="reversal", original_transaction_id="b"),
    ]
    bench = Bench(SETTINGS)
    folded = CustomerState(PLAN)
    bench.run(messages)
    for message in messages:
        recorded(folded, message)
    left = asyncio.run(bench.customers.load(()))["customer"]
    assert folded.sequence == left.sequence
    assert rows_of(folded) == rows_of(left)
    details = details_of(folded)
    assert details == details_of(left)
    assert details is not None
    assert details.merchants.rows == bytes([0, 0])
    assert amounts_of(folded) == amounts_of(left)
    for word in (IDENTIFIER, ARRIVAL_MS, OWN_MS):
        assert folded.identity_words()[word::IDENTITY_WORDS] == left.identity_words()[word::IDENTITY_WORDS]


def test_a_forgotten_customer_goes_on_counting() -> None:
    extraction = Extraction(feature_set("default"), PLAN, 2)
    states: CustomerStates = {}
    admitted = admission(SETTINGS).admit(payment("a"))
    first = extraction.customer("customer", admitted.timestamp_ms, states)
    recorded(first, payment("a"))
    again = extraction.customer("customer", admitted.timestamp_ms + 41 * DAY_MS, states)
    assert again is not first
    assert (again.sequence, again.newest_ms) == (1, 0)


def test_fingerprints_are_known_beforehand() -> None:
    """Stored ones must be found again by every later version."""
    assert fingerprint("transaction") == fingerprint(b"transaction") == FINGERPRINT_OF_TRANSACTION
    assert fingerprint("") != fingerprint("\0")
