"""The 15 features of the Fraud Detection Handbook (Le Borgne et al., chapter 3.3), under their published names."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.customer_words import AMOUNT, EVENT_ADDRESS, EVENT_AMOUNT, EVENT_TIMESTAMP_MS, row_at
from fraud.features.moment import Moment
from fraud.features.plan import StatePlan
from fraud.features.run import Run
from fraud.features.table import DAY_MS, HOUR_MS, SECOND_MS, Compute, Feature, Value, together

# The delay after which the book takes a terminal's transactions as labelled.
LABEL_DELAY_MS = 7 * DAY_MS
# The data has whole seconds, so a hop of one second makes the sawtooth windows exact.
HOP_MS = SECOND_MS
_WINDOW_DAYS = (1, 7, 30)
_NO_TERMINAL = (0, 0.0) * len(_WINDOW_DAYS)


@compiled
def _of_transaction(run: Run, _windows: Integers, out: Reals) -> None:
    """The amount, whether it is the weekend, and whether it is night."""
    for number in range(len(run.events)):
        timestamp_ms = run.events[number, EVENT_TIMESTAMP_MS]
        out[number, 0] = run.events[number, EVENT_AMOUNT] / run.minor_units
        # 1970-01-01 was a Thursday, weekday 3.
        out[number, 1] = (timestamp_ms // DAY_MS + 3) % 7 >= 5
        out[number, 2] = timestamp_ms // HOUR_MS % 24 <= 6


@compiled
def _of_customer(run: Run, windows: Integers, out: Reals) -> None:
    """Count and mean amount in the window of every second row, from the shortest, this transaction included."""
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        total = run.events[number, EVENT_AMOUNT]
        end = until = run.starts[number, -1]
        for row in range(0, len(windows), 2):
            start = run.starts[number, windows[row, 0]]
            for place in range(start, until):
                total += words[row_at(words, place) + AMOUNT]
            until = min(start, until)
            count = end + 1 - start
            out[number, row] = count
            out[number, row + 1] = total / (count * run.minor_units)


def _of_terminal(rows: Sequence[Feature], _plan: StatePlan) -> Compute:
    """Count, and share of known frauds, in the delayed window of every second row."""
    offsets_ms = tuple(LABEL_DELAY_MS + row.window_ms for row in rows[::2])

    def compute(moment: Moment) -> Sequence[Value]:
        state = moment.entity
        if state is None:
            return _NO_TERMINAL
        timestamp_ms, buckets, counts = moment.timestamp_ms, state.buckets, state.counts
        last = (timestamp_ms - LABEL_DELAY_MS) // HOP_MS
        place = bisect_right(buckets, last)
        until = counts[place - 1]
        values: list[Value] = []
        for offset_ms in offsets_ms:
            before = (timestamp_ms - offset_ms) // HOP_MS
            place = bisect_right(buckets, before, 0, place)
            count = until - counts[place - 1]
            if count and state.fraud_timestamps_ms:
                values += (count, state.known_frauds(before, last, HOP_MS) / count)
            else:
                values += (count, 0.0)
        return values

    return compute


_CUSTOMER_FAMILY = together(2 * len(_WINDOW_DAYS), _of_customer)
_TRANSACTION_FAMILY = together(3, _of_transaction)


def _transaction_row(name: str, kind: str, meaning: str) -> Feature:
    return Feature(
        name,
        "number" if kind == "number" else "integer",
        meaning,
        "transaction",
        "value",
        _TRANSACTION_FAMILY,
        detailed=False,
    )


def _customer_rows(days: int) -> tuple[Feature, Feature]:
    window = days * DAY_MS
    count = Feature(
        f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW",
        "integer",
        f"Transactions of the customer in {days} days, this one included",
        "customer",
        "count",
        _CUSTOMER_FAMILY,
        window_ms=window,
        detailed=False,
    )
    average = Feature(
        f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW",
        "number",
        f"Mean amount of the customer in {days} days, this one included, in base currency",
        "customer",
        "mean",
        _CUSTOMER_FAMILY,
        window_ms=window,
        detailed=False,
    )
    return count, average


def _terminal_rows(days: int) -> tuple[Feature, Feature]:
    window = days * DAY_MS
    count = Feature(
        f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW",
        "integer",
        f"Transactions at the terminal in {days} days that ended 7 days ago",
        "terminal",
        "count",
        _of_terminal,
        window_ms=window,
        delay_ms=LABEL_DELAY_MS,
        hop_ms=HOP_MS,
        detailed=False,
    )
    risk = Feature(
        f"TERMINAL_ID_RISK_{days}DAY_WINDOW",
        "number",
        f"Share of known frauds among the terminal's transactions in {days} days that ended 7 days ago; 0 if none",
        "terminal",
        "fraud share",
        _of_terminal,
        window_ms=window,
        delay_ms=LABEL_DELAY_MS,
        hop_ms=HOP_MS,
        detailed=False,
    )
    return count, risk


FEATURES = (
    _transaction_row("TX_AMOUNT", "number", "The amount in base currency"),
    _transaction_row("TX_DURING_WEEKEND", "integer", "1 on Saturday and Sunday (UTC)"),
    _transaction_row("TX_DURING_NIGHT", "integer", "1 from 00:00 to 06:59 (UTC)"),
    *(row for days in _WINDOW_DAYS for row in _customer_rows(days)),
    *(row for days in _WINDOW_DAYS for row in _terminal_rows(days)),
)
