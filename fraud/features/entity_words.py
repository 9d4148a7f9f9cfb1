"""How an entity's state lies in one array of 64-bit words.

    header                      what is kept, the first and newest event, how much each section holds, where it starts
    customers, cards            where the plan counts them: hash of the name and when last seen, ms, in that order
    frauds                      timestamps, ms, of the transactions known as fraud now, in order
    rows                        bucket and count, then the amount and the first times where the plan asks for them

Buckets ascend; counts, amounts (base minor units) and first times (customers new to the merchant) are cumulative, so
that any window is a difference of two rows; row 0 is a sentinel. Every section may have room to spare at its end. Rows
come last, so that room for them is room at the end of the array.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from struct import pack
from typing import Final

from fraud.features.compiled import Integers, compiled
from fraud.features.plan import EntityPlan

# The header. A section is named by the word that says how much it holds.
LENGTH: Final = 0
KEEPS: Final = 1
FIRST_SEEN_MS: Final = 2
NEWEST_MS: Final = 3
ROWS: Final = 4
CUSTOMERS: Final = 5
CARDS: Final = 6
FRAUDS: Final = 7
CARDS_AT: Final = 8
FRAUDS_AT: Final = 9
ROWS_AT: Final = 10
CUSTOMERS_AT: Final = 11

# Bits of `KEEPS`.
KEEPS_CUSTOMERS: Final = 1
KEEPS_CARDS: Final = 2
KEEPS_AMOUNTS: Final = 4
KEEPS_FIRST_TIMES: Final = 8
# The state is a copy of one in a store outside this process, which has counted some of what is to come.
IS_TOLD: Final = 16

# A row, by word. The first times come last.
BUCKET: Final = 0
COUNT: Final = 1
AMOUNT: Final = 2

# A known customer or card, by word.
WHO: Final = 0
SEEN_MS: Final = 1
SIGHT_WORDS: Final = 2

# Below every real bucket: the first row of a series stands for all that was dropped before it.
BEFORE_ALL: Final = -(1 << 62)
# A device or an address with this many customers is as suspicious as one with more, and a till has thousands.
DISTINCT_CAP: Final = 32
_WIDTHS = {0: 2, KEEPS_AMOUNTS: 3, KEEPS_FIRST_TIMES: 3, KEEPS_AMOUNTS | KEEPS_FIRST_TIMES: 4}
_MOST_SIGHT_WORDS = DISTINCT_CAP * SIGHT_WORDS
_NO_SIGHT: tuple[int, ...] = ()
_A_SIGHT = (0,) * SIGHT_WORDS
# Most entities see one or two events in their life, a busy one has hundreds of rows.
_FIRST_ROWS = 4
_FEWEST_ADDED_ROWS = 4
_FEWEST_ADDED_SIGHTS = 3
_USUALLY_ADDED_ROWS = 64
_ADDED_SHARE_OF_ROWS = 8


def kept_by(plan: EntityPlan) -> int:
    """The bits of `KEEPS` under a plan."""
    return (
        KEEPS_CUSTOMERS * plan.counts_customers
        | KEEPS_CARDS * plan.counts_cards
        | KEEPS_AMOUNTS * plan.sums_amounts
        | KEEPS_FIRST_TIMES * plan.counts_first_times
    )


def width_of_rows(keeps: int) -> int:
    """How many words a row has."""
    return _WIDTHS[keeps & (KEEPS_AMOUNTS | KEEPS_FIRST_TIMES)]


def empty_words(plan: EntityPlan) -> array[int]:
    """The state of an entity that nobody has seen, with room for what most will ever hold."""
    keeps = kept_by(plan)
    width = width_of_rows(keeps)
    rows = array("q", (BEFORE_ALL, *(0,) * (width - 1)))
    return laid_out(keeps, (0, 0), ((), ()), (), rows, spare_rows=_FIRST_ROWS - 1)


def laid_out(
    keeps: int,
    first_seen_and_newest_ms: tuple[int, int],
    customers_and_cards: tuple[Sequence[int], Sequence[int]],
    frauds_ms: Sequence[int],
    rows: array[int],
    spare_rows: int = 0,
    in_spare: bytes = b"",
) -> array[int]:
    """A state that holds this. `customers_and_cards` are flat, hash and ms in turn; `rows` have their sentinel.

    There is room for one more customer and card, and for `spare_rows`. `in_spare` is at the end of it, for the caller
    to make rows of.
    """
    customers, cards = customers_and_cards
    more_customers, more_cards = _NO_SIGHT, _NO_SIGHT
    if keeps & KEEPS_CUSTOMERS and len(customers) < _MOST_SIGHT_WORDS:
        more_customers = _A_SIGHT
    if keeps & KEEPS_CARDS and len(cards) < _MOST_SIGHT_WORDS:
        more_cards = _A_SIGHT
    cards_at = CUSTOMERS_AT + len(customers) + len(more_customers)
    frauds_at = cards_at + len(cards) + len(more_cards)
    rows_at = frauds_at + len(frauds_ms)
    width = width_of_rows(keeps)
    length = rows_at + len(rows) + spare_rows * width
    # In one go: entities of every transaction come this way from a store outside this process.
    header = (length, keeps, *first_seen_and_newest_ms, len(rows) // width)
    sections = (len(customers) // SIGHT_WORDS, len(cards) // SIGHT_WORDS, len(frauds_ms), cards_at, frauds_at, rows_at)
    before_rows = (*header, *sections, *customers, *more_customers, *cards, *more_cards, *frauds_ms)
    spare_room = bytes(spare_rows * width * rows.itemsize - len(in_spare))
    return array("q", b"".join((pack(f"{rows_at}q", *before_rows), rows, spare_room, in_spare)))


def with_room(words: array[int], section: int) -> array[int]:
    """The same state where `section` can take more."""
    if section == ROWS:
        rows = words[ROWS]
        added = max(_FEWEST_ADDED_ROWS, min(rows, _USUALLY_ADDED_ROWS), rows // _ADDED_SHARE_OF_ROWS)
        # A sum takes no more memory than it has words; what grows in place takes a sixteenth more.
        words = words + array("q", bytes(added * width_of_rows(words[KEEPS]) * words.itemsize))
    else:
        # The few that have more than one or two soon have many.
        if section == FRAUDS:
            added = max(words[FRAUDS], 1)
        else:
            added = min(max(words[section], _FEWEST_ADDED_SIGHTS), DISTINCT_CAP - words[section]) * SIGHT_WORDS
        following = {CUSTOMERS: CARDS_AT, CARDS: FRAUDS_AT, FRAUDS: ROWS_AT}[section]
        end = words[following]
        words = words[:end] + array("q", bytes(added * words.itemsize)) + words[end:]
        for start in range(following, ROWS_AT + 1):
            words[start] += added
    words[LENGTH] = len(words)
    return words


@compiled
def row_width(words: Integers) -> int:
    """How many words a row of the state has."""
    keeps: int = words[KEEPS]
    return 2 + ((keeps & KEEPS_AMOUNTS) != 0) + ((keeps & KEEPS_FIRST_TIMES) != 0)


@compiled
def rows_until(words: Integers, bucket: int, low: int, high: int) -> int:
    """How many rows stand at or before `bucket`: the cumulative numbers of the last cover everything up to it.

    Only those from `low` up to `high` are in question.
    """
    at, width = words[ROWS_AT], row_width(words)
    while low < high:
        middle = (low + high) // 2
        if words[at + middle * width] > bucket:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def frauds_until(words: Integers, timestamp_ms: int) -> int:
    """How many known frauds are not later."""
    at = words[FRAUDS_AT]
    low, high = 0, words[FRAUDS]
    while low < high:
        middle = (low + high) // 2
        if words[at + middle] > timestamp_ms:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def frauds_between(words: Integers, after_bucket: int, last_bucket: int, hop_ms: int) -> int:
    """Known frauds among the transactions of the buckets after `after_bucket` up to `last_bucket`."""
    return frauds_until(words, last_bucket * hop_ms) - frauds_until(words, after_bucket * hop_ms)


@compiled
def count_at(words: Integers, row: int) -> int:
    """All transactions up to a row."""
    count: int = words[words[ROWS_AT] + row * row_width(words) + COUNT]
    return count


@compiled
def amount_at(words: Integers, row: int) -> int:
    """Their amounts; only where the state keeps them."""
    amount: int = words[words[ROWS_AT] + row * row_width(words) + AMOUNT]
    return amount


@compiled
def first_times_at(words: Integers, row: int) -> int:
    """Those by customers new to the merchant; only where the state keeps them."""
    first_times: int = words[words[ROWS_AT] + (row + 1) * row_width(words) - 1]
    return first_times
