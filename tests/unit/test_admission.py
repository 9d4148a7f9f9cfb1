"""A message becomes a valid transaction with tokens in place of clear identifiers, or is refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from payments import START_MS, artefacts, payment

from fraud.admission import TOKENISABLE, Admission
from fraud.bootstrap import build_pipeline
from fraud.money import parse_rates
from fraud.pipeline import Period, StageTimings
from fraud.privacy import Tokeniser
from fraud.settings import Settings, SettingsError
from fraud.stores.memory import MemoryCustomers, MemoryEntities
from fraud.transaction import InvalidTransactionError, Transaction, TransactionMessage

replace = msgspec.structs.replace
RATES = parse_rates("currency,first_day,last_day,rate\nUSD,2026-01-01,2026-12-31,0.905\n", "test", "EUR", "rates.csv")
TOKENISER = Tokeniser(b"a key of more than sixteen bytes", "k1")
CARD, ADDRESS = "4111111111111111", "192.0.2.17"
FULL = TransactionMessage(
    transaction_id="t1",
    user_id="customer",
    timestamp=datetime(2026, 3, 2, 12, tzinfo=UTC),
    amount="12.50",
    currency="USD",
    event_type="authorisation",
    auth_result="declined",
    original_transaction_id="t0",
    entry_mode="chip",
    is_recurring=True,
    card_id=CARD,
    merchant_id="merchant",
    merchant_category="5411",
    terminal_id="terminal",
    counterparty_id="counterparty",
    channel="pos",
    country="AT",
    city="Wien",
    latitude=48.2,
    longitude=16.4,
    device_id="device",
    ip_address=ADDRESS,
    attributes={"email": "a@example.org", "basket": 3.0, "gift": True},
)


def admit(message: TransactionMessage, *fields: str) -> Transaction:
    return Admission(RATES, TOKENISER, fields).admit(message)


def refusal(message: TransactionMessage) -> InvalidTransactionError:
    with pytest.raises(InvalidTransactionError) as caught:
        admit(message)
    assert caught.value.reason
    return caught.value


def test_every_field_arrives() -> None:
    transaction = admit(FULL)
    assert transaction == Transaction(
        transaction_id="t1",
        user_id="customer",
        timestamp_ms=START_MS,
        amount_minor=1_250,
        currency="USD",
        base_amount_minor=1_131,
        event_type="authorisation",
        auth_result="declined",
        original_transaction_id="t0",
        entry_mode="chip",
        is_recurring=True,
        card_id=TOKENISER.token("card_id", CARD),
        card_prefix="411111",
        merchant_id="merchant",
        merchant_category="5411",
        terminal_id="terminal",
        counterparty_id="counterparty",
        channel="pos",
        country="AT",
        city="Wien",
        latitude=48.2,
        longitude=16.4,
        device_id="device",
        ip_address=TOKENISER.token("ip_address", ADDRESS),
        ip_prefix="192.0.2.0/24",
        attributes={"email": "a@example.org", "basket": 3.0, "gift": True},
    )


def test_missing_stays_missing() -> None:
    transaction = admit(payment("t1"))
    optional = set(Transaction.__struct_fields__) - {
        *("transaction_id", "user_id", "timestamp_ms", "amount_minor", "currency", "base_amount_minor"),
        *("event_type", "attributes"),
    }
    assert {getattr(transaction, name) for name in optional} == {None}


def test_no_clear_card_or_address_is_left_anywhere() -> None:
    assert not any(clear in repr(admit(FULL)) for clear in (CARD, ADDRESS))


@pytest.mark.parametrize("field", sorted(TOKENISABLE))
def test_each_field_that_is_named_is_tokenised_under_its_own_name(field: str) -> None:
    clear = getattr(FULL, field)
    transaction = admit(FULL, field)
    assert getattr(transaction, field) == TOKENISER.token(field, clear)
    assert replace(transaction, **{field: getattr(admit(FULL), field)}) == admit(FULL)


def test_a_missing_field_that_is_named_stays_missing() -> None:
    assert admit(replace(FULL, device_id=None), "device_id").device_id is None


def test_attributes_are_tokenised_by_name() -> None:
    attributes = admit(FULL, "attributes.email", "attributes.basket").attributes
    assert attributes == {
        "email": TOKENISER.token("attributes.email", "a@example.org"),
        "basket": TOKENISER.token("attributes.basket", "3.0"),
        "gift": True,
    }


def test_derived_values_are_taken_before_the_tokens() -> None:
    transaction = admit(FULL, "card_id", "ip_address")
    assert (transaction.card_prefix, transaction.ip_prefix) == ("411111", "192.0.2.0/24")


@pytest.mark.parametrize("field", ["amount", "card", "attribute.email", "transaction_id"])
def test_a_field_that_cannot_be_tokenised_is_refused_with_those_that_can(field: str) -> None:
    with pytest.raises(ValueError, match=f"cannot tokenise {field}; possible: card_id, .*attributes.NAME"):
        Admission(RATES, TOKENISER, (field,))


@pytest.mark.parametrize(
    "change",
    [{"token_key": "short"}, {"token_key_id": "Not plain"}, {"tokenised_fields": ("amount",)}],
    ids=["key", "key id", "field"],
)
def test_wrong_settings_of_privacy_end_before_the_first_message(change: dict[str, Any]) -> None:
    settings = dataclasses.replace(Settings(), **change)
    with pytest.raises(SettingsError) as caught:
        build_pipeline(
            settings,
            artefacts(Settings(), "default"),
            MemoryCustomers(),
            MemoryEntities(),
            timings=StageTimings(lambda: 0.0),
            period=Period(),
        )
    assert "short" not in str(caught.value)


def test_settings_do_not_show_the_key() -> None:
    key = "a very secret key"
    assert key not in repr(Settings(token_key=key))


def test_a_time_of_any_zone_is_the_same_moment() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    elsewhere = replace(FULL, timestamp=FULL.timestamp.astimezone(zone))
    assert admit(elsewhere) == admit(FULL)


def test_finer_digits_than_milliseconds_are_cut_off() -> None:
    finer = replace(FULL, timestamp=FULL.timestamp + timedelta(microseconds=1_999))
    assert admit(finer).timestamp_ms == START_MS + 1


REFUSED = pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        (lambda: replace(FULL, timestamp=datetime(1970, 1, 1, tzinfo=UTC)), "timestamp_out_of_range", "timestamp"),
        (lambda: replace(FULL, timestamp=datetime(2100, 1, 1, tzinfo=UTC)), "timestamp_out_of_range", "timestamp"),
        (lambda: replace(FULL, amount=-1.0), "amount_negative", "amount"),
        (lambda: replace(FULL, amount=0.0), "amount_zero", "amount"),
        (lambda: replace(FULL, amount="12.345"), "too_many_decimals", "amount"),
        (lambda: replace(FULL, currency="ABC"), "unknown_currency", "currency"),
        (lambda: replace(FULL, currency="GBP"), "no_rate", "currency"),
        (lambda: replace(FULL, timestamp=datetime(2025, 1, 1, tzinfo=UTC)), "no_rate", "currency"),
        (lambda: replace(FULL, latitude=None), "half_a_position", "latitude"),
        (lambda: replace(FULL, longitude=None), "half_a_position", "latitude"),
        (lambda: replace(FULL, merchant_id="a\x00b"), "control_character", "merchant_id"),
        (lambda: replace(FULL, user_id="a\nb"), "control_character", "user_id"),
        (lambda: replace(FULL, city="a\u2028b"), "control_character", "city"),
        (lambda: replace(FULL, device_id=" "), "empty_value", "device_id"),
        (lambda: replace(FULL, transaction_id="   "), "empty_value", "transaction_id"),
        (lambda: replace(FULL, attributes={"note": "a\x07"}), "control_character", "attributes.note"),
        (lambda: replace(FULL, attributes={"note": "x" * 1_001}), "value_too_long", "attributes.note"),
        (
            lambda: replace(FULL, attributes={f"a{number}": 1.0 for number in range(51)}),
            "too_many_attributes",
            "attributes",
        ),
    ],
)


@REFUSED
def test_a_message_is_refused_by_name(change: Callable[[], TransactionMessage], code: str, field: str) -> None:
    error = refusal(change())
    assert (error.code, error.field) == (code, field)


@REFUSED
def test_a_refused_message_takes_no_other_of_its_batch_with_it(
    change: Callable[[], TransactionMessage], code: str, field: str
) -> None:
    good = [replace(FULL, transaction_id=f"t{number}", amount=1.0 + number) for number in range(5)]
    batch = [good[0], change(), *good[1:4], change(), good[4]]
    outcomes = Admission(RATES, TOKENISER).admit_each(batch)
    refused = [one for one in outcomes if isinstance(one, InvalidTransactionError)]
    assert [one for one in outcomes if isinstance(one, Transaction)] == list(map(admit, good))
    assert [(error.code, error.field) for error in refused] == [(code, field)] * 2
    assert [outcomes.index(error) for error in refused] == [1, 5]


def test_an_empty_batch_is_admitted() -> None:
    assert Admission(RATES, TOKENISER).admit_each([]) == []


def test_text_of_every_language_is_accepted() -> None:
    message = replace(FULL, city="M\u00fcnchen \u6771\u4eac", merchant_id="caf\u00e9 | bar")
    assert admit(message).city == "M\u00fcnchen \u6771\u4eac"


def test_zero_is_accepted_where_account_verifications_are_expected() -> None:
    admission = Admission(RATES, TOKENISER, accepts_zero_amounts=True)
    assert admission.admit(replace(FULL, amount=0.0)).base_amount_minor == 0
