"""Authorisations of different customers that are read together, each against its customer's state before it."""

from __future__ import annotations

from typing import NamedTuple

from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.customer_words import (
    EVENT_ADDRESS,
    EVENT_LATE,
    EVENT_TIMESTAMP_MS,
    ROW_COUNT,
    drop_expired,
    row_at,
    rows_until,
)


class Run(NamedTuple):
    """What feature functions read of n transactions; compiled code takes it as it is.

    `events` int64 [n, columns]: the columns named `EVENT_...` of `fraud.features.customer_words`, the first of them the
    address of the customer's words. `positions` float64 [n, 2]: latitude and longitude, not a number where there is
    none. `starts` int64 [n, windows + 1] bounds the customer's rows in each window of the plan: those with timestamp in
    (t - w, t] but for the transaction itself; the last column is where all of them end. `minor_units` of the base
    currency make one unit.
    """

    events: Integers
    positions: Reals
    starts: Integers
    minor_units: int


@compiled
def bound_windows(events: Integers, windows_ms: Integers, retention_ms: int, starts: Integers) -> None:
    """Fill `starts` of a run; `windows_ms` ascend."""
    for number in range(len(events)):
        words = integers_at(events[number, EVENT_ADDRESS])
        timestamp_ms = events[number, EVENT_TIMESTAMP_MS]
        if events[number, EVENT_LATE]:
            # Its windows reach back into what may be gone already: then it is gone for everybody.
            drop_expired(words, retention_ms)
        end = words[ROW_COUNT]
        if end and words[row_at(words, end - 1)] > timestamp_ms:
            end = rows_until(words, timestamp_ms, end)
        starts[number, len(windows_ms)] = end
        # Shorter windows start at or after longer ones do.
        start = end
        for window in range(len(windows_ms)):
            start = rows_until(words, timestamp_ms - windows_ms[window], start)
            starts[number, window] = start
