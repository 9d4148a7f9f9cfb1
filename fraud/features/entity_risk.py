"""Entity risk: what merchants, terminals, devices, addresses and cards have been doing with everybody."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fraud.features.entity_windows import EntityWindow, first_time_share, over_entity_window, window_count
from fraud.features.moment import Moment
from fraud.features.table import DAY_MS, HOUR_MS, MINUTE_MS, MISSING, Compute, Feature, Place, of_entity

# Rates look back over what chargebacks have had a week to reach; the handbook's delay.
LABEL_DELAY_MS = 7 * DAY_MS
# Rates move slowly: an hour's bucket is a 720th of the window, and a busy merchant keeps under a thousand of them.
_SLOW_HOP_MS = HOUR_MS
# A burst is counted over an hour, so its buckets are a twelfth of that.
_FAST_HOP_MS = 5 * MINUTE_MS
_HOURS_IN_30_DAYS = 720

# Smoothing (known frauds + m * base) / (matured + m): an entity with m transactions is believed half. The base rate is
# that of card payments by value in the euro area, 0.03%, rounded up to the share of count in unfiltered traffic.
_SMOOTHING_TRANSACTIONS = 20
_BASE_FRAUD_RATE = 0.005

# What it is called in features, the kind of entity.
_RATED = ("merchant", "terminal", "device", "ip", "card", "counterparty")


def _fraud_rate(entity: int, series: int, head: int, tail: int, moment: Moment) -> float:
    state = moment.entities[entity]
    if state is None:
        return MISSING
    frauds = 0
    if state.fraud_timestamps_ms:
        frauds = state.known_frauds(moment.timestamp_ms, 30 * DAY_MS, LABEL_DELAY_MS, _SLOW_HOP_MS)
    matured = window_count(entity, series, head, tail, moment)
    return (frauds + _SMOOTHING_TRANSACTIONS * _BASE_FRAUD_RATE) / (matured + _SMOOTHING_TRANSACTIONS)


def _count(entity: int, series: int, head: int, tail: int, moment: Moment) -> float:
    if moment.entities[entity] is None:
        return MISSING
    return window_count(entity, series, head, tail, moment)


def _distinct_customers(window_ms: int, entity: int, moment: Moment) -> float:
    state = moment.entities[entity]
    if state is None or state.customers is None:
        return MISSING
    return _distinct(state.customers, moment.transaction.user_id, moment.timestamp_ms - window_ms)


def _distinct_cards(window_ms: int, entity: int, moment: Moment) -> float:
    state = moment.entities[entity]
    if state is None or state.cards is None:
        return MISSING
    return _distinct(state.cards, moment.transaction.card_id, moment.timestamp_ms - window_ms)


def _distinct(last_seen_ms: dict[str, int], current: str | None, since_ms: int) -> int:
    """Who was there after `since_ms`, the current one included."""
    recent = sum(map(since_ms.__lt__, last_seen_ms.values()))
    if current is None:
        return recent
    return recent + (last_seen_ms.get(current, since_ms) <= since_ms)


def _hours_since_fraud(entity: int, moment: Moment) -> float:
    state = moment.entities[entity]
    if state is None or not state.fraud_timestamps_ms:
        return MISSING
    hours = (moment.timestamp_ms - state.fraud_timestamps_ms[-1]) // HOUR_MS
    return max(0, hours)


def _age_days(entity: int, moment: Moment) -> float:
    state = moment.entities[entity]
    if state is None:
        return MISSING
    return max(0, moment.timestamp_ms - state.first_seen_ms) / DAY_MS if state.first_seen_ms else 0.0


def _fraud_rate_row(kind: str) -> Feature:
    return Feature(
        f"{kind}_fraud_rate_30d",
        "number",
        f"Known frauds among the {kind}'s transactions of 30 days that ended 7 days ago, smoothed",
        kind,
        "smoothed fraud rate",
        over_entity_window(_fraud_rate),
        window_ms=30 * DAY_MS,
        delay_ms=LABEL_DELAY_MS,
        hop_ms=_SLOW_HOP_MS,
        missing=f"without a {kind}",
    )


def _hours_since_fraud_row(kind: str) -> Feature:
    return Feature(
        f"{kind}_hours_since_fraud",
        "integer",
        f"Whole hours since the {kind}'s newest known fraud",
        kind,
        "hours since known fraud",
        of_entity(_hours_since_fraud),
        missing="without a known fraud of 37 days",
    )


def _age_row(kind: str) -> Feature:
    return Feature(
        f"{kind}_age_days",
        "number",
        f"Days since the {kind} was first seen by anybody",
        kind,
        "age",
        of_entity(_age_days),
        missing=f"without a {kind}",
    )


def _count_row(kind: str, name: str, window_ms: int) -> Feature:
    return Feature(
        f"{kind}_count_{name}",
        "integer",
        f"Transactions of everybody at the {kind} in {name}",
        kind,
        "count",
        over_entity_window(_count),
        window_ms=window_ms,
        hop_ms=_FAST_HOP_MS,
        missing=f"without a {kind}",
    )


def _distinct_row(kind: str, name: str, window_ms: int, compute: Callable[[int, int, Moment], float]) -> Feature:
    who = "customers" if compute is _distinct_customers else "cards"

    def build(place: Place) -> Compute:
        return partial(compute, window_ms, place.entity)

    return Feature(
        f"{kind}_distinct_{who}_{name}",
        "integer",
        f"Different {who} at the {kind} in {name}, this one's included, 32 at most of earlier ones",
        kind,
        f"distinct {who}",
        build,
        window_ms=window_ms,
        missing=f"without a {kind}",
        distinct="customers" if who == "customers" else "cards",
    )


def _first_time_row(kind: str) -> Feature:
    return Feature(
        f"{kind}_first_time_share_7d",
        "number",
        f"Share of the {kind}'s transactions of 7 days by customers new to their merchant",
        kind,
        "share of first times",
        over_entity_window(first_time_share),
        window_ms=7 * DAY_MS,
        hop_ms=_SLOW_HOP_MS,
        missing=f"without a transaction at the {kind} in 7 days",
    )


def _burst_to_baseline(fast: EntityWindow, slow: EntityWindow, moment: Moment) -> float:
    """Count of the last hour against the entity's hourly mean of 30 days, or since it was first seen."""
    state = moment.entities[fast[0]]
    if state is None:
        return MISSING
    recent = window_count(*fast, moment)
    if not recent:
        return 0.0
    age_hours = (moment.timestamp_ms - state.first_seen_ms) / HOUR_MS
    observed_hours = min(max(age_hours, 1.0), _HOURS_IN_30_DAYS)
    return recent * observed_hours / max(window_count(*slow, moment), recent)


def _burst_row(kind: str) -> Feature:
    def build(place: Place) -> Compute:
        fast = (place.entity, place.series, place.head, place.tail)
        slow = (place.entity, place.other_series, place.other_head, place.other_tail)
        return partial(_burst_to_baseline, fast, slow)

    return Feature(
        f"{kind}_burst_1h",
        "number",
        f"Transactions at the {kind} in the last hour against its hourly mean of 30 days",
        kind,
        "ratio of counts",
        build,
        window_ms=HOUR_MS,
        hop_ms=_FAST_HOP_MS,
        other_window_ms=30 * DAY_MS,
        other_hop_ms=_SLOW_HOP_MS,
        missing=f"without a {kind}",
    )


FEATURES = (
    *(_fraud_rate_row(kind) for kind in _RATED),
    *(_hours_since_fraud_row(kind) for kind in ("merchant", "terminal", "device", "ip", "card")),
    *(_age_row(kind) for kind in ("merchant", "terminal", "device", "ip", "card", "counterparty")),
    *(_count_row(kind, "1h", HOUR_MS) for kind in ("merchant", "terminal", "device", "ip", "counterparty")),
    _distinct_row("device", "30d", 30 * DAY_MS, _distinct_customers),
    _distinct_row("device", "30d", 30 * DAY_MS, _distinct_cards),
    _distinct_row("ip", "24h", DAY_MS, _distinct_customers),
    _distinct_row("ip", "24h", DAY_MS, _distinct_cards),
    _distinct_row("terminal", "1h", HOUR_MS, _distinct_customers),
    _distinct_row("terminal", "1h", HOUR_MS, _distinct_cards),
    _distinct_row("counterparty", "24h", DAY_MS, _distinct_customers),
    *(_burst_row(kind) for kind in ("merchant", "terminal", "ip")),
    _first_time_row("merchant"),
    _first_time_row("terminal"),
)
