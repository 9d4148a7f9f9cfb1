"""Entity risk: what merchants, terminals, devices, addresses and cards have been doing with everybody."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace

from fraud.features.entity_state import EntityState
from fraud.features.moment import Moment
from fraud.features.plan import StatePlan
from fraud.features.table import DAY_MS, HOUR_MS, MINUTE_MS, MISSING, Compute, Feature, Value

# Rates look back over what issuer alerts and the first chargebacks have had a week to reach; the handbook's delay.
LABEL_DELAY_MS = 7 * DAY_MS
# An hour's burst is counted in twelfths of an hour; what is rarely used has no more buckets than transactions anyway.
HOP_MS = 5 * MINUTE_MS
_MONTH_MS = 30 * DAY_MS
_MONTH_BUCKETS = _MONTH_MS // HOP_MS
_HOUR_BUCKETS = HOUR_MS // HOP_MS
_WEEK_BUCKETS = 7 * DAY_MS // HOP_MS

# Smoothing (known frauds + m * base) / (matured + m): an entity with m transactions is believed half. The base is the
# order of magnitude of fraud among card-not-present attempts before any screening.
SMOOTHING_TRANSACTIONS = 20
BASE_FRAUD_RATE = 0.005
_SMOOTHING_FRAUDS = SMOOTHING_TRANSACTIONS * BASE_FRAUD_RATE

Part = Callable[[EntityState, Moment], Sequence[Value]]


def _known_fraud(state: EntityState, moment: Moment) -> tuple[float, float]:
    """Smoothed rate of known frauds in 30 days up to the label delay; hours since the newest known fraud."""
    last = (moment.timestamp_ms - LABEL_DELAY_MS) // HOP_MS
    before = last - _MONTH_BUCKETS
    buckets, counts = state.buckets, state.counts
    place = bisect_right(buckets, last)
    matured = counts[place - 1] - counts[bisect_right(buckets, before, 0, place) - 1]
    if not state.fraud_timestamps_ms:
        return _SMOOTHING_FRAUDS / (matured + SMOOTHING_TRANSACTIONS), MISSING
    frauds = state.known_frauds(before, last, HOP_MS)
    hours = max(0, (moment.timestamp_ms - state.fraud_timestamps_ms[-1]) // HOUR_MS)
    return (frauds + _SMOOTHING_FRAUDS) / (matured + SMOOTHING_TRANSACTIONS), hours


def _activity(state: EntityState, moment: Moment) -> tuple[float, float, float]:
    """Age in days; count of the last hour; that count against the hourly mean of 30 days, or since first seen."""
    timestamp_ms = moment.timestamp_ms
    if not state.newest_ms:
        return 0.0, 0, 0.0
    age_ms = max(0, timestamp_ms - state.first_seen_ms)
    buckets, counts = state.buckets, state.counts
    head = bisect_right(buckets, -(-timestamp_ms // HOP_MS))
    until = counts[head - 1]
    floor = timestamp_ms // HOP_MS
    recent = until - counts[bisect_right(buckets, floor - _HOUR_BUCKETS, 0, head) - 1]
    if not recent:
        return age_ms / DAY_MS, 0, 0.0
    monthly = until - counts[bisect_right(buckets, floor - _MONTH_BUCKETS, 0, head) - 1]
    observed_ms = min(max(age_ms, HOUR_MS), _MONTH_MS)
    return age_ms / DAY_MS, recent, recent * observed_ms / (monthly * HOUR_MS)


def _first_times(state: EntityState, moment: Moment) -> tuple[float]:
    """Share of the transactions of 7 days whose customer was new to the merchant."""
    if state.first_times is None:
        return (MISSING,)
    head = state.row_at(-(-moment.timestamp_ms // HOP_MS))
    tail = state.row_at(moment.timestamp_ms // HOP_MS - _WEEK_BUCKETS)
    count = state.counts[head] - state.counts[tail]
    return ((state.first_times[head] - state.first_times[tail]) / count if count else MISSING,)


def _amount_to_mean(state: EntityState, moment: Moment) -> tuple[float]:
    """The amount against the mean of 30 days."""
    if state.amounts is None:
        return (MISSING,)
    head = state.row_at(-(-moment.timestamp_ms // HOP_MS))
    tail = state.row_at(moment.timestamp_ms // HOP_MS - _MONTH_BUCKETS)
    total = state.amounts[head] - state.amounts[tail]
    return (moment.amount * (state.counts[head] - state.counts[tail]) / total if total else MISSING,)


def _distinct(window_ms: int) -> Part:
    """Customers, and cards, of the window, this transaction's included."""

    def compute(state: EntityState, moment: Moment) -> tuple[int, int]:
        since_ms = moment.timestamp_ms - window_ms
        transaction = moment.transaction
        return (
            _recent(state.customers or {}, transaction.user_id, since_ms),
            _recent(state.cards or {}, transaction.card_id, since_ms),
        )

    return compute


def _recent(last_seen_ms: dict[str, int], current: str | None, since_ms: int) -> int:
    recent = int(current is not None and last_seen_ms.get(current, since_ms) <= since_ms)
    for seen_ms in reversed(last_seen_ms.values()):
        if seen_ms <= since_ms:
            break
        recent += 1
    return recent


def _kind_rows(kind: str, parts: Sequence[tuple[Part, Sequence[Feature]]]) -> list[Feature]:
    """The rows of one kind of entity, as one family: the state is looked up once."""
    computes = tuple(part for part, _ in parts)
    rows = [row for _, part_rows in parts for row in part_rows]
    missing = (MISSING,) * len(rows)

    def family(_rows: Sequence[Feature], plan: StatePlan) -> Compute:
        number = plan.entity_number(kind)

        def compute(moment: Moment) -> Sequence[Value]:
            state = moment.entities[number]
            if state is None:
                return missing
            values: list[Value] = []
            for part in computes:
                values += part(state, moment)
            return values

        return compute

    return [replace(row, family=family) for row in rows]


def _unplaced(_rows: Sequence[Feature], _plan: StatePlan) -> Compute:
    raise ValueError("rows of an entity get their family from their kind")


def _row(kind: str, name: str, aggregation: str, meaning: str, window_ms: int = 0, delay_ms: int = 0) -> Feature:
    return Feature(
        f"{kind}_{name}",
        "number",
        meaning,
        kind,
        aggregation,
        _unplaced,
        window_ms=window_ms,
        delay_ms=delay_ms,
        hop_ms=HOP_MS,
        missing=f"without a {kind}",
    )


def _known_fraud_rows(kind: str) -> tuple[Part, list[Feature]]:
    rate = _row(
        kind,
        "fraud_rate_30d",
        "smoothed fraud rate",
        f"Known frauds among the {kind}'s transactions of 30 days that ended 7 days ago, smoothed",
        _MONTH_MS,
        LABEL_DELAY_MS,
    )
    hours = _row(
        kind, "hours_since_fraud", "hours since known fraud", f"Whole hours since the {kind}'s newest known fraud"
    )
    return _known_fraud, [rate, replace(hours, kind="integer", missing="without a known fraud of 37 days")]


def _activity_rows(kind: str) -> tuple[Part, list[Feature]]:
    count = _row(kind, "count_1h", "count", f"Earlier transactions of everybody at the {kind} in an hour", HOUR_MS)
    burst = _row(
        kind, "burst_1h", "ratio of counts", f"That count against the {kind}'s hourly mean of 30 days", HOUR_MS
    )
    return _activity, [
        _row(kind, "age_days", "age", f"Days since the {kind} was first seen by anybody"),
        replace(count, kind="integer"),
        replace(burst, baseline_window_ms=_MONTH_MS),
    ]


def _distinct_rows(kind: str, length: str, window_ms: int) -> tuple[Part, list[Feature]]:
    meaning = f"Different {{}} at the {kind} in {length}, this one's included; at most 32 earlier ones are known"
    customers = _row(kind, f"distinct_customers_{length}", "distinct customers", meaning.format("customers"), window_ms)
    cards = _row(kind, f"distinct_cards_{length}", "distinct cards", meaning.format("cards"), window_ms)
    return _distinct(window_ms), [
        replace(customers, kind="integer", needs="customers"),
        replace(cards, kind="integer", needs="cards"),
    ]


def _first_time_rows(kind: str) -> tuple[Part, list[Feature]]:
    share = _row(
        kind,
        "first_time_share_7d",
        "share of first times",
        f"Share of the {kind}'s transactions of 7 days by customers new to the merchant",
        7 * DAY_MS,
    )
    return _first_times, [
        replace(share, needs="first_times", missing=f"without an earlier transaction at the {kind} in 7 days")
    ]


def _amount_rows(kind: str) -> tuple[Part, list[Feature]]:
    ratio = _row(
        kind,
        "amount_to_mean_30d",
        "ratio to mean",
        f"Amount against the {kind}'s mean of 30 days, this one not included",
        _MONTH_MS,
    )
    return _amount_to_mean, [
        replace(ratio, needs="amounts", missing=f"without an earlier transaction at the {kind} in 30 days")
    ]


FEATURES = (
    *_kind_rows("card", [_known_fraud_rows("card"), _activity_rows("card")]),
    *_kind_rows(
        "merchant",
        [
            _known_fraud_rows("merchant"),
            _activity_rows("merchant"),
            _first_time_rows("merchant"),
            _amount_rows("merchant"),
        ],
    ),
    *_kind_rows(
        "terminal",
        [
            _known_fraud_rows("terminal"),
            _activity_rows("terminal"),
            _distinct_rows("terminal", "1h", HOUR_MS),
            _first_time_rows("terminal"),
        ],
    ),
    *_kind_rows(
        "device",
        [_known_fraud_rows("device"), _activity_rows("device"), _distinct_rows("device", "30d", _MONTH_MS)],
    ),
    *_kind_rows("ip", [_known_fraud_rows("ip"), _activity_rows("ip"), _distinct_rows("ip", "24h", DAY_MS)]),
    *_kind_rows(
        "counterparty",
        [
            _known_fraud_rows("counterparty"),
            _activity_rows("counterparty"),
            _distinct_rows("counterparty", "24h", DAY_MS),
        ],
    ),
)
