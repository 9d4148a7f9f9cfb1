"""Novelty: what the customer has never done before, and how surprising hour and category are."""

from __future__ import annotations

from math import log
from operator import attrgetter

from fraud.features.moment import Moment
from fraud.features.table import DAY_MS, HOUR_MS, MISSING, Feature, Value, together

# What it is called, the transaction's field, the profile's memory of it.
_THINGS = (
    ("device", "device_id", "devices"),
    ("merchant", "merchant_id", "merchants"),
    ("category", "merchant_category", "categories"),
    ("country", "country", "countries"),
    ("ip_prefix", "ip_prefix", "ip_prefixes"),
    ("card", "card_id", "cards"),
    ("counterparty", "counterparty_id", "counterparties"),
)
_things_of_transaction = attrgetter(*(field for _, field, _ in _THINGS))
_memories_of_profile = attrgetter(*(memory for _, _, memory in _THINGS))
_HOURS = 24
# Merchant categories that a customer may plausibly use; with it a new category surprises, but not without limit.
_CATEGORY_ALTERNATIVES = 16


def _novelty(moment: Moment) -> list[Value]:
    """For each thing: whether it is new to the customer, and whole days since it was first used."""
    profile = moment.profile
    today = profile.day_of(moment.timestamp_ms)
    values: list[Value] = []
    for thing, memory in zip(_things_of_transaction(moment.transaction), _memories_of_profile(profile), strict=True):
        if thing is None:
            values += (MISSING, MISSING)
            continue
        first_day = memory.get(thing)
        if first_day is None:
            values += (True, 0)
        else:
            values += (False, max(0, today - first_day))
    return values


def surprise(seen: int, total: int, alternatives: int) -> float:
    """Surprisal in nats of an outcome seen `seen` of `total` times, with Laplace's rule for `alternatives` outcomes."""
    return log((total + alternatives) / (seen + 1))


def _habits(moment: Moment) -> tuple[float, float, float]:
    """Tenure in days, surprise of the hour, surprise of the category."""
    profile, timestamp_ms = moment.profile, moment.timestamp_ms
    total = profile.transaction_count
    tenure = max(0, timestamp_ms - profile.first_seen_ms) / DAY_MS if total else 0.0
    hour = surprise(profile.hour_counts[timestamp_ms // HOUR_MS % _HOURS], total, _HOURS)
    category = moment.transaction.merchant_category
    if category is None:
        return tenure, hour, MISSING
    known = profile.category_amounts.count(category)
    return tenure, hour, surprise(known, total, _CATEGORY_ALTERNATIVES)


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
    *(row for what, _, _ in _THINGS for row in _rows(what)),
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
