"""Every metric against its definition: worked by hand, counted one by one, or by scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve, roc_auc_score

from training.metrics.bootstrap import bootstrap, difference, interval
from training.metrics.cards import CardRanking, known_compromised
from training.metrics.cost import CostModel, best_review_threshold, money
from training.metrics.judged import DAY_MS, JudgedRows
from training.metrics.probability import brier_score, brier_skill, reliability_curve
from training.metrics.ranking import Ranking, alert_threshold
from training.metrics.segments import segments
from training.metrics.workload import workload


def judged(labels, *, days=None, customers=None, amounts=None, scenarios=None, scenario_names=()):
    count = len(labels)
    return JudgedRows(
        np.array(days if days is not None else [0] * count, dtype=np.int64) * DAY_MS + np.arange(count),
        np.array(customers if customers is not None else range(count), dtype=np.int32),
        np.array(labels, dtype=np.int8),
        np.array(amounts if amounts is not None else [100] * count, dtype=np.int64),
        np.ones(count),
        np.array(scenarios if scenarios is not None else [-1] * count, dtype=np.int32),
        scenario_names,
    )


@st.composite
def scored_rows(draw):
    count = draw(st.integers(2, 40))
    # Few distinct scores: ties are the hard part.
    scores = np.array(draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))) / 6
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)), dtype=np.int8)
    labels[0], labels[1] = 1, 0
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), dtype=np.float64)
    weights[0] = weights[1] = 1
    return scores, labels, weights


@given(scored_rows())
def test_areas_are_those_of_scikit_learn_with_ties_and_weights(rows):
    scores, labels, weights = rows
    ranking = Ranking(scores, labels)
    assert ranking.auc_roc(weights) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
    assert ranking.average_precision(weights) == pytest.approx(
        average_precision_score(labels, scores, sample_weight=weights)
    )


@given(scored_rows())
def test_weights_stand_for_rows_that_are_there_as_often(rows):
    scores, labels, weights = rows
    often = weights.astype(int)
    repeated = Ranking(np.repeat(scores, often), np.repeat(labels, often))
    ones = np.ones(often.sum())
    ranking = Ranking(scores, labels)
    assert ranking.auc_roc(weights) == pytest.approx(repeated.auc_roc(ones))
    for rate in (0.0, 0.1, 0.5):
        assert ranking.recall_at_false_positive_rate(weights, rate) == pytest.approx(
            repeated.recall_at_false_positive_rate(ones, rate)
        )


@given(scored_rows(), st.sampled_from([0.0, 0.01, 0.25, 0.5, 1.0]))
def test_recall_at_a_false_positive_rate_is_the_best_that_any_threshold_reaches(rows, rate):
    scores, labels, _ = rows
    thresholds = [*np.unique(scores), np.inf]
    allowed = [
        ((scores >= threshold) & (labels == 1)).sum() / (labels == 1).sum()
        for threshold in thresholds
        if ((scores >= threshold) & (labels == 0)).sum() <= rate * (labels == 0).sum()
    ]
    assert Ranking(scores, labels).recall_at_false_positive_rate(np.ones(len(labels)), rate) == pytest.approx(
        max(allowed)
    )


def test_the_curve_of_precision_and_recall_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    labels = (generator.random(200) < 0.2).astype(np.int8)
    scores = np.round(generator.random(200) + labels, 1)
    precision, recall, _ = precision_recall_curve(labels, scores)
    own_recall, own_precision = Ranking(scores, labels).precision_recall_points(np.ones(200))
    assert own_recall == pytest.approx(recall[:-1][::-1])
    assert own_precision == pytest.approx(precision[:-1][::-1])


def test_value_recall_counts_money_among_the_alerted_rows():
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    labels = np.array([1, 0, 1, 0], dtype=np.int8)
    amounts = np.array([300, 5_000, 100, 70])
    ranking = Ranking(scores, labels)
    ones = np.ones(4)
    assert ranking.value_recall(amounts, ones, 0.25) == 0.75
    assert ranking.value_recall(amounts, ones, 0.5) == 0.75
    assert ranking.value_recall(amounts, ones, 0.75) == 1.0
    assert alert_threshold(scores, 0.5) == 0.8


def test_one_class_alone_has_no_ranking():
    ranking = Ranking(np.array([0.1, 0.2]), np.zeros(2, dtype=np.int8))
    ones = np.ones(2)
    assert ranking.auc_roc(ones) is None
    assert ranking.average_precision(ones) is None
    assert ranking.recall_at_false_positive_rate(ones, 0.1) is None
    assert ranking.precision_recall_points(ones) is None
    assert ranking.value_recall(np.array([1, 1]), ones, 0.5) is None


def test_card_precision_takes_each_customers_highest_score_and_blocks_who_is_found():
    # Day 0: customer 0 is found. Day 1: customer 0 would be first again, but is blocked, so customers 2 and 1 are seen.
    rows = judged([0, 1, 0, 1, 0, 1], days=[0, 0, 0, 1, 1, 1], customers=[0, 0, 1, 0, 1, 2])
    scores = np.array([0.1, 0.9, 0.5, 0.95, 0.4, 0.8])
    ranking = CardRanking(scores, rows)
    assert ranking.precision(1) == 1.0
    assert ranking.precision(2) == 0.5
    assert ranking.precision(4) == 0.25
    assert CardRanking(np.zeros(0), judged([])).precision(1) is None


def by_definition(scores, rows, k):
    """Card precision@k as chapter 4 of the Handbook writes it, day by day."""
    found, precisions = set(), []
    for day in np.unique(rows.days):
        highest, defrauded = {}, {}
        for row in np.flatnonzero(rows.days == day):
            customer = int(rows.customers[row])
            if customer in found:
                continue
            highest[customer] = max(highest.get(customer, -math.inf), scores[row])
            defrauded[customer] = max(defrauded.get(customer, 0), int(rows.labels[row]))
        top = sorted(highest, key=lambda customer: (-highest[customer], customer))[:k]
        precisions.append(sum(defrauded[customer] for customer in top) / k)
        found.update(customer for customer in top if defrauded[customer])
    return sum(precisions) / len(precisions)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_card_precision_is_the_handbooks(seed, k):
    generator = np.random.default_rng(seed)
    count = 120
    rows = judged(
        generator.random(count) < 0.2,
        days=np.sort(generator.integers(0, 5, count)),
        customers=generator.integers(0, 25, count),
    )
    scores = np.round(generator.random(count), 1)
    assert CardRanking(scores, rows).precision(k) == pytest.approx(by_definition(scores, rows, k))


def test_a_customer_drawn_twice_takes_two_places_and_one_not_drawn_takes_none():
    rows = judged([1, 0, 1], customers=[0, 1, 2])
    ranking = CardRanking(np.array([0.9, 0.8, 0.7]), rows)
    assert ranking.precision(2, np.array([2.0, 1.0, 1.0])) == 1.0
    assert ranking.precision(2, np.array([0.0, 1.0, 1.0])) == 0.5


def test_a_customer_is_known_as_compromised_from_the_day_after_the_fraud_was_known():
    timestamps = np.array([9, 10, 11, 12], dtype=np.int64) * DAY_MS + 5
    customers = np.array([3, 3, 3, 4], dtype=np.int32)
    known = known_compromised(
        timestamps, customers, np.array([10 * DAY_MS + 1], dtype=np.int64), np.array([3], dtype=np.int32)
    )
    assert known.tolist() == [False, False, True, False]


@given(scored_rows())
def test_the_brier_score_is_that_of_scikit_learn(rows):
    scores, labels, weights = rows
    assert brier_score(scores, labels, weights) == pytest.approx(
        brier_score_loss(labels, scores, sample_weight=weights)
    )


def test_saying_the_share_of_fraud_always_has_no_skill_and_knowing_everything_has_all():
    labels = np.array([1, 0, 0, 0], dtype=np.int8)
    ones = np.ones(4)
    assert brier_skill(np.full(4, 0.25), labels, ones) == pytest.approx(0)
    assert brier_skill(labels.astype(np.float64), labels, ones) == 1
    assert brier_skill(np.zeros(4), np.zeros(4, dtype=np.int8), ones) is None
    assert brier_score(np.zeros(0), np.zeros(0, dtype=np.int8), np.zeros(0)) is None


@given(scored_rows())
def test_the_reliability_curve_holds_every_row_once_and_in_order(rows):
    scores, labels, weights = rows
    bins = reliability_curve(scores, labels, weights, bin_count=4)
    total = weights.sum()
    assert sum(part.weight for part in bins) == pytest.approx(total)
    assert sum(part.weight * part.mean_score for part in bins) == pytest.approx((weights * scores).sum())
    assert sum(part.weight * part.fraud_share for part in bins) == pytest.approx((weights * labels).sum())
    means = [part.mean_score for part in bins]
    assert means == sorted(means)


def test_money_counts_what_each_action_stops_and_costs():
    rows = judged([1, 1, 1, 0, 0], amounts=[10_000, 20_000, 40_000, 5_000, 5_000])
    scores = np.array([0.95, 0.6, 0.3, 0.97, 0.7])
    cost = CostModel(
        review_cost=4,
        challenge_cost=0.2,
        false_block_cost=15,
        review_stops_share=0.9,
        challenge_stops_share=0.8,
        challenge_threshold=0.2,
        review_threshold=0.5,
        block_threshold=0.9,
    )
    found = money(scores, rows, cost, minor_units=100)
    assert found.fraud_minor == 70_000
    assert found.prevented_minor == pytest.approx(10_000 + 0.9 * 20_000 + 0.8 * 40_000)
    assert found.review_cost_minor == 2 * 400
    assert found.challenge_cost_minor == pytest.approx(20)
    assert found.false_block_cost_minor == 1_500
    assert found.net_minor == pytest.approx(60_000 - 800 - 20 - 1_500)
    assert found.prevented_share == pytest.approx(60_000 / 70_000)
    assert money(scores[3:], rows.where(slice(3, 5)), cost, 100).prevented_share is None


def test_the_best_threshold_reviews_what_pays():
    # Four frauds of 100.00 on top, then 96 payments that a review of 4.00 would only cost.
    rows = judged([1] * 4 + [0] * 96, amounts=[10_000] * 100)
    scores = np.linspace(1, 0, 100)
    threshold, found = best_review_threshold(scores, rows, CostModel(), minor_units=100)
    assert scores[3] >= threshold > scores[4]
    assert found.net_minor == pytest.approx(4 * 0.9 * 10_000 - 4 * 400)
    assert best_review_threshold(np.zeros(0), judged([]), CostModel(), 100) is None


def test_reviews_a_day_count_empty_days_and_what_comes_after_the_capacity_is_not_reviewed():
    rows = judged([0, 1, 1, 0, 1], days=[0, 0, 0, 0, 2])
    scores = np.array([0.9, 0.9, 0.9, 0.1, 0.9])
    found = workload(scores, rows, threshold=0.5, capacity=2)
    assert (found.days, found.mean, found.highest, found.days_over_capacity) == (3, 4 / 3, 3, 1)
    assert found.frauds_not_reviewed == 1
    assert workload(scores, rows, 0.5, None).frauds_not_reviewed == 0
    assert workload(np.zeros(0), judged([]), 0.5, 2) is None


def test_a_scenario_stands_against_all_legitimate_rows_and_the_threshold_is_that_of_all_rows():
    rows = judged(
        [1, 1, 0, 0, 0],
        amounts=[1, 2, 3, 4, 5],
        scenarios=[0, 1, -1, -1, -1],
        scenario_names=("leak", "terminal"),
        customers=[0, 0, 1, 1, 1],
    )
    found = {(part.kind, part.name): part for part in segments(np.array([0.9, 0.2, 0.5, 0.1, 0.1]), rows)}
    leak, terminal = found["scenario", "leak"], found["scenario", "terminal"]
    assert (leak.rows, leak.frauds, leak.auc_roc, leak.recall_at_false_positive_rate) == (4, 1, 1.0, 1.0)
    assert terminal.auc_roc == pytest.approx(2 / 3)
    assert terminal.recall_at_false_positive_rate == 0
    assert sum(part.rows for (kind, _), part in found.items() if kind == "amount") == 5
    assert found["customer", "10 payments or more"].rows == 0


def test_the_bootstrap_draws_customers_repeats_by_its_seed_and_pairs_what_it_compares():
    generator = np.random.default_rng(3)
    of_customer = generator.normal(1.0, 1.0, 200)

    def mean(weights):
        return float((weights * of_customer).sum() / weights.sum())

    def shifted(weights):
        return mean(weights) + 0.25

    values, drawn = bootstrap({"mean": mean, "shifted": shifted}, 200, seed=1, draws=500)
    _, again = bootstrap({"mean": mean, "shifted": shifted}, 200, seed=1, draws=500)
    assert np.array_equal(drawn["mean"], again["mean"])
    found = interval(values["mean"], drawn["mean"])
    # The textbook interval of a mean, within the noise of 500 draws.
    half = 1.96 * of_customer.std() / math.sqrt(200)
    assert found.low == pytest.approx(values["mean"] - half, abs=0.05)
    assert found.high == pytest.approx(values["mean"] + half, abs=0.05)
    paired = difference(values["shifted"], values["mean"], drawn["shifted"], drawn["mean"])
    assert (paired.value, paired.low, paired.high) == pytest.approx((0.25, 0.25, 0.25))
    assert paired.is_above_zero


def test_a_measure_without_a_value_has_no_interval():
    values, drawn = bootstrap({"nothing": lambda _weights: None}, 3, seed=0, draws=5)
    found = interval(values["nothing"], drawn["nothing"])
    assert (found.value, found.low, found.high) == (None, None, None)
    assert not found.is_above_zero
    assert difference(None, 1.0, drawn["nothing"], drawn["nothing"]).value is None
