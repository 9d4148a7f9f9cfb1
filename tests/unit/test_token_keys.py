"""A token key is replaced: repetitions are known, nothing counts twice, and one day the key before is not needed."""

from __future__ import annotations

import msgspec
import pytest
from payments import DAY_MS, HOUR_MS, payment
from rotated_keys import FIRST_KEY, SECOND_KEY, THIRD_KEY, Stores, keyed, refusals, values

from fraud.features.table import Value
from fraud.privacy import RotatingTokeniser, Tokeniser
from fraud.settings import Settings
from fraud.transaction import TransactionMessage

PLAIN = Settings()
EVERYBODY = Settings(tokenised_fields=("user_id", "merchant_id"))
KINDS_OF_SETTINGS = pytest.mark.parametrize("settings", [PLAIN, EVERYBODY], ids=["cards alone", "customers, too"])


def purchase(number: int, after_ms: int = 0, amount: float = 20.0) -> TransactionMessage:
    return msgspec.structs.replace(
        payment(f"t{number}", after_ms, amount),
        card_id="4111111111111111",
        ip_address="10.1.2.3",
        merchant_id="merchant",
        device_id="device",
    )


def first_and_second(settings: Settings) -> tuple[Settings, Settings]:
    return keyed(settings, FIRST_KEY), keyed(settings, SECOND_KEY, FIRST_KEY)


def last(stores: Stores) -> dict[str, Value]:
    return values(stores)[-1]


def test_the_former_token_is_that_of_the_key_before() -> None:
    present, before = Tokeniser(SECOND_KEY[0].encode(), "k2"), Tokeniser(FIRST_KEY[0].encode(), "k1")
    both = RotatingTokeniser(present, before)
    token = both.token("card_id", "4111")
    assert token == present.token("card_id", "4111")
    assert both.former == {token: before.token("card_id", "4111")}


def test_two_keys_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="both token keys have the id 'k1'"):
        RotatingTokeniser(Tokeniser(b"k" * 16, "k1"), Tokeniser(b"l" * 16, "k1"))


@KINDS_OF_SETTINGS
def test_a_known_card_is_known_under_the_next_key(settings: Settings) -> None:
    first, second = first_and_second(settings)
    stores = Stores(settings)
    stores.worker(first).take([purchase(1), purchase(2, 3 * DAY_MS)])
    stores.worker(second).take([purchase(3, 3 * DAY_MS + 1)])
    known = last(stores)
    assert not known["card_is_new"]
    assert known["card_days_since_first"] == 3
    assert (known["card_count_1h"], known["ip_count_1h"], known["customer_tenure_days"]) == (
        1,
        1,
        known["card_age_days"],
    )


def test_without_the_key_before_it_is_new() -> None:
    stores = Stores(PLAIN)
    stores.worker(keyed(PLAIN, FIRST_KEY)).take([purchase(1)])
    stores.worker(keyed(PLAIN, SECOND_KEY)).take([purchase(2, 1)])
    assert last(stores)["card_is_new"]
    assert last(stores)["card_count_1h"] == 0


@KINDS_OF_SETTINGS
def test_what_is_delivered_again_after_the_change_is_counted_once(settings: Settings) -> None:
    first, second = first_and_second(settings)
    stores = Stores(settings)
    stores.worker(first).take([purchase(1), purchase(2, 1)])
    worker = stores.worker(second)
    worker.take([purchase(1), purchase(2, 1)], again=True)
    live = stores.batches[-1].live
    assert live is not None
    assert sorted(live.stored) == [0, 1]
    worker.take([purchase(3, 2)])
    assert (last(stores)["card_count_1h"], last(stores)["merchant_count_1h"]) == (2, 2)
    assert not refusals(stores)


@KINDS_OF_SETTINGS
def test_what_is_sent_again_after_the_change_is_the_same(settings: Settings) -> None:
    first, second = first_and_second(settings)
    stores = Stores(settings)
    stores.worker(first).take([purchase(1)])
    stores.worker(second).take([purchase(1), purchase(1, amount=21.0)])
    assert stores.batches[-1].duplicates == [0]
    assert refusals(stores) == ["transaction_id_reused"]


@KINDS_OF_SETTINGS
@pytest.mark.parametrize("purchases_under_both", [1, 3, 40])
def test_after_the_overlap_the_key_before_is_not_needed(settings: Settings, purchases_under_both: int) -> None:
    first, second = first_and_second(settings)
    stores = Stores(settings)
    stores.worker(first).take([purchase(1)])
    days = range(1, purchases_under_both + 1)
    stores.worker(second).take([purchase(1 + day, day * DAY_MS) for day in days], 1)
    end_ms = purchases_under_both * DAY_MS
    stores.worker(keyed(settings, SECOND_KEY)).take([purchase(100, end_ms + HOUR_MS)])
    assert last(stores)["card_days_since_first"] == purchases_under_both
    assert last(stores)["customer_tenure_days"] == purchases_under_both + 1 / 24
    assert last(stores)["device_distinct_cards_30d"] == 1
    stores.worker(keyed(settings, THIRD_KEY, SECOND_KEY)).take([purchase(101, end_ms + 2 * HOUR_MS)])
    assert last(stores)["card_days_since_first"] == purchases_under_both
    assert last(stores)["device_distinct_cards_30d"] == 1
