"""What some feature sets need of a customer besides times and amounts: columns of its history, and its habits."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from sys import intern

from fraud.features.geography import place_of
from fraud.features.things import KNOWN_MERCHANTS, KNOWN_OTHERS, ThingColumn, renamed, touch
from fraud.transaction import Transaction

HOUR_MS = 3_600_000

UNKNOWN_PRESENCE, CARD_PRESENT, CARD_NOT_PRESENT = range(3)
# Added to the presence of a declined attempt.
DECLINED = 4
_PRESENT_ENTRY_MODES = frozenset(("chip", "contactless", "magstripe"))
_PRESENT_CHANNELS = frozenset(("pos", "atm"))
_REMOTE_CHANNELS = frozenset(("online", "app", "phone", "mail"))
# Home, work, and where one shops and visits; a ninth place is compared with these.
USUAL_PLACES = 8
# Squares of amounts pass 64 bits (10^11 minor units squared), so their sum is kept in two limbs of 62 bits.
LIMB_BITS = 62
LIMB_MASK = (1 << LIMB_BITS) - 1
# Count, sum, maximum, and two limbs of the sum of squares.
_AMOUNT_NUMBERS = 5


def card_presence(transaction: Transaction) -> int:
    """Whether the card was at the terminal: by entry mode (ISO 8583 field 22), else by channel, else unknown."""
    entry_mode = transaction.entry_mode
    if entry_mode is not None:
        return CARD_PRESENT if entry_mode in _PRESENT_ENTRY_MODES else CARD_NOT_PRESENT
    channel = transaction.channel
    if channel in _PRESENT_CHANNELS:
        return CARD_PRESENT
    return CARD_NOT_PRESENT if channel in _REMOTE_CHANNELS else UNKNOWN_PRESENCE


class CustomerDetails:
    """Columns aligned with the rows of the customer's history, and habits in bounded memory.

    Columns: `flags` (see `card_presence`, plus `DECLINED`), and the rows of `merchants`, `categories`, `countries` and
    `devices`. All habits exclude the transaction being decided.
    """

    __slots__ = (
        "cards",
        "categories",
        "category_amounts",
        "counterparties",
        "countries",
        "country_counts",
        "devices",
        "flags",
        "home_country",
        "hour_counts",
        "ip_prefixes",
        "last_new_device_ms",
        "last_new_merchant_ms",
        "last_present",
        "merchants",
        "place_visits",
        "places",
    )

    def __init__(self) -> None:
        self.flags = bytearray()
        self.merchants = ThingColumn()
        self.categories = ThingColumn()
        self.countries = ThingColumn()
        self.devices = ThingColumn()
        self.ip_prefixes: dict[str, int] = {}
        self.cards: dict[str, int] = {}
        self.counterparties: dict[str, int] = {}
        # Of the category with code c the numbers from (c - 1) * _AMOUNT_NUMBERS on.
        self.category_amounts = array("q")
        self.country_counts: dict[str, int] = {}
        self.home_country: str | None = None
        self.hour_counts = array("I", [0]) * 24
        # Rounded places in the order in which they became usual, and how often each was visited.
        self.places = array("i")
        self.place_visits = array("I")
        # Time, latitude and longitude of the newest card-present event that had a position.
        self.last_present: array[float] | None = None
        self.last_new_device_ms = 0
        self.last_new_merchant_ms = 0

    def amounts_in_category(self, category: str) -> tuple[int, int, int, int] | None:
        """Count, sum, maximum and sum of squares of the amounts in a category; None if it is not known."""
        code = self.categories.codes.get(category, 0)
        if not code:
            return None
        base = (code - 1) * _AMOUNT_NUMBERS
        count, total, maximum, high, low = self.category_amounts[base : base + _AMOUNT_NUMBERS]
        return count, total, maximum, (high << LIMB_BITS) + low

    def count_in_category(self, category: str) -> int:
        """How many payments in a category are known."""
        code = self.categories.codes.get(category, 0)
        return self.category_amounts[(code - 1) * _AMOUNT_NUMBERS] if code else 0

    def absorb(
        self, transaction: Transaction, place: int, merchant: str | None, device: str | None, day: int, is_first: bool
    ) -> None:
        """Add an authorisation as row `place` of the history.

        `merchant` and `device` are the shared string objects, `day` the whole days since the customer was first seen.
        """
        timestamp_ms = transaction.timestamp_ms
        category, country = transaction.merchant_category, transaction.country
        merchants, devices = self.merchants, self.devices
        merchant_code = device_code = 0
        if merchant is not None:
            if merchants.touch(merchant, day, KNOWN_MERCHANTS) and not is_first:
                self.last_new_merchant_ms = timestamp_ms
            merchant_code = merchants.codes[merchant]
        if device is not None:
            if devices.touch(device, day, KNOWN_OTHERS) and not is_first:
                self.last_new_device_ms = timestamp_ms
            device_code = devices.codes[device]
        category_code = 0 if category is None else self._absorb_category(intern(category), transaction, day)
        country_code = 0 if country is None else self._absorb_country(intern(country), day)
        presence = card_presence(transaction)
        flags = presence + DECLINED if transaction.auth_result == "declined" else presence
        if place == len(self.flags):
            self.flags.append(flags)
            merchants.rows.append(merchant_code)
            self.categories.rows.append(category_code)
            self.countries.rows.append(country_code)
            devices.rows.append(device_code)
        else:
            self.flags.insert(place, flags)
            merchants.rows.insert(place, merchant_code)
            self.categories.rows.insert(place, category_code)
            self.countries.rows.insert(place, country_code)
            devices.rows.insert(place, device_code)
        self._absorb_habits(transaction, day, presence)

    def delete(self, start: int, end: int) -> None:
        """Forget the rows from `start` to `end` (exclusive)."""
        del self.flags[start:end]
        del self.merchants.rows[start:end]
        del self.categories.rows[start:end]
        del self.countries.rows[start:end]
        del self.devices.rows[start:end]

    def rename(self, names: Mapping[str, str]) -> bool:
        """Put what is known under another name now under its new one, by old name; whether there was anything."""
        known = (self.merchants.codes, self.devices.codes, self.cards, self.counterparties)
        if not any(things.keys() & names.keys() for things in known):
            return False
        self.merchants.rename(names)
        self.devices.rename(names)
        self.cards = renamed(self.cards, names)
        self.counterparties = renamed(self.counterparties, names)
        return True

    def _absorb_habits(self, transaction: Transaction, day: int, presence: int) -> None:
        timestamp_ms = transaction.timestamp_ms
        self.hour_counts[timestamp_ms // HOUR_MS % 24] += 1
        ip_prefix, card_id, counterparty_id = transaction.ip_prefix, transaction.card_id, transaction.counterparty_id
        if ip_prefix is not None:
            touch(self.ip_prefixes, ip_prefix, day)
        if card_id is not None:
            touch(self.cards, card_id, day)
        if counterparty_id is not None:
            touch(self.counterparties, counterparty_id, day)
        latitude, longitude = transaction.latitude, transaction.longitude
        if latitude is not None and longitude is not None:
            self._absorb_place(place_of(latitude, longitude))
            if presence == CARD_PRESENT and (self.last_present is None or timestamp_ms >= self.last_present[0]):
                self.last_present = array("d", (timestamp_ms, latitude, longitude))

    def _absorb_category(self, category: str, transaction: Transaction, day: int) -> int:
        is_new = self.categories.touch(category, day, KNOWN_OTHERS)
        code = self.categories.codes[category]
        base = (code - 1) * _AMOUNT_NUMBERS
        amount = transaction.base_amount_minor
        numbers = self.category_amounts
        squares = amount * amount
        if is_new:
            numbers[base : base + _AMOUNT_NUMBERS] = array(
                "q", (1, amount, amount, squares >> LIMB_BITS, squares & LIMB_MASK)
            )
            return code
        numbers[base] += 1
        numbers[base + 1] += amount
        numbers[base + 2] = max(numbers[base + 2], amount)
        squares += numbers[base + 4]
        if squares > LIMB_MASK:
            numbers[base + 3] += squares >> LIMB_BITS
            squares &= LIMB_MASK
        numbers[base + 4] = squares
        return code

    def _absorb_country(self, country: str, day: int) -> int:
        self.countries.touch(country, day, KNOWN_OTHERS)
        counts = self.country_counts
        if country not in counts and len(counts) >= KNOWN_OTHERS:
            del counts[min(counts, key=counts.__getitem__)]
        count = counts.get(country, 0) + 1
        counts[country] = count
        if self.home_country is None or count > counts.get(self.home_country, 0):
            self.home_country = country
        return self.countries.codes[country]

    def _absorb_place(self, place: int) -> None:
        places, visits = self.places, self.place_visits
        if place in places:
            visits[places.index(place)] += 1
            return
        if len(places) >= USUAL_PLACES:
            rarest = visits.index(min(visits))
            del places[rarest]
            del visits[rarest]
        places.append(place)
        visits.append(1)
