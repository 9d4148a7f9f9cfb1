"""Amount: how unusual it is for this customer, in this category, at this merchant."""

from __future__ import annotations

from math import sqrt

from fraud.features.entity_windows import amount_to_mean, over_entity_window
from fraud.features.moment import Moment
from fraud.features.table import DAY_MS, HOUR_MS, MISSING, Feature, at_any_place, over_window

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
    floor = max(_DEVIATION_FLOOR_SHARE * mean, _DEVIATION_FLOOR_UNITS * minor_units)
    return (amount - mean) / max(sqrt(variance), floor)


def _amount_deviation(moment: Moment) -> float:
    profile = moment.profile
    count = profile.transaction_count
    if not count:
        return MISSING
    return deviation(moment.amount, count, profile.amount_sum, profile.amount_squares, moment.minor_units)


def _amount_to_maximum(moment: Moment) -> float:
    highest = moment.profile.amount_maximum
    return moment.amount / highest if highest else MISSING


def _category_deviation(moment: Moment) -> float:
    category = moment.transaction.merchant_category
    known = None if category is None else moment.profile.category_amounts.read(category)
    if known is None:
        return MISSING
    count, total, _, squares = known
    return deviation(moment.amount, count, total, squares, moment.minor_units)


def _category_to_maximum(moment: Moment) -> float:
    category = moment.transaction.merchant_category
    known = None if category is None else moment.profile.category_amounts.read(category)
    return moment.amount / known[2] if known is not None and known[2] else MISSING


def _identical_amounts(window: int, moment: Moment) -> int:
    return moment.history.amounts[moment.starts[window] : moment.end].count(moment.amount)


def _amount_value(moment: Moment) -> float:
    return moment.amount / moment.minor_units


FEATURES = (
    Feature(
        "amount_base",
        "number",
        "The amount in base currency",
        "transaction",
        "value",
        at_any_place(_amount_value),
    ),
    Feature(
        "amount_deviation",
        "number",
        "Deviations from the customer's mean amount, with a floor under the deviation",
        "customer",
        "deviation",
        at_any_place(_amount_deviation),
        missing="for a customer's first payment",
    ),
    Feature(
        "amount_to_customer_maximum",
        "number",
        "Amount against the customer's highest so far",
        "customer",
        "ratio to maximum",
        at_any_place(_amount_to_maximum),
        missing="for a customer's first payment",
    ),
    Feature(
        "amount_deviation_in_category",
        "number",
        "Deviations from the customer's mean amount in this merchant category",
        "customer",
        "deviation in category",
        at_any_place(_category_deviation),
        missing="for a category new to the customer",
    ),
    Feature(
        "amount_to_category_maximum",
        "number",
        "Amount against the customer's highest in this merchant category",
        "customer",
        "ratio to maximum in category",
        at_any_place(_category_to_maximum),
        missing="for a category new to the customer",
    ),
    Feature(
        "identical_amounts_24h",
        "integer",
        "Earlier attempts of exactly this amount in 24 hours",
        "customer",
        "count identical",
        over_window(_identical_amounts),
        window_ms=DAY_MS,
    ),
    Feature(
        "amount_to_merchant_mean_30d",
        "number",
        "Amount against the merchant's mean of 30 days, this one not included",
        "merchant",
        "ratio to mean",
        over_entity_window(amount_to_mean),
        window_ms=30 * DAY_MS,
        hop_ms=HOUR_MS,
        missing="without another payment there in 30 days",
    ),
)
