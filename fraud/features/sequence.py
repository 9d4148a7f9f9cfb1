"""Sequence: orders of events that are harmless one by one."""

from __future__ import annotations

from math import nan
from typing import Final

import numpy as np

from fraud.features import customer_words as layout
from fraud.features.amount import deviation
from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.customer_words import (
    AMOUNT,
    COUNT,
    DEVICE,
    EVENT_ADDRESS,
    EVENT_AMOUNT,
    EVENT_FLAGS,
    EVENT_THINGS,
    EVENT_TIMESTAMP_MS,
    MERCHANT,
    code_in_rows,
    known_entry,
    row_at,
    row_code,
    row_flags,
)
from fraud.features.presence import DECLINED, UNKNOWN_PRESENCE
from fraud.features.run import Run
from fraud.features.table import DAY_MS, HOUR_MS, Feature, together
from fraud.features.wide_integers import product_over

# A card is tested with amounts that nobody disputes; above five units of the base currency people look.
_SMALL_AMOUNT_UNITS: Final = 5
# Deviations from the customer's mean beyond which an amount is high: one in a hundred of a customer's own.
_HIGH_DEVIATION: Final = 3.0
# The median of the last 16 gaps is a habit of one to two weeks for a usual customer.
_GAPS: Final = 16
# Three attempts within an hour are a burst: most customers make two a day.
_BURST_COUNT: Final = 3


@compiled
def _small_attempts(run: Run, windows: Integers, out: Reals) -> None:
    """Count of small attempts; the amount against their mean."""
    limit = _SMALL_AMOUNT_UNITS * run.minor_units
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        count = total = 0
        for place in range(run.starts[number, windows[0, 0]], run.starts[number, -1]):
            amount = words[row_at(words, place) + AMOUNT]
            if amount <= limit:
                count += 1
                total += amount
        out[number, 0] = count
        out[number, 1] = product_over(run.events[number, EVENT_AMOUNT], count, total) if total else 0.0


@compiled
def _rising_amounts_run(run: Run, windows: Integers, out: Reals) -> None:
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        code = code_in_rows(words, MERCHANT, run.events[number, EVENT_THINGS + MERCHANT])
        length, higher = 1, run.events[number, EVENT_AMOUNT]
        if code > 0:
            for place in range(run.starts[number, -1] - 1, run.starts[number, windows[0, 0]] - 1, -1):
                if row_code(words, place, MERCHANT) == code:
                    amount = words[row_at(words, place) + AMOUNT]
                    if amount >= higher:
                        break
                    length, higher = length + 1, amount
        out[number, 0] = length


@compiled
def _takeover_stages(run: Run, _windows: Integers, out: Reals) -> None:
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        out[number, 0] = _takeover_stage(words, run.events[number], run.minor_units) if words[COUNT] else 0


@compiled
def _takeover_stage(words: Integers, event: Integers, minor_units: int) -> int:
    device, merchant, now_ms = event[EVENT_THINGS + DEVICE], event[EVENT_THINGS + MERCHANT], event[EVENT_TIMESTAMP_MS]
    if device == 0:
        return 0
    device_ms = words[layout.LAST_NEW_DEVICE_MS] if known_entry(words, DEVICE, device) else now_ms
    if device_ms <= now_ms - DAY_MS:
        return 0
    merchant_is_new = merchant != 0 and not known_entry(words, MERCHANT, merchant)
    merchant_ms = now_ms if merchant_is_new else words[layout.LAST_NEW_MERCHANT_MS]
    if merchant_ms < device_ms:
        return 1
    return 3 if deviation(event[EVENT_AMOUNT], words, COUNT, minor_units) > _HIGH_DEVIATION else 2


@compiled
def _median_gap_ms(words: Integers, start: int, end: int) -> int:
    """Median of the last gaps between rows `start` and `end` (the lower one of two), 0 with fewer than two rows."""
    first = max(start, end - _GAPS - 1)
    count = max(0, end - first - 1)
    gaps = np.empty(count, np.int64)
    for place in range(count):
        gaps[place] = words[row_at(words, first + place + 1)] - words[row_at(words, first + place)]
    gaps.sort()
    return gaps[(count - 1) // 2] if count else 0


@compiled
def _gaps(run: Run, windows: Integers, out: Reals) -> None:
    """The gap before this attempt, and the gap before a burst that it belongs to, against the median gap."""
    month, hour = windows[0, 0], windows[1, 0]
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        start, end, first = run.starts[number, month], run.starts[number, -1], run.starts[number, hour]
        out[number, 0], out[number, 1] = nan, 0.0
        if end - start < 2:
            continue
        median_ms = _median_gap_ms(words, start, end)
        if median_ms:
            out[number, 0] = (run.events[number, EVENT_TIMESTAMP_MS] - words[row_at(words, end - 1)]) / median_ms
        if end - first + 1 >= _BURST_COUNT and first > start:
            median_ms = _median_gap_ms(words, start, first)
            if median_ms:
                out[number, 1] = (words[row_at(words, first)] - words[row_at(words, first - 1)]) / median_ms


@compiled
def _presence_switches(run: Run, windows: Integers, out: Reals) -> None:
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        switches, before = 0, UNKNOWN_PRESENCE
        end = run.starts[number, -1]
        for place in range(run.starts[number, windows[0, 0]], end + 1):
            flags = row_flags(words, place) if place < end else run.events[number, EVENT_FLAGS]
            presence = flags % DECLINED
            if presence != UNKNOWN_PRESENCE:
                switches += before not in (UNKNOWN_PRESENCE, presence)
                before = presence
        out[number, 0] = switches


_SMALL = together(2, _small_attempts)
_GAP_FAMILY = together(2, _gaps)

FEATURES = (
    Feature(
        "small_attempts_1h",
        "integer",
        "Earlier attempts of at most 5 units of base currency in an hour",
        "customer",
        "count small",
        _SMALL,
        window_ms=HOUR_MS,
    ),
    Feature(
        "amount_to_small_attempts_1h",
        "number",
        "Amount against the mean of the small attempts of the last hour, 0 without any",
        "customer",
        "ratio to small",
        _SMALL,
        window_ms=HOUR_MS,
    ),
    Feature(
        "rising_amounts_run",
        "integer",
        "Length of the run of rising amounts at this merchant in 24 hours, this one included",
        "customer",
        "run",
        together(1, _rising_amounts_run),
        window_ms=DAY_MS,
    ),
    Feature(
        "takeover_sequence_stage",
        "integer",
        "In 24 hours: 1 new device, 2 then new merchant, 3 then high amount",
        "customer",
        "stage",
        together(1, _takeover_stages),
    ),
    Feature(
        "gap_to_median_gap",
        "number",
        "Time since the last attempt against the median of the last 16 gaps",
        "customer",
        "ratio to median",
        _GAP_FAMILY,
        window_ms=30 * DAY_MS,
        missing="with fewer than two earlier attempts in 30 days",
    ),
    Feature(
        "gap_before_burst",
        "number",
        "With three attempts in an hour: the gap before them against the median gap, else 0",
        "customer",
        "ratio to median",
        _GAP_FAMILY,
        window_ms=HOUR_MS,
        baseline_window_ms=30 * DAY_MS,
    ),
    Feature(
        "presence_switches_24h",
        "integer",
        "Switches between card present and not present in 24 hours",
        "customer",
        "switches",
        together(1, _presence_switches),
        window_ms=DAY_MS,
    ),
)
