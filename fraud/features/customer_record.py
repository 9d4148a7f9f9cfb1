"""What a customer's state knows, by name: the form in which it is stored, shown, and carried over to other tokens."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from sys import intern

import msgspec

from fraud.features import customer_words as layout
from fraud.features.compiled import name_hash
from fraud.features.customer_state import CustomerState
from fraud.features.customer_words import DAY_BITS, DAY_MASK, Table


class Things(msgspec.Struct, array_like=True, frozen=True):
    """Things of one kind. Of `names` those known stand first, least recently used first, with their `first_days`.

    `rows` has for each row of the history the place of its thing in `names` plus one, 0 for none: bytes, or numbers
    where there are too many names for bytes. Empty for things that history has no column of.
    """

    names: list[str]
    first_days: list[int]
    rows: bytes | list[int]

    @property
    def known(self) -> list[str]:
        """The names of those known, least recently used first."""
        return self.names[: len(self.first_days)]


class Amounts(msgspec.Struct, array_like=True, frozen=True):
    """Count, sum, maximum, and sum of squares in two limbs, since MessagePack has no integers above 64 bits."""

    count: int
    total: int
    maximum: int
    squares_high: int
    squares_low: int


class Details(msgspec.Struct, array_like=True, frozen=True):
    """The columns and memories of a detailed state; `categories` and `category_amounts` are aligned."""

    merchants: Things
    devices: Things
    categories: Things
    countries: Things
    ip_prefixes: Things
    cards: Things
    counterparties: Things
    flags: bytes
    category_amounts: list[Amounts]
    country_counts: dict[str, int]
    home_country: str | None
    hour_counts: list[int]
    places: dict[int, int]
    last_present: tuple[float, float, float] | None
    last_new_device_ms: int
    last_new_merchant_ms: int


# The tables, in their order, by the names that they have here.
_TABLE_NAMES = ("merchants", "categories", "countries", "devices", "ip_prefixes", "cards", "counterparties")
_IN_ROWS = (Table.MERCHANT, Table.CATEGORY, Table.COUNTRY, Table.DEVICE)
_BYTE_VALUES = 256


def rows_of(state: CustomerState) -> tuple[list[int], list[int]]:
    """Timestamps, in milliseconds, and amounts of the history's rows."""
    words, width = state.words, state.words[layout.ROW_WIDTH]
    start = words[layout.ROWS_AT]
    end = start + width * words[layout.ROW_COUNT]
    return words[start:end:width].tolist(), words[start + layout.AMOUNT : end : width].tolist()


def amounts_of(state: CustomerState) -> Amounts:
    """The running amounts since the customer was first seen."""
    count, total, maximum, high, low = state.words[layout.COUNT : layout.SQUARES_LOW + 1]
    return Amounts(count, total, maximum, high, low)


def details_of(state: CustomerState) -> Details | None:
    """Everything else, of a state that has details."""
    if not state.names:
        return None
    words = state.words
    start, end = words[layout.ROWS_AT], layout.DETAILED_ROW * words[layout.ROW_COUNT] + words[layout.ROWS_AT]
    merchant_device = words[start + layout.MERCHANT_DEVICE : end : layout.DETAILED_ROW].tolist()
    others = words[start + layout.CATEGORY_COUNTRY_FLAGS : end : layout.DETAILED_ROW].tolist()
    things = {
        "merchants": _things(state, Table.MERCHANT, [codes >> layout.CODE_BITS for codes in merchant_device]),
        "devices": _things(state, Table.DEVICE, [codes & layout.CODE_MASK for codes in merchant_device]),
        "categories": _things(state, Table.CATEGORY, [codes >> layout.CODE_BITS for codes in others]),
        "countries": _things(
            state, Table.COUNTRY, [(codes & layout.CODE_MASK) >> layout.FLAG_BITS for codes in others]
        ),
    }
    last = None
    if words[layout.LAST_PRESENT_MS] != layout.NEVER_MS:
        position = array("d", words[layout.LAST_LATITUDE : layout.LAST_LONGITUDE + 1].tobytes())
        last = (float(words[layout.LAST_PRESENT_MS]), position[0], position[1])
    places = words[layout.PLACE_COUNT]
    return Details(
        merchants=things["merchants"],
        devices=things["devices"],
        categories=things["categories"],
        countries=things["countries"],
        ip_prefixes=_things(state, Table.IP_PREFIX, ()),
        cards=_things(state, Table.CARD, ()),
        counterparties=_things(state, Table.COUNTERPARTY, ()),
        flags=bytes([codes & layout.FLAG_MASK for codes in others]),
        category_amounts=_category_amounts(state),
        country_counts=_country_counts(state),
        home_country=state.home_country,
        hour_counts=words[layout.HOUR_COUNTS : layout.HOUR_COUNTS + layout.HOURS].tolist(),
        places=dict(
            zip(
                words[layout.PLACES : layout.PLACES + places],
                words[layout.VISITS : layout.VISITS + places],
                strict=True,
            )
        ),
        last_present=last,
        last_new_device_ms=words[layout.LAST_NEW_DEVICE_MS],
        last_new_merchant_ms=words[layout.LAST_NEW_MERCHANT_MS],
    )


def _column(state: CustomerState, table: Table, word: int) -> list[int]:
    """One word of each entry of a table."""
    words, width = state.words, layout.WIDTHS[table]
    directory = layout.TABLES_AT + layout.TABLE_WORDS * table
    start, count = words[directory], words[directory + layout.TAKEN]
    return words[start + word : start + width * count : width].tolist()


def _known_codes(state: CustomerState, table: Table) -> list[int]:
    """The codes of the things that are known, least recently used first."""
    used = [(used, code) for code, used in enumerate(_column(state, table, layout.USED), 1) if used >> DAY_BITS]
    return [code for _, code in sorted(used)]


def _things(state: CustomerState, table: Table, codes: Sequence[int]) -> Things:
    known = _known_codes(state, table)
    used = _column(state, table, layout.USED)
    # Place in `names` plus one, by code; of those that are forgotten only what rows have.
    places = {0: 0} | {code: place for place, code in enumerate(known, 1)}
    for code in codes:
        places.setdefault(code, len(places))
    rows = [places[code] for code in codes]
    return Things(
        [state.names[table][code - 1] for code in places if code],
        [used[code - 1] & DAY_MASK for code in known],
        bytes(rows) if len(places) <= _BYTE_VALUES else rows,
    )


def _category_amounts(state: CustomerState) -> list[Amounts]:
    columns = [_column(state, Table.CATEGORY, layout.AMOUNTS + place) for place in range(5)]
    return [Amounts(*(column[code - 1] for column in columns)) for code in _known_codes(state, Table.CATEGORY)]


def _country_counts(state: CustomerState) -> dict[str, int]:
    taken_up = _column(state, Table.COUNTRY_COUNTS, layout.TAKEN_UP)
    payments = _column(state, Table.COUNTRY_COUNTS, layout.PAYMENTS)
    names = state.names[Table.COUNTRY_COUNTS]
    return {names[place]: payments[place] for _, place in sorted(zip(taken_up, range(len(taken_up)), strict=True))}


def lay_out(state: CustomerState, times_ms: Sequence[int], amounts: Sequence[int], details: Details | None) -> None:
    """Put these rows, and details where the state is to have them, in the place of its own."""
    words, identities = state.words, state.identity_words()
    del words[layout.DETAILED_HEADER if state.names else layout.PLAIN_HEADER :]
    words[layout.ROWS_AT] = len(words)
    words[layout.ROW_COUNT] = len(times_ms)
    if not state.names:
        words.extend(chain.from_iterable(zip(times_ms, amounts, strict=True)))
    elif details is None or not _fits(details, len(times_ms)):
        raise ValueError("its details are missing or do not fit together")
    else:
        _lay_out_habits(state, details)
        for table, name in zip(Table, _TABLE_NAMES, strict=False):
            _lay_out_table(state, table, _entries(table, getattr(details, name), details), getattr(details, name).names)
        counts = [
            (name_hash(country), number, count)
            for number, (country, count) in enumerate(details.country_counts.items(), 1)
        ]
        _lay_out_table(state, Table.COUNTRY_COUNTS, counts, list(map(intern, details.country_counts)))
        codes = [getattr(details, _TABLE_NAMES[table]).rows for table in _IN_ROWS]
        words[layout.ROWS_AT] = len(words)
        for time_ms, amount, merchant, category, country, device, flags in zip(
            times_ms, amounts, *codes, details.flags, strict=True
        ):
            words.append(time_ms)
            words.append(amount)
            words.append(merchant << layout.CODE_BITS | device)
            words.append(category << layout.CODE_BITS | country << layout.FLAG_BITS | flags)
    words[layout.IDENTITIES_AT] = len(words)
    state.put_identities(identities)


def _fits(details: Details, row_count: int) -> bool:
    """Whether compiled code stays within its bounds with them."""
    columns = (details.merchants, details.devices, details.categories, details.countries)
    return (
        all(len(things.rows) == row_count for things in columns)
        and all(max(things.rows, default=0) <= len(things.names) for things in columns)
        and all(len(things.first_days) <= len(things.names) for things in columns)
        and len(details.flags) == row_count
        and len(details.category_amounts) == len(details.categories.first_days)
        and len(details.hour_counts) == layout.HOURS
        and len(details.places) <= layout.USUAL_PLACES
    )


def _lay_out_habits(state: CustomerState, details: Details) -> None:
    words = state.words
    words[layout.HOUR_COUNTS : layout.HOUR_COUNTS + layout.HOURS] = array("q", details.hour_counts)
    words[layout.PLACE_COUNT] = len(details.places)
    words[layout.PLACES : layout.PLACES + len(details.places)] = array("q", details.places)
    words[layout.VISITS : layout.VISITS + len(details.places)] = array("q", details.places.values())
    if details.last_present is not None:
        timestamp_ms, latitude, longitude = details.last_present
        words[layout.LAST_PRESENT_MS] = int(timestamp_ms)
        position = array("q", array("d", (latitude, longitude)).tobytes())
        words[layout.LAST_LATITUDE : layout.LAST_LONGITUDE + 1] = position
    words[layout.LAST_NEW_DEVICE_MS] = details.last_new_device_ms
    words[layout.LAST_NEW_MERCHANT_MS] = details.last_new_merchant_ms
    words[layout.HOME_COUNTRY] = name_hash(details.home_country)
    state.home_country = None if details.home_country is None else intern(details.home_country)


def _entries(table: Table, things: Things, details: Details) -> list[tuple[int, ...]]:
    """The entries of a table whose codes are the places of names, which count from one."""
    # When each was used last: only the order counts, and that what comes is later.
    used = [number << DAY_BITS | day for number, day in enumerate(things.first_days, 1)]
    used += [0] * (len(things.names) - len(used))
    if table != Table.CATEGORY:
        return [(name_hash(name), one) for name, one in zip(things.names, used, strict=True)]
    amounts = [msgspec.structs.astuple(one) for one in details.category_amounts]
    amounts += [(0, 0, 0, 0, 0)] * (len(things.names) - len(amounts))
    return [(name_hash(name), one, *of_it) for name, one, of_it in zip(things.names, used, amounts, strict=True)]


def _lay_out_table(
    state: CustomerState, table: Table, entries: Sequence[tuple[int, ...]], names: Sequence[str]
) -> None:
    directory = layout.TABLES_AT + layout.TABLE_WORDS * table
    state.words[directory] = len(state.words)
    state.words[directory + layout.TAKEN] = len(entries)
    state.words[directory + layout.KNOWN] = sum(entry[layout.USED] != 0 for entry in entries)
    state.words.extend(chain.from_iterable(entries))
    few = table in {Table.CATEGORY, Table.COUNTRY}
    state.names[table] = list(map(intern, names)) if few else list(names)


# What has tokens for names.
_TOKENISED = (Table.MERCHANT, Table.DEVICE, Table.CARD, Table.COUNTERPARTY)


def rename(state: CustomerState, names: Mapping[str, str]) -> bool:
    """Put what is known under another name under its new one, by old name; whether there was anything."""
    # Nearly nobody has any, and looking for them by name alone is quick.
    if not state.names or not any(names.keys() & state.names[table] for table in _TOKENISED):
        return False
    details = details_of(state)
    if details is None or not any(names.keys() & things.known for things in _tokenised(details)):
        return False
    details = msgspec.structs.replace(
        details,
        merchants=_renamed_in_rows(details.merchants, names),
        devices=_renamed_in_rows(details.devices, names),
        cards=_renamed(details.cards, names),
        counterparties=_renamed(details.counterparties, names),
    )
    times_ms, amounts = rows_of(state)
    lay_out(state, times_ms, amounts, details)
    return True


def _tokenised(details: Details) -> tuple[Things, ...]:
    return details.merchants, details.devices, details.cards, details.counterparties


def _renamed(things: Things, names: Mapping[str, str]) -> Things:
    """The earlier day of two that become one."""
    found: dict[str, int] = {}
    for thing, first_day in zip(things.names, things.first_days, strict=True):
        name = names.get(thing, thing)
        found[name] = min(first_day, found.pop(name, first_day))
    return Things(list(found), list(found.values()), b"")


def _renamed_in_rows(things: Things, names: Mapping[str, str]) -> Things:
    """As if they had always had these names. Two known things that become one stand where the second did."""
    known, forgotten = things.known, things.names[len(things.first_days) :]
    first_days = dict(zip(known, things.first_days, strict=True))
    became: dict[str, str] = {}
    for thing in known:
        name = names.get(thing, thing)
        if name != thing and name in first_days:
            first_days[name] = min(first_days[name], first_days[thing])
            del first_days[thing]
        elif name != thing:
            first_days = {name if one == thing else one: day for one, day in first_days.items()}
        became[thing] = name
    for thing in forgotten:
        name = names.get(thing, thing)
        is_free = name not in first_days and name not in forgotten
        became[thing] = name if is_free else thing
    places = {name: place for place, name in enumerate(dict.fromkeys((*first_days, *became.values())), 1)}
    by_place = [0, *(places[became[thing]] for thing in things.names)]
    rows = [by_place[row] for row in things.rows]
    return Things(list(places), list(first_days.values()), bytes(rows) if len(places) < _BYTE_VALUES else rows)
