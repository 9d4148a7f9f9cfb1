"""What is remembered about a merchant, terminal, device, ...: sawtooth windows of bucketed counters.

A sawtooth window (the term of Airbnb's Chronon) ends at the transaction and starts at the edge of a bucket. Bucket `i` of
a hop holds the events with timestamp in ((i - 1) hop, i hop]. A window of length w with delay d takes the buckets

    floor((t - d - w) / hop) < i <= floor((t - d) / hop)        with a delay
    floor((t - w) / hop)     < i <= ceil(t / hop)               without: the bucket in progress counts

so that with a delay only buckets wholly at or before t - d are taken. With timestamps in whole seconds and a hop of one
second both are exactly (t - d - w, t - d].
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort

from fraud.features.plan import EntityPlan, SeriesPlan, StatePlan

# Below every real bucket: the first row of a series stands for all that was dropped before it.
_BEFORE_ALL = -(1 << 62)
# A device or an address with this many customers is as suspicious as one with more, and a till has thousands.
DISTINCT_CAP = 32


class BucketSeries:
    """Cumulative counters per bucket, so that any window is a difference of two rows.

    Row 0 is a sentinel; `buckets` ascends; `counts`, `amounts` (base minor units) and `first_times` are cumulative.
    """

    __slots__ = ("amounts", "buckets", "counts", "first_times")

    def __init__(self) -> None:
        self.buckets = array("q", (_BEFORE_ALL,))
        self.counts = array("q", (0,))
        self.amounts = array("q", (0,))
        self.first_times = array("q", (0,))

    def add(self, bucket: int, amount: int, first_time: bool) -> None:
        """Count one event in its bucket."""
        buckets, counts, amounts, first_times = self.buckets, self.counts, self.amounts, self.first_times
        newest = buckets[-1]
        if bucket > newest:
            buckets.append(bucket)
            counts.append(counts[-1] + 1)
            amounts.append(amounts[-1] + amount)
            first_times.append(first_times[-1] + first_time)
            return
        place = len(buckets) - 1
        if bucket < newest:
            place = bisect_left(buckets, bucket)
            if buckets[place] != bucket:
                buckets.insert(place, bucket)
                for column in (counts, amounts, first_times):
                    column.insert(place, column[place - 1])
        for later in range(place, len(buckets)):
            counts[later] += 1
            amounts[later] += amount
            first_times[later] += first_time

    def drop_before(self, bucket: int) -> None:
        """Forget buckets at or before `bucket`; their sums stay in the sentinel row."""
        last = bisect_right(self.buckets, bucket) - 1
        if last > 0:
            for column in (self.buckets, self.counts, self.amounts, self.first_times):
                del column[:last]
            self.buckets[0] = _BEFORE_ALL


class EntityState:
    """Everything that is remembered about one entity. `key` is its identifier, shared by all who refer to it.

    `fraud_timestamps_ms` are the transactions known as fraud now, sorted by their own time.
    """

    __slots__ = ("cards", "customers", "first_seen_ms", "fraud_timestamps_ms", "key", "newest_ms", "series")

    def __init__(self, key: str, plan: EntityPlan) -> None:
        self.key = key
        self.series = tuple(BucketSeries() for _ in plan.series)
        self.first_seen_ms = 0
        self.newest_ms = 0
        self.customers: dict[str, int] | None = {} if plan.counts_customers else None
        self.cards: dict[str, int] | None = {} if plan.counts_cards else None
        self.fraud_timestamps_ms: array[int] | None = None

    def is_forgotten(self, timestamp_ms: int, plan: StatePlan) -> bool:
        """Whether the entity was silent so long before `timestamp_ms` that it counts as new."""
        return self.newest_ms != 0 and timestamp_ms - self.newest_ms > plan.forget_after_ms

    def cut_places(self, timestamp_ms: int, plan: EntityPlan) -> list[list[int]]:
        """For each series the number of rows at or before each cut, sentinel included, so never 0."""
        return [
            [
                bisect_right(series.buckets, (timestamp_ms - cut) // hop if cut else -(-timestamp_ms // hop))
                for cut in series_plan.cuts_ms
            ]
            for series, series_plan, hop in (
                (series, series_plan, series_plan.hop_ms)
                for series, series_plan in zip(self.series, plan.series, strict=True)
            )
        ]

    def absorb(
        self, timestamp_ms: int, amount: int, user_id: str, card_id: str | None, first_time: bool, plan: EntityPlan
    ) -> None:
        """Count one transaction; `amount` in base minor units, `first_time` if the customer is new to the entity."""
        if not self.first_seen_ms or timestamp_ms < self.first_seen_ms:
            self.first_seen_ms = timestamp_ms
        self.newest_ms = max(self.newest_ms, timestamp_ms)
        for series, series_plan in zip(self.series, plan.series, strict=True):
            hop = series_plan.hop_ms
            series.add(-(-timestamp_ms // hop), amount, first_time)
            self._drop_expired(series, series_plan)
        if self.customers is not None:
            _see(self.customers, user_id, timestamp_ms)
        if self.cards is not None and card_id is not None:
            _see(self.cards, card_id, timestamp_ms)

    def _drop_expired(self, series: BucketSeries, plan: SeriesPlan) -> None:
        buckets = series.buckets
        expired = (self.newest_ms - plan.retention_ms) // plan.hop_ms
        # In bulk, once an eighth has expired: shifting every column for each bucket would cost more.
        if buckets[1 + (len(buckets) >> 3) if len(buckets) > 2 else -1] <= expired:
            series.drop_before(expired)

    def mark_fraud(self, timestamp_ms: int, plan: EntityPlan) -> None:
        """A transaction of this time became known as fraud."""
        if self.fraud_timestamps_ms is None:
            self.fraud_timestamps_ms = array("q")
        insort(self.fraud_timestamps_ms, timestamp_ms)
        expired = bisect_right(self.fraud_timestamps_ms, self.newest_ms - plan.fraud_retention_ms)
        del self.fraud_timestamps_ms[:expired]

    def known_frauds(self, timestamp_ms: int, window_ms: int, delay_ms: int, hop_ms: int) -> int:
        """Known frauds among the transactions of a delayed window at `timestamp_ms`, whole buckets of `hop_ms`."""
        timestamps = self.fraud_timestamps_ms
        if not timestamps:
            return 0
        head = (timestamp_ms - delay_ms) // hop_ms * hop_ms
        tail = (timestamp_ms - delay_ms - window_ms) // hop_ms * hop_ms
        return bisect_right(timestamps, head) - bisect_right(timestamps, tail)

    def unmark_fraud(self, timestamp_ms: int) -> None:
        """A transaction of this time is no longer held for fraud."""
        timestamps = self.fraud_timestamps_ms
        if timestamps is not None:
            place = bisect_left(timestamps, timestamp_ms)
            if place < len(timestamps) and timestamps[place] == timestamp_ms:
                del timestamps[place]


def _see(last_seen_ms: dict[str, int], who: str, timestamp_ms: int) -> None:
    """Note that `who` was here; beyond the cap the one who came least recently is forgotten."""
    before = last_seen_ms.pop(who, None)
    if before is None:
        if len(last_seen_ms) >= DISTINCT_CAP:
            del last_seen_ms[next(iter(last_seen_ms))]
        last_seen_ms[who] = timestamp_ms
    else:
        last_seen_ms[who] = max(before, timestamp_ms)
