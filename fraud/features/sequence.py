"""Sequence: orders of events that are harmless one by one."""

from __future__ import annotations

from collections.abc import Sequence
from operator import sub

from fraud.features.amount import deviation
from fraud.features.details import DECLINED, UNKNOWN_PRESENCE, card_presence
from fraud.features.moment import Moment
from fraud.features.plan import StatePlan
from fraud.features.table import DAY_MS, HOUR_MS, MISSING, Compute, Feature, alone, over_windows

Windows = tuple[int, ...]

# A card is tested with amounts that nobody disputes; above five units of the base currency people look.
_SMALL_AMOUNT_UNITS = 5
# Deviations from the customer's mean beyond which an amount is high: one in a hundred of a customer's own.
_HIGH_DEVIATION = 3.0
# The median of the last 16 gaps is a habit of one to two weeks for a usual customer.
_GAPS = 16
# Three attempts within an hour are a burst: most customers make two a day.
_BURST_COUNT = 3


def _small_attempts(windows: Windows, moment: Moment) -> tuple[int, float]:
    """Count of small attempts; the amount against their mean."""
    start, end = moment.starts[windows[0]], moment.end
    if start == end:
        return 0, 0.0
    limit = _SMALL_AMOUNT_UNITS * moment.minor_units
    small = [amount for amount in moment.history.amounts[start:end] if amount <= limit]
    total = sum(small)
    return len(small), moment.amount * len(small) / total if total else 0.0


def _rising_amounts_run(windows: Windows, moment: Moment) -> tuple[int]:
    merchant = moment.transaction.merchant_id
    start, end = moment.starts[windows[0]], moment.end
    if merchant is None or start == end:
        return (1,)
    details = moment.details
    code = details.merchants.code_in_rows(merchant)
    run, higher = 1, moment.amount
    if code < 0:
        return (run,)
    merchants, amounts = details.merchants.rows, moment.history.amounts
    for place in range(end - 1, start - 1, -1):
        if merchants[place] == code:
            if amounts[place] >= higher:
                break
            run, higher = run + 1, amounts[place]
    return (run,)


def _takeover_stage(moment: Moment) -> int:
    profile, details, transaction = moment.profile, moment.details, moment.transaction
    count = profile.transaction_count
    if not count or transaction.device_id is None:
        return 0
    now_ms = moment.timestamp_ms
    since_ms = now_ms - DAY_MS
    device_is_new = transaction.device_id not in details.devices.codes
    device_ms = now_ms if device_is_new else details.last_new_device_ms
    if device_ms <= since_ms:
        return 0
    merchant = transaction.merchant_id
    merchant_is_new = merchant is not None and merchant not in details.merchants.codes
    merchant_ms = now_ms if merchant_is_new else details.last_new_merchant_ms
    if merchant_ms < device_ms:
        return 1
    usual = deviation(moment.amount, count, profile.amount_sum, profile.amount_squares, moment.minor_units)
    return 3 if usual > _HIGH_DEVIATION else 2


def _median_gap_ms(moment: Moment, start: int, end: int) -> int:
    """Median of the last gaps between rows `start` and `end` (the lower one of two), 0 with fewer than two rows."""
    times = moment.history.timestamps_ms[max(start, end - _GAPS - 1) : end].tolist()
    gaps = sorted(map(sub, times[1:], times))
    return gaps[(len(gaps) - 1) // 2] if gaps else 0


def _gaps(rows: Sequence[Feature], plan: StatePlan) -> Compute:
    """The gap before this attempt, and the gap before a burst that it belongs to, against the median gap."""
    month = plan.window_number(rows[0].window_ms)
    hour = plan.window_number(rows[1].window_ms)

    def compute(moment: Moment) -> tuple[float, float]:
        start, end, first = moment.starts[month], moment.end, moment.starts[hour]
        if end - start < 2:
            return MISSING, 0.0
        times = moment.history.timestamps_ms
        median = _median_gap_ms(moment, start, end)
        ratio = (moment.timestamp_ms - times[end - 1]) / median if median else MISSING
        if end - first + 1 < _BURST_COUNT or first <= start:
            return ratio, 0.0
        median = _median_gap_ms(moment, start, first)
        return ratio, (times[first] - times[first - 1]) / median if median else 0.0

    return compute


def _presence_switches(windows: Windows, moment: Moment) -> tuple[int]:
    start, end = moment.starts[windows[0]], moment.end
    if start == end:
        return (0,)
    switches, before = 0, UNKNOWN_PRESENCE
    for flags in (*moment.details.flags[start:end], card_presence(moment.transaction)):
        presence = flags % DECLINED
        if presence != UNKNOWN_PRESENCE:
            switches += before not in (UNKNOWN_PRESENCE, presence)
            before = presence
    return (switches,)


_SMALL = over_windows(_small_attempts)

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
        over_windows(_rising_amounts_run),
        window_ms=DAY_MS,
    ),
    Feature(
        "takeover_sequence_stage",
        "integer",
        "In 24 hours: 1 new device, 2 then new merchant, 3 then high amount",
        "customer",
        "stage",
        alone(_takeover_stage),
    ),
    Feature(
        "gap_to_median_gap",
        "number",
        "Time since the last attempt against the median of the last 16 gaps",
        "customer",
        "ratio to median",
        _gaps,
        window_ms=30 * DAY_MS,
        missing="with fewer than two earlier attempts in 30 days",
    ),
    Feature(
        "gap_before_burst",
        "number",
        "With three attempts in an hour: the gap before them against the median gap, else 0",
        "customer",
        "ratio to median",
        _gaps,
        window_ms=HOUR_MS,
        baseline_window_ms=30 * DAY_MS,
    ),
    Feature(
        "presence_switches_24h",
        "integer",
        "Switches between card present and not present in 24 hours",
        "customer",
        "switches",
        over_windows(_presence_switches),
        window_ms=DAY_MS,
    ),
)
