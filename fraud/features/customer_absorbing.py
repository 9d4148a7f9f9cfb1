"""An authorisation is counted in its customer's state: compiled, over the words of `fraud.features.customer_words`."""

from __future__ import annotations

from math import isnan
from typing import Final

from fraud.features import customer_words as layout
from fraud.features.compiled import Integers, Reals, compiled, integers_at, reals_at
from fraud.features.customer_words import (
    AMOUNTS,
    CATEGORY,
    CATEGORY_COUNTRY_FLAGS,
    CODE_BITS,
    COUNT,
    COUNTRY,
    COUNTRY_COUNTS,
    DAY_BITS,
    DAY_MASK,
    DETAILED_ROW,
    DEVICE,
    EVENT_ADDRESS,
    EVENT_AMOUNT,
    EVENT_FLAGS,
    EVENT_LATE,
    EVENT_THINGS,
    EVENT_TIMESTAMP_MS,
    FLAG_BITS,
    HASH,
    IDENTITIES_AT,
    KNOWN,
    KNOWN_MERCHANTS,
    KNOWN_OTHERS,
    LIMB_BITS,
    LIMB_MASK,
    MERCHANT,
    MERCHANT_DEVICE,
    NEWEST_MS,
    PAYMENTS,
    ROW_COUNT,
    ROW_WIDTH,
    ROWS_AT,
    TABLE_COUNT,
    TABLE_WORDS,
    TABLES_AT,
    TAKEN,
    TAKEN_UP,
    USED,
    USUAL_PLACES,
    WIDTHS,
    day_of,
    drop_expired,
    entry_of,
    known_entry,
    row_at,
    row_code,
    rows_until,
    table_count,
    table_start,
)
from fraud.features.geography import place_of
from fraud.features.presence import CARD_PRESENT, DECLINED

# What a section without room is called by, besides the numbers of the tables.
ROWS: Final = TABLE_COUNT
IDENTITIES: Final = TABLE_COUNT + 1
ROOM: Final = -1
# Beside the numbers of the tables, in what is learned: the country of most payments is another one now.
HOME: Final = TABLE_COUNT
LEARNED_WIDTH: Final = 3
# What one event can teach at most.
LEARNED_AT_ONCE: Final = TABLE_COUNT + 1
_HOUR_MS: Final = 3_600_000


@compiled
def absorb(
    events: Integers, positions: Reals, start: int, retention_ms: int, learned: Integers, learned_count: int
) -> tuple[int, int, int]:
    """Count the events from `start` on that are not late, each in its customer's state.

    Names are not for compiled code: `learned`, int64 [9 n, 3], takes the event, the table and the place of each thing
    whose name the state has to learn, after the `learned_count` that are there.

    Returns the number of events done and of things learned. If not all are done: the section of the next event's state
    that has no room, else `ROOM`.
    """
    for number in range(start, len(events)):
        event = events[number]
        if event[EVENT_LATE]:
            continue
        words = integers_at(event[EVENT_ADDRESS])
        detailed = words[ROW_WIDTH] == DETAILED_ROW
        section = _section_without_room(words, event, detailed)
        if section != ROOM:
            return number, learned_count, section
        place = _insert_row(words, event[EVENT_TIMESTAMP_MS], event[EVENT_AMOUNT])
        is_first = words[COUNT] == 0
        _count(words, event[EVENT_TIMESTAMP_MS], event[EVENT_AMOUNT])
        if detailed:
            learned_count = _absorb_things(words, event, place, is_first, number, learned, learned_count)
            _absorb_habits(words, reals_at(event[EVENT_ADDRESS]), event, positions[number])
        words[NEWEST_MS] = max(words[NEWEST_MS], event[EVENT_TIMESTAMP_MS])
        # In bulk: shifting all rows for each expired one would cost more than holding a few rows longer.
        if words[row_at(words, words[ROW_COUNT] >> 4)] <= words[NEWEST_MS] - retention_ms:
            drop_expired(words, retention_ms)
    return len(events), learned_count, ROOM


@compiled
def _section_without_room(words: Integers, event: Integers, detailed: bool) -> int:
    """The first section in which this event may need a place and there is none."""
    if row_at(words, words[ROW_COUNT] + 1) > words[IDENTITIES_AT]:
        return ROWS
    if detailed:
        for table in range(TABLE_COUNT):
            thing = event[EVENT_THINGS + (COUNTRY if table == COUNTRY_COUNTS else table)]
            count = table_count(words, table)
            end = table_start(words, table + 1) if table < TABLE_COUNT - 1 else words[ROWS_AT]
            is_full = table_start(words, table) + WIDTHS[table] * (count + 1) > end
            # Tables that no rows name give the place of what they forget to what is new.
            reuses = table > DEVICE and count == KNOWN_OTHERS
            if is_full and thing and not reuses and not entry_of(words, table, thing):
                return table
    return ROOM


@compiled
def _insert_row(words: Integers, timestamp_ms: int, amount: int) -> int:
    """Add a row in its place, which is returned."""
    count, width = int(words[ROW_COUNT]), words[ROW_WIDTH]
    place = count
    if count and timestamp_ms < words[row_at(words, count - 1)]:
        place = rows_until(words, timestamp_ms, count)
    row = row_at(words, place)
    for word in range(row_at(words, count) - 1, row - 1, -1):
        words[word + width] = words[word]
    words[row] = timestamp_ms
    words[row + layout.AMOUNT] = amount
    words[ROW_COUNT] = count + 1
    return place


@compiled
def _count(words: Integers, timestamp_ms: int, amount: int) -> None:
    if words[COUNT] == 0:
        # By arrival: the days on which things were first seen are counted from here and must not shift.
        words[layout.FIRST_SEEN_MS] = timestamp_ms
    words[COUNT] += 1
    add_amount(words, layout.TOTAL, amount)


@compiled
def add_amount(words: Integers, total: int, amount: int) -> None:
    """Add an amount to the four words of total, maximum and sum of squares that start at `total`."""
    words[total] += amount
    words[total + 1] = max(words[total + 1], amount)
    # The square in limbs of 31 bits: (h 2^31 + l)^2.
    high, low = amount >> 31, amount & ((1 << 31) - 1)
    middle = 2 * high * low
    lower = words[total + 3] + ((middle & ((1 << 31) - 1)) << 31)
    upper = high * high + (middle >> 31) + (lower >> LIMB_BITS)
    lower = (lower & LIMB_MASK) + low * low
    words[total + 2] += upper + (lower >> LIMB_BITS)
    words[total + 3] = lower & LIMB_MASK


@compiled
def _absorb_things(
    words: Integers,
    event: Integers,
    place: int,
    is_first: bool,
    number: int,
    learned: Integers,
    learned_count: int,
) -> int:
    day, stamp = min(day_of(words, event[EVENT_TIMESTAMP_MS]), DAY_MASK), words[COUNT]
    row = row_at(words, place)
    # The new row's codes: what stood in these words is not of this row.
    words[row + MERCHANT_DEVICE] = words[row + CATEGORY_COUNTRY_FLAGS] = 0
    for table in range(TABLE_COUNT - 1):
        thing = event[EVENT_THINGS + table]
        if thing == 0:
            continue
        entry = known_entry(words, table, thing)
        if entry:
            words[entry + USED] = stamp << DAY_BITS | words[entry + USED] & DAY_MASK
        else:
            entry = _take_up(words, table, thing, stamp << DAY_BITS | day)
            learned_count = _learn(learned, learned_count, number, table, _code(words, table, entry) - 1)
            if table == MERCHANT and not is_first:
                words[layout.LAST_NEW_MERCHANT_MS] = event[EVENT_TIMESTAMP_MS]
            if table == DEVICE and not is_first:
                words[layout.LAST_NEW_DEVICE_MS] = event[EVENT_TIMESTAMP_MS]
        if table == MERCHANT:
            words[row + MERCHANT_DEVICE] |= _code(words, table, entry) << CODE_BITS
        elif table == DEVICE:
            words[row + MERCHANT_DEVICE] |= _code(words, table, entry)
        elif table == CATEGORY:
            words[row + CATEGORY_COUNTRY_FLAGS] |= _code(words, table, entry) << CODE_BITS
            words[entry + AMOUNTS] += 1
            add_amount(words, entry + AMOUNTS + 1, event[EVENT_AMOUNT])
        elif table == COUNTRY:
            words[row + CATEGORY_COUNTRY_FLAGS] |= _code(words, table, entry) << FLAG_BITS
            learned_count = _count_country(words, thing, stamp, number, learned, learned_count)
    words[row + CATEGORY_COUNTRY_FLAGS] |= event[EVENT_FLAGS]
    return learned_count


@compiled
def _learn(learned: Integers, count: int, number: int, table: int, place: int) -> int:
    learned[count, 0] = number
    learned[count, 1] = table
    learned[count, 2] = place
    return count + 1


@compiled
def _code(words: Integers, table: int, entry: int) -> int:
    return (entry - table_start(words, table)) // WIDTHS[table] + 1


@compiled
def _take_up(words: Integers, table: int, thing: int, used: int) -> int:
    """Give a new thing a place: its own from before, one of a thing that no row has any more, or the next one.

    Of as many known things as are remembered the least recently used is forgotten.
    """
    width, start, count = WIDTHS[table], table_start(words, table), table_count(words, table)
    known = TABLES_AT + TABLE_WORDS * table + KNOWN
    if words[known] >= (KNOWN_MERCHANTS if table == MERCHANT else KNOWN_OTHERS):
        words[_least_recently_used(words, table) + USED] = 0
        words[known] -= 1
    words[known] += 1
    taken = entry_of(words, table, thing)
    if taken == 0:
        for entry in range(start, start + width * count, width):
            if words[entry + USED] == 0 and (
                table > DEVICE or not _is_in_rows(words, table, _code(words, table, entry))
            ):
                taken = entry
                break
    if taken == 0:
        taken = start + width * count
        words[TABLES_AT + TABLE_WORDS * table + TAKEN] = count + 1
    words[taken + HASH] = thing
    words[taken + USED] = used
    words[taken + AMOUNTS : taken + width] = 0
    return taken


@compiled
def _least_recently_used(words: Integers, table: int) -> int:
    width, start = WIDTHS[table], table_start(words, table)
    oldest = 0
    for entry in range(start, start + width * table_count(words, table), width):
        used = words[entry + USED]
        if used >> DAY_BITS and (oldest == 0 or used < words[oldest + USED]):
            oldest = entry
    return oldest


@compiled
def _is_in_rows(words: Integers, table: int, code: int) -> bool:
    for place in range(words[ROW_COUNT]):  # noqa: SIM110 (compiled code has no generators)
        if row_code(words, place, table) == code:
            return True
    return False


@compiled
def _count_country(
    words: Integers, country: int, stamp: int, number: int, learned: Integers, learned_count: int
) -> int:
    """Of countries the one with the fewest payments is forgotten first, then the one that was taken up first."""
    start, count, width = table_start(words, COUNTRY_COUNTS), table_count(words, COUNTRY_COUNTS), WIDTHS[COUNTRY_COUNTS]
    entry = entry_of(words, COUNTRY_COUNTS, country)
    if entry == 0:
        entry = start + width * count
        if count >= KNOWN_OTHERS:
            entry = start
            for other in range(start, start + width * count, width):
                fewer = words[other + PAYMENTS] - words[entry + PAYMENTS]
                if fewer < 0 or (fewer == 0 and words[other + TAKEN_UP] < words[entry + TAKEN_UP]):
                    entry = other
        else:
            words[TABLES_AT + TABLE_WORDS * COUNTRY_COUNTS + TAKEN] = count + 1
        words[entry] = country
        words[entry + TAKEN_UP] = stamp
        words[entry + PAYMENTS] = 0
        learned_count = _learn(learned, learned_count, number, COUNTRY_COUNTS, (entry - start) // width)
    words[entry + PAYMENTS] += 1
    home = words[layout.HOME_COUNTRY]
    home_entry = entry_of(words, COUNTRY_COUNTS, home) if home else 0
    if home == 0 or words[entry + PAYMENTS] > (words[home_entry + PAYMENTS] if home_entry else 0):
        if home != country:
            learned_count = _learn(learned, learned_count, number, HOME, 0)
        words[layout.HOME_COUNTRY] = country
    return learned_count


@compiled
def _absorb_habits(words: Integers, reals: Reals, event: Integers, position: Reals) -> None:
    timestamp_ms = event[EVENT_TIMESTAMP_MS]
    words[layout.HOUR_COUNTS + timestamp_ms // _HOUR_MS % layout.HOURS] += 1
    latitude, longitude = position[0], position[1]
    if not (isnan(latitude) or isnan(longitude)):
        _absorb_place(words, place_of(latitude, longitude))
        if event[EVENT_FLAGS] % DECLINED == CARD_PRESENT and timestamp_ms >= words[layout.LAST_PRESENT_MS]:
            words[layout.LAST_PRESENT_MS] = timestamp_ms
            reals[layout.LAST_LATITUDE] = latitude
            reals[layout.LAST_LONGITUDE] = longitude


@compiled
def _absorb_place(words: Integers, place: int) -> None:
    count = words[layout.PLACE_COUNT]
    places = words[layout.PLACES : layout.PLACES + USUAL_PLACES]
    visits = words[layout.VISITS : layout.VISITS + USUAL_PLACES]
    for number in range(count):
        if places[number] == place:
            visits[number] += 1
            return
    if count == USUAL_PLACES:
        rarest = visits.argmin()
        for number in range(rarest, count - 1):
            places[number] = places[number + 1]
            visits[number] = visits[number + 1]
        count -= 1
    places[count] = place
    visits[count] = 1
    words[layout.PLACE_COUNT] = count + 1
