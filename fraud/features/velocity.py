"""Velocity: how often, how much and how varied a customer has paid within each window."""

from __future__ import annotations

from fraud.features.moment import Moment
from fraud.features.table import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    MISSING,
    Feature,
    over_two_windows,
    over_window,
)

_LENGTHS_MS = {"10m": 10 * MINUTE_MS, "1h": HOUR_MS, "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS}
_HOURS_IN_30_DAYS = 720


def customer_count(window: int, moment: Moment) -> int:
    """Attempts in the window, this one included."""
    return moment.end - moment.starts[window] + 1


def _amount_sum(window: int, moment: Moment) -> float:
    return (moment.history.amount_sum(moment.starts[window], moment.end) + moment.amount) / moment.minor_units


def _amount_maximum(window: int, moment: Moment) -> float:
    start, end = moment.starts[window], moment.end
    highest = max(moment.history.amounts[start:end]) if start < end else 0
    return max(highest, moment.amount) / moment.minor_units


def _declined_count(window: int, moment: Moment) -> int:
    earlier = moment.history.declined.count(1, moment.starts[window], moment.end)
    return earlier + (moment.transaction.auth_result == "declined")


def _distinct_merchants(window: int, moment: Moment) -> int:
    return _distinct(moment.history.merchants, moment.starts[window], moment.end, moment.transaction.merchant_id)


def _distinct_categories(window: int, moment: Moment) -> int:
    return _distinct(
        moment.history.categories, moment.starts[window], moment.end, moment.transaction.merchant_category
    )


def _distinct_countries(window: int, moment: Moment) -> int:
    return _distinct(moment.history.countries, moment.starts[window], moment.end, moment.transaction.country)


def _distinct_devices(window: int, moment: Moment) -> int:
    return _distinct(moment.history.devices, moment.starts[window], moment.end, moment.transaction.device_id)


def _distinct(column: list[str | None], start: int, end: int, current: str | None) -> int:
    if start == end:
        return int(current is not None)
    different = set(column[start:end])
    different.add(current)
    return len(different) - (None in different)


def _hour_to_monthly_mean(month: int, hour: int, moment: Moment) -> float:
    end, starts = moment.end, moment.starts
    return (end - starts[hour] + 1) * _HOURS_IN_30_DAYS / (end - starts[month] + 1)


def _seconds_since_last(month: int, moment: Moment) -> float:
    last = moment.end - 1
    if last < moment.starts[month]:
        return MISSING
    return (moment.timestamp_ms - moment.history.timestamps_ms[last]) / 1_000


def _seconds_since_last_at_merchant(month: int, moment: Moment) -> float:
    merchant = moment.transaction.merchant_id
    if merchant is None or merchant not in moment.profile.merchants.first_days:
        return MISSING
    merchants = moment.history.merchants
    for place in range(moment.end - 1, moment.starts[month] - 1, -1):
        if merchants[place] == merchant:
            return (moment.timestamp_ms - moment.history.timestamps_ms[place]) / 1_000
    return MISSING


def _count(length: str) -> Feature:
    return Feature(
        f"customer_count_{length}",
        "integer",
        f"Attempts in {length}, this one included",
        "customer",
        "count",
        over_window(customer_count),
        window_ms=_LENGTHS_MS[length],
    )


def _sum(length: str) -> Feature:
    return Feature(
        f"customer_sum_{length}",
        "number",
        f"Amount attempted in {length}, this one included, in base currency",
        "customer",
        "sum",
        over_window(_amount_sum),
        window_ms=_LENGTHS_MS[length],
    )


def _maximum(length: str) -> Feature:
    return Feature(
        f"customer_maximum_{length}",
        "number",
        f"Highest amount in {length}, this one included, in base currency",
        "customer",
        "maximum",
        over_window(_amount_maximum),
        window_ms=_LENGTHS_MS[length],
    )


def _declined(length: str) -> Feature:
    return Feature(
        f"customer_declined_count_{length}",
        "integer",
        f"Declined attempts in {length}, this one included",
        "customer",
        "count declined",
        over_window(_declined_count),
        window_ms=_LENGTHS_MS[length],
    )


_DISTINCT = {
    "merchants": _distinct_merchants,
    "categories": _distinct_categories,
    "countries": _distinct_countries,
    "devices": _distinct_devices,
}


def _distinct_row(what: str, length: str) -> Feature:
    return Feature(
        f"customer_distinct_{what}_{length}",
        "integer",
        f"Different {what} in {length}, this one's included",
        "customer",
        f"distinct {what}",
        over_window(_DISTINCT[what]),
        window_ms=_LENGTHS_MS[length],
    )


FEATURES = (
    *(_count(length) for length in _LENGTHS_MS),
    *(_sum(length) for length in _LENGTHS_MS),
    *(_maximum(length) for length in ("10m", "1h", "24h", "7d", "30d")),
    *(_declined(length) for length in ("10m", "1h", "24h", "7d")),
    *(_distinct_row(what, length) for what in _DISTINCT for length in ("1h", "24h", "7d")),
    Feature(
        "customer_hour_to_monthly_mean",
        "number",
        "Attempts in the last hour against the hourly mean of 30 days",
        "customer",
        "ratio of counts",
        over_two_windows(_hour_to_monthly_mean),
        window_ms=30 * DAY_MS,
        other_window_ms=HOUR_MS,
    ),
    Feature(
        "customer_seconds_since_last",
        "number",
        "Seconds since the customer's last attempt",
        "customer",
        "gap",
        over_window(_seconds_since_last),
        window_ms=30 * DAY_MS,
        missing="without an earlier attempt in 30 days",
    ),
    Feature(
        "customer_seconds_since_last_at_merchant",
        "number",
        "Seconds since the customer's last attempt at this merchant",
        "customer",
        "gap at merchant",
        over_window(_seconds_since_last_at_merchant),
        window_ms=30 * DAY_MS,
        missing="without an earlier attempt there in 30 days",
    ),
)
