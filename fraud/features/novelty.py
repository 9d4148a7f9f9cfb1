"""Novelty: what the customer has never done before, and how surprising hour and category are."""

from __future__ import annotations

from math import log

from fraud.features.moment import Moment
from fraud.features.table import DAY_MS, HOUR_MS, MISSING, Feature, Value, together
from fraud.features.things import ThingColumn

_THINGS = ("device", "merchant", "category", "country", "ip_prefix", "card", "counterparty")
_HOURS = 24
# Merchant categories that a customer may plausibly use; with it a new category surprises, but not without limit.
_CATEGORY_ALTERNATIVES = 16


def _novelty(moment: Moment) -> list[Value]:
    """For each of `_THINGS`: whether it is new to the customer, and whole days since it was first used."""
    details, transaction = moment.details, moment.transaction
    today = moment.profile.day_of(moment.timestamp_ms)
    values: list[Value] = []
    _add_age(values, transaction.device_id, _first_day(details.devices, transaction.device_id), today)
    _add_age(values, transaction.merchant_id, _first_day(details.merchants, transaction.merchant_id), today)
    category, country = transaction.merchant_category, transaction.country
    _add_age(values, category, _first_day(details.categories, category), today)
    _add_age(values, country, _first_day(details.countries, country), today)
    for thing, first_days in (
        (transaction.ip_prefix, details.ip_prefixes),
        (transaction.card_id, details.cards),
        (transaction.counterparty_id, details.counterparties),
    ):
        _add_age(values, thing, -1 if thing is None else first_days.get(thing, -1), today)
    return values


def _first_day(column: ThingColumn, thing: str | None) -> int:
    code = 0 if thing is None else column.codes.get(thing, 0)
    return column.first_days[code - 1] if code else -1


def _add_age(values: list[Value], thing: str | None, first_day: int, today: int) -> None:
    if thing is None:
        values += (MISSING, MISSING)
    elif first_day < 0:
        values += (True, 0)
    else:
        values += (False, max(0, today - first_day))


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
    known = moment.details.amounts_in_category(category)
    return tenure, hour, surprise(known[0] if known else 0, total, _CATEGORY_ALTERNATIVES)


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
