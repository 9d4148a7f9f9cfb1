"""Novelty: what the customer has never done before, and how surprising hour and category are."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from operator import attrgetter

from fraud.features.moment import Moment
from fraud.features.profile import KnownThings
from fraud.features.table import DAY_MS, HOUR_MS, MISSING, Compute, Feature, Place, at_any_place

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
_HOURS = 24
# Merchant categories that a customer may plausibly use; with it a new category surprises, but not without limit.
_CATEGORY_ALTERNATIVES = 16


def _is_new(field: str, memory: str) -> Callable[[Place], Compute]:
    of_transaction: attrgetter[str | None] = attrgetter(f"transaction.{field}")
    of_profile: attrgetter[KnownThings] = attrgetter(f"profile.{memory}")

    def compute(moment: Moment) -> bool | float:
        thing = of_transaction(moment)
        return MISSING if thing is None else thing not in of_profile(moment).first_days

    return at_any_place(compute)


def _days_since_first(field: str, memory: str) -> Callable[[Place], Compute]:
    of_transaction: attrgetter[str | None] = attrgetter(f"transaction.{field}")
    of_profile: attrgetter[KnownThings] = attrgetter(f"profile.{memory}")

    def compute(moment: Moment) -> float:
        thing = of_transaction(moment)
        if thing is None:
            return MISSING
        first_day = of_profile(moment).first_days.get(thing)
        return 0 if first_day is None else max(0, moment.profile.day_of(moment.timestamp_ms) - first_day)

    return at_any_place(compute)


def _tenure_days(moment: Moment) -> float:
    profile = moment.profile
    if not profile.transaction_count:
        return 0.0
    return max(0, moment.timestamp_ms - profile.first_seen_ms) / DAY_MS


def surprise(seen: int, total: int, alternatives: int) -> float:
    """Surprisal in nats of an outcome seen `seen` of `total` times, with Laplace's rule for `alternatives` outcomes."""
    return log((total + alternatives) / (seen + 1))


def _hour_surprise(moment: Moment) -> float:
    profile = moment.profile
    return surprise(profile.hour_counts[moment.timestamp_ms // HOUR_MS % 24], profile.transaction_count, _HOURS)


def _category_surprise(moment: Moment) -> float:
    category = moment.transaction.merchant_category
    if category is None:
        return MISSING
    known = moment.profile.category_amounts.read(category)
    return surprise(0 if known is None else known[0], moment.profile.transaction_count, _CATEGORY_ALTERNATIVES)


def _rows(what: str, field: str, memory: str) -> tuple[Feature, Feature]:
    title = what.replace("_", " ")
    missing = f"without a {title}"
    is_new = Feature(
        f"{what}_is_new",
        "boolean",
        f"Whether the {title} is new to the customer",
        "customer",
        "novelty",
        _is_new(field, memory),
        missing=missing,
    )
    days = Feature(
        f"{what}_days_since_first",
        "integer",
        f"Whole days since the customer first used the {title}, 0 for a new one",
        "customer",
        "age",
        _days_since_first(field, memory),
        missing=missing,
    )
    return is_new, days


FEATURES = (
    *(row for thing in _THINGS for row in _rows(*thing)),
    Feature(
        "customer_tenure_days",
        "number",
        "Days since the customer was first seen",
        "customer",
        "age",
        at_any_place(_tenure_days),
    ),
    Feature(
        "hour_surprise",
        "number",
        "How surprising the hour (UTC) is for the customer, in nats",
        "customer",
        "surprise",
        at_any_place(_hour_surprise),
    ),
    Feature(
        "category_surprise",
        "number",
        "How surprising the merchant category is for the customer, in nats",
        "customer",
        "surprise",
        at_any_place(_category_surprise),
        missing="without a category",
    ),
)
