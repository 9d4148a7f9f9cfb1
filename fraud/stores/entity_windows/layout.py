"""How an entity stands in Redis, and back: packed values that the functions of functions.lua change in place.

A head is read whole with every load:

    B   1: a state                                        I8  when the entity was first seen, ms
    I8  epoch of the past: another one, other rows        I4  bytes of the lists
    I4  rows in the past                                  I4  bytes of the marks
    I8  newest event, ms
    lists   msgpack of three flat lists: source and last counted offset, customer and last seen, card and last seen;
            the latter two false where the plan does not ask
    marks   known frauds by time: I8 timestamp in ms, I8 identity of the transaction
    rows    the newest buckets in order: I4 bucket, I4 count, I4 I4 low and high half of the amount, I4 first times;
            the amount and the first times only where the plan asks

All numbers are unsigned and little-endian. Rows hold what happened in their bucket alone, so that a late event changes
one row; `EntityState` has them cumulative. A head of more than `HEAD_ROWS` rows gives its oldest to the past, a value
of its own: I8 epoch, then rows. It only grows at its end unless its epoch changes, hence clients keep what they read.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, Final

import msgspec
import numpy as np

from fraud.features.compiled import Integers, compiled, integers_at
from fraud.features.entity_state import EntityState
from fraud.features.entity_words import (
    AMOUNT,
    BEFORE_ALL,
    BUCKET,
    COUNT,
    KEEPS,
    KEEPS_AMOUNTS,
    KEEPS_FIRST_TIMES,
    ROWS,
    ROWS_AT,
    kept_by,
    laid_out,
    width_of_rows,
)
from fraud.features.plan import EntityPlan
from fraud.ports import EntityStoreUnavailableError

_HEAD = struct.Struct("<BQIQQII")
_MARK = struct.Struct("<QQ")
_EPOCH = struct.Struct("<Q")
EPOCH_BYTES = _EPOCH.size
_STATE = 1
# Named in functions.lua too, with the reason.
HEAD_ROWS = 32
_KEPT_ROWS = 16
_WORD_BYTES = 4
_LOW_BITS: Final = 32
_LOW_MASK: Final = (1 << _LOW_BITS) - 1
_decode_lists = msgspec.msgpack.Decoder().decode
_encode_lists = msgspec.msgpack.Encoder().encode


class DamagedValueError(EntityStoreUnavailableError):
    """A value in Redis that no function of this service wrote, or that is gone."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """The fixed part of a head with the value itself."""

    epoch: int
    past_rows: int
    newest_ms: int
    first_seen_ms: int
    lists_bytes: int
    marks_bytes: int
    value: bytes


class PastRows:
    """Rows of one entity that clients keep, as they lie in the words of an `EntityState`, the sentinel first."""

    __slots__ = ("epoch", "rows", "words")

    def __init__(self, epoch: int, words: array[int]) -> None:
        self.epoch = epoch
        self.words = words
        # How many there are besides the sentinel.
        self.rows = 0


def decode_head(name: str, value: bytes) -> Head | None:
    """The head under the key `name`; None for an entity that counted nothing yet. Raises `DamagedValueError`."""
    try:
        kind, epoch, past_rows, newest_ms, first_seen_ms, lists_bytes, marks_bytes = _HEAD.unpack_from(value)
    except struct.error:
        kind = 0
    if kind != _STATE:
        raise DamagedValueError(f"{name} in Redis is no entity: it starts with {value[:8]!r}")
    return Head(epoch, past_rows, newest_ms, first_seen_ms, lists_bytes, marks_bytes, value) if newest_ms else None


class EntityLayout:
    """The layout of entities of one kind."""

    def __init__(self, plan: EntityPlan) -> None:
        self.plan = plan
        self._keeps = kept_by(plan)
        # Of a row in a state, and in Redis.
        self._width = width_of_rows(self._keeps)
        self._words = 2 + 2 * plan.sums_amounts + plan.counts_first_times
        self.row_bytes = self._words * _WORD_BYTES
        self._no_rows = array("q", (BEFORE_ALL, *(0,) * (self._width - 1)))

    def past(self, epoch: int) -> PastRows:
        """A past without rows."""
        return PastRows(epoch, self._no_rows[:])

    def extend(self, past: PastRows, data: bytes) -> None:
        """Add the rows of `data` to the end of `past`."""
        first, count = past.rows + 1, len(data) // self.row_bytes
        past.words.frombytes(bytes(count * self._width * past.words.itemsize - len(data)) + data)
        _accumulate(np.frombuffer(past.words, dtype=np.int64), first, count, self._keeps)
        past.rows += count

    def states(self, loaded: Sequence[tuple[str, Head, PastRows | None]]) -> list[EntityState]:
        """The entities of these keys. A past holds at least the rows that its head names; None if it names none."""
        laid = [self._laid(key, head, past) for key, head, past in loaded]
        addresses = np.array([state.address for state, _ in laid], dtype=np.int64)
        # All at once: a call costs as much as some ten rows do.
        _accumulate_in(addresses, np.array([open_rows for _, open_rows in laid], dtype=np.int64))
        return [state for state, _ in laid]

    def _laid(self, key: str, head: Head, past: PastRows | None) -> tuple[EntityState, int]:
        """A state whose newest rows stand at its end as they do in Redis, and how many they are."""
        value = head.value
        marks_at = _HEAD.size + head.lists_bytes
        rows_at = marks_at + head.marks_bytes
        offsets, customers, cards = _decode_lists(value[_HEAD.size : marks_at])
        frauds_ms = self._frauds(head, value[marks_at:rows_at]) if head.marks_bytes else ()
        closed = self._no_rows if past is None else past.words[: (head.past_rows + 1) * self._width]
        open_rows, rest = divmod(len(value) - rows_at, self.row_bytes)
        if rest or open_rows < 0:
            raise DamagedValueError(f"{key} in Redis is damaged: {rest} bytes too many")
        words = laid_out(
            self._keeps,
            (head.first_seen_ms, head.newest_ms),
            (_with_hashes(customers), _with_hashes(cards)),
            frauds_ms,
            closed,
            # Room for one more, which the transaction at hand most often is.
            spare_rows=open_rows + 1,
            in_spare=value[rows_at:],
        )
        return EntityState(key, words, dict(zip(offsets[::2], offsets[1::2], strict=True))), open_rows

    def _frauds(self, head: Head, marks: bytes) -> list[int]:
        # A mark may come before its transaction, and one that no window reaches any more stays until the next mark.
        after_ms = head.newest_ms - self.plan.retention_ms
        return [
            timestamp_ms
            for timestamp_ms, _ in _MARK.iter_unpack(marks)
            if timestamp_ms > after_ms and head.first_seen_ms <= timestamp_ms <= head.newest_ms
        ]

    def encode(
        self, state: EntityState, marks: Iterable[tuple[int, int]], names: Mapping[int, str]
    ) -> tuple[bytes, bytes]:
        """Head and past of a state; the past is empty if all rows fit into the head.

        `marks` are timestamps, ms, and identities of known frauds in order; `state.fraud_timestamps_ms` is not read.
        `names` are those of its customers and cards, by hash.
        """
        rows = self._rows(state)
        past = b"" if len(rows) <= HEAD_ROWS else b"".join(rows[:-_KEPT_ROWS])
        sights = (_flat(state.customers, names), _flat(state.cards, names))
        lists = _encode_lists([list(chain.from_iterable((state.absorbed_offsets or {}).items())), *sights])
        packed_marks = b"".join(_MARK.pack(*mark) for mark in marks)
        epoch = state.newest_ms
        head = _HEAD.pack(
            *(_STATE, epoch, len(past) // self.row_bytes, state.newest_ms, state.first_seen_ms),
            *(len(lists), len(packed_marks)),
        )
        open_rows = rows[-_KEPT_ROWS:] if past else rows
        return head + lists + packed_marks + b"".join(open_rows), past and _EPOCH.pack(epoch) + past

    def _rows(self, state: EntityState) -> list[bytes]:
        columns = [state.buckets[1:], _steps(state.counts)]
        if state.amounts is not None:
            amounts = _steps(state.amounts)
            columns += [[amount & _LOW_MASK for amount in amounts], [amount >> _LOW_BITS for amount in amounts]]
        if state.first_times is not None:
            columns.append(_steps(state.first_times))
        row = struct.Struct(f"<{self._words}I")
        return [row.pack(*values) for values in zip(*columns, strict=True)]


@compiled
def _accumulate(rows: Integers, first: int, count: int, keeps: int) -> None:
    """Make cumulative rows, from row `first` on, of the `count` rows of Redis that stand at the end of `rows`.

    The one before them is there. They are shorter, so each is read before its place is taken.
    """
    with_amounts, with_first_times = (keeps & KEEPS_AMOUNTS) != 0, (keeps & KEEPS_FIRST_TIMES) != 0
    width = 2 + with_amounts + with_first_times
    target, source = first * width, 2 * len(rows) - count * (width + with_amounts)
    for _ in range(count):
        bucket, step = _half_word(rows, source), _half_word(rows, source + 1)
        source += 2
        amount = 0
        if with_amounts:
            amount = _half_word(rows, source) + (_half_word(rows, source + 1) << _LOW_BITS)
            source += 2
        first_times = 0
        if with_first_times:
            first_times = _half_word(rows, source)
            source += 1
        rows[target + BUCKET] = bucket
        rows[target + COUNT] = rows[target + COUNT - width] + step
        if with_amounts:
            rows[target + AMOUNT] = rows[target + AMOUNT - width] + amount
        target += width
        if with_first_times:
            rows[target - 1] = rows[target - 1 - width] + first_times


@compiled
def _half_word(words: Integers, place: int) -> int:
    half: int = (words[place // 2] >> (_LOW_BITS * (place % 2))) & _LOW_MASK
    return half


@compiled
def _accumulate_in(addresses: Integers, counts: Integers) -> None:
    """Let the rows of Redis at the end of each state, as many as `counts` says, be rows of it."""
    for number in range(len(addresses)):
        words, count = integers_at(addresses[number]), counts[number]
        _accumulate(words[words[ROWS_AT] :], words[ROWS], count, words[KEEPS])
        words[ROWS] += count


def _with_hashes(flat: list[Any] | bool) -> list[int]:
    """Names and when they were seen, in turn, with hashes in the place of names; nothing if nobody asks for them."""
    if isinstance(flat, bool):
        return []
    for place in range(0, len(flat), 2):
        # `name_hash`, without a call for each.
        flat[place] = hash(flat[place]) or 1
    return flat


def _flat(sights: dict[int, int] | None, names: Mapping[int, str]) -> list[object] | bool:
    return False if sights is None else [value for who, seen_ms in sights.items() for value in (names[who], seen_ms)]


def _steps(column: array[int]) -> list[int]:
    return [after - before for before, after in pairwise(column)]
