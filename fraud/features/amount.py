"""Amount: how unusual it is for this customer, and in this category."""

from __future__ import annotations

from math import sqrt

from fraud.features.moment import Moment
from fraud.features.table import DAY_MS, MISSING, Feature, over_windows, together

# A customer with two equal payments has no deviation; a tenth of the mean, and one unit of currency, is what a person
# would not notice. Without the floor the third payment would be infinitely unusual.
_DEVIATION_FLOOR_SHARE = 0.1
_DEVIATION_FLOOR_UNITS = 1


def deviation(amount: int, count: int, total: int, squares: int, minor_units: int) -> float:
    """Deviations of `amount` from the mean of `count` earlier amounts, with a floor under the deviation.

    All amounts in minor units; `squares` is their sum of squares. The variance is computed in integers and divided
    once, so there is no cancellation.
    """
    mean = total / count
    variance = (count * squares - total * total) / (count * count)
    floor = max(_DEVIATION_FLOOR_SHARE * mean, _DEVIATION_FLOOR_UNITS * minor_units, sqrt(variance))
    return (amount - mean) / floor


def _against_habits(moment: Moment) -> tuple[float, float, float, float, float]:
    """The amount; its deviation and ratio to the maximum, over all payments and within the merchant category."""
    profile, amount, unit = moment.profile, moment.amount, moment.minor_units
    count = profile.transaction_count
    if not count:
        return amount / unit, MISSING, MISSING, MISSING, MISSING
    overall = deviation(amount, count, profile.amount_sum, profile.amount_squares, unit)
    highest = profile.amount_maximum
    to_maximum = amount / highest if highest else MISSING
    category = moment.transaction.merchant_category
    known = None if category is None else moment.details.amounts_in_category(category)
    if known is None:
        return amount / unit, overall, to_maximum, MISSING, MISSING
    count, total, highest, squares = known
    in_category = deviation(amount, count, total, squares, unit)
    return amount / unit, overall, to_maximum, in_category, amount / highest if highest else MISSING


def _identical(windows: tuple[int, ...], moment: Moment) -> list[int]:
    amounts, amount, starts, end = moment.history.amounts, moment.amount, moment.starts, moment.end
    return [amounts[starts[window] : end].count(amount) if starts[window] < end else 0 for window in windows]


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
        over_windows(_identical),
        window_ms=DAY_MS,
    ),
)
