"""The 15 features of the Fraud Detection Handbook (Le Borgne et al., chapter 3.3), under their published names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.customer_words import AMOUNT, EVENT_ADDRESS, EVENT_AMOUNT, EVENT_TIMESTAMP_MS, row_at
from fraud.features.entity_run import (
    ADDRESS,
    PARAMETERS_AT,
    ROW,
    TIMESTAMP_MS,
    EntityFamily,
    counted,
    event_at,
    left,
    marked,
    met,
)
from fraud.features.entity_words import FRAUDS, ROWS, count_at, frauds_between, rows_until
from fraud.features.plan import StatePlan
from fraud.features.run import Run
from fraud.features.table import DAY_MS, HOUR_MS, SECOND_MS, Feature, together
from fraud.features.wide_integers import ratio

# The delay after which the book takes a terminal's transactions as labelled.
LABEL_DELAY_MS = 7 * DAY_MS
# The data has whole seconds, so a hop of one second makes the sawtooth windows exact.
HOP_MS = SECOND_MS
_WINDOW_DAYS = (1, 7, 30)
# Parameters of the terminal's family: how many windows it has, then where each begins, ms before the transaction.
_WINDOWS: Final = PARAMETERS_AT


@compiled
def _of_transaction(run: Run, _windows: Integers, out: Reals) -> None:
    """The amount, whether it is the weekend, and whether it is night."""
    for number in range(len(run.events)):
        timestamp_ms = run.events[number, EVENT_TIMESTAMP_MS]
        out[number, 0] = ratio(run.events[number, EVENT_AMOUNT], run.minor_units)
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
            out[number, row + 1] = ratio(total, count * run.minor_units)


@compiled
def _meet_terminals(run_address: int, kind_address: int, out: Reals, first_column: int) -> bool:
    run, kind = integers_at(run_address), integers_at(kind_address)
    for place in left(run):
        event = event_at(place)
        row = run[event + ROW]
        if row < 0:
            if not marked(run, place, kind):
                return False
            continue
        values = out[row, first_column : first_column + 2 * kind[_WINDOWS]]
        if run[event + ADDRESS] == 0:
            values[:] = 0.0
            continue
        words = met(run, event, kind)
        _write_terminal(words, run[event + TIMESTAMP_MS], kind, values)
        if not counted(run, place, words, kind):
            return False
    return True


@compiled
def _write_terminal(words: Integers, timestamp_ms: int, kind: Integers, values: Reals) -> None:
    """Count, and share of known frauds, in each delayed window."""
    last = (timestamp_ms - LABEL_DELAY_MS) // HOP_MS
    until = rows_until(words, last, 0, words[ROWS])
    for window in range(kind[_WINDOWS]):
        before = (timestamp_ms - kind[_WINDOWS + 1 + window]) // HOP_MS
        count = count_at(words, until - 1) - count_at(words, rows_until(words, before, 0, until) - 1)
        values[2 * window], values[2 * window + 1] = count, 0.0
        if count and words[FRAUDS]:
            values[2 * window + 1] = frauds_between(words, before, last, HOP_MS) / count


def _of_terminal(rows: Sequence[Feature], _plan: StatePlan) -> EntityFamily:
    """Count, and share of known frauds, in the delayed window of every second row."""
    offsets_ms = [LABEL_DELAY_MS + row.window_ms for row in rows[::2]]
    return EntityFamily(_meet_terminals, (len(offsets_ms), *offsets_ms))


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
