"""Customers: what they spend, where they live and shop, what they pay with, and when they are away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fraud.simulator.events import DAY_MS, HOUR_MS, NONE, Booleans, Component, Floats, Integers, generator_for
from fraud.simulator.merchants import DIGITAL_MEDIA, Merchants, build_merchants
from fraud.simulator.options import SimulationOptions
from fraud.simulator.places import (
    CITIES,
    CITY_DISTANCE_KM,
    CITY_LATITUDE,
    CITY_LONGITUDE,
    HOME_WEIGHTS,
    VISIT_WEIGHTS,
    scatter,
)

USUAL_SHOPS = 9
USUAL_ONLINE = 4
CONTACTS = 3
AGREEMENTS = 3  # recurring: two subscriptions and a standing order
# A card's index is customer * CARDS_EACH + slot, a device's customer * DEVICES_EACH + slot.
CARDS_EACH = 3
MAIN_CARD, REISSUED_CARD, SECOND_CARD = range(3)
DEVICES_EACH = 4
PHONE, NEW_PHONE, LAPTOP, NEW_LAPTOP = range(4)

PHONE_LIFE_DAYS = 900.0  # people keep a phone for two and a half years
CARD_LIFE_DAYS = 1_000.0  # expiry every four years, and losses before that
SECOND_CARD_SHARE = 0.4
FAMILY_AWAY_SHARE = 0.03  # the second card is with a child who studies in another city: a legitimate impossible journey
JOINS_DURING_SHARE = 0.05  # new customers, so that having no history is no sign of fraud
# Customers for each landlord, club or shop that is paid by transfer, so that having many payers is no sign either.
CUSTOMERS_PER_COLLECTING_ACCOUNT = 40
TRIP_MEAN_DAYS = 4.0
DRIVING_KM_PER_HOUR = 80.0
FLYING_KM_PER_HOUR = 650.0  # gate to gate
FLYING_FROM_KM = 600.0
AIRPORT_HOURS = 3.0


@dataclass(frozen=True)
class Trips:
    """One entry per trip; a customer's trips do not overlap. Times are UTC milliseconds."""

    customer: Integers
    city: Integers
    depart_ms: Integers
    arrive_ms: Integers
    return_ms: Integers
    home_ms: Integers


@dataclass(frozen=True)
class Population:
    """Everybody and everything that transactions happen between. Arrays have one row per customer.

    `activity` multiplies the number of transactions and has mean 1; `spending` multiplies amounts; `night_shift_hours`
    moves the customer's day. `usual_shops` and `usual_online` are merchants, the first most visited. The second card
    lives in `second_city`, -1 for with its owner. Days count from the start, beyond the end for never.
    """

    start_ms: int
    days: int
    merchants: Merchants
    trips: Trips
    activity: Floats
    spending: Floats
    online_share: Floats
    contactless_share: Floats
    night_shift_hours: Floats
    home_city: Integers
    home_latitude: Floats
    home_longitude: Floats
    usual_shops: Integers
    usual_online: Integers
    contacts: Integers
    agreement_merchant: Integers
    agreement_account: Integers
    agreement_euro: Floats
    agreement_day_of_month: Integers
    second_card: Booleans
    second_city: Integers
    joined_day: Integers
    new_phone_day: Integers
    new_card_day: Integers
    uses_vpn: Booleans
    home_ip: Integers
    collecting_accounts: int

    @property
    def customers(self) -> int:
        """How many there are."""
        return len(self.activity)

    @property
    def end_ms(self) -> int:
        """The first millisecond after the simulation."""
        return self.start_ms + self.days * DAY_MS


def build_population(options: SimulationOptions, start_ms: int) -> Population:
    """Customers and merchants by the options' seed; `start_ms` is the simulation's first millisecond in UTC."""
    merchants = build_merchants(options)
    generator = generator_for(options.seed, Component.CUSTOMERS)
    count = options.customers
    home_city = generator.choice(len(CITIES), count, p=HOME_WEIGHTS / HOME_WEIGHTS.sum()).astype(np.int64)
    latitude, longitude = scatter(generator, CITY_LATITUDE[home_city], CITY_LONGITUDE[home_city], 6.0)
    activity = generator.gamma(2.0, 0.5, count)
    spending = np.exp(generator.normal(0.0, 0.45, count))
    second_card = generator.random(count) < SECOND_CARD_SHARE
    family_away = second_card & (generator.random(count) < FAMILY_AWAY_SHARE / SECOND_CARD_SHARE)
    joins = generator.random(count) < JOINS_DURING_SHARE
    collecting_accounts = max(3, count // CUSTOMERS_PER_COLLECTING_ACCOUNT)
    agreement_merchant, agreement_account, agreement_euro, agreement_day = _agreements(
        generator, merchants, count, collecting_accounts, spending
    )
    return Population(
        start_ms=start_ms,
        days=options.days,
        merchants=merchants,
        trips=_trips(options, home_city, start_ms),
        activity=activity,
        spending=spending,
        online_share=generator.beta(2.0, 6.0, count),
        contactless_share=generator.beta(4.0, 2.0, count),
        night_shift_hours=generator.normal(0.0, 1.3, count),
        home_city=home_city,
        home_latitude=latitude,
        home_longitude=longitude,
        usual_shops=merchants.in_city(generator, np.repeat(home_city, USUAL_SHOPS)).reshape(count, USUAL_SHOPS),
        usual_online=merchants.online(generator, count * USUAL_ONLINE).reshape(count, USUAL_ONLINE),
        contacts=_contacts(generator, count, collecting_accounts),
        agreement_merchant=agreement_merchant,
        agreement_account=agreement_account,
        agreement_euro=agreement_euro,
        agreement_day_of_month=agreement_day,
        second_card=second_card,
        second_city=np.where(family_away, generator.choice(len(CITIES), count), NONE).astype(np.int64),
        joined_day=np.where(joins, generator.integers(0, options.days, count), 0).astype(np.int64),
        new_phone_day=generator.exponential(PHONE_LIFE_DAYS, count).astype(np.int64),
        new_card_day=generator.exponential(CARD_LIFE_DAYS, count).astype(np.int64),
        uses_vpn=generator.random(count) < 0.05,
        home_ip=generator.integers(10 << 24, (10 << 24) + (200 << 16), count),
        collecting_accounts=collecting_accounts,
    )


def _contacts(generator: np.random.Generator, count: int, collecting_accounts: int) -> Integers:
    """Accounts that each customer transfers to: mostly other customers (their index), some collecting (after them)."""
    people = generator.integers(0, count, (count, CONTACTS))
    collecting = count + (collecting_accounts * generator.random((count, CONTACTS)) ** 2).astype(np.int64)
    return np.where(generator.random((count, CONTACTS)) < 0.25, collecting, people).astype(np.int64)


def _agreements(
    generator: np.random.Generator, merchants: Merchants, count: int, collecting_accounts: int, spending: Floats
) -> tuple[Integers, Integers, Floats, Integers]:
    """Merchant, account, amount and day of the month of each customer's recurring payments; both -1 for none."""
    media = np.flatnonzero(merchants.category == DIGITAL_MEDIA)
    merchant = np.full((count, AGREEMENTS), NONE, dtype=np.int64)
    merchant[:, :2] = np.where(generator.random((count, 2)) < 0.45, generator.choice(media, (count, 2)), NONE)
    account = np.full((count, AGREEMENTS), NONE, dtype=np.int64)
    account[:, 2] = np.where(
        generator.random(count) < 0.4, count + generator.integers(0, collecting_accounts, count), NONE
    )
    euro = generator.choice(np.array([4.99, 7.99, 9.99, 12.99, 17.99]), (count, AGREEMENTS))
    euro[:, 2] = np.round(650.0 * spending * np.exp(generator.normal(0.0, 0.25, count)), -1).clip(200.0, 4_000.0)
    # Nobody's agreement falls on a day that February does not have.
    day = generator.integers(1, 29, (count, AGREEMENTS))
    day[:, 2] = generator.integers(1, 4, count)
    return merchant, account, euro, day.astype(np.int64)


def _trips(options: SimulationOptions, home_city: Integers, start_ms: int) -> Trips:
    """Journeys of each customer one after the other; gaps and stays are exponential, far places are rarer."""
    generator = generator_for(options.seed, Component.TRAVEL)
    count = len(home_city)
    end_ms = start_ms + options.days * DAY_MS
    none = np.empty(0, dtype=np.int64)
    found: list[tuple[Integers, ...]] = [(none,) * 6]
    if options.travel_rate > 0:
        # Beyond a thousand years the next trip never comes, and its time would not fit into an integer.
        mean_gap_days = min(TRIP_MEAN_DAYS * (1.0 - options.travel_rate) / options.travel_rate, 365_000.0)
        nearness = 1.0 / (300.0 + CITY_DISTANCE_KM)
        attraction = np.cumsum(np.where(CITY_DISTANCE_KM > 0, VISIT_WEIGHTS[None, :] * nearness, 0.0), axis=1)
        clock = np.full(count, float(start_ms)) - generator.exponential(TRIP_MEAN_DAYS * DAY_MS, count)
        while (traveller := np.flatnonzero(clock < end_ms)).size:
            # At least a day at home, so that no day belongs to two trips.
            gap_days = 1.5 + generator.exponential(mean_gap_days, len(traveller))
            depart = clock[traveller] + gap_days * DAY_MS
            home = home_city[traveller]
            point = generator.random(len(traveller)) * attraction[home, -1]
            city = np.minimum((attraction[home] <= point[:, None]).sum(axis=1), len(CITIES) - 1)
            journey = journey_ms(CITY_DISTANCE_KM[home, city])
            stay = (1.0 + generator.exponential(TRIP_MEAN_DAYS - 1.0, len(traveller))) * DAY_MS
            back = depart + journey + stay
            columns = (traveller, city, depart, depart + journey, back, back + journey)
            found.append(tuple(column.astype(np.int64) for column in columns))
            clock[traveller] = back + journey
    return Trips(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def journey_ms(kilometres: Floats) -> Floats:
    """How long a journey takes door to door: by road up to 600 km, further by air."""
    by_road = kilometres / DRIVING_KM_PER_HOUR
    by_air = AIRPORT_HOURS + kilometres / FLYING_KM_PER_HOUR
    hours = np.where(kilometres < FLYING_FROM_KM, by_road, by_air)
    return np.asarray(hours * HOUR_MS)
