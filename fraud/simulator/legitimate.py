"""A day of honest customers: habits, journeys, sprees, declined cards and second tries, subscriptions, refunds."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np

from fraud.simulator.events import (
    APPROVED,
    DAY_MS,
    DECLINED,
    ECOMMERCE,
    HOUR_MS,
    MANUAL,
    MINUTE_MS,
    NONE,
    ONLINE,
    POS,
    REFUND,
    REVERSAL,
    Booleans,
    Component,
    Events,
    Integers,
    assign_keys,
    blank_events,
    generator_for,
)
from fraud.simulator.options import SimulationOptions
from fraud.simulator.population import AGREEMENTS, CONTACTS, USUAL_ONLINE, USUAL_SHOPS, Population
from fraud.simulator.purchases import (
    complete_purchases,
    complete_transfers,
    fill_devices,
    own_cards,
    present_entry_modes,
    usual_amounts,
)

WEEKDAY_FACTORS = (0.92, 0.93, 0.95, 1.0, 1.15, 1.2, 0.85)  # Monday to Sunday: people shop on Fridays and Saturdays
TRANSFER_SHARE = 0.04
SPREE_RATE = 0.004  # customer-days on which somebody shops for hours, or buys in a game again and again
GAME_SPREE_SHARE = 0.3
LARGE_PURCHASE_SHARE = 0.004
DECLINED_SHARE = 0.022
RETRY_SHARE = 0.6
REFUND_SHARE = 0.012
REVERSAL_SHARE = 0.003
USUAL_SHARE = 0.7  # visits to one of the usual merchants; the rest goes to whatever is popular
MANUAL_ENTRY_SHARE = 0.03  # orders by telephone among remote ones


def legitimate_day(options: SimulationOptions, population: Population, day: int) -> Events:
    """What honest customers do on a day (0-based), with keys; retries, refunds and reversals can lie on later days."""
    generator = generator_for(options.seed, Component.LEGITIMATE, day)
    trip = _trip_of_customer(population, day)
    visits = _visits(generator, options, population, day)
    sprees = _sprees(generator, options, population, day)
    events = np.concatenate([visits, sprees])
    away_city, travelling = _whereabouts(population, trip, events)
    second = population.second_card[events["customer"]] & (generator.random(len(events)) < 0.25)
    second_city = np.where(second, population.second_city[events["customer"]], NONE)
    events["card"] = own_cards(population, events["customer"].astype(np.int64), day, second=second)
    city = np.where(away_city == NONE, population.home_city[events["customer"]], away_city)
    city = np.where(second_city == NONE, city, second_city)
    strange = (away_city != NONE) | (second_city != NONE)
    _choose_merchants(generator, population, events, city, strange)
    keep = ~(travelling & (events["merchant"] != NONE) & (second_city == NONE))
    events, away_city = events[keep], away_city[keep]
    payments = _priced(generator, population, events)
    fill_devices(generator, population, payments, day, away_city)
    payments = np.concatenate([payments, *_retries(generator, payments), _agreements(generator, population, day)])
    # Somebody who has not joined yet has no card.
    payments = payments[population.joined_day[payments["customer"]] <= day]
    assign_keys(payments, Component.LEGITIMATE, day)
    undone = _undone(generator, payments)
    undone["key"] += np.uint64(1 << 39)  # above any number of payments in a day
    return np.concatenate([payments, undone])


def day_factor(day: date) -> float:
    """How busy a date is against the average: by weekday, after pay day, and before Christmas."""
    factor = WEEKDAY_FACTORS[day.weekday()]
    if day.day >= 27 or day.day <= 3:
        factor *= 1.08
    if (day.month, day.day) >= (11, 20) and (day.month, day.day) <= (12, 24):
        factor *= 1.25
    return factor


def _date_of(population: Population, day: int) -> date:
    return datetime.fromtimestamp((population.start_ms + day * DAY_MS) / 1_000, tz=UTC).date()


def _trip_of_customer(population: Population, day: int) -> Integers:
    """Index of the trip that touches this day for each customer, -1 for none."""
    start = population.start_ms + day * DAY_MS
    trips = population.trips
    active = np.flatnonzero((trips.depart_ms < start + DAY_MS) & (trips.home_ms > start))
    trip = np.full(population.customers, NONE, dtype=np.int64)
    trip[trips.customer[active]] = active
    return trip


def _whereabouts(population: Population, trip: Integers, events: Events) -> tuple[Integers, Booleans]:
    """For each event the city where its customer stays away from home (-1 at home), and whether they are on the way."""
    if not len(population.trips.customer):
        return np.full(len(events), NONE, dtype=np.int64), np.zeros(len(events), dtype=np.bool_)
    index = trip[events["customer"]]
    on_trip = index != NONE
    trips, time = population.trips, events["timestamp_ms"]
    there = on_trip & (time >= trips.arrive_ms[index]) & (time < trips.return_ms[index])
    going = on_trip & (time >= trips.depart_ms[index]) & (time < trips.arrive_ms[index])
    returning = on_trip & (time >= trips.return_ms[index]) & (time < trips.home_ms[index])
    return np.where(there, trips.city[index], NONE), going | returning


def _visits(generator: np.random.Generator, options: SimulationOptions, population: Population, day: int) -> Events:
    """Who pays when, by each customer's activity and hours; nothing else is filled in."""
    busy = day_factor(_date_of(population, day)) * options.transactions_per_customer_per_day
    # Gamma times Poisson: people have quiet days and busy ones, more than chance alone gives.
    rate = busy * population.activity * generator.gamma(2.0, 0.5, population.customers)
    customer = np.repeat(np.arange(population.customers), generator.poisson(rate))
    events = blank_events(len(customer))
    events["customer"] = customer
    events["channel"] = np.where(generator.random(len(customer)) < population.online_share[customer], ONLINE, POS)
    weekend = _date_of(population, day).weekday() >= 5
    evening = generator.random(len(customer)) < np.where(events["channel"] == ONLINE, 0.7, 0.45 if weekend else 0.6)
    centre = np.where(evening, np.where(events["channel"] == ONLINE, 20.3, 18.0), 12.6)
    hour = centre + generator.normal(0.0, 2.2, len(customer)) + population.night_shift_hours[customer]
    hour = np.where(generator.random(len(customer)) < 0.03, generator.random(len(customer)) * 24.0, hour)
    # The customers live an hour ahead of UTC, give or take.
    events["timestamp_ms"] = population.start_ms + day * DAY_MS + (((hour - 1.0) % 24.0) * HOUR_MS).astype(np.int64)
    return events


def _sprees(generator: np.random.Generator, options: SimulationOptions, population: Population, day: int) -> Events:
    """Bursts of honest payments: an afternoon of shopping, or a child with a game. They look like stolen cards."""
    rate = SPREE_RATE * min(1.0, options.transactions_per_customer_per_day) * day_factor(_date_of(population, day))
    shopper = np.flatnonzero(generator.random(population.customers) < rate)
    size = generator.integers(4, 13, len(shopper))
    game = generator.random(len(shopper)) < GAME_SPREE_SHARE
    start = generator.normal(14.0, 3.0, len(shopper)).clip(6.0, 20.0) * HOUR_MS
    merchants = population.merchants
    goods = generator.choice(merchants.digital_goods, len(shopper))
    events = blank_events(int(size.sum()))
    events["customer"] = np.repeat(shopper, size)
    events["channel"] = np.where(np.repeat(game, size), ONLINE, POS)
    events["merchant"] = np.where(np.repeat(game, size), np.repeat(goods, size), NONE)
    span = np.repeat(np.where(game, 40 * MINUTE_MS, 3 * HOUR_MS), size)
    offset = np.repeat(start, size) + generator.random(len(events)) * span
    events["timestamp_ms"] = population.start_ms + day * DAY_MS + offset.astype(np.int64)
    return events


def _choose_merchants(
    generator: np.random.Generator, population: Population, events: Events, city: Integers, strange: Booleans
) -> None:
    """A merchant for each event that has none: a usual one, or any in the city or online; some become transfers."""
    count = len(events)
    customer = events["customer"]
    online = events["channel"] == ONLINE
    usual = generator.random(count) < USUAL_SHARE
    # Squaring prefers the first: the usual baker sees somebody three times as often as the fourth-best.
    shop_rank = (USUAL_SHOPS * generator.random(count) ** 2).astype(np.int64)
    online_rank = (USUAL_ONLINE * generator.random(count) ** 2).astype(np.int64)
    any_shop = population.merchants.in_city(generator, city)
    any_online = population.merchants.online(generator, count)
    shop = np.where(usual & ~strange, population.usual_shops[customer, shop_rank], any_shop)
    remote = np.where(usual, population.usual_online[customer, online_rank], any_online)
    transfer = (generator.random(count) < TRANSFER_SHARE) & (events["merchant"] == NONE)
    contact = population.contacts[customer, (CONTACTS * generator.random(count) ** 2).astype(np.int64)]
    stranger = generator.integers(0, population.customers + population.collecting_accounts, count)
    payee = np.where(generator.random(count) < 0.8, contact, stranger)
    chosen = np.where(events["merchant"] == NONE, np.where(online, remote, shop), events["merchant"])
    events["merchant"] = np.where(transfer, NONE, chosen)
    events["counterparty"] = np.where(transfer, payee, NONE)
    events["card"] = np.where(transfer, NONE, events["card"])


def _priced(generator: np.random.Generator, population: Population, events: Events) -> Events:
    """The events with amounts, places and entry modes, some of them declined."""
    purchase = events[events["merchant"] != NONE]
    transfer = events[events["merchant"] == NONE]
    is_large = generator.random(len(purchase)) < LARGE_PURCHASE_SHARE
    large = np.where(is_large, generator.uniform(4.0, 20.0, len(purchase)), 1.0)
    usual = usual_amounts(
        generator, population, purchase["customer"].astype(np.int64), purchase["merchant"].astype(np.int64)
    )
    purchase["amount_euro"] = usual * large
    complete_purchases(generator, population, purchase)
    present_entry_modes(generator, population, purchase)
    by_telephone = (purchase["entry_mode"] == ECOMMERCE) & (generator.random(len(purchase)) < MANUAL_ENTRY_SHARE)
    purchase["entry_mode"] = np.where(by_telephone, MANUAL, purchase["entry_mode"])
    level = 70.0 * population.spending[transfer["customer"]]
    transfer["amount_euro"] = level * np.exp(generator.normal(0.0, 1.1, len(transfer)))
    complete_transfers(population, transfer, generator)
    priced = np.concatenate([purchase, transfer])
    # The larger the amount, the likelier is the account short of it.
    shortage = 1.0 + np.minimum(priced["amount_euro"], 1_000.0) / 200.0
    refused = generator.random(len(priced)) < DECLINED_SHARE * shortage
    priced["auth_result"] = np.where(refused, DECLINED, APPROVED)
    return priced


def _retries(generator: np.random.Generator, payments: Events) -> list[Events]:
    """Second and third tries of declined payments: the same again within minutes, most of them approved at last."""
    rounds = []
    failed = payments[payments["auth_result"] == DECLINED]
    for _ in range(2):
        again = failed[generator.random(len(failed)) < RETRY_SHARE].copy()
        wait = np.exp(generator.normal(np.log(45_000.0), 0.8, len(again))).astype(np.int64)
        again["timestamp_ms"] += 3_000 + wait
        again["auth_result"] = np.where(generator.random(len(again)) < 0.7, APPROVED, DECLINED)
        rounds.append(again)
        failed = again[again["auth_result"] == DECLINED]
    return rounds


def _agreements(generator: np.random.Generator, population: Population, day: int) -> Events:
    """Recurring payments of the day, charged in batches on the full minute, so that many share one timestamp."""
    due = (population.agreement_day_of_month == _date_of(population, day).day) & (
        (population.agreement_merchant != NONE) | (population.agreement_account != NONE)
    )
    customer, slot = np.nonzero(due)
    events = blank_events(len(customer))
    events["customer"] = customer
    events["recurring"] = True
    events["merchant"] = population.agreement_merchant[customer, slot]
    events["counterparty"] = population.agreement_account[customer, slot]
    start = population.start_ms + day * DAY_MS
    events["timestamp_ms"] = start + 2 * HOUR_MS + generator.integers(0, 20, len(customer)) * 15 * MINUTE_MS
    nobody = np.zeros(len(customer), dtype=np.bool_)
    events["card"] = own_cards(population, customer.astype(np.int64), day, second=nobody)
    events["amount_euro"] = population.agreement_euro[customer, slot]
    standing_order = slot == AGREEMENTS - 1
    subscriptions, orders = events[~standing_order], events[standing_order]
    complete_purchases(generator, population, subscriptions)
    orders["card"] = NONE
    complete_transfers(population, orders, generator)
    # The agreed amount to the cent, in euros, whatever endings other prices have.
    subscriptions["currency"] = 0
    for agreed, slots in ((subscriptions, ~standing_order), (orders, standing_order)):
        agreed["amount_euro"] = population.agreement_euro[customer, slot][slots]
        agreed["amount_minor"] = np.rint(agreed["amount_euro"] * 100).astype(np.int64)
    return np.concatenate([subscriptions, orders])


def _undone(generator: np.random.Generator, payments: Events) -> Events:
    """Refunds in days and reversals in minutes of some approved purchases, naming what they undo."""
    draw = generator.random(len(payments))
    possible = (payments["auth_result"] == APPROVED) & (payments["merchant"] != NONE) & ~payments["recurring"]
    undone: Events = payments[possible & (draw < REFUND_SHARE + REVERSAL_SHARE)].copy()
    reversal = draw[possible & (draw < REFUND_SHARE + REVERSAL_SHARE)] < REVERSAL_SHARE
    undone["original"] = undone["key"]
    undone["event_type"] = np.where(reversal, REVERSAL, REFUND)
    undone["auth_result"] = NONE
    undone["entry_mode"] = np.where(reversal, undone["entry_mode"], NONE)
    undone["device"] = NONE
    undone["ip"] = 0
    in_minutes = generator.uniform(0.5, 20.0, len(undone)) * MINUTE_MS
    in_days = (0.5 + np.exp(generator.normal(np.log(5.0), 0.8, len(undone)))) * DAY_MS
    undone["timestamp_ms"] += np.where(reversal, in_minutes, in_days).astype(np.int64)
    part = ~reversal & (generator.random(len(undone)) < 0.2)
    share = np.where(part, generator.uniform(0.2, 0.9, len(undone)), 1.0)
    minor = np.maximum(np.rint(undone["amount_minor"] * share), 1.0).astype(np.int64)
    undone["amount_euro"] *= minor / undone["amount_minor"]
    undone["amount_minor"] = minor
    return undone
