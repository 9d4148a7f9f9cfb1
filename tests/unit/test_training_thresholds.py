"""Thresholds by money: no other three save more, reviews stay within the capacity, what never pays is not done."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from learning_rows import DAY_MS, START_MS

from training.metrics.cost import CostModel, money
from training.metrics.judged import JudgedRows
from training.metrics.thresholds import best_thresholds

COSTS = CostModel()
NEVER_PAYS = CostModel(review_cost=1e6, challenge_cost=1e6, false_block_cost=1e6, block_stops_share=0.0)


def payments(seed: int, count: int = 60) -> tuple[np.ndarray, JudgedRows]:
    generator = np.random.default_rng(seed)
    labels = (generator.random(count) < 0.2).astype(np.int8)
    scores = np.round(np.clip(0.3 * labels + generator.random(count) * 0.7, 0, 1), 2)
    judged = JudgedRows(
        timestamps_ms=START_MS + np.sort(generator.integers(0, 4 * DAY_MS, count)),
        customers=np.zeros(count, dtype=np.int32),
        labels=labels,
        base_amounts_minor=generator.integers(100, 20_000, count),
        weights=generator.integers(1, 4, count).astype(np.float64),
        scenarios=np.full(count, -1, dtype=np.int32),
    )
    return scores, judged


def with_thresholds(block: float, review: float, challenge: float) -> CostModel:
    return msgspec.structs.replace(COSTS, block_threshold=block, review_threshold=review, challenge_threshold=challenge)


@pytest.mark.parametrize("seed", range(8))
def test_no_other_three_thresholds_among_the_highest_fifth_save_more(seed: int) -> None:
    scores, judged = payments(seed)
    _, found = best_thresholds(scores, judged, COSTS, 100)
    among = [np.inf, *np.sort(scores)[-12:]]
    others = [
        money(scores, judged, with_thresholds(block, review, challenge), 100).net_minor
        for block, review, challenge in itertools.product(among, repeat=3)
        if challenge <= review <= block
    ]
    assert found.net_minor == pytest.approx(max(others))


@pytest.mark.parametrize("seed", range(4))
def test_reviews_stay_within_what_the_team_can_do(seed: int) -> None:
    scores, judged = payments(seed)
    reviews_alone = CostModel(review_cost=0.01, challenge_cost=1e6, false_block_cost=1e6, block_stops_share=0.0)
    days = int(judged.days.max() - judged.days.min()) + 1

    def reviews_a_day(most: float | None) -> float:
        chosen = best_thresholds(scores, judged, reviews_alone, 100, most)[0]
        if chosen.review_threshold is None:
            return 0.0
        blocked = np.inf if chosen.block_threshold is None else chosen.block_threshold
        return float(judged.weights[(scores >= chosen.review_threshold) & (scores < blocked)].sum()) / days

    wanted = reviews_a_day(None)
    assert wanted > 0
    assert reviews_a_day(2.0) <= 2
    assert reviews_a_day(0.0) == 0
    assert reviews_a_day(wanted) == wanted


def test_an_action_that_never_pays_has_no_threshold() -> None:
    chosen, saved = best_thresholds(*payments(1), NEVER_PAYS, 100)
    assert (chosen.challenge_threshold, chosen.review_threshold, chosen.block_threshold) == (None, None, None)
    assert saved.net_minor == 0


def test_rows_are_needed() -> None:
    scores, judged = payments(1)
    with pytest.raises(ValueError, match="need rows"):
        best_thresholds(scores[:0], judged.where(slice(0, 0)), COSTS, 100)
