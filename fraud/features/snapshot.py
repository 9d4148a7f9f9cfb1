"""A customer's state as bytes and back: what a store keeps as a checkpoint of the customer's history.

A snapshot is a version (1 byte), the fingerprint of the plan that it was taken under (8 bytes), and a body in
MessagePack, compressed by zstd with its checksum. It is complete: a state that is read back goes on with the values of
the original.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from itertools import accumulate, pairwise
from struct import Struct, pack, unpack
from sys import intern

import msgspec
import zstandard

from fraud.features.customer_state import CustomerState, RecentIdentities
from fraud.features.details import LIMB_BITS, LIMB_MASK, CustomerDetails
from fraud.features.fingerprints import fingerprint
from fraud.features.plan import StatePlan
from fraud.features.things import ThingColumn

# Written from now on. When the body changes: add its reader to `_READERS` and keep the one before it, since workers of
# the version before write until all are upgraded.
VERSION = 1
_HEADER = Struct("<Bq")
# Higher levels gain a hundredth: most of a snapshot is fingerprints and amounts.
_COMPRESSION_LEVEL = 3
_BYTE_VALUES = 256


class SnapshotRefusedError(ValueError):
    """A snapshot that cannot be read: the state has to be made again from the customer's history."""


class UnknownSnapshotVersionError(SnapshotRefusedError):
    """A snapshot in a form that this program does not know, written by a newer one."""


class SnapshotOfOtherPlanError(SnapshotRefusedError):
    """A snapshot that holds less, or other things, than the plan asks for."""


class DamagedSnapshotError(SnapshotRefusedError):
    """Bytes that are no whole snapshot."""


def customer_plan_fingerprint(plan: StatePlan) -> int:
    """What of a plan decides what a customer's state holds, as 64 bits; entities do not."""
    limits = (plan.allowed_lateness_ms, plan.forget_after_ms, plan.duplicate_horizon_ms)
    return fingerprint(msgspec.msgpack.encode((plan.detailed, limits, plan.customer_windows_ms)))


class _Things(msgspec.Struct, array_like=True, frozen=True):
    """Things of one kind. Of `names` those known stand first, least recently used first, with their `first_days`.

    `rows` has for each row of the history the place of its thing in `names` plus one, 0 for none: bytes, or numbers
    where there are too many names for bytes. Empty for things that history has no column of.
    """

    names: list[str]
    first_days: list[int]
    rows: bytes | list[int]


class _Amounts(msgspec.Struct, array_like=True, frozen=True):
    """Count, sum, maximum, and sum of squares in two limbs, since MessagePack has no integers above 64 bits."""

    count: int
    total: int
    maximum: int
    squares_high: int
    squares_low: int


class _Details(msgspec.Struct, array_like=True, frozen=True):
    """The columns and memories of a detailed state; `categories` and `category_amounts` are aligned."""

    merchants: _Things
    devices: _Things
    categories: _Things
    countries: _Things
    ip_prefixes: _Things
    cards: _Things
    counterparties: _Things
    flags: bytes
    category_amounts: list[_Amounts]
    country_counts: dict[str, int]
    home_country: str | None
    hour_counts: list[int]
    places: dict[int, int]
    last_present: tuple[float, float, float] | None
    last_new_device_ms: int
    last_new_merchant_ms: int


class _Body(msgspec.Struct, array_like=True, frozen=True):
    """Version 1. Times are differences to the one before; amounts in base minor units.

    `identifiers` and `contents` are packed 64-bit integers; `delays_ms` what an event's time lies before its arrival.
    """

    sequence: int
    newest_ms: int
    times_ms: list[int]
    amounts: list[int]
    identifiers: bytes
    contents: bytes
    arrivals_ms: list[int]
    delays_ms: list[int]
    outside_windows: list[int]
    profile: _Amounts
    first_seen_ms: int
    details: _Details | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Body).decode


def encode_customer(state: CustomerState, plan: StatePlan) -> bytes:
    """The snapshot of `state`, which was made under `plan`."""
    history, profile = state.history, state.profile
    identifiers, contents, arrivals_ms, timestamps_ms = state.identities.columns()
    body = _Body(
        sequence=state.sequence,
        newest_ms=state.newest_ms,
        times_ms=_differences(history.timestamps_ms.tolist()),
        amounts=history.amounts.tolist(),
        identifiers=pack(f"<{len(identifiers)}q", *identifiers),
        contents=pack(f"<{len(contents)}q", *contents),
        arrivals_ms=_differences(arrivals_ms.tolist()),
        delays_ms=[arrival - abs(own) for arrival, own in zip(arrivals_ms, timestamps_ms, strict=True)],
        outside_windows=[place for place, own in enumerate(timestamps_ms) if own < 0],
        profile=_amounts(
            (profile.transaction_count, profile.amount_sum, profile.amount_maximum, profile.amount_squares)
        ),
        first_seen_ms=profile.first_seen_ms,
        details=None if state.details is None else _details(state.details),
    )
    # A compressor of its own for each call: one that is shared must not be used by two threads.
    compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, write_checksum=True)
    return _HEADER.pack(VERSION, customer_plan_fingerprint(plan)) + compressor.compress(_encode(body))


def decode_customer(snapshot: bytes, plan: StatePlan) -> CustomerState:
    """The state that `snapshot` was taken of.

    Raises `UnknownSnapshotVersionError`, `SnapshotOfOtherPlanError`, `DamagedSnapshotError`.
    """
    if not snapshot:
        raise DamagedSnapshotError("the snapshot is empty")
    read = _READERS.get(snapshot[0])
    if read is None:
        known = ", ".join(map(str, sorted(_READERS)))
        raise UnknownSnapshotVersionError(f"the snapshot has version {snapshot[0]}; this program reads {known}")
    return read(snapshot, plan)


def _read_version_1(snapshot: bytes, plan: StatePlan) -> CustomerState:
    if len(snapshot) < _HEADER.size:
        raise DamagedSnapshotError(f"the snapshot has only {len(snapshot)} bytes")
    if _HEADER.unpack_from(snapshot)[1] != customer_plan_fingerprint(plan):
        raise SnapshotOfOtherPlanError("the snapshot was taken for other windows, limits or details than are asked for")
    try:
        return _restored(_decode(zstandard.ZstdDecompressor().decompress(snapshot[_HEADER.size :])), plan)
    except (zstandard.ZstdError, msgspec.DecodeError, struct.error, ValueError, IndexError, OverflowError) as error:
        raise DamagedSnapshotError(f"the snapshot is damaged: {error}") from error


# What a snapshot begins with, and who reads it.
_READERS: dict[int, Callable[[bytes, StatePlan], CustomerState]] = {VERSION: _read_version_1}


def _differences(values: list[int]) -> list[int]:
    return [later - earlier for earlier, later in pairwise((0, *values))]


def _amounts(numbers: tuple[int, int, int, int]) -> _Amounts:
    count, total, maximum, squares = numbers
    return _Amounts(count, total, maximum, squares >> LIMB_BITS, squares & LIMB_MASK)


def _squares(amounts: _Amounts) -> int:
    return (amounts.squares_high << LIMB_BITS) + amounts.squares_low


def _things(column: ThingColumn) -> _Things:
    # Place in `names` plus one, by code; of the former ones only those that rows have.
    places = {0: 0}
    for code in column.codes.values():
        places[code] = len(places)
    for code in column.rows:
        places.setdefault(code, len(places))
    names_by_code = {code: name for name, code in (*column.codes.items(), *(column.former or {}).items())}
    rows = [places[code] for code in column.rows]
    return _Things(
        [names_by_code[code] for code in places if code],
        [column.first_days[code - 1] for code in column.codes.values()],
        bytes(rows) if len(places) <= _BYTE_VALUES else rows,
    )


def _known_things(first_days: dict[str, int]) -> _Things:
    return _Things(list(first_days), list(first_days.values()), b"")


def _details(details: CustomerDetails) -> _Details:
    last = details.last_present
    return _Details(
        merchants=_things(details.merchants),
        devices=_things(details.devices),
        categories=_things(details.categories),
        countries=_things(details.countries),
        ip_prefixes=_known_things(details.ip_prefixes),
        cards=_known_things(details.cards),
        counterparties=_known_things(details.counterparties),
        flags=bytes(details.flags),
        category_amounts=[
            _amounts(details.amounts_in_category(category) or (0, 0, 0, 0)) for category in details.categories.codes
        ],
        country_counts=details.country_counts,
        home_country=details.home_country,
        hour_counts=details.hour_counts.tolist(),
        places=dict(zip(details.places, details.place_visits, strict=True)),
        last_present=None if last is None else (last[0], last[1], last[2]),
        last_new_device_ms=details.last_new_device_ms,
        last_new_merchant_ms=details.last_new_merchant_ms,
    )


def _restored(body: _Body, plan: StatePlan) -> CustomerState:
    state = CustomerState(plan, body.sequence)
    state.newest_ms = body.newest_ms
    history, profile = state.history, state.profile
    for timestamp_ms, amount in zip(accumulate(body.times_ms), body.amounts, strict=True):
        history.insert(timestamp_ms, amount)
    count = len(body.delays_ms)
    arrivals_ms = list(accumulate(body.arrivals_ms))
    timestamps_ms = [arrival - delay for arrival, delay in zip(arrivals_ms, body.delays_ms, strict=True)]
    for place in body.outside_windows:
        timestamps_ms[place] = -timestamps_ms[place]
    state.identities = RecentIdentities.of_columns(
        unpack(f"<{count}q", body.identifiers), unpack(f"<{count}q", body.contents), arrivals_ms, timestamps_ms
    )
    profile.transaction_count, profile.amount_sum = body.profile.count, body.profile.total
    profile.amount_maximum, profile.amount_squares = body.profile.maximum, _squares(body.profile)
    profile.first_seen_ms = body.first_seen_ms
    if body.details is not None and state.details is not None:
        _restore_details(body.details, state.details)
    return state


def _restore_details(stored: _Details, details: CustomerDetails) -> None:
    details.merchants = _column(stored.merchants, stored.merchants.names)
    details.devices = _column(stored.devices, stored.devices.names)
    # Categories and countries are few: one string object stands for each of them everywhere.
    details.categories = _column(stored.categories, [intern(name) for name in stored.categories.names])
    details.countries = _column(stored.countries, [intern(name) for name in stored.countries.names])
    for things, first_days in (
        (stored.ip_prefixes, details.ip_prefixes),
        (stored.cards, details.cards),
        (stored.counterparties, details.counterparties),
    ):
        first_days.update(zip(things.names, things.first_days, strict=True))
    details.flags.extend(stored.flags)
    for amounts in stored.category_amounts:
        details.category_amounts.extend(msgspec.structs.astuple(amounts))
    for _ in details.categories.former or ():
        details.category_amounts.extend((0, 0, 0, 0, 0))
    details.country_counts.update((intern(country), count) for country, count in stored.country_counts.items())
    details.home_country = None if stored.home_country is None else intern(stored.home_country)
    details.hour_counts[:] = array("I", stored.hour_counts)
    details.places.extend(stored.places)
    details.place_visits.extend(stored.places.values())
    details.last_present = None if stored.last_present is None else array("d", stored.last_present)
    details.last_new_device_ms = stored.last_new_device_ms
    details.last_new_merchant_ms = stored.last_new_merchant_ms


def _column(things: _Things, names: list[str]) -> ThingColumn:
    """The places of names, which count from one, are the codes from now on."""
    column = ThingColumn()
    known = len(things.first_days)
    column.codes.update((name, code) for code, name in enumerate(names[:known], start=1))
    column.first_days.extend(things.first_days)
    if len(names) > known:
        # The numbers of former things are not known any more, but their codes are taken.
        column.first_days.extend([0] * (len(names) - known))
        column.former = {name: code for code, name in enumerate(names[known:], start=known + 1)}
    column.rows = bytearray(things.rows) if isinstance(things.rows, bytes) else array("I", things.rows)
    return column
