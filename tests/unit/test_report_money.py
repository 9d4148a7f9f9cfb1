"""Money stopped and lost, as docs/money.md defines them."""

from fraud.decision import ALLOW, BLOCK, CHALLENGE, REVIEW
from fraud.report.money import MoneyLedger, value_recall
from fraud.transaction import Transaction

MINUTE_MS = 60_000


def attempt(minute, amount_minor=8_000, **fields):
    defaults = {"user_id": "u", "card_id": "c", "merchant_id": "m", "currency": "EUR", "auth_result": "approved"}
    return Transaction(
        transaction_id=f"t{minute}",
        timestamp_ms=1_772_323_200_000 + minute * MINUTE_MS,
        amount_minor=amount_minor,
        base_amount_minor=amount_minor,
        **(defaults | fields),
    )


def ledger_of(*rows):
    ledger = MoneyLedger()
    for transaction, action, label in rows:
        ledger.add(transaction, transaction.base_amount_minor, action, label)
    return ledger


def outcomes(*rows):
    return {name: tuple(total.values()) for name, total in ledger_of(*rows).outcomes().items()}


def test_the_example_of_the_documentation():
    ledger = ledger_of(
        (attempt(0), REVIEW, 1),
        (attempt(20), ALLOW, 1),
        (attempt(120), BLOCK, 1),
        (attempt(130), ALLOW, 1),
        (attempt(300, 20_000), ALLOW, 1),
    )
    assert ledger.outcomes() == {
        "stopped": {"payments": 1, "amount_minor": 8_000},
        "lost": {"payments": 1, "amount_minor": 8_000},
        "after_block": {"payments": 1, "amount_minor": 20_000},
    }
    assert value_recall(ledger.outcomes()) == 0.5


def test_a_payment_challenged_three_times_is_stopped_once():
    rows = [(attempt(minute), CHALLENGE, 1) for minute in (0, 50, 100)]
    assert outcomes(*rows) == {"stopped": (1, 8_000), "lost": (0, 0), "after_block": (0, 0)}


def test_an_hour_between_attempts_is_a_retry_and_a_millisecond_more_is_not():
    late = Transaction(**{**_fields(attempt(60)), "timestamp_ms": attempt(60).timestamp_ms + 1})
    assert outcomes((attempt(0), REVIEW, 1), (attempt(60), REVIEW, 1))["stopped"] == (1, 8_000)
    assert outcomes((attempt(0), REVIEW, 1), (late, REVIEW, 1))["stopped"] == (2, 16_000)


def _fields(transaction):
    return {name: getattr(transaction, name) for name in Transaction.__struct_fields__}


def test_another_payee_amount_currency_or_customer_is_another_payment():
    for other in (
        attempt(1, merchant_id="n"),
        attempt(1, 8_001),
        attempt(1, currency="USD"),
        attempt(1, user_id="v"),
        attempt(1, merchant_id=None, counterparty_id="m"),
        attempt(1, merchant_id=None, terminal_id="m"),
    ):
        assert outcomes((attempt(0), REVIEW, 1), (other, REVIEW, 1))["stopped"][0] == 2


def test_what_the_issuer_declined_was_neither_stopped_nor_lost():
    declined = attempt(0, auth_result="declined")
    assert set(outcomes((declined, ALLOW, 1), (declined, REVIEW, 1)).values()) == {(0, 0)}


def test_a_blocked_fraud_closes_the_card_even_if_the_issuer_declined_it():
    declined = attempt(0, auth_result="declined")
    assert outcomes((declined, BLOCK, 1), (attempt(300), ALLOW, 1))["after_block"] == (1, 8_000)


def test_only_a_block_of_a_fraud_closes_a_card():
    for action, label in ((BLOCK, 0), (BLOCK, -1), (REVIEW, 1), (CHALLENGE, 1)):
        assert outcomes((attempt(0), action, label), (attempt(300), ALLOW, 1))["lost"] == (1, 8_000)


def test_without_a_card_the_customer_is_closed():
    rows = (attempt(0, card_id=None), BLOCK, 1), (attempt(300, card_id=None), ALLOW, 1)
    assert outcomes(*rows)["after_block"] == (1, 8_000)
    assert outcomes(rows[0], (attempt(300), ALLOW, 1))["lost"] == (1, 8_000)


def test_unlabelled_transactions_count_nowhere():
    ledger = ledger_of((attempt(0), ALLOW, -1), (attempt(1), BLOCK, -1))
    assert all(total["payments"] == 0 for total in (ledger.outcomes() | ledger.hindered()).values())


def test_a_legitimate_payment_held_up_counts_once_under_its_most_severe_action():
    ledger = ledger_of(
        (attempt(0), CHALLENGE, 0), (attempt(1), BLOCK, 0), (attempt(2), REVIEW, 0), (attempt(3), ALLOW, 0)
    )
    assert ledger.hindered() == {
        "challenge": {"payments": 0, "amount_minor": 0},
        "review": {"payments": 0, "amount_minor": 0},
        "block": {"payments": 1, "amount_minor": 8_000},
    }


def test_only_so_many_open_payments_are_remembered():
    ledger = MoneyLedger(open_payments_max=2)
    for minute, merchant in enumerate(("a", "b", "c", "a")):
        ledger.add(attempt(minute, merchant_id=merchant), 8_000, REVIEW, 1)
    assert ledger.outcomes()["stopped"]["payments"] == 4


def test_a_payment_is_listed_under_its_first_day_and_scenario_even_when_a_retry_loses_it():
    ledger = MoneyLedger()
    ledger.add(attempt(0), 8_000, REVIEW, 1, day=7, scenario="takeover")
    ledger.add(attempt(1), 8_000, ALLOW, 1, day=8, scenario="takeover")
    assert ledger.day_outcomes(7)["lost"] == {"payments": 1, "amount_minor": 8_000}
    assert ledger.day_outcomes(8)["lost"] == {"payments": 0, "amount_minor": 0}
    assert ledger.scenario_outcomes()["takeover"]["lost"]["payments"] == 1
    assert ledger.scenario_outcomes()["takeover"]["stopped"]["payments"] == 0


def test_without_fraud_money_there_is_no_value_recall():
    assert value_recall(MoneyLedger().outcomes()) is None
