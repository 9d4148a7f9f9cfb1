"""JSON of many rows at once, written by compiled code: constant text, with the values of the rows in between.

What it writes is byte for byte what msgspec writes of Python's values, in a fraction of the time, since nearly none of
these values is ever made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Final, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy import uint64
from numpy.typing import NDArray

from fraud.features.compiled import Integers, Octets, Reals, compiled, copy_bytes, inlined
from fraud.features.shortest_decimal import LONGEST_NUMBER, write_integer, write_real
from fraud.features.table import FeatureSet

# How a value is written. A number that is not finite is null.
REAL: Final = 0
INTEGER: Final = 1
BOOLEAN: Final = 2
# UTC milliseconds as RFC 3339 text.
MOMENT: Final = 3
# A text that is JSON already.
TEXT: Final = 4
NUMBER_KINDS = {"number": REAL, "integer": INTEGER, "boolean": BOOLEAN}

# Written at once: their text, some 400 KB, stays in a core's second level cache until it is copied.
_ROWS_AT_ONCE = 128
_LONGEST_MOMENT = len('"2026-03-01T12:00:00.000Z"')
_NULL = np.frombuffer(b"null", np.uint8)
_TRUE = np.frombuffer(b"true", np.uint8)
_FALSE = np.frombuffer(b"false", np.uint8)
_DIGIT: Final = ord("0")
_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_COMMA: Final = ord(",")
_DASH: Final = ord("-")
_COLON: Final = ord(":")
_OPENS: Final = (ord("["), ord("{"))
_CLOSES: Final = (ord("]"), ord("}"))
_DAY_MS: Final = 86_400_000


class Place(NamedTuple):
    """Where a value stands: its kind, and its column among the numbers or, of texts, among these."""

    kind: int
    column: int


# Constant text and the places of values, in the order in which they are written.
Parts: TypeAlias = Sequence[bytes | Place]


def object_parts(values: Mapping[str, Parts]) -> Parts:
    """A JSON object with these values under these names, in their order."""
    parts: list[bytes | Place] = []
    for number, (name, value) in enumerate(values.items()):
        parts += [b",%b:" % msgspec.json.encode(name) if number else b"{%b:" % msgspec.json.encode(name), *value]
    return [*parts, b"}" if parts else b"{}"]


def feature_parts(feature_set: FeatureSet, first_column: int = 0) -> Parts:
    """The JSON object of feature values, its names sorted; the columns of the set begin at `first_column`."""
    columns = sorted(range(len(feature_set.rows)), key=feature_set.names.__getitem__)
    return object_parts(
        {
            feature_set.names[column]: [Place(NUMBER_KINDS[feature_set.rows[column].kind], first_column + column)]
            for column in columns
        }
    )


class Texts(NamedTuple):
    """JSON texts of n rows: the text of row i in column j is number `places[i, j]` of the entries of a JSON list.

    `content` is that list, `bounds` says where its brackets and commas stand.
    """

    content: Octets
    bounds: Integers
    places: Integers


def json_texts(rows: int, columns: Sequence[tuple[Sequence[object], NDArray[np.integer]]]) -> Texts:
    """The texts of columns, each given as different values, and the number of the one that each row has."""
    places = np.empty((rows, len(columns)), np.int64)
    first = 0
    for column, (values, numbers) in enumerate(columns):
        places[:, column] = numbers
        places[:, column] += first
        first += len(values)
    content = np.frombuffer(msgspec.json.encode(list(chain.from_iterable(values for values, _ in columns))), np.uint8)
    # An empty list has two brackets, too.
    bounds = np.empty(max(first, 1) + 1, np.int64)
    _find_bounds(content, bounds)
    return Texts(content, bounds, places)


class JsonRows:
    """Writes rows of one form."""

    def __init__(self, parts: Iterable[bytes | Place]) -> None:
        before, places, texts = b"", [], []
        for part in parts:
            if isinstance(part, bytes):
                before += part
            else:
                texts.append(before)
                places.append(part)
                before = b""
        texts.append(before)
        self._kinds = np.array([kind for kind, _ in places], np.int64)
        self._columns = np.array([column for _, column in places], np.int64)
        # What stands before each value, and after the last one.
        self._constant = np.frombuffer(b"".join(texts), np.uint8)
        self._constant_ends = np.cumsum([len(text) for text in texts])
        self._longest = len(self._constant) + max(LONGEST_NUMBER, _LONGEST_MOMENT) * len(places)

    def of_each(self, numbers: Reals, texts: Texts) -> list[bytes]:
        """The text for each row of float64 [n, columns], C-contiguous, and of n rows of texts."""
        lengths = (texts.bounds[texts.places + 1] - texts.bounds[texts.places]).sum(axis=1)
        starts = range(0, len(numbers), _ROWS_AT_ONCE)
        room = max((int(lengths[start : start + _ROWS_AT_ONCE].sum()) for start in starts), default=0)
        text = np.empty(room + min(_ROWS_AT_ONCE, len(numbers)) * self._longest, np.uint8)
        written: list[bytes] = []
        for start in starts:
            rows, places = numbers[start : start + _ROWS_AT_ONCE], texts.places[start : start + _ROWS_AT_ONCE]
            ends = np.zeros(len(rows) + 1, np.int64)
            _write(
                rows,
                rows.view(np.uint64),
                texts.content,
                texts.bounds,
                places,
                self._kinds,
                self._columns,
                self._constant,
                self._constant_ends,
                text,
                ends,
            )
            whole = text[: ends[-1]].tobytes()
            written += [whole[begin:end] for begin, end in pairwise(ends.tolist())]
        return written


@compiled
def _find_bounds(content: Octets, bounds: Integers) -> None:
    """Where the brackets around a JSON list and the commas between its entries stand."""
    number, depth, at = 0, 0, 0
    while at < len(content):
        code = content[at]
        if code == _QUOTE:
            at += 1
            while content[at] != _QUOTE:
                at += 2 if content[at] == _BACKSLASH else 1
        elif code in _OPENS:
            depth += 1
        elif code in _CLOSES:
            depth -= 1
        if at == 0 or depth == 0 or (depth == 1 and code == _COMMA):
            bounds[number] = at
            number += 1
        at += 1


@compiled
def _write(
    numbers: Reals,
    bits: np.ndarray[tuple[int, int], np.dtype[np.uint64]],
    texts: Octets,
    text_bounds: Integers,
    text_places: Integers,
    kinds: Integers,
    columns: Integers,
    constant: Octets,
    constant_ends: Integers,
    text: Octets,
    ends: Integers,
) -> None:
    """Write all rows into `text`; row i stands between the places i and i + 1 of `ends`."""
    at = 0
    for row in range(len(numbers)):
        begin = 0
        for place in range(len(kinds)):
            end = constant_ends[place]
            at = copy_bytes(constant, begin, end, text, at)
            begin = end
            kind, column = kinds[place], columns[place]
            if kind == TEXT:
                entry = text_places[row, column]
                at = copy_bytes(texts, text_bounds[entry] + 1, text_bounds[entry + 1], text, at)
            else:
                at = _write_number(kind, numbers[row, column], bits[row, column], text, at)
        at = copy_bytes(constant, begin, len(constant), text, at)
        ends[row + 1] = at


@inlined
def _write_number(kind: int, value: float, bits: uint64, text: Octets, at: int) -> int:
    if not np.isfinite(value):
        return copy_bytes(_NULL, 0, len(_NULL), text, at)
    if kind == INTEGER:
        return write_integer(int(value), text, at)
    if kind == REAL:
        return write_real(value, bits, text, at)
    if kind == MOMENT:
        return _write_moment(int(value), text, at)
    word = _TRUE if value else _FALSE
    return copy_bytes(word, 0, len(word), text, at)


@inlined
def _write_moment(timestamp_ms: int, text: Octets, at: int) -> int:
    """Write what `fraud.transaction.timestamp_to_text` says, in quotes, of a year with four digits; where it ends.

    The date by Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years of 400 from March on, so that a
    leap day is the last one.
    """
    days, of_day = timestamp_ms // _DAY_MS, timestamp_ms % _DAY_MS
    # Since the first of March of the year 0.
    era, of_era = (days + 719_468) // 146_097, (days + 719_468) % 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year += era * 400 + (1 if month <= 2 else 0)
    text[at] = _QUOTE
    at = _write_digits(year, 4, _DASH, text, at + 1)
    at = _write_digits(month, 2, _DASH, text, at)
    at = _write_digits(day, 2, ord("T"), text, at)
    at = _write_digits(of_day // 3_600_000, 2, _COLON, text, at)
    at = _write_digits(of_day // 60_000 % 60, 2, _COLON, text, at)
    at = _write_digits(of_day // 1_000 % 60, 2, ord("."), text, at)
    at = _write_digits(of_day % 1_000, 3, ord("Z"), text, at)
    text[at] = _QUOTE
    return at + 1


@inlined
def _write_digits(value: int, count: int, then: int, text: Octets, at: int) -> int:
    """Write so many digits and one character after them; where it ends."""
    for place in range(at + count - 1, at - 1, -1):
        text[place] = _DIGIT + value % 10
        value //= 10
    text[at + count] = then
    return at + count + 1
