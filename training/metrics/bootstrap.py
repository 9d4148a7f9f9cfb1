"""Intervals by drawing customers again: rows of one customer are not independent of each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from training.metrics.judged import FloatArray

# Percentiles of 1,000 draws move by less than a tenth of the interval's width from seed to seed.
DRAWS = 1_000
_LOW_PERCENT, _HIGH_PERCENT = 2.5, 97.5

# The value of one metric under how many times each customer was drawn; None where it has none.
Measure = Callable[[FloatArray], float | None]


@dataclass(frozen=True)
class Interval:
    """A value on the data as they are, with the 2.5 and 97.5 percentiles of its bootstrap; None if it has no value."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def is_above_zero(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.low is not None and self.low > 0


def bootstrap(
    measures: Mapping[str, Measure], customer_count: int, *, seed: int, draws: int = DRAWS
) -> tuple[dict[str, float | None], dict[str, FloatArray]]:
    """Each measure on the data, and under `draws` draws of customers with replacement: float64 [draws], NaN for none.

    All measures see the same draws, so that a difference of two is paired. Source: Efron, Tibshirani, *An Introduction
    to the Bootstrap* (1993), chapter 13, the percentile method, with the customer as the sampling unit (cluster
    bootstrap: Davison, Hinkley 1997, section 3.8).
    """
    whole = np.ones(customer_count)
    values = {name: measure(whole) for name, measure in measures.items()}
    drawn = {name: np.full(draws, np.nan) for name in measures}
    generator = np.random.default_rng(seed)
    for draw in range(draws):
        weights = np.bincount(generator.integers(0, customer_count, customer_count), minlength=customer_count)
        for name, measure in measures.items():
            value = measure(weights.astype(np.float64))
            if value is not None:
                drawn[name][draw] = value
    return values, drawn


def interval(value: float | None, drawn: FloatArray) -> Interval:
    """The interval of a value by its draws."""
    if value is None or np.isnan(drawn).all():
        return Interval(value, None, None)
    low, high = np.nanpercentile(drawn, (_LOW_PERCENT, _HIGH_PERCENT)).tolist()
    return Interval(value, low, high)


def difference(one: float | None, other: float | None, drawn_one: FloatArray, drawn_other: FloatArray) -> Interval:
    """The paired difference `one - other` and its interval."""
    if one is None or other is None:
        return Interval(None, None, None)
    return interval(one - other, drawn_one - drawn_other)
