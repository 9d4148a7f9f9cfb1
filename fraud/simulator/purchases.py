"""Completes a payment: from who pays whom how much and how, to every field that a transaction carries."""

from __future__ import annotations

import numpy as np

from fraud.simulator.events import (
    ATM,
    CHIP,
    CONTACTLESS,
    DAY_MS,
    ECOMMERCE,
    MAGSTRIPE,
    NONE,
    ONLINE,
    POS,
    TRANSFER,
    Booleans,
    Events,
    Floats,
    Integers,
)
from fraud.simulator.merchants import CASH_MACHINE, CATEGORY_SPREAD
from fraud.simulator.places import CITY_COUNTRY, COUNTRIES, COUNTRY_CURRENCY, CURRENCY_EXPONENTS, UNITS_PER_EURO
from fraud.simulator.population import (
    CARDS_EACH,
    DEVICES_EACH,
    LAPTOP,
    MAIN_CARD,
    NEW_LAPTOP,
    NEW_PHONE,
    PHONE,
    REISSUED_CARD,
    Population,
)

# Private and benchmark ranges (RFC 1918, RFC 2544): no address of anybody. 10.0-10.199 are homes, 10.200-10.255 mobile
# networks, 198.18 hotels and other foreign networks, 198.19 hosting and virtual private networks.
MOBILE_NETWORK = (10 << 24) + (200 << 16)
MOBILE_ADDRESSES = 4_096  # carriers put many customers behind one address
FOREIGN_NETWORK = (198 << 24) + (18 << 16)
HOSTING_NETWORK = (198 << 24) + (19 << 16)
HOSTING_ADDRESSES = 16_384

DISCOUNTED_ENDINGS = 0.18  # share of prices that end in .99, .95 or .50
WHOLE_ENDINGS = 0.12
LARGEST_AMOUNT_EURO = 9_500.0


def usual_amounts(
    generator: np.random.Generator, population: Population, customer: Integers, merchant: Integers
) -> Floats:
    """What these customers would pay these merchants, in euros: log-normal around the merchant's mean."""
    merchants = population.merchants
    spread = CATEGORY_SPREAD[merchants.category[merchant]] * np.where(merchants.fixed_price[merchant], 0.0, 1.0)
    # Prices vary less than incomes: the rich buy better bread, not fifty loaves.
    level = population.spending[customer] ** np.where(merchants.fixed_price[merchant], 0.0, 0.7)
    noise = np.exp(spread * generator.normal(size=len(merchant)) - spread**2 / 2)
    return np.minimum(merchants.mean_euro[merchant] * level * noise, LARGEST_AMOUNT_EURO)


def complete_purchases(generator: np.random.Generator, population: Population, events: Events) -> None:
    """Fill channel, terminal, place and currency of events that have a merchant, and the amount in that currency."""
    merchants = population.merchants
    merchant = events["merchant"].astype(np.int64)
    online = merchants.city[merchant] == NONE
    cash = merchants.category[merchant] == CASH_MACHINE
    events["channel"] = np.where(online, ONLINE, np.where(cash, ATM, POS))
    events["entry_mode"] = np.where(online & (events["entry_mode"] == NONE), ECOMMERCE, events["entry_mode"])
    events["terminal"] = merchant * merchants.terminals_each + generator.integers(
        0, merchants.terminals_each, len(events)
    )
    for name in ("city", "country", "latitude", "longitude"):
        events[name] = getattr(merchants, name)[merchant]
    currency = np.where(merchants.charges_euro[merchant], 0, COUNTRY_CURRENCY[events["country"]])
    price_in_currency(generator, events, currency, cash=cash)


def complete_transfers(population: Population, events: Events, generator: np.random.Generator) -> None:
    """Fill channel, country and amount of transfers, which are made in euros from the customer's home country."""
    events["channel"] = TRANSFER
    events["country"] = CITY_COUNTRY[population.home_city[events["customer"]]]
    price_in_currency(
        generator, events, np.zeros(len(events), dtype=np.int64), cash=np.zeros(len(events), dtype=np.bool_)
    )


def price_in_currency(generator: np.random.Generator, events: Events, currency: Integers, *, cash: Booleans) -> None:
    """Turn `amount_euro` into minor units of the currency, with the endings that prices have; cash comes in notes."""
    amount = np.maximum(events["amount_euro"], 0.3) * UNITS_PER_EURO[currency]
    ending = generator.random(len(events))
    odd = generator.choice(np.array([0.01, 0.05, 0.5]), len(events))
    step = np.where(currency == 3, 1_000.0, 10.0)
    amount = np.where(ending < DISCOUNTED_ENDINGS, np.ceil(amount) - odd, amount)
    amount = np.where(ending > 1.0 - WHOLE_ENDINGS, np.ceil(amount), amount)
    amount = np.where(cash, np.maximum(np.rint(amount / step), 1.0) * step, amount)
    set_amounts(events, amount, currency)


def set_amounts(events: Events, amount: Floats, currency: Integers) -> None:
    """Set exact amounts, given in major units of the currency; `amount_euro` follows."""
    exponent = CURRENCY_EXPONENTS[currency]
    minor = np.maximum(np.rint(amount * 10.0**exponent), 1.0)
    events["currency"] = currency
    events["amount_minor"] = minor.astype(np.int64)
    events["amount_euro"] = minor / 10.0**exponent / UNITS_PER_EURO[currency]


def own_cards(population: Population, customer: Integers, day: int, *, second: Booleans) -> Integers:
    """The card that each customer pays with that day: the main one, once replaced the new one, or the second."""
    main = np.where(day >= population.new_card_day[customer], REISSUED_CARD, MAIN_CARD)
    return np.asarray(customer * CARDS_EACH + np.where(second, CARDS_EACH - 1, main))


def own_devices(generator: np.random.Generator, population: Population, customer: Integers, day: int) -> Integers:
    """The customer's own phone (three in four) or laptop, the new one from the day it was bought."""
    laptop = generator.random(len(customer)) < 0.25
    new = day >= population.new_phone_day[customer]
    slot = np.where(laptop, np.where(new, NEW_LAPTOP, LAPTOP), np.where(new, NEW_PHONE, PHONE))
    return np.asarray(customer * DEVICES_EACH + slot)


def own_addresses(
    generator: np.random.Generator, population: Population, customer: Integers, away_city: Integers
) -> Integers:
    """IPv4 numbers: home, the mobile network, a hotel's where the customer stays, or a private network's."""
    count = len(customer)
    kind = generator.random(count)
    mobile = MOBILE_NETWORK + generator.integers(0, MOBILE_ADDRESSES, count)
    hotel = FOREIGN_NETWORK + away_city.clip(min=0) * 256 + generator.integers(1, 60, count)
    private = HOSTING_NETWORK + generator.integers(0, HOSTING_ADDRESSES, count)
    address = np.where(kind < 0.35, mobile, np.where(away_city == NONE, population.home_ip[customer], hotel))
    return np.where(population.uses_vpn[customer] & (kind > 0.5), private, address)


def fill_devices(
    generator: np.random.Generator, population: Population, events: Events, day: int, away_city: Integers
) -> None:
    """Own device and address for remote payments, and own phone for some contactless ones."""
    customer = events["customer"].astype(np.int64)
    remote = np.isin(events["channel"], [ONLINE, TRANSFER]) & ~events["recurring"]
    wallet = (events["entry_mode"] == CONTACTLESS) & (generator.random(len(events)) < 0.35)
    devices = own_devices(generator, population, customer, day)
    phone = customer * DEVICES_EACH + np.where(day >= population.new_phone_day[customer], NEW_PHONE, PHONE)
    addresses = own_addresses(generator, population, customer, away_city)
    events["device"] = np.where(remote, devices, np.where(wallet, phone, NONE))
    events["ip"] = np.where(remote, addresses, 0)


def present_entry_modes(generator: np.random.Generator, population: Population, events: Events) -> None:
    """How a card that is present is read: contactless for small amounts by habit, chip else, rarely the stripe."""
    shop = np.isin(events["channel"], [POS, ATM])
    draw = generator.random(len(events))
    limit = np.where(generator.random(len(events)) < 0.6, 50.0, 1_000.0)  # a phone has no limit without a PIN
    tap = (
        (events["channel"] == POS)
        & (draw < population.contactless_share[events["customer"]])
        & (events["amount_euro"] <= limit)
    )
    swipe = generator.random(len(events)) < np.where(events["country"] == COUNTRY_OF_STRIPES, 0.2, 0.006)
    mode = np.where(tap, CONTACTLESS, np.where(swipe, MAGSTRIPE, CHIP))
    events["entry_mode"] = np.where(shop, mode, events["entry_mode"])


# The United States still read stripes where chips fail.
COUNTRY_OF_STRIPES = COUNTRIES.index("US")


def day_number(population: Population, timestamp_ms: int) -> int:
    """The simulation's day that a time falls in."""
    return (timestamp_ms - population.start_ms) // DAY_MS
