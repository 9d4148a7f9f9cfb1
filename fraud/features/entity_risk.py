"""Entity risk: what merchants, terminals, devices, addresses and cards have been doing with everybody."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace

from fraud.features.entity_state import EntityState
from fraud.features.moment import Moment
from fraud.features.plan import StatePlan
from fraud.features.table import DAY_MS, HOUR_MS, MINUTE_MS, MISSING, Compute, Family, Feature, Value

# Rates look back over what issuer alerts and the first chargebacks have had a week to reach; the handbook's delay.
LABEL_DELAY_MS = 7 * DAY_MS
# An hour's burst is counted in twelfths of an hour; what is rarely used has no more buckets than transactions anyway.
HOP_MS = 5 * MINUTE_MS
_MONTH_MS = 30 * DAY_MS
_HOUR_BUCKETS = HOUR_MS // HOP_MS
_MONTH_BUCKETS = _MONTH_MS // HOP_MS
# The label delay is a whole number of buckets, so (t - delay) / hop is t / hop less this many.
_DELAY_BUCKETS = LABEL_DELAY_MS // HOP_MS

# Smoothing (known frauds + m * base) / (matured + m): an entity with m transactions is believed half. The base is the
# order of magnitude of fraud among card-not-present attempts before any screening.
SMOOTHING_TRANSACTIONS = 20
BASE_FRAUD_RATE = 0.005
_SMOOTHING_FRAUDS = SMOOTHING_TRANSACTIONS * BASE_FRAUD_RATE
# A known fraud is older than any window that counts it.
_FRAUDS_KNOWN_MS = LABEL_DELAY_MS + _MONTH_MS
_NO_FRAUDS: tuple[int, Value] = (0, MISSING)


def _values(
    state: EntityState, moment: Moment, distinct_window_ms: int, first_times: bool, amounts: bool, fraud_runs: bool
) -> list[Value]:
    """Of any entity: smoothed fraud rate, hours since known fraud, age, count of the hour, burst against the month.

    Then what the kind asks for: customers and cards, the share of first times in 7 days, the amount against the mean of
    30 days, the run of frauds. Windows are bounded by rows of the state: cumulative counters there cover everything up
    to the bound.
    """
    timestamp_ms, buckets, counts = moment.timestamp_ms, state.buckets, state.counts
    now = len(buckets) - 1
    if not now:
        values: list[Value] = [BASE_FRAUD_RATE, MISSING, 0.0, 0, 0.0]
        if distinct_window_ms:
            values += _distinct(state, moment, timestamp_ms - distinct_window_ms)
        return values + [MISSING] * (first_times + amounts + 3 * fraud_runs)
    bucket = timestamp_ms // HOP_MS
    current = -(-timestamp_ms // HOP_MS)
    if buckets[now] > current:
        now = bisect_right(buckets, current) - 1
    hour = now
    if buckets[now] > bucket - _HOUR_BUCKETS:
        # A row for each bucket at most, so an hour starts within this many of its end.
        hour = bisect_right(buckets, bucket - _HOUR_BUCKETS, max(0, now - _HOUR_BUCKETS - 1), now + 1) - 1
    matured_until = bisect_right(buckets, bucket - _DELAY_BUCKETS, 0, hour + 1) - 1
    matured_from = bisect_right(buckets, bucket - _DELAY_BUCKETS - _MONTH_BUCKETS, 0, matured_until + 1) - 1
    frauds_ms = state.fraud_timestamps_ms
    frauds, since_fraud = _known_frauds(state, frauds_ms[-1], timestamp_ms) if frauds_ms else _NO_FRAUDS
    matured = counts[matured_until] - counts[matured_from]
    rate = (frauds + _SMOOTHING_FRAUDS) / (matured + SMOOTHING_TRANSACTIONS)
    age_ms = timestamp_ms - state.first_seen_ms
    age_ms = max(age_ms, 0)
    recent, burst, month = counts[now] - counts[hour], 0.0, -1
    if recent or amounts:
        # Most entities were at rest for the hour before, and few ask for more of the month.
        month = bisect_right(buckets, bucket - _MONTH_BUCKETS, matured_from, matured_until + 1) - 1
    if recent:
        burst = recent * min(max(age_ms, HOUR_MS), _MONTH_MS) / ((counts[now] - counts[month]) * HOUR_MS)
    values = [rate, since_fraud, age_ms / DAY_MS, recent, burst]
    if distinct_window_ms:
        values += _distinct(state, moment, timestamp_ms - distinct_window_ms)
    if first_times:
        values.append(_first_time_share(state, now, matured_until))
    if amounts:
        values.append(_amount_to_mean(state, moment.amount, now, month))
    if fraud_runs:
        values += _fraud_run(state, timestamp_ms, matured_until)
    return values


def _known_frauds(state: EntityState, newest_ms: int, timestamp_ms: int) -> tuple[int, Value]:
    """How many there are among the transactions of 30 days that ended 7 days ago; whole hours since the newest."""
    matured_bucket = timestamp_ms // HOP_MS - _DELAY_BUCKETS
    count = state.known_frauds(matured_bucket - _MONTH_BUCKETS, matured_bucket, HOP_MS)
    since_ms = max(0, timestamp_ms - newest_ms)
    return count, since_ms // HOUR_MS if since_ms < _FRAUDS_KNOWN_MS else MISSING


def _fraud_run(state: EntityState, timestamp_ms: int, matured_until: int) -> tuple[Value, Value, Value]:
    """Of the transactions until 7 days ago: those since the newest fraud that are none, frauds on end, hours of these.

    A compromised entity is so for some time and then no more: legitimate transactions after a fraud say that it is
    over, an unbroken run of frauds how long it has been going on.
    """
    frauds = state.fraud_timestamps_ms
    if not frauds:
        return MISSING, MISSING, MISSING
    matured_bucket = timestamp_ms // HOP_MS - _DELAY_BUCKETS
    oldest = bisect_right(frauds, (matured_bucket - _MONTH_BUCKETS) * HOP_MS)
    end = bisect_right(frauds, matured_bucket * HOP_MS)
    if oldest == end:
        return MISSING, MISSING, MISSING
    counts = state.counts

    def legitimate_since(fraud_ms: int) -> int:
        before = -(-fraud_ms // HOP_MS) - 1
        marked = end - bisect_right(frauds, before * HOP_MS)
        return counts[matured_until] - counts[state.row_at(before)] - marked

    since_newest = legitimate_since(frauds[end - 1])
    if since_newest:
        return since_newest, 0, MISSING
    # Going back, legitimate transactions only become more, so the first fraud of the run can be searched by halves.
    first = bisect_left(frauds, 0, oldest, end - 1, key=lambda fraud_ms: -legitimate_since(fraud_ms))
    return 0, end - first, (timestamp_ms - frauds[first]) // HOUR_MS


def _first_time_share(state: EntityState, now: int, week: int) -> Value:
    """Share of the transactions of 7 days, the label delay, whose customer was new to the merchant."""
    first_times, counts = state.first_times, state.counts
    if first_times is None:
        return MISSING
    count = counts[now] - counts[week]
    return (first_times[now] - first_times[week]) / count if count else MISSING


def _amount_to_mean(state: EntityState, amount: int, now: int, month: int) -> Value:
    """The amount against the mean of 30 days."""
    amounts, counts = state.amounts, state.counts
    if amounts is None:
        return MISSING
    total = amounts[now] - amounts[month]
    return amount * (counts[now] - counts[month]) / total if total else MISSING


def _distinct(state: EntityState, moment: Moment, since_ms: int) -> tuple[int, int]:
    """Different customers and cards since then, those of the transaction included."""
    transaction = moment.transaction
    return _recent(state.customers, transaction.user_id, since_ms), _recent(state.cards, transaction.card_id, since_ms)


def _recent(last_seen_ms: dict[str, int] | None, current: str | None, since_ms: int) -> int:
    if not last_seen_ms:
        return int(current is not None)
    recent = int(current is not None and last_seen_ms.get(current, since_ms) <= since_ms)
    for seen_ms in reversed(last_seen_ms.values()):
        if seen_ms <= since_ms:
            break
        recent += 1
    return recent


def _family(count: int, distinct_window_ms: int, *, first_times: bool, amounts: bool, fraud_runs: bool) -> Family:
    """The family of all `count` rows of one kind."""
    missing = (MISSING,) * count

    def compute(moment: Moment) -> Sequence[Value]:
        state = moment.entity
        if state is None:
            return missing
        return _values(state, moment, distinct_window_ms, first_times, amounts, fraud_runs)

    def family(rows, plan):
        compute.kind = True
        return compute

    return family


def _unplaced(_rows: Sequence[Feature], _plan: StatePlan) -> Compute:
    raise ValueError("rows of an entity get their family from their kind")


def _row(kind: str, name: str, aggregation: str, meaning: str, window_ms: int = 0) -> Feature:
    return Feature(
        f"{kind}_{name}",
        "number",
        meaning,
        kind,
        aggregation,
        _unplaced,
        window_ms=window_ms,
        hop_ms=HOP_MS,
        missing=f"without a {kind}",
    )


def _risk_rows(kind: str) -> list[Feature]:
    rate = _row(
        kind,
        "fraud_rate_30d",
        "smoothed fraud rate",
        f"Known frauds among the {kind}'s transactions of 30 days that ended 7 days ago, smoothed",
        _MONTH_MS,
    )
    hours = _row(
        kind, "hours_since_fraud", "hours since known fraud", f"Whole hours since the {kind}'s newest known fraud"
    )
    count = _row(kind, "count_1h", "count", f"Earlier transactions of everybody at the {kind} in an hour", HOUR_MS)
    burst = _row(
        kind, "burst_1h", "ratio of counts", f"That count against the {kind}'s hourly mean of 30 days", HOUR_MS
    )
    return [
        replace(rate, delay_ms=LABEL_DELAY_MS),
        replace(hours, kind="integer", missing="without a known fraud of 37 days"),
        _row(kind, "age_days", "age", f"Days since the {kind} was first seen by anybody"),
        replace(count, kind="integer"),
        replace(burst, baseline_window_ms=_MONTH_MS),
    ]


def _distinct_rows(kind: str, length: str, window_ms: int) -> list[Feature]:
    meaning = f"Different {{}} at the {kind} in {length}, this one's included; at most 32 earlier ones are known"
    customers = _row(kind, f"distinct_customers_{length}", "distinct customers", meaning.format("customers"), window_ms)
    cards = _row(kind, f"distinct_cards_{length}", "distinct cards", meaning.format("cards"), window_ms)
    return [
        replace(customers, kind="integer", needs="customers"),
        replace(cards, kind="integer", needs="cards"),
    ]


def _first_time_row(kind: str) -> Feature:
    share = _row(
        kind,
        "first_time_share_7d",
        "share of first times",
        f"Share of the {kind}'s transactions of 7 days by customers new to the merchant",
        7 * DAY_MS,
    )
    return replace(share, needs="first_times", missing=f"without an earlier transaction at the {kind} in 7 days")


def _amount_row(kind: str) -> Feature:
    ratio = _row(
        kind,
        "amount_to_mean_30d",
        "ratio to mean",
        f"Amount against the {kind}'s mean of 30 days, this one not included",
        _MONTH_MS,
    )
    return replace(ratio, needs="amounts", missing=f"without an earlier transaction at the {kind} in 30 days")


def _fraud_run_rows(kind: str) -> list[Feature]:
    since = _row(
        kind,
        "legitimate_since_fraud",
        "count since known fraud",
        f"The {kind}'s transactions until 7 days ago since the newest known fraud among them",
    )
    run = _row(
        kind, "fraud_run", "known frauds on end", f"Known frauds on end, up to the {kind}'s last one of 7 days ago"
    )
    hours = _row(
        kind, "fraud_run_hours", "hours of known frauds on end", "Whole hours since the first fraud of that run"
    )
    none = "without a known fraud among those of 30 days that ended 7 days ago"
    return [
        replace(row, kind="integer", delay_ms=LABEL_DELAY_MS, window_ms=_MONTH_MS, missing=missing)
        for row, missing in ((since, none), (run, none), (hours, "without such a run"))
    ]


def _rows_of(
    kind: str,
    distinct: tuple[str, int] | None = None,
    *,
    first_times: bool = False,
    amounts: bool = False,
    fraud_runs: bool = False,
) -> list[Feature]:
    """All rows of one kind; `distinct` is the window, by name and length, that customers and cards are counted over."""
    rows = _risk_rows(kind)
    if distinct is not None:
        rows += _distinct_rows(kind, *distinct)
    if first_times:
        rows.append(_first_time_row(kind))
    if amounts:
        rows.append(_amount_row(kind))
    if fraud_runs:
        rows += _fraud_run_rows(kind)
    window_ms = 0 if distinct is None else distinct[1]
    family = _family(len(rows), window_ms, first_times=first_times, amounts=amounts, fraud_runs=fraud_runs)
    return [replace(row, family=family) for row in rows]


FEATURES = (
    *_rows_of("card"),
    *_rows_of("merchant", first_times=True, amounts=True),
    *_rows_of("terminal", ("1h", HOUR_MS), first_times=True, fraud_runs=True),
    *_rows_of("device", ("30d", _MONTH_MS)),
    *_rows_of("ip", ("24h", DAY_MS)),
    *_rows_of("counterparty", ("24h", DAY_MS)),
)
