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
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter

from fraud.features import entity_counting as counting
from fraud.features.compiled import name_hash
from fraud.features.entity_words import (
    AMOUNT,
    BUCKET,
    CARDS,
    CARDS_AT,
    COUNT,
    CUSTOMERS,
    CUSTOMERS_AT,
    DISTINCT_CAP,
    FIRST_SEEN_MS,
    FRAUDS,
    FRAUDS_AT,
    IS_TOLD,
    KEEPS,
    KEEPS_AMOUNTS,
    KEEPS_CARDS,
    KEEPS_CUSTOMERS,
    KEEPS_FIRST_TIMES,
    NEWEST_MS,
    ROWS,
    ROWS_AT,
    SIGHT_WORDS,
    empty_words,
    laid_out,
    width_of_rows,
    with_room,
)
from fraud.features.plan import EntityPlan, StatePlan


class EntityState:
    """Everything that is remembered about one entity. `key` is its identifier, shared by all who refer to it.

    `words` hold it, see entity_words.py; compiled code finds them at `address`, which changes with `make_room` alone.
    What the properties give are copies, to look at.
    """

    __slots__ = ("_offsets", "address", "key", "words")

    def __init__(self, key: str, words: array[int], absorbed_offsets: dict[str, int] | None = None) -> None:
        self.key = key
        self.words = words
        self.address = words.buffer_info()[0]
        self._offsets = absorbed_offsets
        if absorbed_offsets is not None:
            words[KEEPS] |= IS_TOLD

    @classmethod
    def new(cls, key: str, plan: EntityPlan) -> EntityState:
        """An entity that nobody has seen."""
        return cls(key, empty_words(plan))

    def copied(self) -> EntityState:
        """Another one that is as this one is."""
        offsets = self.absorbed_offsets
        return EntityState(self.key, self.words[:], None if offsets is None else {**offsets})

    def __copy__(self) -> EntityState:
        return self.copied()

    def __deepcopy__(self, _known: object) -> EntityState:
        return self.copied()

    @property
    def absorbed_offsets(self) -> dict[str, int] | None:
        """What a store outside this process has counted, by source; None where this object is the store."""
        return self._offsets if self.words[KEEPS] & IS_TOLD else None

    @absorbed_offsets.setter
    def absorbed_offsets(self, offsets: dict[str, int] | None) -> None:
        self._offsets = offsets
        if offsets is None:
            self.words[KEEPS] &= ~IS_TOLD
        else:
            self.words[KEEPS] |= IS_TOLD

    def has_counted(self, source: str, offset: int) -> bool:
        """Whether a store outside this process has counted that; nothing where this object is the store."""
        return self._offsets is not None and offset <= self._offsets.get(source, -1)

    @property
    def first_seen_ms(self) -> int:
        """When the first event was; 0 before it."""
        return self.words[FIRST_SEEN_MS]

    @property
    def newest_ms(self) -> int:
        """When the newest event was; 0 before the first."""
        return self.words[NEWEST_MS]

    @property
    def rows(self) -> array[int]:
        """Bucket, count, amount and first times of each row in turn, the sentinel first."""
        words = self.words
        at = words[ROWS_AT]
        return words[at : at + words[ROWS] * width_of_rows(words[KEEPS])]

    @property
    def buckets(self) -> array[int]:
        """The bucket of each row."""
        return self._column(BUCKET)

    @property
    def counts(self) -> array[int]:
        """All transactions up to each row."""
        return self._column(COUNT)

    @property
    def amounts(self) -> array[int] | None:
        """Their amounts in base minor units; None if nobody asks for them."""
        return self._column(AMOUNT) if self.words[KEEPS] & KEEPS_AMOUNTS else None

    @property
    def first_times(self) -> array[int] | None:
        """Those by customers new to the merchant; None if nobody asks for them."""
        keeps = self.words[KEEPS]
        return self._column(width_of_rows(keeps) - 1) if keeps & KEEPS_FIRST_TIMES else None

    def _column(self, column: int) -> array[int]:
        return self.rows[column :: width_of_rows(self.words[KEEPS])]

    @property
    def customers(self) -> dict[int, int] | None:
        """When each customer was last seen, by hash of the name, in that order; None if nobody asks for them."""
        if not self.words[KEEPS] & KEEPS_CUSTOMERS:
            return None
        return _sights(self.words, CUSTOMERS_AT, self.words[CUSTOMERS])

    @property
    def cards(self) -> dict[int, int] | None:
        """The same of cards."""
        if not self.words[KEEPS] & KEEPS_CARDS:
            return None
        return _sights(self.words, self.words[CARDS_AT], self.words[CARDS])

    @property
    def fraud_timestamps_ms(self) -> array[int]:
        """The transactions known as fraud now, sorted by their own time."""
        at = self.words[FRAUDS_AT]
        return self.words[at : at + self.words[FRAUDS]]

    def is_idle(self, timestamp_ms: int, plan: StatePlan) -> bool:
        """Whether the entity is new to every event from `timestamp_ms` on; one that absorbed nothing is new anyway."""
        return timestamp_ms - self.words[NEWEST_MS] > plan.forget_after_ms

    def make_room(self, section: int) -> None:
        """Let a section take more; `address` is another one then."""
        self.words = with_room(self.words, section)
        self.address = self.words.buffer_info()[0]

    def absorb(
        self, timestamp_ms: int, amount: int, user_id: str, card_id: str | None, first_time: bool, plan: EntityPlan
    ) -> None:
        """Count one transaction; `amount` in base minor units, `first_time` if the customer is new to its merchant."""
        who = (name_hash(user_id), name_hash(card_id))
        event = (timestamp_ms, amount, int(first_time), *who, plan.hop_ms, plan.retention_ms)
        while full := counting.absorb_at(self.address, *event):
            self.make_room(full)

    def drop_expired(self, plan: EntityPlan) -> None:
        """Forget buckets and frauds that no window of an event in time reaches."""
        counting.drop_expired_at(self.address, plan.hop_ms, plan.retention_ms)

    def mark_fraud(self, timestamp_ms: int, plan: EntityPlan) -> None:
        """A transaction of this time became known as fraud."""
        while full := counting.mark_at(self.address, timestamp_ms, plan.hop_ms, plan.retention_ms):
            self.make_room(full)

    def unmark_fraud(self, timestamp_ms: int) -> None:
        """A transaction of this time is no longer held for fraud."""
        counting.unmark_at(self.address, timestamp_ms)

    def rename(self, names: Mapping[int, int]) -> None:
        """Put customers and cards that have another name now under it, by old name; all by their hashes."""
        customers, cards = (_renamed(sights, names) for sights in (self.customers, self.cards))
        if customers is not None or cards is not None:
            self._become(
                self.first_seen_ms,
                self.newest_ms,
                (customers or self.customers, cards or self.cards),
                self.fraud_timestamps_ms,
                self.rows,
            )

    def joined(self, other: EntityState) -> EntityState:
        """This state and one of the same entity under another name, as if it had had this one's always."""
        joined = self.copied()
        joined._become(
            min(filter(None, (self.first_seen_ms, other.first_seen_ms)), default=0),
            max(self.newest_ms, other.newest_ms),
            (_latest(self.customers, other.customers), _latest(self.cards, other.cards)),
            sorted([*self.fraud_timestamps_ms, *other.fraud_timestamps_ms]),
            _sum(self, other),
        )
        return joined

    def _become(
        self,
        first_seen_ms: int,
        newest_ms: int,
        customers_and_cards: tuple[dict[int, int] | None, dict[int, int] | None],
        frauds_ms: Sequence[int],
        rows: array[int],
    ) -> None:
        customers, cards = (list(chain.from_iterable((sights or {}).items())) for sights in customers_and_cards)
        self.words = laid_out(
            self.words[KEEPS], (first_seen_ms, newest_ms), (customers, cards), frauds_ms, rows, spare_rows=1
        )
        self.address = self.words.buffer_info()[0]


def name_hashes(names: Mapping[str, str]) -> dict[int, int]:
    """Names by former names, as hashes."""
    return {name_hash(former): name_hash(name) for former, name in names.items()}


def _sights(words: array[int], at: int, count: int) -> dict[int, int]:
    flat = iter(words[at : at + count * SIGHT_WORDS])
    return dict(zip(flat, flat, strict=True))


def _renamed(last_seen_ms: dict[int, int] | None, names: Mapping[int, int]) -> dict[int, int] | None:
    """Sights with new names; None if nobody of them has one."""
    if not last_seen_ms or last_seen_ms.keys().isdisjoint(names):
        return None
    renamed: dict[int, int] = {}
    for who, seen_ms in last_seen_ms.items():
        # They ascend: of two that become one the later sight stays, in its place.
        renamed.pop(names.get(who, who), None)
        renamed[names.get(who, who)] = seen_ms
    return renamed


def _latest(one: dict[int, int] | None, other: dict[int, int] | None) -> dict[int, int] | None:
    """Who was seen in either, and when last, in that order; as many as are remembered."""
    if one is None or other is None:
        return one
    seen_ms = {who: max(one.get(who, 0), other.get(who, 0)) for who in {**other, **one}}
    return dict(sorted(seen_ms.items(), key=itemgetter(1))[-DISTINCT_CAP:])


def _sum(one: EntityState, other: EntityState) -> array[int]:
    """Rows of both states, added up."""
    width = width_of_rows(one.words[KEEPS])
    series = [(state.buckets, state.rows) for state in (one, other)]
    summed = array("q")
    for bucket in sorted({*one.buckets, *other.buckets}):
        places = [(bisect_right(buckets, bucket) - 1) * width for buckets, _ in series]
        summed.append(bucket)
        for column in range(COUNT, width):
            summed.append(sum(rows[place + column] for place, (_, rows) in zip(places, series, strict=True)))
    return summed
