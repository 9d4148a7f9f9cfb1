"""Money under a cost model: what alerting above a threshold saves, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from training.metrics.judged import FloatArray, JudgedRows


class CostModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What decisions cost, in whole units of the base currency, and which score leads to which action.

    `review_threshold` and `block_threshold` are scores; a row at or above the first is reviewed, at or above the second
    blocked; between `challenge_threshold` and the first it is challenged. None: that action is not taken. Shares say
    how much of a fraud's amount the action stops: a customer passes a challenge that a thief fails mostly, and an
    analyst is sometimes late.
    """

    review_cost: float = 4.0
    challenge_cost: float = 0.2
    false_block_cost: float = 15.0
    review_stops_share: float = 0.9
    challenge_stops_share: float = 0.8
    block_stops_share: float = 1.0
    challenge_threshold: float | None = None
    review_threshold: float | None = None
    block_threshold: float | None = None


@dataclass(frozen=True)
class Money:
    """Base minor units over the judged period: what fraud there was, what was prevented, and what each action cost.

    Prevented is expected by the cost model, transaction by transaction: not *stopped* as docs/money.md defines it.
    """

    fraud_minor: float
    prevented_minor: float
    review_cost_minor: float
    challenge_cost_minor: float
    false_block_cost_minor: float

    @property
    def net_minor(self) -> float:
        """Prevented less all costs."""
        return self.prevented_minor - self.review_cost_minor - self.challenge_cost_minor - self.false_block_cost_minor

    @property
    def prevented_share(self) -> float | None:
        """Share of the fraud money that was prevented; None without fraud."""
        return self.prevented_minor / self.fraud_minor if self.fraud_minor else None


def money(scores: FloatArray, judged: JudgedRows, cost: CostModel, minor_units: int) -> Money:
    """What acting on `scores`, float64 [rows], saves and costs. `minor_units` make one unit of the base currency."""
    blocked = _at_or_above(scores, cost.block_threshold)
    reviewed = _at_or_above(scores, cost.review_threshold) & ~blocked
    challenged = _at_or_above(scores, cost.challenge_threshold) & ~blocked & ~reviewed
    weights = judged.weights
    fraud = weights * judged.labels * judged.base_amounts_minor
    legitimate = weights * (1 - judged.labels)
    prevented = (
        cost.block_stops_share * float(fraud[blocked].sum())
        + cost.review_stops_share * float(fraud[reviewed].sum())
        + cost.challenge_stops_share * float(fraud[challenged].sum())
    )
    return Money(
        fraud_minor=float(fraud.sum()),
        prevented_minor=prevented,
        review_cost_minor=cost.review_cost * minor_units * float(weights[reviewed].sum()),
        challenge_cost_minor=cost.challenge_cost * minor_units * float(weights[challenged].sum()),
        false_block_cost_minor=cost.false_block_cost * minor_units * float(legitimate[blocked].sum()),
    )


def _at_or_above(scores: FloatArray, threshold: float | None) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.zeros(len(scores), dtype=np.bool_) if threshold is None else scores >= threshold


def best_review_threshold(
    scores: FloatArray, judged: JudgedRows, cost: CostModel, minor_units: int
) -> tuple[float, Money] | None:
    """The review threshold with the highest net saving, all else as in `cost`; None without rows.

    Judge it on later rows than it was chosen on.
    """
    if not len(scores):
        return None
    # Thresholds at the ends of 200 equal shares of the highest tenth: beyond it nobody could review.
    shares = np.linspace(0.0005, 0.1, 200)
    candidates: Sequence[float] = np.unique(np.quantile(scores, 1 - shares, method="higher")).tolist()
    outcomes = [
        (candidate, money(scores, judged, msgspec.structs.replace(cost, review_threshold=candidate), minor_units))
        for candidate in candidates
    ]
    return max(outcomes, key=lambda outcome: outcome[1].net_minor)
