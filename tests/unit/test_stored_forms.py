"""What an earlier version of the service wrote can be read: bytes as they stand in the tables, version by version.

When a form changes, its bytes stay here and those of the next version are added.
"""

from __future__ import annotations

from base64 import b64decode

import msgspec
from payments import DAY_MS, HOUR_MS, START_MS

from fraud.features.customer_record import rows_of
from fraud.features.customer_state import CustomerState
from fraud.features.fingerprints import identity_fingerprints
from fraud.features.plan import StatePlan
from fraud.features.snapshot import decode_customer, encode_customer
from fraud.ports import HistoryRecord, Origin, StoredDecision
from fraud.stores.history_items import decode_body
from fraud.transaction import Transaction

PLAN = StatePlan(
    customer_windows_ms=(HOUR_MS, 30 * DAY_MS),
    entities=(),
    detailed=True,
    allowed_lateness_ms=DAY_MS,
    forget_after_ms=90 * DAY_MS,
    duplicate_horizon_ms=7 * DAY_MS,
)


def purchase(number: int) -> Transaction:
    return Transaction(
        transaction_id=f"t{number}",
        user_id="customer",
        timestamp_ms=START_MS + number * HOUR_MS,
        amount_minor=1_000 + number,
        currency="EUR",
        base_amount_minor=1_000 + number,
        card_id="k1_card",
        merchant_id=f"merchant{number % 2}",
        country="AT",
        latitude=48.2,
        longitude=16.4,
        attributes={"shop": "a", "items": 2.0},
    )


EVENT = HistoryRecord(4, StoredDecision(purchase(1), Origin("topic:3", 17, START_MS), b"", "", True, False))
EVENT_VERSION_1 = (
    b"AZYEAad0b3BpYzozEc8AAAGcrmtmANwAGqJ0MahjdXN0b21lcs8AAAGcrqJUgM0D6aNFVVLNA+mtYXV0aG9yaXNhdGlvbsDAwMCn"
    b"azFfY2FyZMCpbWVyY2hhbnQxwMDAwKJBVMDLQEgZmZmZmZrLQDBmZmZmZmbAwMCCpHNob3ChYaVpdGVtc8tAAAAAAAAAAA=="
)
# Three purchases, of which the second is reversed.
PROFILE_VERSION_1 = (
    b"AUEl4RuNkjDrKLUv/WQoAH0HANQMnATPAAABnK8QMYCSrqJUgM4Abd0Aks0D6c0D68Qgy+kgw3L3zykaOZD/dL0rWow4dl+ZWMz2"
    b"O5deGIMDK+3EIG0HgTwOZIQR5U8Kb21uVhIZD9VrbqV+mQ2GnsiPluV2lDbulAAAAACSAQOVA80Lvs0D6wDOAC31rtwAEJOSqW1l"
    b"cmNoYW50MDGSAADEAgICk5CQxAIAAJGiQVSRAMQCAQEAk5GnazFfY2FyZJEAxACQgaJBVAOiQVTcABgAAQEBAIHOAEv3cgPAANlD"
    b"AAwADjMOyAgcf1TGItWq5kJUXt2iq6iKQJlWdcFir5IERBhTVQ=="
)


def customer() -> CustomerState:
    state = CustomerState(PLAN)
    reversal = msgspec.structs.replace(
        purchase(4), event_type="reversal", transaction_id="t4", original_transaction_id="t2"
    )
    for transaction in (purchase(1), purchase(2), purchase(3), reversal):
        state.record(transaction, *identity_fingerprints(transaction), PLAN)
    return state


def test_an_event_of_version_1_is_read() -> None:
    assert decode_body(b64decode(EVENT_VERSION_1)) == EVENT


def test_an_event_from_before_a_field_was_added_has_its_default() -> None:
    version, *_ = stored = b64decode(EVENT_VERSION_1)
    *place, values = msgspec.msgpack.decode(stored[1:])
    without_attributes = bytes((version,)) + msgspec.msgpack.encode([*place, values[:-1]])
    known = decode_body(without_attributes).stored.transaction
    assert known == msgspec.structs.replace(EVENT.stored.transaction, attributes={})


def test_a_profile_of_version_1_is_read_and_goes_on() -> None:
    state, expected = decode_customer(b64decode(PROFILE_VERSION_1), PLAN), customer()
    for known in (state, expected):
        known.record(purchase(5), *identity_fingerprints(purchase(5)), PLAN)
    assert encode_customer(state, PLAN) == encode_customer(expected, PLAN)
    assert (state.sequence, rows_of(state)[1]) == (5, [1_001, 1_003, 1_005])
