"""What is remembered about a merchant, terminal, device, ...: sawtooth windows of bucketed counters.

A sawtooth window (the term of Airbnb's Chronon) ends at the transaction and starts at the edge of a bucket. Bucket `i`
of a hop holds the events with timestamp in ((i - 1) hop, i hop]. A window of length w with delay d takes the buckets

    floor((t - d - w) / hop) < i <= floor((t - d) / hop)        with a delay
    floor((t - w) / hop)     < i <= ceil(t / hop)               without: the bucket in progress counts

so that with a delay only buckets wholly at or before t - d are taken. With timestamps in whole seconds and a hop of one
second both are exactly (t - d - w, t - d].
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from copy import copy
from operator import itemgetter

from fraud.features.plan import EntityPlan, StatePlan

# Below every real bucket: the first row of a series stands for all that was dropped before it.
_BEFORE_ALL = -(1 << 62)
# A device or an address with this many customers is as suspicious as one with more, and a till has thousands.
DISTINCT_CAP = 32
# Shifting every column for each expired row would cost more than holding up to this many longer.
_ROWS_BETWEEN_DROPS = 16


class EntityState:
    """Everything that is remembered about one entity. `key` is its identifier, shared by all who refer to it.

    `buckets` ascends; `counts`, `amounts` (base minor units) and `first_times` (customers new to the merchant) are
    cumulative per bucket, so that any window is a difference of two rows; row 0 is a sentinel. The latter two,
    `customers` and `cards` (when each was last seen, in that order) are None unless the plan asks for them.
    `fraud_timestamps_ms` are the transactions known as fraud now, sorted by their own time. `absorbed_offsets` is what
    a store outside this process has counted, by source; None where this object is the store.
    """

    __slots__ = (
        "absorbed_offsets",
        "amounts",
        "buckets",
        "cards",
        "counts",
        "customers",
        "first_seen_ms",
        "first_times",
        "fraud_timestamps_ms",
        "key",
        "newest_ms",
    )

    def __init__(self, key: str, plan: EntityPlan) -> None:
        self.key = key
        self.buckets = array("q", (_BEFORE_ALL,))
        self.counts = array("q", (0,))
        self.amounts = array("q", (0,)) if plan.sums_amounts else None
        self.first_times = array("q", (0,)) if plan.counts_first_times else None
        self.first_seen_ms = 0
        self.newest_ms = 0
        self.customers: dict[str, int] | None = {} if plan.counts_customers else None
        self.cards: dict[str, int] | None = {} if plan.counts_cards else None
        self.fraud_timestamps_ms: array[int] | None = None
        self.absorbed_offsets: dict[str, int] | None = None

    def is_idle(self, timestamp_ms: int, plan: StatePlan) -> bool:
        """Whether the entity is new to every event from `timestamp_ms` on; one that absorbed nothing is new anyway."""
        return timestamp_ms - self.newest_ms > plan.forget_after_ms

    def row_at(self, bucket: int) -> int:
        """The last row at or before `bucket`: cumulative counters there cover everything up to it."""
        return bisect_right(self.buckets, bucket) - 1

    def absorb(
        self, timestamp_ms: int, amount: int, user_id: str, card_id: str | None, first_time: bool, plan: EntityPlan
    ) -> None:
        """Count one transaction; `amount` in base minor units, `first_time` if the customer is new to its merchant."""
        in_order = timestamp_ms >= self.newest_ms
        if in_order:
            if not self.newest_ms:
                self.first_seen_ms = timestamp_ms
            self.newest_ms = timestamp_ms
        elif timestamp_ms < self.first_seen_ms:
            self.first_seen_ms = timestamp_ms
        bucket = -(-timestamp_ms // plan.hop_ms)
        buckets, counts = self.buckets, self.counts
        if bucket > buckets[-1]:
            buckets.append(bucket)
            counts.append(counts[-1] + 1)
            if self.amounts is not None:
                self.amounts.append(self.amounts[-1] + amount)
            if self.first_times is not None:
                self.first_times.append(self.first_times[-1] + first_time)
            if not len(buckets) % _ROWS_BETWEEN_DROPS:
                self.drop_expired(plan)
        else:
            self._count_into(bucket, amount, first_time)
        if self.customers is not None:
            _see(self.customers, user_id, timestamp_ms, in_order)
        if self.cards is not None and card_id is not None:
            _see(self.cards, card_id, timestamp_ms, in_order)

    def _count_into(self, bucket: int, amount: int, first_time: bool) -> None:
        """Count an event in a bucket that is not a new one at the end."""
        buckets = self.buckets
        columns = [(column, step) for column, step in self._columns(amount, first_time) if column is not None]
        place = bisect_left(buckets, bucket)
        if buckets[place] != bucket:
            buckets.insert(place, bucket)
            for column, _ in columns:
                column.insert(place, column[place - 1])
        for column, step in columns:
            for later in range(place, len(column)):
                column[later] += step

    def _columns(self, amount: int, first_time: bool) -> tuple[tuple[array[int] | None, int], ...]:
        return (self.counts, 1), (self.amounts, amount), (self.first_times, int(first_time))

    def drop_expired(self, plan: EntityPlan) -> None:
        """Forget buckets and frauds that no window of an event in time reaches."""
        expired_ms = self.newest_ms - plan.retention_ms
        last = self.row_at(expired_ms // plan.hop_ms)
        if last > 0:
            for column in (self.buckets, self.counts, self.amounts, self.first_times):
                if column is not None:
                    del column[:last]
            self.buckets[0] = _BEFORE_ALL
        if self.fraud_timestamps_ms:
            del self.fraud_timestamps_ms[: bisect_right(self.fraud_timestamps_ms, expired_ms)]

    def mark_fraud(self, timestamp_ms: int, plan: EntityPlan) -> None:
        """A transaction of this time became known as fraud."""
        if self.fraud_timestamps_ms is None:
            self.fraud_timestamps_ms = array("q")
        insort(self.fraud_timestamps_ms, timestamp_ms)
        self.drop_expired(plan)

    def unmark_fraud(self, timestamp_ms: int) -> None:
        """A transaction of this time is no longer held for fraud."""
        timestamps = self.fraud_timestamps_ms
        if timestamps is not None:
            place = bisect_left(timestamps, timestamp_ms)
            if place < len(timestamps) and timestamps[place] == timestamp_ms:
                del timestamps[place]

    def rename(self, names: Mapping[str, str]) -> None:
        """Put customers and cards that have another name now under it, by old name."""
        for last_seen_ms in (self.customers, self.cards):
            if last_seen_ms and last_seen_ms.keys() & names.keys():
                entries = list(last_seen_ms.items())
                last_seen_ms.clear()
                for who, seen_ms in entries:
                    # They ascend: of two that become one the later sight stays, in its place.
                    last_seen_ms.pop(names.get(who, who), None)
                    last_seen_ms[names.get(who, who)] = seen_ms

    def joined(self, other: EntityState) -> EntityState:
        """This state and one of the same entity under another name, as if it had had this one's always."""
        joined = copy(self)
        joined.buckets = array("q", sorted({*self.buckets, *other.buckets}))
        joined.counts = _sum(joined.buckets, (self, self.counts), (other, other.counts))
        if self.amounts is not None and other.amounts is not None:
            joined.amounts = _sum(joined.buckets, (self, self.amounts), (other, other.amounts))
        if self.first_times is not None and other.first_times is not None:
            joined.first_times = _sum(joined.buckets, (self, self.first_times), (other, other.first_times))
        joined.first_seen_ms = min(filter(None, (self.first_seen_ms, other.first_seen_ms)), default=0)
        joined.newest_ms = max(self.newest_ms, other.newest_ms)
        joined.customers = _latest(self.customers, other.customers)
        joined.cards = _latest(self.cards, other.cards)
        joined.fraud_timestamps_ms = array(
            "q", sorted([*(self.fraud_timestamps_ms or ()), *(other.fraud_timestamps_ms or ())])
        )
        return joined

    def known_frauds(self, after_bucket: int, last_bucket: int, hop_ms: int) -> int:
        """Known frauds among the transactions of the buckets after `after_bucket` up to `last_bucket`."""
        timestamps = self.fraud_timestamps_ms
        if not timestamps:
            return 0
        return bisect_right(timestamps, last_bucket * hop_ms) - bisect_right(timestamps, after_bucket * hop_ms)


def _sum(buckets: array[int], *series: tuple[EntityState, array[int]]) -> array[int]:
    """Cumulative counters of several states at `buckets`, added up."""
    return array("q", (sum(column[state.row_at(bucket)] for state, column in series) for bucket in buckets))


def _latest(one: dict[str, int] | None, other: dict[str, int] | None) -> dict[str, int] | None:
    """Who was seen in either, and when last, in that order; as many as are remembered."""
    if one is None or other is None:
        return one
    seen_ms = {who: max(one.get(who, 0), other.get(who, 0)) for who in {**other, **one}}
    return dict(sorted(seen_ms.items(), key=itemgetter(1))[-DISTINCT_CAP:])


def _see(last_seen_ms: dict[str, int], who: str, timestamp_ms: int, in_order: bool) -> None:
    """Note that `who` was here. Entries stay in the order of last sight; beyond the cap the first one is forgotten."""
    before = last_seen_ms.pop(who, 0)
    last_seen_ms[who] = timestamp_ms if in_order else max(before, timestamp_ms)
    if not in_order:
        by_last_sight = sorted(last_seen_ms.items(), key=itemgetter(1))
        last_seen_ms.clear()
        last_seen_ms.update(by_last_sight)
    if len(last_seen_ms) > DISTINCT_CAP:
        del last_seen_ms[next(iter(last_seen_ms))]
