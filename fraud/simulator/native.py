"""Our own format: a table with the fields of the transactions topic, then the labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fraud.simulator.events import (
    CHANNELS,
    NONE,
    ONLINE,
    TRANSFER,
    Booleans,
    Floats,
    Integers,
    mixed,
    uniform_by_key,
)
from fraud.simulator.merchants import CATEGORY_CODES
from fraud.simulator.options import SCENARIOS
from fraud.simulator.places import CITY_NAMES, COUNTRIES, CURRENCIES, CURRENCY_EXPONENTS
from fraud.simulator.population import CARDS_EACH
from fraud.simulator.simulation import DayOfTransactions, Simulation
from fraud.transaction import AUTH_RESULTS, ENTRY_MODES, EVENT_TYPES, LABEL_SOURCES, LABELS

NATIVE_SCHEMA = pa.schema(
    [
        pa.field("transaction_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("timestamp", pa.string(), nullable=False),
        pa.field("amount", pa.float64(), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        ("event_type", pa.string()),
        ("auth_result", pa.string()),
        ("original_transaction_id", pa.string()),
        ("entry_mode", pa.string()),
        ("is_recurring", pa.bool_()),
        ("card_id", pa.string()),
        ("merchant_id", pa.string()),
        ("merchant_category", pa.string()),
        ("terminal_id", pa.string()),
        ("counterparty_id", pa.string()),
        ("channel", pa.string()),
        ("country", pa.string()),
        ("city", pa.string()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("device_id", pa.string()),
        ("ip_address", pa.string()),
        ("label", pa.string()),
        ("label_source", pa.string()),
        ("label_known_at", pa.string()),
        ("scenario", pa.string()),
    ]
)

# Share of values that the sender left out; by the transaction's key alone, so that a gap says nothing about fraud.
MISSING_SHARES = {
    "auth_result": 0.01,
    "entry_mode": 0.02,
    "merchant_category": 0.01,
    "city": 0.06,
    "coordinates": 0.05,
    "device_id": 0.07,
    "ip_address": 0.03,
    "country": 0.01,
}
_SALT_MISSING = 1_000
_SALT_TRANSACTION, _SALT_DEVICE, _SALT_ACCOUNT = 2_000, 3_000, 4_000

# Issuer prefixes of the simulated cards. The last digit of every number is one that the Luhn check refuses, so that
# none can be the number of a card.
CARD_PREFIXES = np.array(
    [400012, 400044, 410078, 422290, 435561, 451103, 510510, 520473, 535318, 545250], dtype=np.int64
)
CARD_SERIAL_DIGITS = 9


class NativeTables:
    """Turns days of a simulation into tables of `NATIVE_SCHEMA`; the texts of customers and merchants are made once."""

    def __init__(self, simulation: Simulation) -> None:
        population = simulation.population
        merchants = population.merchants
        self._seed = simulation.options.seed
        self._users = _numbered("C", population.customers, 7)
        self._cards = card_numbers(np.arange(population.customers * CARDS_EACH))
        self._merchants = _numbered("M", merchants.count, 6)
        self._terminals = _numbered("P", merchants.count * merchants.terminals_each, 7)
        self._categories = pa.array([CATEGORY_CODES[index] for index in merchants.category])

    def table(self, day: DayOfTransactions) -> pa.Table:
        """The day's transactions, one row each, in time order."""
        events, labels = day.events, day.labels
        keys = events["key"]
        merchant = events["merchant"].astype(np.int64)
        recurring = pa.array(events["recurring"], mask=~events["recurring"] & (events["channel"] != ONLINE))
        terminal = np.where((events["channel"] == ONLINE) | (events["channel"] == TRANSFER), NONE, events["terminal"])
        original = events["original"]
        place_missing = self._missing(keys, "coordinates")
        spoken = labels.source != NONE
        columns = [
            pc.binary_join_element_wise("t", hexadecimal(mixed(keys, _SALT_TRANSACTION + self._seed)), ""),
            self._users.take(pa.array(events["customer"])),
            timestamp_texts(events["timestamp_ms"]),
            pa.array(major_units(events["amount_minor"], events["currency"])),
            _named(CURRENCIES, events["currency"]),
            _named(EVENT_TYPES, events["event_type"]),
            self._optional(_named(AUTH_RESULTS, events["auth_result"]), keys, "auth_result"),
            _present_where(
                pc.binary_join_element_wise("t", hexadecimal(mixed(original, _SALT_TRANSACTION + self._seed)), ""),
                original != 0,
            ),
            self._optional(_named(ENTRY_MODES, events["entry_mode"]), keys, "entry_mode"),
            recurring,
            _taken(self._cards, events["card"]),
            _taken(self._merchants, merchant),
            self._optional(_taken(self._categories, merchant), keys, "merchant_category"),
            _taken(self._terminals, terminal),
            self._accounts(events["counterparty"]),
            _named(CHANNELS, events["channel"]),
            self._optional(_named(COUNTRIES, events["country"]), keys, "country"),
            self._optional(_named(CITY_NAMES, events["city"]), keys, "city"),
            pa.array(events["latitude"], mask=np.isnan(events["latitude"]) | place_missing),
            pa.array(events["longitude"], mask=np.isnan(events["longitude"]) | place_missing),
            self._devices(events["device"], keys),
            _present_where(ip_texts(events["ip"]), (events["ip"] != 0) & ~self._missing(keys, "ip_address")),
            _named(LABELS, np.where(labels.fraud, 0, 1)),
            _named(LABEL_SOURCES, labels.source),
            _present_where(timestamp_texts(labels.known_at_ms), spoken),
            _named(SCENARIOS, events["scenario"].astype(np.int64) - 1),
        ]
        return pa.Table.from_arrays(columns, schema=NATIVE_SCHEMA)

    def _missing(self, keys: npt.NDArray[np.uint64], field: str) -> Booleans:
        salt = _SALT_MISSING + 2 * list(MISSING_SHARES).index(field)
        return np.asarray(uniform_by_key(keys, salt) < MISSING_SHARES[field])

    def _optional(self, values: pa.Array, keys: npt.NDArray[np.uint64], field: str) -> pa.Array:
        return _present_where(values, ~self._missing(keys, field))

    def _devices(self, device: Integers, keys: npt.NDArray[np.uint64]) -> pa.Array:
        # Scrambled, or the number would tell a customer's own device from a fraudster's.
        names = hexadecimal(mixed(device.astype(np.uint64), _SALT_DEVICE + self._seed))
        return _present_where(
            pc.binary_join_element_wise("d", names, ""), (device != NONE) & ~self._missing(keys, "device_id")
        )

    def _accounts(self, counterparty: Integers) -> pa.Array:
        names = hexadecimal(mixed(counterparty.astype(np.uint64), _SALT_ACCOUNT + self._seed))
        return _present_where(pc.binary_join_element_wise("a", names, ""), counterparty != NONE)


def card_numbers(card: Integers) -> pa.Array:
    """Sixteen digits for each card index: a prefix, a scrambled serial number, and a check digit that is wrong."""
    # 7 and 10 are coprime, and so are the multiplier and the modulus: different cards have different numbers.
    prefix = CARD_PREFIXES[card * 7 % len(CARD_PREFIXES)]
    serial = card * 387_420_489 % 10**CARD_SERIAL_DIGITS
    body = prefix * 10**CARD_SERIAL_DIGITS + serial
    total = np.zeros(len(card), dtype=np.int64)
    for position in range(15):
        digit = body // 10**position % 10
        doubled = digit * 2 - np.where(digit > 4, 9, 0)
        total += doubled if position % 2 == 0 else digit
    wrong = (-total % 10 + 1 + serial % 9) % 10
    return pa.array(body * 10 + wrong).cast(pa.string())


def major_units(amount_minor: Integers, currency: Integers) -> Floats:
    """Amounts in the currency's own unit, each the double nearest to the decimal number."""
    return np.asarray(amount_minor / 10.0 ** CURRENCY_EXPONENTS[currency])


def timestamp_texts(timestamp_ms: Integers) -> pa.Array:
    """RFC 3339 in UTC with milliseconds."""
    spaced = pa.array(timestamp_ms.astype("datetime64[ms]")).cast(pa.string())
    return pc.binary_join_element_wise(pc.binary_replace_slice(spaced, 10, 11, "T"), "Z", "")


_HEXADECIMAL_PAIRS = np.array([f"{byte:02x}" for byte in range(256)], dtype="S2").view(np.uint16)


def hexadecimal(values: npt.NDArray[np.uint64]) -> pa.Array:
    """Sixteen lower-case digits for each number."""
    data = _HEXADECIMAL_PAIRS[np.ascontiguousarray(values).astype(">u8").view(np.uint8)]
    offsets = np.arange(0, 16 * len(values) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(data))


_OCTETS = pa.array([str(octet) for octet in range(256)])


def ip_texts(address: Integers) -> pa.Array:
    """Dotted IPv4."""
    octets = [_OCTETS.take(pa.array((address >> shift & 255).astype(np.int32))) for shift in (24, 16, 8, 0)]
    return pc.binary_join_element_wise(*octets, ".")


def _numbered(letter: str, count: int, digits: int) -> pa.Array:
    return pa.array([f"{letter}{number:0{digits}d}" for number in range(count)])


def _present_where(values: pa.Array, present: Booleans) -> pa.Array:
    return pc.if_else(pa.array(present), values, pa.scalar(None, values.type))


def _named(names: tuple[str, ...], index: Integers) -> pa.Array:
    return _taken(pa.array(names), index)


def _taken(values: pa.Array, index: Integers) -> pa.Array:
    """The values at the indexes, missing where an index is -1."""
    return values.take(pa.array(index, mask=index == NONE))
