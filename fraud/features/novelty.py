"""Novelty: what the customer has never done before, and how surprising hour and category are."""

from __future__ import annotations

from math import log, nan
from typing import Final

from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.customer_words import (
    AMOUNTS,
    CARD,
    CATEGORY,
    COUNT,
    COUNTERPARTY,
    COUNTRY,
    DAY_MASK,
    DEVICE,
    EVENT_ADDRESS,
    EVENT_THINGS,
    EVENT_TIMESTAMP_MS,
    FIRST_SEEN_MS,
    HOUR_COUNTS,
    HOURS,
    IP_PREFIX,
    MERCHANT,
    USED,
    day_of,
    known_entry,
)
from fraud.features.run import Run
from fraud.features.table import DAY_MS, HOUR_MS, Feature, together

_THINGS = ("device", "merchant", "category", "country", "ip_prefix", "card", "counterparty")
_TABLES: Final = (DEVICE, MERCHANT, CATEGORY, COUNTRY, IP_PREFIX, CARD, COUNTERPARTY)
# Merchant categories that a customer may plausibly use; with it a new category surprises, but not without limit.
_CATEGORY_ALTERNATIVES: Final = 16


@compiled
def _novelty(run: Run, _windows: Integers, out: Reals) -> None:
    """For each of `_THINGS`: whether it is new to the customer, and whole days since it was first used."""
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        today = day_of(words, run.events[number, EVENT_TIMESTAMP_MS])
        for place, table in enumerate(_TABLES):
            thing = run.events[number, EVENT_THINGS + table]
            out[number, 2 * place : 2 * place + 2] = nan
            if thing:
                entry = known_entry(words, table, thing)
                out[number, 2 * place] = entry == 0
                out[number, 2 * place + 1] = max(0, today - (words[entry + USED] & DAY_MASK)) if entry else 0


@compiled
def surprise(seen: int, total: int, alternatives: int) -> float:
    """Surprisal in nats of an outcome seen `seen` of `total` times, with Laplace's rule for `alternatives` outcomes."""
    return log((total + alternatives) / (seen + 1))


@compiled
def _habits(run: Run, _windows: Integers, out: Reals) -> None:
    """Tenure in days, surprise of the hour, surprise of the category."""
    for number in range(len(run.events)):
        words, timestamp_ms = integers_at(run.events[number, EVENT_ADDRESS]), run.events[number, EVENT_TIMESTAMP_MS]
        total = words[COUNT]
        out[number, 0] = max(0, timestamp_ms - words[FIRST_SEEN_MS]) / DAY_MS if total else 0.0
        out[number, 1] = surprise(words[HOUR_COUNTS + timestamp_ms // HOUR_MS % HOURS], total, HOURS)
        category = run.events[number, EVENT_THINGS + CATEGORY]
        out[number, 2] = nan
        if category:
            entry = known_entry(words, CATEGORY, category)
            out[number, 2] = surprise(words[entry + AMOUNTS] if entry else 0, total, _CATEGORY_ALTERNATIVES)


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
