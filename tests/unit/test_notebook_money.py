"""What the third notebook computes: money by threshold, and policies with other thresholds."""

from __future__ import annotations

from pathlib import Path

import yaml
from learning_rows import START_MS, simulated

from fraud.bootstrap import load_artefacts
from fraud.settings import load_settings
from training.metrics.cost import CostModel
from training.notebook.money_choice import (
    choices,
    choices_listing,
    policy_with_thresholds,
    review_curve,
    review_curve_plot,
)

POLICY = load_settings().policy_file


def test_dear_reviews_save_less_and_are_fewer() -> None:
    rows = simulated(4)
    judged = rows.judged(rows.test_positions(START_MS, int(rows.timestamps_ms.max()), compromised_from_ms=None))
    scores = 1 / (1 + 2.718 ** -rows.matrix[: len(judged), 0].copy())
    scores[scores != scores] = 0.0
    cheap = review_curve(scores, judged, CostModel(review_cost=1.0), 100)
    dear = review_curve(scores, judged, CostModel(review_cost=20.0), 100)
    assert [reviews for reviews, _ in cheap] == [reviews for reviews, _ in dear]
    assert all(one[1] > other[1] for one, other in zip(cheap, dear, strict=True))
    assert review_curve_plot({"cheap": cheap, "dear": dear}, "EUR", 2, 60).svg
    listing = choices_listing(choices(scores, judged, {"given": CostModel()}, 100, None), "EUR", 2)
    assert listing.rows[0][0] == "given"


def test_a_policy_with_other_thresholds_has_the_same_rules_and_is_accepted(tmp_path: Path) -> None:
    cost = CostModel(challenge_threshold=0.01234567, review_threshold=None, block_threshold=0.5)
    path = policy_with_thresholds(POLICY, cost, tmp_path, "by_money")
    before, after = yaml.safe_load(POLICY.read_bytes()), yaml.safe_load(path.read_bytes())
    assert after["score_thresholds"] == {"challenge": 0.0123, "block": 0.5}
    assert (after["policy"], after["rules"], after["lists"]) == ("by_money", before["rules"], before["lists"])
    artefacts = load_artefacts(load_settings(), "default", {}, policy_file=path, model_folder=None)
    assert artefacts.policy is not None
    assert len(artefacts.policy.rules) > 10
