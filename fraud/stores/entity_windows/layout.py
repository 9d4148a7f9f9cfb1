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
from collections.abc import Iterable
from itertools import accumulate, pairwise

import msgspec
import numpy as np

from fraud.features.entity_state import EntityState
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
_LOW_BITS = 32
_LOW_MASK = (1 << _LOW_BITS) - 1
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
    """Rows of one entity that clients keep: cumulative columns as in `EntityState`, the first row is a sentinel."""

    __slots__ = ("amounts", "buckets", "counts", "epoch", "first_times")

    def __init__(self, epoch: int, empty: EntityState) -> None:
        self.epoch = epoch
        self.buckets = empty.buckets
        self.counts = empty.counts
        self.amounts = empty.amounts
        self.first_times = empty.first_times

    @property
    def rows(self) -> int:
        """How many rows there are besides the sentinel."""
        return len(self.buckets) - 1


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
        self._words = 2 + 2 * plan.sums_amounts + plan.counts_first_times
        self.row_bytes = self._words * _WORD_BYTES

    def past(self, epoch: int) -> PastRows:
        """A past without rows."""
        return PastRows(epoch, EntityState("", self.plan))

    def extend(self, past: PastRows, data: bytes) -> None:
        """Add the rows of `data` to the end of `past`."""
        words = np.frombuffer(data, dtype="<u4").reshape(-1, self._words).astype(np.int64)
        columns = [(past.counts, words[:, 1])]
        if past.amounts is not None:
            columns.append((past.amounts, words[:, 2] + (words[:, 3] << _LOW_BITS)))
        if past.first_times is not None:
            columns.append((past.first_times, words[:, -1]))
        past.buckets.frombytes(words[:, 0].tobytes())
        for column, steps in columns:
            column.frombytes((np.cumsum(steps) + column[-1]).tobytes())

    def state(self, key: str, head: Head, past: PastRows | None) -> EntityState:
        """The entity. `past` holds at least the rows that `head` names; None if it names none."""
        state = EntityState(key, self.plan)
        state.newest_ms = head.newest_ms
        state.first_seen_ms = head.first_seen_ms
        value = head.value
        marks_at = _HEAD.size + head.lists_bytes
        rows_at = marks_at + head.marks_bytes
        offsets, customers, cards = _decode_lists(value[_HEAD.size : marks_at])
        state.absorbed_offsets = _pairs(offsets)
        if state.customers is not None:
            state.customers = _pairs(customers)
        if state.cards is not None:
            state.cards = _pairs(cards)
        if head.marks_bytes:
            state.fraud_timestamps_ms = self._frauds(head, value[marks_at:rows_at])
        self._lay_out(
            state, head, past, struct.unpack_from(f"<{(len(value) - rows_at) // _WORD_BYTES}I", value, rows_at)
        )
        return state

    def _lay_out(self, state: EntityState, head: Head, past: PastRows | None, words: tuple[int, ...]) -> None:
        width = self._words
        if past is not None:
            rows = head.past_rows + 1
            state.buckets = past.buckets[:rows]
            state.counts = past.counts[:rows]
            state.amounts = None if past.amounts is None else past.amounts[:rows]
            state.first_times = None if past.first_times is None else past.first_times[:rows]
        state.buckets.extend(words[0::width])
        state.counts.extend(_running(state.counts, words[1::width]))
        if state.amounts is not None:
            low, high = words[2::width], words[3::width]
            steps = (part + (rest << _LOW_BITS) for part, rest in zip(low, high, strict=True)) if any(high) else low
            state.amounts.extend(_running(state.amounts, steps))
        if state.first_times is not None:
            state.first_times.extend(_running(state.first_times, words[width - 1 :: width]))

    def _frauds(self, head: Head, marks: bytes) -> array[int]:
        # A mark may come before its transaction, and one that no window reaches any more stays until the next mark.
        after_ms = head.newest_ms - self.plan.retention_ms
        return array(
            "q",
            (
                timestamp_ms
                for timestamp_ms, _ in _MARK.iter_unpack(marks)
                if timestamp_ms > after_ms and head.first_seen_ms <= timestamp_ms <= head.newest_ms
            ),
        )

    def encode(self, state: EntityState, marks: Iterable[tuple[int, int]]) -> tuple[bytes, bytes]:
        """Head and past of a state; the past is empty if all rows fit into the head.

        `marks` are timestamps, ms, and identities of known frauds in order; `state.fraud_timestamps_ms` is not read.
        """
        rows = self._rows(state)
        past = b"" if len(rows) <= HEAD_ROWS else b"".join(rows[:-_KEPT_ROWS])
        lists = _encode_lists([_flat(state.absorbed_offsets or {}), _flat(state.customers), _flat(state.cards)])
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


def _pairs(flat: list[object]) -> dict[str, int]:
    values = iter(flat)
    return dict(zip(values, values, strict=True))  # type: ignore[arg-type]


def _flat(pairs: dict[str, int] | None) -> list[object] | bool:
    return False if pairs is None else [value for pair in pairs.items() for value in pair]


def _running(column: array[int], steps: Iterable[int]) -> Iterable[int]:
    running = accumulate(steps, initial=column[-1])
    next(running)
    return running


def _steps(column: array[int]) -> list[int]:
    return [after - before for before, after in pairwise(column)]
