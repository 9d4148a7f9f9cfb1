"""A customer's state as bytes and back: what a store keeps as a checkpoint of the customer's history.

A snapshot is a version (1 byte), the fingerprint of the plan that it was taken under (8 bytes), and a body in
MessagePack, compressed by zstd with its checksum. It is complete: a state that is read back goes on with the values of
the original.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from itertools import accumulate, chain, pairwise
from struct import Struct, pack, unpack

import msgspec
import zstandard

from fraud.features import customer_words as layout
from fraud.features.customer_identities import ARRIVAL_MS, CONTENT, IDENTIFIER, IDENTITY_WORDS, OWN_MS
from fraud.features.customer_record import Amounts, Details, amounts_of, details_of, lay_out, rows_of
from fraud.features.customer_state import CustomerState
from fraud.features.fingerprints import fingerprint
from fraud.features.plan import StatePlan

# Written from now on. When the body changes: add its reader to `_READERS` and keep the one before it, since workers of
# the version before write until all are upgraded.
VERSION = 1
_HEADER = Struct("<Bq")
# Higher levels gain a hundredth: most of a snapshot is fingerprints and amounts.
_COMPRESSION_LEVEL = 3


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
    profile: Amounts
    first_seen_ms: int
    details: Details | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Body).decode


def encode_customer(state: CustomerState, plan: StatePlan) -> bytes:
    """The snapshot of `state`, which was made under `plan`."""
    times_ms, amounts = rows_of(state)
    identities = state.identity_words()
    identifiers, contents, arrivals_ms, timestamps_ms = (
        identities[word::IDENTITY_WORDS] for word in (IDENTIFIER, CONTENT, ARRIVAL_MS, OWN_MS)
    )
    body = _Body(
        sequence=state.sequence,
        newest_ms=state.newest_ms,
        times_ms=_differences(times_ms),
        amounts=amounts,
        identifiers=pack(f"<{len(identifiers)}q", *identifiers),
        contents=pack(f"<{len(contents)}q", *contents),
        arrivals_ms=_differences(arrivals_ms.tolist()),
        delays_ms=[arrival - abs(own) for arrival, own in zip(arrivals_ms, timestamps_ms, strict=True)],
        outside_windows=[place for place, own in enumerate(timestamps_ms) if own < 0],
        profile=amounts_of(state),
        first_seen_ms=state.first_seen_ms,
        details=details_of(state),
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


def _restored(body: _Body, plan: StatePlan) -> CustomerState:
    state = CustomerState(plan, body.sequence)
    words = state.words
    words[layout.COUNT : layout.SQUARES_LOW + 1] = array("q", msgspec.structs.astuple(body.profile))
    words[layout.FIRST_SEEN_MS] = body.first_seen_ms
    words[layout.NEWEST_MS] = body.newest_ms
    lay_out(state, list(accumulate(body.times_ms)), body.amounts, body.details)
    count = len(body.delays_ms)
    arrivals_ms = list(accumulate(body.arrivals_ms))
    timestamps_ms = [arrival - delay for arrival, delay in zip(arrivals_ms, body.delays_ms, strict=True)]
    for place in body.outside_windows:
        timestamps_ms[place] = -timestamps_ms[place]
    identifiers, contents = (unpack(f"<{count}q", packed) for packed in (body.identifiers, body.contents))
    identities = zip(identifiers, contents, arrivals_ms, timestamps_ms, strict=True)
    state.put_identities(array("q", list(chain.from_iterable(identities))))
    return state
