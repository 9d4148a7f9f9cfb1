"""What keeps a model from deciding, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from training.gates import Alerts, alert_gate, evidence_gate, metric_gates, parity_gate, speed_gate
from training.metrics.bootstrap import Interval

LEVEL = Interval(0.0, -0.1, 0.1)


def passed(**differences: Interval) -> dict[str, bool]:
    whole = {"average_precision": LEVEL, "card_precision_100": LEVEL} | differences
    return {gate.name: gate.passed for gate in metric_gates(whole)}


def test_a_model_that_is_worse_beyond_the_interval_fails() -> None:
    worse = Interval(-0.1, -0.2, -0.001)
    assert passed() == {"average_precision": True, "card_precision_100": True}
    assert passed(average_precision=worse) == {"average_precision": False, "card_precision_100": True}
    assert passed(card_precision_100=worse) == {"average_precision": True, "card_precision_100": False}


def test_worse_within_the_interval_passes() -> None:
    assert passed(average_precision=Interval(-0.1, -0.2, 0.001))["average_precision"]


def test_a_metric_without_a_value_says_nothing_for_the_model() -> None:
    assert not passed(card_precision_100=Interval(None, None, None))["card_precision_100"]


@pytest.mark.parametrize(("candidate", "expected"), [(75, True), (125, True), (74, False), (126, False), (0, False)])
def test_alerts_may_change_by_a_quarter(candidate: float, expected: bool) -> None:
    assert alert_gate(Alerts(100.0, candidate, 10)).passed is expected


def test_alerts_where_the_champion_raised_none_are_a_change() -> None:
    assert not alert_gate(Alerts(0.0, 1.0, 10)).passed
    assert alert_gate(Alerts(0.0, 0.0, 10)).passed


def test_alerts_are_told_by_day() -> None:
    assert "5.5 alerts a day at the active policy, 5.0 with the champion: +10.0%" in alert_gate(Alerts(50, 55, 10)).told


def test_few_frauds_are_no_evidence() -> None:
    assert [evidence_gate(frauds).passed for frauds in (29, 30)] == [False, True]


def test_a_difference_between_batches_fails_and_is_told() -> None:
    assert parity_gate("").passed
    assert (parity_gate("3 scores differ").passed, parity_gate("3 scores differ").told) == (False, "3 scores differ")


def test_a_slow_model_fails() -> None:
    assert [speed_gate(figure).passed for figure in (100.0, 100.1, np.inf)] == [True, False, False]
