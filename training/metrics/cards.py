"""Card precision@k: of the k customers that look worst each day, how many are compromised.

The measure of the Fraud Detection Handbook (Le Borgne, Siblini, Lebichot, Bontempi), chapter 4, "Precision top-k
metrics": each day a customer's score is the highest of its transactions' scores; investigators look at the k customers
with the highest scores; one found to be compromised is blocked and left out on later days; the mean over the days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.metrics.judged import DAY_MS, BooleanArray, CodeArray, FloatArray, IntegerArray, JudgedRows

CARDS_A_DAY = 100


@dataclass(frozen=True)
class _Day:
    """Customers of a day from the highest score down, and whether each was defrauded on it.

    `weights` has how many customers each one stands for: as many as the row with its highest score does.
    """

    customers: CodeArray
    defrauded: FloatArray
    weights: FloatArray


class CardRanking:
    """The customers of each day, ranked once, and measured under any weights of the customers."""

    def __init__(self, scores: FloatArray, judged: JudgedRows) -> None:
        self._customer_count = int(judged.customers.max(initial=-1)) + 1
        days = judged.days
        self._days = [_ranked(scores[days == day], judged.where(days == day)) for day in np.unique(days)]

    def precision(self, k: int, weights: FloatArray | None = None) -> float | None:
        """Mean over the days of the share of compromised customers among the `k` highest; None without a day.

        `weights`, float64 [customers], says how many customers each one stands for; the last one that fits in k counts
        in part.
        """
        if not self._days:
            return None
        weighed = np.ones(self._customer_count) if weights is None else weights.copy()
        precisions = []
        for day in self._days:
            of_customers = weighed[day.customers] * day.weights
            taken = np.clip(k - (np.cumsum(of_customers) - of_customers), 0.0, of_customers)
            precisions.append(float(np.sum(taken * day.defrauded)) / k)
            # Found, hence blocked: on later days it takes nobody's place.
            weighed[day.customers[(taken > 0) & (day.defrauded > 0)]] = 0.0
        return sum(precisions) / len(precisions)


def _ranked(scores: FloatArray, judged: JudgedRows) -> _Day:
    falling = np.argsort(-scores, kind="stable")
    customers, first, place = np.unique(judged.customers[falling], return_index=True, return_inverse=True)
    highest = falling[first]
    defrauded = np.zeros(len(customers))
    np.maximum.at(defrauded, place, judged.labels[falling].astype(np.float64))
    order = np.argsort(-scores[highest], kind="stable")
    return _Day(customers[order], defrauded[order], judged.weights[highest][order])


def known_compromised(
    test_timestamps_ms: IntegerArray,
    test_customers: CodeArray,
    fraud_known_at_ms: IntegerArray,
    fraud_customers: CodeArray,
) -> BooleanArray:
    """Which test rows are of a customer with a fraud that was known before the day (UTC) of the row began; bool [rows].

    As in chapter 5 of the Handbook ("Validation strategies"): cards already known as compromised are blocked, and a
    model earns nothing by pointing at them. Times are UTC milliseconds, int64; customers are numbers, int32.
    """
    first_known_ms = np.full(int(max(test_customers.max(initial=-1), fraud_customers.max(initial=-1))) + 1, np.inf)
    np.minimum.at(first_known_ms, fraud_customers, fraud_known_at_ms.astype(np.float64))
    known: BooleanArray = first_known_ms[test_customers] < test_timestamps_ms // DAY_MS * DAY_MS
    return known
