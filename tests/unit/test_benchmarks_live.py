"""The live benchmark's own arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.live.cases import recovered_after_s
from benchmarks.live.payments import transaction_id_of
from benchmarks.live.tables import ratio
from benchmarks.live.traffic import due_after, rate_between


def test_a_rate_is_that_of_the_decisions_between_two() -> None:
    times_ms = np.array([0, 1_000, 1_500, 2_000, 3_000])
    assert rate_between(times_ms, 1, 4) == pytest.approx(3 / 2.0)


def test_payments_are_due_at_their_rate_and_none_before_the_first() -> None:
    assert [due_after(seconds, 2_000.0, 5) for seconds in (-0.002, 0.0, 0.0004, 0.0005, 1.0)] == [0, 1, 1, 2, 5]


def test_recovery_ends_with_the_last_payment_that_waited_for_a_second() -> None:
    due_s = np.array([0.0, 1.0, 2.0, 3.0])
    latencies_ms = np.array([10.0, 2_500.0, 1_200.0, 20.0])
    assert recovered_after_s(due_s, latencies_ms) == pytest.approx(3.5)
    assert recovered_after_s(due_s, np.full(4, 10.0)) == 0.0


def test_a_ratio_compares_runs_of_the_same_repeat() -> None:
    assert ratio([{"rate": 8.0}, {"rate": 30.0}], [{"rate": 10.0}, {"rate": 30.0}]) == pytest.approx(0.9)


def test_the_transaction_of_a_decision_is_its_own_not_its_original() -> None:
    value = b'{"decision":{"original_transaction_id":"P0","transaction_id":"P1"}}   '
    assert transaction_id_of(value) == b"P1"
    with pytest.raises(ValueError, match="no transaction_id"):
        transaction_id_of(b"{}")
