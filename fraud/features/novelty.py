"""Novelty: what the customer has never done before, and how surprising hour and category are."""

from __future__ import annotations

from math import log

from fraud.features.moment import Moment
from fraud.features.table import DAY_MS, HOUR_MS, MISSING, Feature, Value, together

_THINGS = ("device", "merchant", "category", "country", "ip_prefix", "card", "counterparty")
_NO_THING: tuple[Value, Value] = (MISSING, MISSING)
_NEW_THING: tuple[Value, Value] = (True, 0)
_HOURS = 24
# Merchant categories that a customer may plausibly use; with it a new category surprises, but not without limit.
_CATEGORY_ALTERNATIVES = 16


def _novelty(moment: Moment) -> list[Value]:
    """For each of `_THINGS`: whether it is new to the customer, and whole days since it was first used."""
    details, transaction = moment.details, moment.transaction
    today = moment.profile.day_of(moment.timestamp_ms)
    values: list[Value] = []
    for thing, column in (
        (transaction.device_id, details.devices),
        (transaction.merchant_id, details.merchants),
        (transaction.merchant_category, details.categories),
        (transaction.country, details.countries),
    ):
        if thing is None:
            values += _NO_THING
        elif code := column.codes.get(thing, 0):
            values += (False, max(0, today - column.first_days[code - 1]))
        else:
            values += _NEW_THING
    for thing, first_days in (
        (transaction.ip_prefix, details.ip_prefixes),
        (transaction.card_id, details.cards),
        (transaction.counterparty_id, details.counterparties),
    ):
        if thing is None:
            values += _NO_THING
        elif (first_day := first_days.get(thing, -1)) >= 0:
            values += (False, max(0, today - first_day))
        else:
            values += _NEW_THING
    return values


def surprise(seen: int, total: int, alternatives: int) -> float:
    """Surprisal in nats of an outcome seen `seen` of `total` times, with Laplace's rule for `alternatives` outcomes."""
    return log((total + alternatives) / (seen + 1))


def _habits(moment: Moment) -> tuple[float, float, float]:
    """Tenure in days, surprise of the hour, surprise of the category."""
    profile, timestamp_ms = moment.profile, moment.timestamp_ms
    total = profile.transaction_count
    tenure = max(0, timestamp_ms - profile.first_seen_ms) / DAY_MS if total else 0.0
    hour = surprise(moment.details.hour_counts[timestamp_ms // HOUR_MS % _HOURS], total, _HOURS)
    category = moment.transaction.merchant_category
    if category is None:
        return tenure, hour, MISSING
    return tenure, hour, surprise(moment.details.count_in_category(category), total, _CATEGORY_ALTERNATIVES)


_NOVELTY = together(2 * len(_THINGS), _novelty)
_HABITS = together(3, _habits)


def _rows(what: str) -> tuple[Feature, Feature]:
    title = what.replace("_", " ")
    missing = f"without a {title}"
    is_new = Feature(
        f"{what}_is_new",
        "boolean",
        f"Whether the {title} is new to the customer",
        "customer",
        "novelty",
        _NOVELTY,
        missing=missing,
    )
    days = Feature(
        f"{what}_days_since_first",
        "integer",
        f"Whole days since the customer first used the {title}, 0 for a new one",
        "customer",
        "age",
        _NOVELTY,
        missing=missing,
    )
    return is_new, days


FEATURES = (
    *(row for what in _THINGS for row in _rows(what)),
    Feature("customer_tenure_days", "number", "Days since the customer was first seen", "customer", "age", _HABITS),
    Feature(
        "hour_surprise",
        "number",
        "How surprising the hour (UTC) is for the customer, in nats",
        "customer",
        "surprise",
        _HABITS,
    ),
    Feature(
        "category_surprise",
        "number",
        "How surprising the merchant category is for the customer, in nats",
        "customer",
        "surprise",
        _HABITS,
        missing="without a category",
    ),
)
