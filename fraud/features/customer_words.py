"""How a customer's state lies in one array of 64-bit words, and how compiled code finds its way in it.

    header                      counters, the newest and first event, and where each section starts
    habits                      where the plan asks for details: hours, usual places, the last card-present event
    tables                      where the plan asks for details: the things that the customer uses, see `Table`
    rows                        the authorisations of the longest window, sorted by timestamp, then by arrival
    identities                  what arrived within the duplicate horizon, see `fraud.features.customer_identities`

Things stand in tables by a 64-bit hash of their name. Of merchants, categories, countries and devices each row holds
the code: the place of the thing in its table, counted from one, 0 for none. A thing that is forgotten keeps its place
while rows may still name it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from fraud.features.compiled import Integers, compiled

# What a person uses: some dozens of merchants in a quarter; with fewer slots the weekly bakery would come back as new.
# Least recently used goes first. Bounded, so that a scripted customer cannot fill the memory.
KNOWN_MERCHANTS: Final = 64
KNOWN_OTHERS: Final = 16
# Home, work, and where one shops and visits; a ninth place is compared with these.
USUAL_PLACES: Final = 8
HOURS: Final = 24

# The header of every state, by word.
LENGTH: Final = 0
ROW_COUNT: Final = 1
ROWS_AT: Final = 2
ROW_WIDTH: Final = 3
# Since the customer was first seen, in base minor units.
COUNT: Final = 4
TOTAL: Final = 5
MAXIMUM: Final = 6
# Squares of amounts pass 64 bits (10^11 minor units squared), so their sum is kept in two limbs, the lower of 62 bits.
SQUARES_HIGH: Final = 7
SQUARES_LOW: Final = 8
LIMB_BITS: Final = 62
LIMB_MASK: Final = (1 << LIMB_BITS) - 1
FIRST_SEEN_MS: Final = 9
NEWEST_MS: Final = 10
# How many events there ever were, those that are forgotten included.
SEQUENCE: Final = 11
IDENTITIES_AT: Final = 12
IDENTITY_COUNT: Final = 13
PLAIN_HEADER: Final = 14

# Habits.
LAST_NEW_DEVICE_MS: Final = 14
LAST_NEW_MERCHANT_MS: Final = 15
# Hash of the country of most payments, 0 before the first with a country.
HOME_COUNTRY: Final = 16
# The newest card-present event that had a position; latitude and longitude are float64.
LAST_PRESENT_MS: Final = 17
LAST_LATITUDE: Final = 18
LAST_LONGITUDE: Final = 19
NEVER_MS: Final = -(1 << 62)
# Cells of the usual places in the order in which they became usual, then how often each was visited.
PLACE_COUNT: Final = 20
PLACES: Final = 21
VISITS: Final = PLACES + USUAL_PLACES
HOUR_COUNTS: Final = VISITS + USUAL_PLACES
# Of each table where it starts, how many of its places are taken, and how many things are known.
TABLES_AT: Final = HOUR_COUNTS + HOURS
TABLE_WORDS: Final = 3
TAKEN: Final = 1
KNOWN: Final = 2


class Table(IntEnum):
    """The tables, in their order. Rows name the things of the first four."""

    MERCHANT = 0
    CATEGORY = 1
    COUNTRY = 2
    DEVICE = 3
    IP_PREFIX = 4
    CARD = 5
    COUNTERPARTY = 6
    # How many payments there were by country; forgets by another order than the countries that rows name.
    COUNTRY_COUNTS = 7


MERCHANT: Final = int(Table.MERCHANT)
CATEGORY: Final = int(Table.CATEGORY)
COUNTRY: Final = int(Table.COUNTRY)
DEVICE: Final = int(Table.DEVICE)
IP_PREFIX: Final = int(Table.IP_PREFIX)
CARD: Final = int(Table.CARD)
COUNTERPARTY: Final = int(Table.COUNTERPARTY)
COUNTRY_COUNTS: Final = int(Table.COUNTRY_COUNTS)
TABLE_COUNT: Final = len(Table)
DETAILED_HEADER: Final = TABLES_AT + TABLE_WORDS * TABLE_COUNT

# An entry: the hash of the name, 0 if the place is free; when it was last used, as the number of the payment (0: it is
# forgotten), above the day on which it was first used.
HASH: Final = 0
USED: Final = 1
DAY_BITS: Final = 20
DAY_MASK: Final = (1 << DAY_BITS) - 1
# Of a category also count, total, maximum and the two limbs of the squares of its amounts.
AMOUNTS: Final = 2
# Of a country's count: when it was taken up, as the number of the payment, and the count.
TAKEN_UP: Final = 1
PAYMENTS: Final = 2
WIDTHS: Final = (2, 7, 2, 2, 2, 2, 2, 3)

# A row.
TIMESTAMP_MS: Final = 0
AMOUNT: Final = 1
# Merchant above device; category above country above flags.
MERCHANT_DEVICE: Final = 2
CATEGORY_COUNTRY_FLAGS: Final = 3
PLAIN_ROW: Final = 2
DETAILED_ROW: Final = 4
CODE_BITS: Final = 32
CODE_MASK: Final = (1 << CODE_BITS) - 1
FLAG_BITS: Final = 8
FLAG_MASK: Final = (1 << FLAG_BITS) - 1
_DAY_MS: Final = 86_400_000

# The fields of a transaction that name the things of the first seven tables.
TABLE_FIELDS: Final = (
    "merchant_id",
    "merchant_category",
    "country",
    "device_id",
    "ip_prefix",
    "card_id",
    "counterparty_id",
)

# An event as its customer meets it: the columns of `fraud.features.facts`. Hashes are 0 for none.
EVENT_ADDRESS: Final = 0
EVENT_TIMESTAMP_MS: Final = 1
EVENT_AMOUNT: Final = 2
EVENT_LATE: Final = 3
# Presence and whether it was declined, see `fraud.features.presence`.
EVENT_FLAGS: Final = 4
# The hashes of its things, in the order of the tables, and of the customer.
EVENT_THINGS: Final = 5
EVENT_CUSTOMER: Final = EVENT_THINGS + len(TABLE_FIELDS)
EVENT_IS_PAYMENT: Final = EVENT_CUSTOMER + 1
EVENT_IDENTIFIER: Final = EVENT_CUSTOMER + 2
EVENT_CONTENT: Final = EVENT_CUSTOMER + 3
EVENT_WORDS: Final = EVENT_CUSTOMER + 4


@compiled
def table_start(words: Integers, table: int) -> int:
    """The word at which a table starts."""
    return int(words[TABLES_AT + TABLE_WORDS * table])


@compiled
def table_count(words: Integers, table: int) -> int:
    """How many places of a table are taken."""
    return int(words[TABLES_AT + TABLE_WORDS * table + TAKEN])


@compiled
def entry_of(words: Integers, table: int, thing: int) -> int:
    """The word at which a thing stands in its table, known or forgotten; 0 if it does not."""
    width = WIDTHS[table]
    start = table_start(words, table)
    for entry in range(start, start + width * table_count(words, table), width):
        if words[entry] == thing:
            return entry
    return 0


@compiled
def known_entry(words: Integers, table: int, thing: int) -> int:
    """As `entry_of`, 0 for a thing that is forgotten."""
    entry = entry_of(words, table, thing)
    return entry if entry and words[entry + USED] >> DAY_BITS else 0


@compiled
def code_in_rows(words: Integers, table: int, thing: int) -> int:
    """The code that rows with the thing have, 0 for no thing, -1 if no row can have it."""
    if thing == 0:
        return 0
    entry = entry_of(words, table, thing)
    return (entry - table_start(words, table)) // WIDTHS[table] + 1 if entry else -1


@compiled
def row_at(words: Integers, place: int) -> int:
    """The word at which a row starts."""
    return int(words[ROWS_AT] + place * words[ROW_WIDTH])


@compiled
def row_code(words: Integers, place: int, table: int) -> int:
    """The code of one of the first four tables in a row."""
    row = row_at(words, place)
    if table == MERCHANT:
        return int(words[row + MERCHANT_DEVICE] >> CODE_BITS)
    if table == DEVICE:
        return int(words[row + MERCHANT_DEVICE] & CODE_MASK)
    if table == CATEGORY:
        return int(words[row + CATEGORY_COUNTRY_FLAGS] >> CODE_BITS)
    return int((words[row + CATEGORY_COUNTRY_FLAGS] & CODE_MASK) >> FLAG_BITS)


@compiled
def row_flags(words: Integers, place: int) -> int:
    """Presence and whether it was declined."""
    return int(words[row_at(words, place) + CATEGORY_COUNTRY_FLAGS] & FLAG_MASK)


@compiled
def rows_until(words: Integers, timestamp_ms: int, end: int) -> int:
    """How many of the first `end` rows are at or before a time."""
    start = 0
    while start < end:
        middle = (start + end) // 2
        if words[row_at(words, middle)] <= timestamp_ms:
            start = middle + 1
        else:
            end = middle
    return start


@compiled
def delete_rows(words: Integers, start: int, end: int) -> None:
    """Forget the rows from `start` to `end` (exclusive)."""
    width = words[ROW_WIDTH]
    target, source = row_at(words, start), row_at(words, end)
    for offset in range((words[ROW_COUNT] - end) * width):
        words[target + offset] = words[source + offset]
    words[ROW_COUNT] -= end - start


@compiled
def drop_expired(words: Integers, retention_ms: int) -> None:
    """Forget rows that no window of an event in time reaches."""
    expired = rows_until(words, words[NEWEST_MS] - retention_ms, words[ROW_COUNT])
    if expired:
        delete_rows(words, 0, expired)


@compiled
def day_of(words: Integers, timestamp_ms: int) -> int:
    """Whole days since the customer was first seen; 0 for an event from before that."""
    return max(0, (timestamp_ms - int(words[FIRST_SEEN_MS])) // _DAY_MS)
