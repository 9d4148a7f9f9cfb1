"""Entity risk: what merchants, terminals, devices, addresses and cards have been doing with everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.entity_counting import sight_of
from fraud.features.entity_run import (
    ADDRESS,
    BASE_AMOUNT,
    CARD,
    CUSTOMER,
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
from fraud.features.entity_words import (
    BUCKET,
    CARDS,
    CARDS_AT,
    CUSTOMERS,
    CUSTOMERS_AT,
    FIRST_SEEN_MS,
    FRAUDS,
    FRAUDS_AT,
    ROWS,
    ROWS_AT,
    SEEN_MS,
    SIGHT_WORDS,
    amount_at,
    count_at,
    first_times_at,
    frauds_between,
    frauds_until,
    row_width,
    rows_until,
)
from fraud.features.plan import StatePlan
from fraud.features.table import DAY_MS, HOUR_MS, MINUTE_MS, MISSING, Family, Feature, family_of
from fraud.features.wide_integers import product_over

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

# Parameters of the family: the window of distinct customers and cards (0: nobody asks), and what else is asked for.
_DISTINCT_WINDOW_MS: Final = PARAMETERS_AT
_ASKS: Final = PARAMETERS_AT + 1
_COLUMNS: Final = PARAMETERS_AT + 2
_ASKS_FIRST_TIMES: Final = 1
_ASKS_AMOUNTS: Final = 2
_ASKS_FRAUD_RUNS: Final = 4


@compiled
def _meet(run_address: int, kind_address: int, out: Reals, first_column: int) -> bool:
    run, kind = integers_at(run_address), integers_at(kind_address)
    for place in left(run):
        event = event_at(place)
        row = run[event + ROW]
        if row < 0:
            if not marked(run, place, kind):
                return False
            continue
        values = out[row, first_column : first_column + kind[_COLUMNS]]
        if run[event + ADDRESS] == 0:
            values[:] = MISSING
            continue
        words = met(run, event, kind)
        _write(words, run, event, kind, values)
        if not counted(run, place, words, kind):
            return False
    return True


@compiled
def _write(words: Integers, run: Integers, event: int, kind: Integers, values: Reals) -> None:
    """Of any entity: smoothed fraud rate, hours since known fraud, age, count of the hour, burst against the month.

    Then what the kind asks for: customers and cards, the share of first times in 7 days, the amount against the mean of
    30 days, the run of frauds. Windows are bounded by rows of the state: cumulative counters there cover everything up
    to the bound.
    """
    timestamp_ms, asks = run[event + TIMESTAMP_MS], kind[_ASKS]
    column = 5
    if kind[_DISTINCT_WINDOW_MS]:
        _write_distinct(words, run, event, timestamp_ms - kind[_DISTINCT_WINDOW_MS], values[column:])
        column += 2
    now = words[ROWS] - 1
    if not now:
        values[:5] = 0.0
        values[0], values[1] = BASE_FRAUD_RATE, MISSING
        values[column:] = MISSING
        return
    bucket = timestamp_ms // HOP_MS
    current = -(-timestamp_ms // HOP_MS)
    if _bucket_at(words, now) > current:
        now = rows_until(words, current, 0, now + 1) - 1
    hour = now
    if _bucket_at(words, now) > bucket - _HOUR_BUCKETS:
        # A row for each bucket at most, so an hour starts within this many of its end.
        hour = rows_until(words, bucket - _HOUR_BUCKETS, max(0, now - _HOUR_BUCKETS - 1), now + 1) - 1
    matured_until = rows_until(words, bucket - _DELAY_BUCKETS, 0, hour + 1) - 1
    matured_from = rows_until(words, bucket - _DELAY_BUCKETS - _MONTH_BUCKETS, 0, matured_until + 1) - 1
    frauds = _write_known_frauds(words, timestamp_ms, values)
    matured = count_at(words, matured_until) - count_at(words, matured_from)
    values[0] = (frauds + _SMOOTHING_FRAUDS) / (matured + SMOOTHING_TRANSACTIONS)
    age_ms = max(timestamp_ms - words[FIRST_SEEN_MS], 0)
    values[2] = age_ms / DAY_MS
    recent, month = count_at(words, now) - count_at(words, hour), 0
    if recent or asks & _ASKS_AMOUNTS:
        # Most entities were at rest for the hour before, and few ask for more of the month.
        month = rows_until(words, bucket - _MONTH_BUCKETS, matured_from, matured_until + 1) - 1
    values[3], values[4] = recent, 0.0
    if recent:
        of_month = count_at(words, now) - count_at(words, month)
        values[4] = recent * min(max(age_ms, HOUR_MS), _MONTH_MS) / (of_month * HOUR_MS)
    if asks & _ASKS_FIRST_TIMES:
        values[column] = _first_time_share(words, now, matured_until)
        column += 1
    if asks & _ASKS_AMOUNTS:
        values[column] = _amount_to_mean(words, run[event + BASE_AMOUNT], now, month)
        column += 1
    if asks & _ASKS_FRAUD_RUNS:
        _write_fraud_run(words, timestamp_ms, matured_until, values[column:])


@compiled
def _bucket_at(words: Integers, row: int) -> int:
    bucket: int = words[words[ROWS_AT] + row * row_width(words) + BUCKET]
    return bucket


@compiled
def _write_known_frauds(words: Integers, timestamp_ms: int, values: Reals) -> int:
    """Whole hours since the newest; how many there are among the transactions of 30 days that ended 7 days ago."""
    values[1] = MISSING
    if not words[FRAUDS]:
        return 0
    since_ms = max(0, timestamp_ms - words[words[FRAUDS_AT] + words[FRAUDS] - 1])
    if since_ms < _FRAUDS_KNOWN_MS:
        values[1] = since_ms // HOUR_MS
    matured_bucket = timestamp_ms // HOP_MS - _DELAY_BUCKETS
    return frauds_between(words, matured_bucket - _MONTH_BUCKETS, matured_bucket, HOP_MS)


@compiled
def _write_fraud_run(words: Integers, timestamp_ms: int, matured_until: int, values: Reals) -> None:
    """Of the transactions until 7 days ago: those since the newest fraud that are none, frauds on end, hours of these.

    A compromised entity is so for some time and then no more: legitimate transactions after a fraud say that it is
    over, an unbroken run of frauds how long it has been going on.
    """
    values[:] = MISSING
    matured_bucket = timestamp_ms // HOP_MS - _DELAY_BUCKETS
    oldest = frauds_until(words, (matured_bucket - _MONTH_BUCKETS) * HOP_MS)
    end = frauds_until(words, matured_bucket * HOP_MS)
    if oldest == end:
        return
    frauds_at = words[FRAUDS_AT]
    since_newest = _legitimate_since(words, words[frauds_at + end - 1], matured_until, end)
    if since_newest:
        values[0], values[1] = since_newest, 0
        return
    # Going back, legitimate transactions only become more, so the first fraud of the run can be searched by halves.
    first, high = oldest, end - 1
    while first < high:
        middle = (first + high) // 2
        if _legitimate_since(words, words[frauds_at + middle], matured_until, end) > 0:
            first = middle + 1
        else:
            high = middle
    values[0], values[1] = 0, end - first
    values[2] = (timestamp_ms - words[frauds_at + first]) // HOUR_MS


@compiled
def _legitimate_since(words: Integers, fraud_ms: int, matured_until: int, end: int) -> int:
    """Transactions from a fraud on that are none themselves, until 7 days ago, where `end` frauds are known."""
    before = -(-fraud_ms // HOP_MS) - 1
    row = rows_until(words, before, 0, words[ROWS]) - 1
    frauds = end - frauds_until(words, before * HOP_MS)
    return count_at(words, matured_until) - count_at(words, row) - frauds


@compiled
def _first_time_share(words: Integers, now: int, week: int) -> float:
    """Share of the transactions of 7 days, the label delay, whose customer was new to the merchant."""
    count = count_at(words, now) - count_at(words, week)
    return (first_times_at(words, now) - first_times_at(words, week)) / count if count else MISSING


@compiled
def _amount_to_mean(words: Integers, amount: int, now: int, month: int) -> float:
    """The amount against the mean of 30 days."""
    total = amount_at(words, now) - amount_at(words, month)
    if not total:
        return MISSING
    return product_over(amount, count_at(words, now) - count_at(words, month), total)


@compiled
def _write_distinct(words: Integers, run: Integers, event: int, since_ms: int, values: Reals) -> None:
    """Different customers and cards since then, those of the transaction included."""
    values[0] = _recent(words, words[CUSTOMERS], CUSTOMERS_AT, run[event + CUSTOMER], since_ms)
    values[1] = _recent(words, words[CARDS], words[CARDS_AT], run[event + CARD], since_ms)


@compiled
def _recent(words: Integers, count: int, at: int, current: int, since_ms: int) -> int:
    recent = 0
    if current:
        place = sight_of(words, count, at, current)
        recent += place == count or words[at + place * SIGHT_WORDS + SEEN_MS] <= since_ms
    place = count - 1
    while place >= 0 and words[at + place * SIGHT_WORDS + SEEN_MS] > since_ms:
        recent += 1
        place -= 1
    return recent


def _family(count: int, distinct_window_ms: int, *, first_times: bool, amounts: bool, fraud_runs: bool) -> Family:
    """The family of all `count` rows of one kind."""
    asks = _ASKS_FIRST_TIMES * first_times | _ASKS_AMOUNTS * amounts | _ASKS_FRAUD_RUNS * fraud_runs
    return family_of(count, EntityFamily(_meet, (distinct_window_ms, asks, count)))


def _unplaced(_rows: Sequence[Feature], _plan: StatePlan) -> EntityFamily:
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
