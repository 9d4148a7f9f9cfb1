"""What an entity's state takes in, as machine code: events, marks of fraud, and the passing of time.

Nothing here makes room. What would need more does nothing and says which section is full, see `entity_words.with_room`.
"""

from __future__ import annotations

from typing import Final

from fraud.features.compiled import Integers, compiled, integers_at
from fraud.features.entity_words import (
    AMOUNT,
    BEFORE_ALL,
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
    LENGTH,
    NEWEST_MS,
    ROWS,
    ROWS_AT,
    SEEN_MS,
    SIGHT_WORDS,
    WHO,
    frauds_until,
    row_width,
    rows_until,
)

# Nothing is full.
NOTHING: Final = 0
# Shifting all rows for each expired one would cost more than holding up to this many longer.
_ROWS_BETWEEN_DROPS: Final = 16


@compiled
def forget(words: Integers) -> None:
    """Nobody has seen the entity."""
    words[KEEPS] &= ~IS_TOLD
    words[FIRST_SEEN_MS] = 0
    words[NEWEST_MS] = 0
    words[ROWS] = 1
    words[CUSTOMERS] = 0
    words[CARDS] = 0
    words[FRAUDS] = 0
    at, width = words[ROWS_AT], row_width(words)
    words[at] = BEFORE_ALL
    for word in range(at + 1, at + width):
        words[word] = 0


@compiled
def drop_expired(words: Integers, hop_ms: int, retention_ms: int) -> None:
    """Forget buckets and frauds that no window of an event in time reaches."""
    expired_ms = words[NEWEST_MS] - retention_ms
    rows = words[ROWS]
    last = rows_until(words, expired_ms // hop_ms, 0, rows) - 1
    if last > 0:
        at, width = words[ROWS_AT], row_width(words)
        shift = last * width
        for word in range(at, at + rows * width - shift):
            words[word] = words[word + shift]
        words[at] = BEFORE_ALL
        words[ROWS] = rows - last
    frauds = words[FRAUDS]
    if frauds:
        expired = frauds_until(words, expired_ms)
        if expired:
            at = words[FRAUDS_AT]
            for word in range(at, at + frauds - expired):
                words[word] = words[word + expired]
            words[FRAUDS] = frauds - expired


@compiled
def absorb(
    words: Integers,
    timestamp_ms: int,
    amount: int,
    first_time: int,
    customer: int,
    card: int,
    hop_ms: int,
    retention_ms: int,
) -> int:
    """Count one transaction, unless a section is full: its name, else `NOTHING`.

    `amount` in base minor units, `first_time` 1 if the customer is new to its merchant; `card` 0 if there is none.
    """
    bucket = -(-timestamp_ms // hop_ms)
    full = _full(words, bucket, customer, card)
    if full != NOTHING:
        return full
    in_order = timestamp_ms >= words[NEWEST_MS]
    if in_order:
        if words[NEWEST_MS] == 0:
            words[FIRST_SEEN_MS] = timestamp_ms
        words[NEWEST_MS] = timestamp_ms
    elif timestamp_ms < words[FIRST_SEEN_MS]:
        words[FIRST_SEEN_MS] = timestamp_ms
    if _count(words, bucket, amount, first_time) and words[ROWS] % _ROWS_BETWEEN_DROPS == 0:
        drop_expired(words, hop_ms, retention_ms)
    if words[KEEPS] & KEEPS_CUSTOMERS:
        _see(words, CUSTOMERS, CUSTOMERS_AT, customer, timestamp_ms, in_order)
    if words[KEEPS] & KEEPS_CARDS and card != 0:
        _see(words, CARDS, words[CARDS_AT], card, timestamp_ms, in_order)
    return NOTHING


@compiled
def _full(words: Integers, bucket: int, customer: int, card: int) -> int:
    """The section that cannot take an event of that bucket and these; `NOTHING` if all can."""
    at, width, rows = words[ROWS_AT], row_width(words), words[ROWS]
    end = at + rows * width
    if end + width > words[LENGTH] and words[end - width] != bucket:
        before = rows_until(words, bucket, 0, rows) - 1
        if words[at + before * width] != bucket:
            return ROWS
    if words[KEEPS] & KEEPS_CUSTOMERS:
        room = (words[CARDS_AT] - CUSTOMERS_AT) // SIGHT_WORDS
        if _lacks_sight(words, words[CUSTOMERS], CUSTOMERS_AT, room, customer):
            return CUSTOMERS
    if words[KEEPS] & KEEPS_CARDS and card != 0:
        room = (words[FRAUDS_AT] - words[CARDS_AT]) // SIGHT_WORDS
        if _lacks_sight(words, words[CARDS], words[CARDS_AT], room, card):
            return CARDS
    return NOTHING


@compiled
def _lacks_sight(words: Integers, count: int, at: int, room: int, who: int) -> bool:
    if count < room or count >= DISTINCT_CAP:
        return False
    return sight_of(words, count, at, who) == count


@compiled
def sight_of(words: Integers, count: int, at: int, who: int) -> int:
    """The place of somebody among the `count` known ones from word `at` on; `count` if it is not known."""
    place = count - 1
    # Those seen last come again most.
    while place >= 0:
        if words[at + place * SIGHT_WORDS + WHO] == who:
            return place
        place -= 1
    return count


@compiled
def _count(words: Integers, bucket: int, amount: int, first_time: int) -> bool:
    """Count an event in its bucket; whether that is a new one at the end."""
    at, width, rows = words[ROWS_AT], row_width(words), words[ROWS]
    end = at + rows * width
    first_changed = rows - 1
    is_newest: bool = bucket > words[end - width]
    if is_newest:
        _insert(words, end, end)
        words[end] = bucket
        first_changed = rows
    elif bucket < words[end - width]:
        first_changed = rows_until(words, bucket - 1, 0, rows)
        place = at + first_changed * width
        if words[place] != bucket:
            _insert(words, place, end)
            words[place] = bucket
    for row in range(first_changed, words[ROWS]):
        place = at + row * width
        words[place + COUNT] += 1
        if words[KEEPS] & KEEPS_AMOUNTS:
            words[place + AMOUNT] += amount
        if words[KEEPS] & KEEPS_FIRST_TIMES:
            words[place + width - 1] += first_time
    return is_newest


@compiled
def _insert(words: Integers, place: int, end: int) -> None:
    """A row at `place`, where rows end at `end`, that holds what the one before it does."""
    width = row_width(words)
    for word in range(end - 1, place - 1, -1):
        words[word + width] = words[word]
    for word in range(place, place + width):
        words[word] = words[word - width]
    words[ROWS] += 1


@compiled
def _see(words: Integers, section: int, at: int, who: int, timestamp_ms: int, in_order: bool) -> None:
    """Note that `who` was here. Sights stay in order; beyond the cap the first one is forgotten."""
    count = words[section]
    gap = sight_of(words, count, at, who)
    seen_ms = timestamp_ms
    if gap < count:
        if not in_order:
            seen_ms = max(words[at + gap * SIGHT_WORDS + SEEN_MS], timestamp_ms)
    elif count < DISTINCT_CAP:
        words[section] = count + 1
    elif seen_ms < words[at + SEEN_MS]:
        return
    else:
        gap = 0
    # Those between the gap and the new place close up to the left, or to the right, by one.
    last = words[section] - 1
    while gap < last and words[at + (gap + 1) * SIGHT_WORDS + SEEN_MS] <= seen_ms:
        _move(words, at, gap + 1, gap)
        gap += 1
    while gap > 0 and words[at + (gap - 1) * SIGHT_WORDS + SEEN_MS] > seen_ms:
        _move(words, at, gap - 1, gap)
        gap -= 1
    words[at + gap * SIGHT_WORDS + WHO] = who
    words[at + gap * SIGHT_WORDS + SEEN_MS] = seen_ms


@compiled
def _move(words: Integers, at: int, source: int, target: int) -> None:
    words[at + target * SIGHT_WORDS + WHO] = words[at + source * SIGHT_WORDS + WHO]
    words[at + target * SIGHT_WORDS + SEEN_MS] = words[at + source * SIGHT_WORDS + SEEN_MS]


@compiled
def mark(words: Integers, timestamp_ms: int, hop_ms: int, retention_ms: int) -> int:
    """A transaction of this time became known as fraud, unless that section is full: `FRAUDS`, else `NOTHING`."""
    at, frauds = words[FRAUDS_AT], words[FRAUDS]
    if at + frauds == words[ROWS_AT]:
        return FRAUDS
    place = frauds_until(words, timestamp_ms)
    for word in range(at + frauds, at + place, -1):
        words[word] = words[word - 1]
    words[at + place] = timestamp_ms
    words[FRAUDS] = frauds + 1
    drop_expired(words, hop_ms, retention_ms)
    return NOTHING


@compiled
def unmark(words: Integers, timestamp_ms: int) -> None:
    """A transaction of this time is no longer held for fraud."""
    at, frauds = words[FRAUDS_AT], words[FRAUDS]
    after = frauds_until(words, timestamp_ms)
    if after > 0 and words[at + after - 1] == timestamp_ms:
        # Those of one time are the same: the last of them can go as well as the first.
        for word in range(at + after, at + frauds):
            words[word - 1] = words[word]
        words[FRAUDS] = frauds - 1


@compiled
def absorb_at(
    address: int,
    timestamp_ms: int,
    amount: int,
    first_time: int,
    customer: int,
    card: int,
    hop_ms: int,
    retention_ms: int,
) -> int:
    """`absorb` into the state at an address."""
    words = integers_at(address)
    return absorb(words, timestamp_ms, amount, first_time, customer, card, hop_ms, retention_ms)


@compiled
def drop_expired_at(address: int, hop_ms: int, retention_ms: int) -> None:
    """`drop_expired` of the state at an address."""
    drop_expired(integers_at(address), hop_ms, retention_ms)


@compiled
def mark_at(address: int, timestamp_ms: int, hop_ms: int, retention_ms: int) -> int:
    """`mark` in the state at an address."""
    return mark(integers_at(address), timestamp_ms, hop_ms, retention_ms)


@compiled
def unmark_at(address: int, timestamp_ms: int) -> None:
    """`unmark` in the state at an address."""
    unmark(integers_at(address), timestamp_ms)
