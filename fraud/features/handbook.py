"""The 15 features of the Fraud Detection Handbook (Le Borgne et al., chapter 3.3), under their published names."""

from __future__ import annotations

from collections.abc import Callable

from fraud.features.moment import Moment
from fraud.features.table import DAY_MS, SECOND_MS, Compute, Feature, Place, at_any_place

# The delay after which the book takes a terminal's transactions as labelled.
LABEL_DELAY_MS = 7 * DAY_MS
# The data has whole seconds, so a hop of one second makes the sawtooth windows exact.
HOP_MS = SECOND_MS
_WINDOW_DAYS = (1, 7, 30)


def _amount(moment: Moment) -> float:
    return moment.amount / moment.minor_units


def _during_weekend(moment: Moment) -> int:
    # 1970-01-01 was a Thursday, weekday 3.
    return int((moment.timestamp_ms // DAY_MS + 3) % 7 >= 5)


def _during_night(moment: Moment) -> int:
    return int(moment.timestamp_ms // 3_600_000 % 24 <= 6)


def _customer_count(place: Place) -> Compute:
    window = place.window

    def compute(moment: Moment) -> int:
        return moment.end - moment.starts[window] + 1

    return compute


def _customer_average(place: Place) -> Compute:
    window = place.window

    def compute(moment: Moment) -> float:
        start, end = moment.starts[window], moment.end
        total = moment.history.amount_sum(start, end) + moment.amount
        return total / ((end - start + 1) * moment.minor_units)

    return compute


def _terminal_count(place: Place) -> Compute:
    entity, series, head, tail = place.entity, place.series, place.head, place.tail

    def compute(moment: Moment) -> int:
        state = moment.entities[entity]
        if state is None:
            return 0
        cuts, counts = moment.cuts[entity][series], state.series[series].counts
        return counts[cuts[head] - 1] - counts[cuts[tail] - 1]

    return compute


def _terminal_risk(window_days: int) -> Callable[[Place], Compute]:
    window_ms = window_days * DAY_MS

    def build(place: Place) -> Compute:
        count = _terminal_count(place)
        entity = place.entity

        def compute(moment: Moment) -> float:
            state = moment.entities[entity]
            if state is None or not state.fraud_timestamps_ms:
                return 0.0
            frauds = state.known_frauds(moment.timestamp_ms, window_ms, LABEL_DELAY_MS, HOP_MS)
            transactions = count(moment)
            return frauds / transactions if transactions else 0.0

        return compute

    return build


def _customer_rows(days: int) -> tuple[Feature, Feature]:
    window = days * DAY_MS
    count = Feature(
        f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW",
        "integer",
        f"Transactions of the customer in {days} days, this one included",
        "customer",
        "count",
        _customer_count,
        window_ms=window,
        detailed=False,
    )
    average = Feature(
        f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW",
        "number",
        f"Mean amount of the customer in {days} days, this one included, in base currency",
        "customer",
        "mean",
        _customer_average,
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
        _terminal_count,
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
        _terminal_risk(days),
        window_ms=window,
        delay_ms=LABEL_DELAY_MS,
        hop_ms=HOP_MS,
        detailed=False,
    )
    return count, risk


FEATURES = (
    Feature(
        "TX_AMOUNT",
        "number",
        "The amount in base currency",
        "transaction",
        "value",
        at_any_place(_amount),
        detailed=False,
    ),
    Feature(
        "TX_DURING_WEEKEND",
        "integer",
        "1 on Saturday and Sunday (UTC)",
        "transaction",
        "weekend",
        at_any_place(_during_weekend),
        detailed=False,
    ),
    Feature(
        "TX_DURING_NIGHT",
        "integer",
        "1 from 00:00 to 06:59 (UTC)",
        "transaction",
        "night",
        at_any_place(_during_night),
        detailed=False,
    ),
    *(row for days in _WINDOW_DAYS for row in _customer_rows(days)),
    *(row for days in _WINDOW_DAYS for row in _terminal_rows(days)),
)
