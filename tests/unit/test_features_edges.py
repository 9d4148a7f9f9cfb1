"""Edges of windows and states, each by its smallest example."""

from __future__ import annotations

import math

import msgspec
import pytest
from payments import DAY_MS, HOUR_MS, MINUTE_MS, START_MS, Bench, Verdict, payment

from fraud.features.table import Value
from fraud.settings import Settings
from fraud.transaction import TransactionMessage

replace = msgspec.structs.replace


def reversal(transaction_id: str, original: str, after_ms: int) -> TransactionMessage:
    return replace(payment(transaction_id, after_ms), event_type="reversal", original_transaction_id=original)


def at_merchant(transaction_id: str, merchant_id: str, after_ms: int = 0) -> TransactionMessage:
    return replace(payment(transaction_id, after_ms), merchant_id=merchant_id)


def values_of(*messages: TransactionMessage) -> dict[str, Value]:
    return Bench().values(messages)


def test_a_window_ends_at_the_transaction_and_its_start_is_not_in_it() -> None:
    values = values_of(payment("a", 0), payment("b", 1), payment("c", HOUR_MS))
    assert values["customer_count_1h"] == 2
    assert values["customer_count_24h"] == 3


def test_an_earlier_arrival_of_the_same_time_counts() -> None:
    assert values_of(payment("a"), payment("b"))["customer_count_10m"] == 2


def test_what_happens_later_does_not_count() -> None:
    assert values_of(payment("a", HOUR_MS), payment("b", 0))["customer_count_24h"] == 1


def test_a_reversed_payment_leaves_the_windows_and_stays_in_the_profile() -> None:
    values = values_of(payment("a", 0, 50.0), reversal("r", "a", 1), payment("b", 2, 100.0))
    assert values["customer_count_1h"] == 1
    assert values["amount_to_customer_maximum"] == 2


def test_a_reversal_takes_out_the_payment_that_it_names_not_one_alike() -> None:
    values = values_of(
        at_merchant("a", "one"), at_merchant("b", "two"), reversal("r", "b", 1), at_merchant("c", "one", 2)
    )
    assert values["customer_count_1h"] == 2
    assert values["customer_distinct_merchants_1h"] == 1


def test_a_second_reversal_of_a_payment_takes_nothing_more_out() -> None:
    values = values_of(payment("a"), payment("b"), reversal("r", "a", 1), reversal("s", "a", 2), payment("c", 3))
    assert values["customer_count_1h"] == 2


def test_the_reversal_of_a_refund_takes_no_payment_out() -> None:
    refund = replace(payment("refund"), event_type="refund")
    assert values_of(payment("a"), refund, reversal("r", "refund", 1), payment("b", 2))["customer_count_1h"] == 2


def test_a_refund_leaves_no_trace_in_the_windows() -> None:
    refund = replace(payment("refund"), event_type="refund")
    assert values_of(refund, payment("a", 1))["customer_count_24h"] == 1


def test_a_late_event_is_decided_flagged_and_leaves_no_trace() -> None:
    bench = Bench()
    outcomes = bench.run([payment("a", 2 * DAY_MS), payment("late", DAY_MS - 1), payment("b", 2 * DAY_MS)])
    assert [outcome.late for outcome in outcomes] == [False, True, False]
    assert [outcome.what for outcome in outcomes] == ["decided"] * 3
    assert dict(zip(bench.names, outcomes[2].values, strict=True))["customer_count_30d"] == 2


def test_an_event_at_the_very_limit_of_lateness_is_in_time() -> None:
    outcomes = Bench().run([payment("a", 2 * DAY_MS), payment("b", DAY_MS)])
    assert not outcomes[1].late


def test_a_customer_is_new_again_after_the_days_of_forgetting() -> None:
    settings = Settings(forget_after_days=10)
    at_the_limit, beyond = (Bench(settings).values([payment("a"), payment("b", 10 * DAY_MS + more)]) for more in (0, 1))
    assert at_the_limit["customer_tenure_days"] == 10
    assert beyond["customer_tenure_days"] == 0
    assert math.isnan(beyond["amount_deviation"])


def test_a_merchant_is_found_in_the_window_even_when_more_merchants_came_after_than_a_profile_remembers() -> None:
    messages = [at_merchant(f"t{number}", f"m{number}", number * MINUTE_MS) for number in range(70)]
    values = values_of(*messages, at_merchant("again", "m0", 70 * MINUTE_MS))
    assert values["customer_seconds_since_last_at_merchant"] == 70 * 60


def fraud_values(*days: float, verdicts: dict[str, Verdict], settings: Settings | None = None) -> dict[str, Value]:
    """Each payment is by another customer, all at one terminal."""
    messages = [
        replace(payment(f"t{number}", round(day * DAY_MS), user_id=f"customer{number}"), terminal_id="t")
        for number, day in enumerate(days)
    ]
    return Bench(settings or Settings(), verdicts=verdicts).values(messages)


def test_a_fraud_counts_from_when_it_is_known() -> None:
    before = fraud_values(0, 9.9, verdicts={"t0": Verdict(START_MS + 10 * DAY_MS)})
    after = fraud_values(0, 10, verdicts={"t0": Verdict(START_MS + 10 * DAY_MS)})
    assert before["terminal_fraud_rate_30d"] == pytest.approx(0.1 / 21)
    assert after["terminal_fraud_rate_30d"] == pytest.approx(1.1 / 21)


def test_a_fraud_known_at_once_still_waits_for_the_delay() -> None:
    values = fraud_values(0, 6.9, verdicts={"t0": Verdict(START_MS)})
    assert values["terminal_fraud_rate_30d"] == pytest.approx(0.1 / 20)
    assert values["terminal_hours_since_fraud"] == 165


def test_a_withdrawn_fraud_no_longer_counts() -> None:
    values = fraud_values(0, 10, verdicts={"t0": Verdict(START_MS + DAY_MS, START_MS + 2 * DAY_MS)})
    assert values["terminal_fraud_rate_30d"] == pytest.approx(0.1 / 21)
    assert math.isnan(values["terminal_hours_since_fraud"])


def test_a_fraud_older_than_37_days_is_forgotten() -> None:
    in_time, too_old = (fraud_values(0, 30, days, verdicts={"t0": Verdict(START_MS + DAY_MS)}) for days in (36.99, 37))
    assert in_time["terminal_hours_since_fraud"] == 887
    assert math.isnan(too_old["terminal_hours_since_fraud"])


def test_a_terminal_that_was_forgotten_knows_nothing_of_frauds_before() -> None:
    settings = Settings(forget_after_days=3)
    values = fraud_values(0, 10, 18, verdicts={"t0": Verdict(START_MS + 11 * DAY_MS)}, settings=settings)
    assert values["terminal_fraud_rate_30d"] == 0.005


def test_the_share_of_frauds_at_a_terminal_is_never_above_one() -> None:
    bench = Bench(Settings(forget_after_days=9), "handbook", verdicts={"a": Verdict(START_MS + 11 * DAY_MS)})
    messages = [
        replace(payment(name, round(day * DAY_MS), user_id=name), terminal_id="t")
        for name, day in (("a", 0), ("b", 10), ("c", 10.5), ("d", 17.5))
    ]
    assert bench.values(messages)["TERMINAL_ID_RISK_30DAY_WINDOW"] == 0


def test_a_refund_is_forgotten_with_the_customer_who_never_paid() -> None:
    settings = Settings(forget_after_days=40)
    refund = replace(payment("a"), event_type="refund")
    for after_days, what in ((40, "transaction_id_reused"), (41, "decided")):
        outcomes = Bench(settings, "handbook").run([refund, payment("a", after_days * DAY_MS)], 1)
        assert [outcome.what for outcome in outcomes] == ["warmed or recorded", what]
