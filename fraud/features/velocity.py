"""Velocity: how often, how much and how varied a customer has paid within each window."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import Final

import numpy as np

from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.customer_words import (
    AMOUNT,
    CATEGORY,
    COUNTRY,
    DEVICE,
    EVENT_ADDRESS,
    EVENT_AMOUNT,
    EVENT_FLAGS,
    EVENT_THINGS,
    EVENT_TIMESTAMP_MS,
    MERCHANT,
    code_in_rows,
    row_at,
    row_code,
    row_flags,
    table_count,
)
from fraud.features.presence import DECLINED
from fraud.features.run import Run
from fraud.features.table import DAY_MS, HOUR_MS, MINUTE_MS, Family, Feature, FeatureKind, together
from fraud.features.wide_integers import ratio

_LENGTHS_MS = {"10m": 10 * MINUTE_MS, "1h": HOUR_MS, "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS}
_HOURS_IN_30_DAYS: Final = 720


@compiled
def _attempts(run: Run, windows: Integers, out: Reals) -> None:
    """Counts, sums and maxima, each in every window, from the shortest to the longest; windows come three times."""
    lengths = len(windows) // 3
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        total = highest = run.events[number, EVENT_AMOUNT]
        end = until = run.starts[number, -1]
        for length in range(lengths):
            start = run.starts[number, windows[length, 0]]
            for place in range(start, until):
                amount = words[row_at(words, place) + AMOUNT]
                total += amount
                highest = max(highest, amount)
            until = min(start, until)
            out[number, length] = end + 1 - start
            out[number, lengths + length] = ratio(total, run.minor_units)
            out[number, 2 * lengths + length] = ratio(highest, run.minor_units)


@compiled
def _declined(run: Run, windows: Integers, out: Reals) -> None:
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        count = int(run.events[number, EVENT_FLAGS] >= DECLINED)
        until = run.starts[number, -1]
        for length in range(len(windows)):
            start = run.starts[number, windows[length, 0]]
            for place in range(start, until):
                count += row_flags(words, place) >= DECLINED
            until = min(start, until)
            out[number, length] = count


@compiled
def _distinct(run: Run, windows: Integers, out: Reals) -> None:
    """Merchants, categories, countries and devices, each in every window; windows come four times, shortest first."""
    lengths = len(windows) // 4
    seen = np.zeros(1, np.int64)
    mark = 0
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        for kind, table in enumerate((MERCHANT, CATEGORY, COUNTRY, DEVICE)):
            mark += 1
            if len(seen) <= table_count(words, table):
                seen = np.zeros(2 * table_count(words, table) + 1, np.int64)
            current = code_in_rows(words, table, run.events[number, EVENT_THINGS + table])
            different = int(current != 0)
            seen[max(current, 0)] = mark
            # No thing counts as none.
            seen[0] = mark
            until = run.starts[number, -1]
            for length in range(lengths):
                start = run.starts[number, windows[length, 0]]
                for place in range(start, until):
                    code = row_code(words, place, table)
                    different += seen[code] != mark
                    seen[code] = mark
                until = min(start, until)
                out[number, kind * lengths + length] = different


@compiled
def _pace(run: Run, windows: Integers, out: Reals) -> None:
    """Count of the last hour against the monthly mean; seconds since the last attempt, and since the last at this
    merchant.
    """
    hour, month = windows[0, 0], windows[0, 1]
    for number in range(len(run.events)):
        words, timestamp_ms = integers_at(run.events[number, EVENT_ADDRESS]), run.events[number, EVENT_TIMESTAMP_MS]
        start, end = run.starts[number, month], run.starts[number, -1]
        out[number, 0] = (end - run.starts[number, hour] + 1) * _HOURS_IN_30_DAYS / (end - start + 1)
        out[number, 1:] = nan
        if start == end:
            continue
        out[number, 1] = (timestamp_ms - words[row_at(words, end - 1)]) / 1_000
        code = code_in_rows(words, MERCHANT, run.events[number, EVENT_THINGS + MERCHANT])
        if code > 0:
            for place in range(end - 1, start - 1, -1):
                if row_code(words, place, MERCHANT) == code:
                    out[number, 2] = (timestamp_ms - words[row_at(words, place)]) / 1_000
                    break


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
            _DISTINCT,
            window_ms=_LENGTHS_MS[length],
        )
        for what in ("merchants", "categories", "countries", "devices")
        for length in _SHORT
    ]


_ALL = ("10m", "1h", "24h", "7d", "30d")
_SHORT = ("1h", "24h", "7d")
_ATTEMPTS = together(3 * len(_ALL), _attempts)
_DISTINCT = together(4 * len(_SHORT), _distinct)
_PACE = together(3, _pace)

FEATURES = (
    *_rows("customer_count_{}", "integer", "Attempts in {}, this one included", "count", _ATTEMPTS, _ALL),
    *_rows("customer_sum_{}", "number", "Base amount attempted in {}, this one included", "sum", _ATTEMPTS, _ALL),
    *_rows("customer_maximum_{}", "number", "Highest base amount in {}, this one included", "maximum", _ATTEMPTS, _ALL),
    *_rows(
        "customer_declined_count_{}",
        "integer",
        "Declined attempts in {}, this one included",
        "count declined",
        together(4, _declined),
        _ALL[:4],
    ),
    *_distinct_rows(),
    Feature(
        "customer_hour_to_monthly_mean",
        "number",
        "Attempts in the last hour against the hourly mean of 30 days",
        "customer",
        "ratio of counts",
        _PACE,
        window_ms=HOUR_MS,
        baseline_window_ms=30 * DAY_MS,
    ),
    Feature(
        "customer_seconds_since_last",
        "number",
        "Seconds since the customer's last attempt",
        "customer",
        "gap",
        _PACE,
        window_ms=30 * DAY_MS,
        missing="without an earlier attempt in 30 days",
    ),
    Feature(
        "customer_seconds_since_last_at_merchant",
        "number",
        "Seconds since the customer's last attempt at this merchant",
        "customer",
        "gap at merchant",
        _PACE,
        window_ms=30 * DAY_MS,
        missing="without an earlier attempt there in 30 days",
    ),
)
