"""Ranking under a budget, riskiest lists and what a batch must look like."""

import numpy as np
import pytest

from fraud.report.batch import DecidedBatch
from fraud.report.riskiest import Riskiest
from fraud.report.score_counts import ScoreCounts, score_units
from fraud.report.statistics import ReplayStatistics


def counts_of(rows):
    """Rows of (score or None, label, fraud value, action)."""
    counts = ScoreCounts()
    scores = np.array([np.nan if score is None else score for score, *_ in rows])
    units = score_units(scores)
    counts.add(units, np.array([label for _, label, *_ in rows], dtype=np.int8))
    for unit, (_, _, value, action) in zip(units.tolist(), rows, strict=True):
        if value:
            counts.add_fraud_value(unit, value)
        if action:
            counts.add_alert(action, unit, value)
    return counts


def test_half_a_percent_of_400_decisions_are_the_two_best_scored():
    rows = [(0.9, 1, 60, 0), (0.8, 0, 0, 0), (0.7, 1, 40, 0)] + [(0.1, 0, 0, 0)] * 397
    assert counts_of(rows).value_caught_by_model() == 0.6


def test_equal_scores_at_the_edge_of_the_budget_give_their_proportional_part():
    rows = [(0.9, 1, 60, 0), (0.9, 0, 0, 0), (0.9, 0, 0, 0), (0.9, 1, 40, 0)] + [(0.1, 0, 0, 0)] * 396
    assert counts_of(rows).value_caught_by_model() == 0.5


def test_the_policy_ranks_by_action_and_then_by_score():
    rows = [(0.2, 1, 60, 3), (0.5, 1, 30, 2), (0.6, 0, 0, 2), (0.9, 1, 10, 0)] + [(0.1, 0, 0, 0)] * 396
    counts = counts_of(rows)
    assert counts.value_caught_by_policy() == 0.6
    assert counts.value_caught_by_model() == 0.1


def test_a_policy_without_a_model_fills_the_budget_with_its_alerts():
    rows = [(None, 1, 60, 3), (None, 1, 40, 0)] + [(None, 0, 0, 0)] * 398
    counts = counts_of(rows)
    assert counts.value_caught_by_model() is None
    assert counts.value_caught_by_policy() == pytest.approx(0.6 + 0.4 / 399)


def test_a_score_of_one_is_in_the_last_bar():
    histogram = counts_of([(1.0, 1, 5, 0), (0.0, 0, 0, 0)]).histogram()
    assert histogram["fraud"][-1] == 1
    assert histogram["legitimate"][0] == 1


def test_riskiest_are_ranked_by_frauds_then_money_then_alerts_then_id():
    riskiest = Riskiest()
    for name, amount, fraud, alert in (
        ("z", 5, True, True),
        ("a", 5, True, True),
        ("m", 9, True, False),
        ("q", 99, False, True),
    ):
        riskiest.add(name, amount, fraud=fraud, alert=alert, units=10)
    assert [entry["id"] for entry in riskiest.top(labelled=True)] == ["m", "a", "z", "q"]


def test_riskiest_forgets_the_least_risky_and_says_so():
    riskiest = Riskiest(followed=2)
    for name, times in (("a", 3), ("b", 1), ("c", 2), ("d", 1), ("e", 1)):
        for _ in range(times):
            riskiest.add(name, 1, fraud=False, alert=True, units=-1)
    assert not riskiest.exact
    assert [entry["id"] for entry in riskiest.top(labelled=False)] == ["a", "c", "e"]


def test_a_batch_with_columns_of_different_length_is_refused():
    empty = np.zeros(0, dtype=np.int64)
    batch = DecidedBatch(
        [],
        empty,
        empty,
        np.zeros(1),
        empty.astype(np.int8),
        np.zeros((0, 1), dtype=np.bool_),
        empty.astype(np.int8),
        np.zeros(0, dtype=np.bool_),
        np.zeros(0, dtype=np.bool_),
        [],
    )
    with pytest.raises(ValueError, match="a batch of 0 transactions has 1 scores"):
        ReplayStatistics({"r": "review"}, "EUR", 2).add(batch)
