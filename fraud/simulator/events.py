"""Transactions as columns of numbers: every entity is an index, and what text it has is decided when it is written."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

Events = npt.NDArray[np.void]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000

NONE = -1  # an index that points to nothing: the field is missing

# One row per transaction. `key` is unique and names the transaction; `original` is the key of the transaction that a
# refund or a reversal undoes. `ip` is an IPv4 number, 0 for missing; coordinates are NaN where missing. `amount_minor`
# is in minor units of `currency`, `amount_euro` the same in euros. `scenario` is 0 for legitimate.
EVENT_DTYPE = np.dtype(
    [
        ("key", np.uint64),
        ("original", np.uint64),
        ("timestamp_ms", np.int64),
        ("customer", np.int32),
        ("card", np.int32),
        ("merchant", np.int32),
        ("terminal", np.int32),
        ("counterparty", np.int64),
        ("device", np.int64),
        ("amount_euro", np.float64),
        ("amount_minor", np.int64),
        ("latitude", np.float64),
        ("longitude", np.float64),
        ("ip", np.uint32),
        ("city", np.int16),
        ("country", np.int16),
        ("currency", np.int8),
        ("event_type", np.int8),
        ("auth_result", np.int8),
        ("entry_mode", np.int8),
        ("channel", np.int8),
        ("recurring", np.bool_),
        ("scenario", np.int8),
    ]
)

# Fields by the order of `fraud.transaction.EVENT_TYPES`, `AUTH_RESULTS` and `ENTRY_MODES`.
AUTHORISATION, REFUND, REVERSAL = range(3)
APPROVED, DECLINED = range(2)
CHIP, CONTACTLESS, MAGSTRIPE, MANUAL, ECOMMERCE = range(5)
CHANNELS = ("pos", "online", "atm", "transfer")
POS, ONLINE, ATM, TRANSFER = range(4)


class Component(IntEnum):
    """A part that draws its own random numbers, so that the options of one part leave the others' draws as they are."""

    MERCHANTS = 1
    CUSTOMERS = 2
    TRAVEL = 3
    LEGITIMATE = 4
    CAMPAIGNS = 5
    FRAUD = 6
    FORMATS = 7


def generator_for(seed: int, component: Component, *path: int) -> np.random.Generator:
    """An independent stream for a component (and a day, or any further path) of a seed."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(int(component), *path))))


def blank_events(count: int) -> Events:
    """`count` legitimate, approved authorisations in which every optional field is missing."""
    events = np.zeros(count, dtype=EVENT_DTYPE)
    for name in ("card", "merchant", "terminal", "counterparty", "device", "city", "country", "entry_mode"):
        events[name] = NONE
    events["latitude"] = np.nan
    events["longitude"] = np.nan
    return events


def assign_keys(events: Events, component: Component, day: int) -> None:
    """Give every event its key: component, day and position. Keys of one component do not depend on the others."""
    start = (int(component) << 56) | (day << 40)
    events["key"] = np.arange(start, start + len(events), dtype=np.uint64)


def mixed(values: npt.NDArray[np.uint64], salt: int) -> npt.NDArray[np.uint64]:
    """A bijection of 64-bit numbers (the finaliser of splitmix64) after adding a salt: unique stays unique."""
    with np.errstate(over="ignore"):
        state = values.astype(np.uint64) + np.uint64((salt * 0x9E3779B97F4A7C15) % 2**64)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def uniform_by_key(keys: npt.NDArray[np.uint64], salt: int) -> Floats:
    """A number in (0, 1) for every key: a draw that does not depend on which other transactions there are."""
    return ((mixed(mixed(keys, salt), salt + 1) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def normal_by_key(keys: npt.NDArray[np.uint64], salt: int) -> Floats:
    """A standard normal number for every key, by the transform of Box and Muller."""
    radius = np.sqrt(-2.0 * np.log(uniform_by_key(keys, salt)))
    return radius * np.cos(2.0 * np.pi * uniform_by_key(keys, salt + 1))
