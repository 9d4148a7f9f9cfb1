"""Amount: how unusual it is for this customer, and in this category."""

from __future__ import annotations

from math import nan, sqrt
from typing import Final

from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.customer_words import (
    AMOUNT,
    AMOUNTS,
    CATEGORY,
    COUNT,
    EVENT_ADDRESS,
    EVENT_AMOUNT,
    EVENT_THINGS,
    known_entry,
    row_at,
)
from fraud.features.run import Run
from fraud.features.table import DAY_MS, Feature, together
from fraud.features.wide_integers import ratio, variance

# A customer with two equal payments has no deviation; a tenth of the mean, and one unit of currency, is what a person
# would not notice. Without the floor the third payment would be infinitely unusual.
_DEVIATION_FLOOR_SHARE: Final = 0.1
_DEVIATION_FLOOR_UNITS: Final = 1


@compiled
def deviation(amount: int, words: Integers, count_at: int, minor_units: int) -> float:
    """Deviations of `amount` from the mean of earlier amounts, with a floor under the deviation.

    Their count, total, maximum and the two limbs of their squares stand at the word `count_at`, in minor units.
    """
    count, total = words[count_at], words[count_at + 1]
    mean = ratio(total, count)
    spread = sqrt(variance(count, total, words[count_at + 3], words[count_at + 4]))
    floor = max(_DEVIATION_FLOOR_SHARE * mean, float(_DEVIATION_FLOOR_UNITS * minor_units), spread)
    return float((amount - mean) / floor)


@compiled
def _against_habits(run: Run, _windows: Integers, out: Reals) -> None:
    """The amount; its deviation and ratio to the maximum, over all payments and within the merchant category."""
    for number in range(len(run.events)):
        words, amount = integers_at(run.events[number, EVENT_ADDRESS]), run.events[number, EVENT_AMOUNT]
        out[number, 0] = ratio(amount, run.minor_units)
        out[number, 1:] = nan
        if not words[COUNT]:
            continue
        _against(amount, words, COUNT, run.minor_units, out[number, 1:3])
        category = run.events[number, EVENT_THINGS + CATEGORY]
        entry = known_entry(words, CATEGORY, category) if category else 0
        if entry:
            _against(amount, words, entry + AMOUNTS, run.minor_units, out[number, 3:5])


@compiled
def _against(amount: int, words: Integers, count_at: int, minor_units: int, out: Reals) -> None:
    out[0] = deviation(amount, words, count_at, minor_units)
    if words[count_at + 2]:
        out[1] = ratio(amount, words[count_at + 2])


@compiled
def _identical(run: Run, windows: Integers, out: Reals) -> None:
    for number in range(len(run.events)):
        words, amount = integers_at(run.events[number, EVENT_ADDRESS]), run.events[number, EVENT_AMOUNT]
        same = 0
        for place in range(run.starts[number, windows[0, 0]], run.starts[number, -1]):
            same += words[row_at(words, place) + AMOUNT] == amount
        out[number, 0] = same


_HABITS = together(5, _against_habits)

FEATURES = (
    Feature("amount_base", "number", "The amount in base currency", "transaction", "value", _HABITS),
    Feature(
        "amount_deviation",
        "number",
        "Deviations from the customer's mean amount, with a floor under the deviation",
        "customer",
        "deviation",
        _HABITS,
        missing="for a customer's first payment",
    ),
    Feature(
        "amount_to_customer_maximum",
        "number",
        "Amount against the customer's highest so far",
        "customer",
        "ratio to maximum",
        _HABITS,
        missing="without an earlier payment above zero",
    ),
    Feature(
        "amount_deviation_in_category",
        "number",
        "Deviations from the customer's mean amount in this merchant category",
        "customer",
        "deviation in category",
        _HABITS,
        missing="for a category new to the customer",
    ),
    Feature(
        "amount_to_category_maximum",
        "number",
        "Amount against the customer's highest in this merchant category",
        "customer",
        "ratio to maximum in category",
        _HABITS,
        missing="for a category new to the customer",
    ),
    Feature(
        "identical_amounts_24h",
        "integer",
        "Earlier attempts of exactly this amount in 24 hours",
        "customer",
        "count identical",
        together(1, _identical),
        window_ms=DAY_MS,
    ),
)
