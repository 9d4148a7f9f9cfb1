"""Thresholds for challenge, review and block that together save the most money."""

from __future__ import annotations

import msgspec
import numpy as np

from training.metrics.cost import CostModel, Money, money
from training.metrics.judged import FloatArray, JudgedRows

# 70 places for each of three thresholds are some 60,000 ordered choices, counted at once; between two neighbours the
# number of alerts grows by a tenth, which no capacity is known to better.
_PLACES = 70
# Nobody acts on more than a fifth of all payments.
_HIGHEST_SHARE = 0.2


def best_thresholds(
    scores: FloatArray,
    judged: JudgedRows,
    cost: CostModel,
    minor_units: int,
    reviews_a_day: float | None = None,
) -> tuple[CostModel, Money]:
    """`cost` with the three thresholds of the highest net saving, and that saving; `scores` float64 [rows].

    An action that never pays has no threshold. With `reviews_a_day` no choice has more reviews than that on the mean
    calendar day. Of equal savings the one that acts least is chosen. Judge it on later rows than
    it was chosen on. Raises `ValueError` without rows.
    """
    if not len(scores):
        raise ValueError("thresholds need rows to be chosen on")
    candidates = _candidates(scores)
    order = np.argsort(-scores, kind="stable")
    places = np.searchsorted(-scores[order], -candidates[1:], side="right")
    weights = judged.weights[order]
    fraud = weights * judged.labels[order]
    count, frauds, amount = (
        np.concatenate(([0.0], np.cumsum(values)[places - 1]))
        for values in (weights, fraud, fraud * judged.base_amounts_minor[order])
    )
    block = cost.block_stops_share * amount - cost.false_block_cost * minor_units * (count - frauds)
    review = cost.review_stops_share * amount - cost.review_cost * minor_units * count
    challenge = cost.challenge_stops_share * amount - cost.challenge_cost * minor_units * count
    # Axes: rows blocked, rows blocked or reviewed, rows acted on at all; each contains the one before.
    net = (block - review)[:, None, None] + (review - challenge)[None, :, None] + challenge[None, None, :]
    place = np.arange(len(count))
    ordered = (place[:, None, None] <= place[None, :, None]) & (place[None, :, None] <= place[None, None, :])
    if reviews_a_day is not None:
        days = int(judged.days.max() - judged.days.min()) + 1
        ordered &= ((count[None, :] - count[:, None]) / days <= reviews_a_day)[:, :, None]
    net[~ordered] = -np.inf
    blocked, reviewed, acted_on = np.unravel_index(int(np.argmax(net)), net.shape)
    chosen = msgspec.structs.replace(
        cost,
        block_threshold=_threshold(candidates, blocked),
        review_threshold=_threshold(candidates, reviewed) if reviewed > blocked else None,
        challenge_threshold=_threshold(candidates, acted_on) if acted_on > reviewed else None,
    )
    return chosen, money(scores, judged, chosen, minor_units)


def _candidates(scores: FloatArray) -> FloatArray:
    """Infinity, above every score, then scores in falling order."""
    shares = np.geomspace(1 / len(scores), _HIGHEST_SHARE, _PLACES)
    found = np.unique(np.quantile(scores, 1 - np.minimum(shares, 1.0), method="higher"))[::-1]
    return np.concatenate(([np.inf], found))


def _threshold(candidates: FloatArray, place: np.intp) -> float | None:
    return float(candidates[place]) if place else None
