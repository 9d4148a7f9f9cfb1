"""Velocity: how often, how much and how varied a customer has paid within each window."""

from __future__ import annotations

from collections.abc import Sequence

from fraud.features.details import DECLINED
from fraud.features.moment import Moment
from fraud.features.plan import StatePlan
from fraud.features.table import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    MISSING,
    Compute,
    Family,
    Feature,
    FeatureKind,
    Value,
    over_windows,
)

_LENGTHS_MS = {"10m": 10 * MINUTE_MS, "1h": HOUR_MS, "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS}
_HOURS_IN_30_DAYS = 720

# 1 for the flags of a declined attempt, 0 for others.
_IS_DECLINED = bytes(int(flags >= DECLINED) for flags in range(256))

Windows = tuple[int, ...]


def _attempts(rows: Sequence[Feature], plan: StatePlan) -> Compute:
    """Counts, sums and maxima, each in every window; windows come three times, in that order."""
    windows = [plan.window_number(row.window_ms) for row in rows[: len(rows) // 3]]

    def compute(moment: Moment) -> list[Value]:
        # From the shortest window to the longest, so that each row is looked at once.
        amounts, starts, unit = moment.history.amounts, moment.starts, moment.minor_units
        total = highest = moment.amount
        total_units = highest_units = total / unit
        until = moment.end
        after = until + 1
        counts: list[Value] = []
        sums: list[Value] = []
        maxima: list[Value] = []
        for window in windows:
            start = starts[window]
            if start < until:
                part = amounts[start:until].tolist()
                total += sum(part)
                total_units = total / unit
                highest_of_part = max(part)
                if highest_of_part > highest:
                    highest = highest_of_part
                    highest_units = highest / unit
                until = start
            counts.append(after - start)
            sums.append(total_units)
            maxima.append(highest_units)
        return counts + sums + maxima

    return compute


def _declined(windows: Windows, moment: Moment) -> list[int]:
    now = int(moment.transaction.auth_result == "declined")
    starts, end = moment.starts, moment.end
    first = starts[windows[-1]]
    declined = moment.details.flags[first:end].translate(_IS_DECLINED)
    if 1 not in declined:
        return [now] * len(windows)
    return [now + declined.count(1, starts[window] - first) for window in windows]


def _distinct(rows: Sequence[Feature], plan: StatePlan) -> Compute:
    """Merchants, categories, countries and devices, each in every window; windows come four times, in that order."""
    windows = [plan.window_number(row.window_ms) for row in rows[: len(rows) // 4]]

    def compute(moment: Moment) -> list[Value]:
        details, transaction, end = moment.details, moment.transaction, moment.end
        # From the shortest window to the longest, so that each row is looked at once.
        starts = [moment.starts[window] for window in windows]
        values: list[Value] = []
        for column, thing in (
            (details.merchants, transaction.merchant_id),
            (details.categories, transaction.merchant_category),
            (details.countries, transaction.country),
            (details.devices, transaction.device_id),
        ):
            current = column.code_in_rows(thing)
            if current > 0 and len(column.codes) == 1 and column.former is None:
                # Most customers have one country and one device all their life.
                values += [1] * len(starts)
                continue
            # No thing (0) is none of them; -1 stands for one that is in no row.
            different = {0, current}
            until = end
            for start in starts:
                if start < until:
                    different.update(column.rows[start:until])
                    until = start
                values.append(len(different) - 1)
        return values

    return compute


def _pace(rows: Sequence[Feature], plan: StatePlan) -> Compute:
    """Count of the last hour against the monthly mean; seconds since the last attempt, and since the last at this
    merchant.
    """
    month = plan.window_number(rows[0].baseline_window_ms)
    hour = plan.window_number(rows[0].window_ms)

    def compute(moment: Moment) -> tuple[float, float, float]:
        start, end, timestamps = moment.starts[month], moment.end, moment.history.timestamps_ms
        count = end - start
        ratio = (end - moment.starts[hour] + 1) * _HOURS_IN_30_DAYS / (count + 1)
        if not count:
            return ratio, MISSING, MISSING
        since_last = (moment.timestamp_ms - timestamps[end - 1]) / 1_000
        merchant = moment.transaction.merchant_id
        merchants = moment.details.merchants
        code = merchants.code_in_rows(merchant)
        if code <= 0:
            return ratio, since_last, MISSING
        latest_first = merchants.rows[start:end]
        if code not in latest_first:
            return ratio, since_last, MISSING
        latest_first.reverse()
        last = end - 1 - latest_first.index(code)
        return ratio, since_last, (moment.timestamp_ms - timestamps[last]) / 1_000

    return compute


def _rows(
    pattern: str,
    kind: FeatureKind,
    meaning: str,
    aggregation: str,
    family: Family,
    lengths: Sequence[str],
) -> list[Feature]:
    """One row for each window length."""
    return [
        Feature(
            pattern.format(length),
            kind,
            meaning.format(length),
            "customer",
            aggregation,
            family,
            window_ms=_LENGTHS_MS[length],
        )
        for length in lengths
    ]


def _distinct_rows() -> list[Feature]:
    return [
        Feature(
            f"customer_distinct_{what}_{length}",
            "integer",
            f"Different {what} in {length}, this one's included",
            "customer",
            f"distinct {what}",
            _distinct,
            window_ms=_LENGTHS_MS[length],
        )
        for what in ("merchants", "categories", "countries", "devices")
        for length in _SHORT
    ]


_ALL = ("10m", "1h", "24h", "7d", "30d")
_SHORT = ("1h", "24h", "7d")

FEATURES = (
    *_rows("customer_count_{}", "integer", "Attempts in {}, this one included", "count", _attempts, _ALL),
    *_rows("customer_sum_{}", "number", "Base amount attempted in {}, this one included", "sum", _attempts, _ALL),
    *_rows("customer_maximum_{}", "number", "Highest base amount in {}, this one included", "maximum", _attempts, _ALL),
    *_rows(
        "customer_declined_count_{}",
        "integer",
        "Declined attempts in {}, this one included",
        "count declined",
        over_windows(_declined),
        _ALL[:4],
    ),
    *_distinct_rows(),
    Feature(
        "customer_hour_to_monthly_mean",
        "number",
        "Attempts in the last hour against the hourly mean of 30 days",
        "customer",
        "ratio of counts",
        _pace,
        window_ms=HOUR_MS,
        baseline_window_ms=30 * DAY_MS,
    ),
    Feature(
        "customer_seconds_since_last",
        "number",
        "Seconds since the customer's last attempt",
        "customer",
        "gap",
        _pace,
        window_ms=30 * DAY_MS,
        missing="without an earlier attempt in 30 days",
    ),
    Feature(
        "customer_seconds_since_last_at_merchant",
        "number",
        "Seconds since the customer's last attempt at this merchant",
        "customer",
        "gap at merchant",
        _pace,
        window_ms=30 * DAY_MS,
        missing="without an earlier attempt there in 30 days",
    ),
)
