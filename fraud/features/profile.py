"""A customer's habits in bounded memory: running amounts, known things, usual places, active hours."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from sys import intern

from fraud.features.geography import place_of
from fraud.transaction import Transaction

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

# What a customer's profile may remember, so that a scripted customer cannot fill the memory. A person uses some dozens
# of merchants in a quarter; with fewer slots the weekly bakery would come back as new. Least recently used goes first.
KNOWN_MERCHANTS = 64
KNOWN_OTHERS = 16
# Home, work, and where one shops and visits; a ninth place is compared with these.
USUAL_PLACES = 8
# Squares of amounts pass 64 bits (10^11 minor units squared), so their sum is kept in two limbs of 62 bits.
_LIMB_BITS = 62
_LIMB_MASK = (1 << _LIMB_BITS) - 1
_COUNT, _SUM, _MAXIMUM, _SQUARES_HIGH, _SQUARES_LOW = range(5)
_COLUMNS = 5


class AmountStatistics:
    """Count, sum, maximum and sum of squares of amounts per key, in base minor units, packed: 40 bytes a key."""

    __slots__ = ("_numbers", "slots")

    def __init__(self) -> None:
        self.slots: dict[str, int] = {}
        self._numbers = array("q")

    def add(self, key: str, amount: int) -> None:
        """Count `amount` under `key`; the key used least recently is forgotten when all slots are taken."""
        numbers = self._numbers
        slot = self.slots.pop(key, -1)
        if slot < 0:
            slot = len(self.slots)
            if slot >= KNOWN_OTHERS:
                oldest = next(iter(self.slots))
                slot = self.slots.pop(oldest)
                numbers[slot * _COLUMNS : (slot + 1) * _COLUMNS] = array("q", bytes(8 * _COLUMNS))
            else:
                numbers.extend((0,) * _COLUMNS)
        self.slots[key] = slot
        base = slot * _COLUMNS
        numbers[base + _COUNT] += 1
        numbers[base + _SUM] += amount
        numbers[base + _MAXIMUM] = max(numbers[base + _MAXIMUM], amount)
        squares = (numbers[base + _SQUARES_HIGH] << _LIMB_BITS) + numbers[base + _SQUARES_LOW] + amount * amount
        numbers[base + _SQUARES_HIGH] = squares >> _LIMB_BITS
        numbers[base + _SQUARES_LOW] = squares & _LIMB_MASK

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[str, tuple[int, int, int, int]]]) -> AmountStatistics:
        """Statistics that hold these keys, in this order of use, with what `read` says of each."""
        statistics = cls()
        for slot, (key, (count, total, maximum, squares)) in enumerate(rows):
            statistics.slots[key] = slot
            statistics._numbers.extend((count, total, maximum, squares >> _LIMB_BITS, squares & _LIMB_MASK))
        return statistics

    def count(self, key: str) -> int:
        """How many amounts were counted under `key`."""
        slot = self.slots.get(key)
        return 0 if slot is None else self._numbers[slot * _COLUMNS + _COUNT]

    def read(self, key: str) -> tuple[int, int, int, int] | None:
        """Count, sum, maximum and sum of squares under `key`."""
        slot = self.slots.get(key)
        if slot is None:
            return None
        base = slot * _COLUMNS
        count, total, maximum, high, low = self._numbers[base : base + _COLUMNS]
        return count, total, maximum, (high << _LIMB_BITS) + low


class KnownThings(dict[str, int]):
    """Which merchants, devices, ... a customer has used, and on which day of its tenure first. Bounded, LRU.

    Day numbers are relative to the customer's first day: small integers, which Python shares.
    """

    __slots__ = ()

    def touch(self, thing: str, day: int, capacity: int = KNOWN_OTHERS) -> bool:
        """Remember `thing`; True when it is new."""
        first_day = self.pop(thing, -1)
        if first_day >= 0:
            self[thing] = first_day
            return False
        if len(self) >= capacity:
            del self[next(iter(self))]
        self[thing] = day
        return True


class CustomerProfile:
    """Running amounts since the customer was first seen. All of them exclude the transaction being decided."""

    __slots__ = ("amount_maximum", "amount_squares", "amount_sum", "first_seen_ms", "transaction_count")

    def __init__(self) -> None:
        self.transaction_count = 0
        self.amount_sum = 0
        self.amount_squares = 0
        self.amount_maximum = 0
        self.first_seen_ms = 0

    def day_of(self, timestamp_ms: int) -> int:
        """Whole days since the customer was first seen; 0 for an event from before that."""
        return max(0, (timestamp_ms - self.first_seen_ms) // DAY_MS)

    def absorb(self, transaction: Transaction, _merchant: str | None, _device: str | None, _present: bool) -> None:
        """Add an authorisation; `merchant` and `device` are the shared string objects."""
        amount = transaction.base_amount_minor
        if self.transaction_count == 0:
            # By arrival: the days on which things were first seen are counted from here and must not shift.
            self.first_seen_ms = transaction.timestamp_ms
        self.transaction_count += 1
        self.amount_sum += amount
        self.amount_squares += amount * amount
        self.amount_maximum = max(self.amount_maximum, amount)


class DetailedProfile(CustomerProfile):
    """What is known besides amounts: used things, usual places, active hours."""

    __slots__ = (
        "cards",
        "categories",
        "category_amounts",
        "counterparties",
        "countries",
        "country_counts",
        "devices",
        "home_country",
        "hour_counts",
        "ip_prefixes",
        "last_new_device_ms",
        "last_new_merchant_ms",
        "last_present",
        "merchants",
        "places",
    )

    def __init__(self) -> None:
        super().__init__()
        self.merchants = KnownThings()
        self.devices = KnownThings()
        self.categories = KnownThings()
        self.countries = KnownThings()
        self.ip_prefixes = KnownThings()
        self.cards = KnownThings()
        self.counterparties = KnownThings()
        self.category_amounts = AmountStatistics()
        self.country_counts: dict[str, int] = {}
        self.home_country: str | None = None
        self.hour_counts = array("I", bytes(24 * 4))
        # Rounded place -> how often, most useful ones kept.
        self.places: dict[int, int] = {}
        # Time, latitude and longitude of the newest card-present event that had a position.
        self.last_present: tuple[int, float, float] | None = None
        self.last_new_device_ms = 0
        self.last_new_merchant_ms = 0

    def absorb(self, transaction: Transaction, merchant: str | None, device: str | None, present: bool) -> None:
        """Add an authorisation; `merchant` and `device` are the shared string objects."""
        is_first = self.transaction_count == 0
        super().absorb(transaction, merchant, device, present)
        self._absorb_details(transaction, merchant, device, present, is_first)

    def _absorb_details(
        self, transaction: Transaction, merchant: str | None, device: str | None, present: bool, is_first: bool
    ) -> None:
        timestamp_ms = transaction.timestamp_ms
        day = self.day_of(timestamp_ms)
        self.hour_counts[timestamp_ms // HOUR_MS % 24] += 1
        if merchant is not None and self.merchants.touch(merchant, day, KNOWN_MERCHANTS) and not is_first:
            self.last_new_merchant_ms = timestamp_ms
        if device is not None and self.devices.touch(device, day) and not is_first:
            self.last_new_device_ms = timestamp_ms
        if transaction.ip_prefix is not None:
            self.ip_prefixes.touch(transaction.ip_prefix, day)
        if transaction.card_id is not None:
            self.cards.touch(transaction.card_id, day)
        if transaction.counterparty_id is not None:
            self.counterparties.touch(transaction.counterparty_id, day)
        if transaction.merchant_category is not None:
            category = intern(transaction.merchant_category)
            self.categories.touch(category, day)
            self.category_amounts.add(category, transaction.base_amount_minor)
        if transaction.country is not None:
            self._absorb_country(intern(transaction.country), day)
        if transaction.latitude is not None and transaction.longitude is not None:
            self._absorb_place(place_of(transaction.latitude, transaction.longitude))
            if present and (self.last_present is None or timestamp_ms >= self.last_present[0]):
                self.last_present = (timestamp_ms, transaction.latitude, transaction.longitude)

    def _absorb_country(self, country: str, day: int) -> None:
        self.countries.touch(country, day)
        counts = self.country_counts
        if country not in counts and len(counts) >= KNOWN_OTHERS:
            del counts[min(counts, key=counts.__getitem__)]
        counts[country] = counts.get(country, 0) + 1
        if self.home_country is None or counts[country] > counts.get(self.home_country, 0):
            self.home_country = country

    def _absorb_place(self, place: int) -> None:
        places = self.places
        if place not in places and len(places) >= USUAL_PLACES:
            del places[min(places, key=places.__getitem__)]
        places[place] = places.get(place, 0) + 1
