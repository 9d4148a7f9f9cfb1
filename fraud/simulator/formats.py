"""The same simulation in the formats that other people's data comes in, for trying what reads them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fraud.simulator.events import (
    APPROVED,
    ATM,
    AUTHORISATION,
    HOUR_MS,
    NONE,
    ONLINE,
    POS,
    TRANSFER,
    Component,
    Events,
    Floats,
    Integers,
    generator_for,
    mixed,
)
from fraud.simulator.merchants import CATEGORIES
from fraud.simulator.native import NativeTables, card_numbers, hexadecimal
from fraud.simulator.options import SCENARIOS
from fraud.simulator.places import CITY_COUNTRY, CITY_NAMES, COUNTRIES
from fraud.simulator.simulation import DayOfTransactions, Simulation

Renderer = Callable[[DayOfTransactions], pa.Table]

# The book's number of a scenario; what it does not know goes under its first, which is "anything else that is fraud".
HANDBOOK_SCENARIOS = {"compromised_terminal": 2, "card_not_present_leak": 3}
HANDBOOK_OTHER = 1

FIRST_NAMES = ("Ada", "Ben", "Carla", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas", "Karla", "Luis", "Mia")
LAST_NAMES = ("Adler", "Bauer", "Costa", "Dupont", "Ek", "Ferrari", "Garcia", "Huber", "Jansen", "Klein", "Lopez")
STREETS = ("Bahnhofstrasse", "Rue de la Gare", "Calle Mayor", "Via Roma", "Kerkstraat", "Main Street", "Rua Direita")
JOBS = ("Teacher", "Nurse", "Engineer", "Designer, jewellery", "Clerk", "Electrician", "Chef", "Lawyer", "Retired")
_SALT_PERSON, _SALT_TRANSACTION_NUMBER = 6_000, 7_000
# Birthdays of adults of up to 80 years at the turn of 2006: each customer has another, as far as the days reach.
FIRST_BIRTHDAY = np.datetime64("1926-01-01")
BIRTHDAYS = 29_219


def native_renderer(simulation: Simulation) -> Renderer:
    """Tables in our own format."""
    return NativeTables(simulation).table


def handbook_renderer(simulation: Simulation) -> Renderer:
    """Tables as in the Fraud Detection Handbook: authorisations at a merchant's terminal; online shops have one too."""
    del simulation
    numbered = 0

    def table(day: DayOfTransactions) -> pa.Table:
        nonlocal numbered
        events, fraud = _authorised_purchases(day)
        number = np.arange(numbered, numbered + len(events))
        numbered += len(events)
        codes = np.array([0, *(HANDBOOK_SCENARIOS.get(name, HANDBOOK_OTHER) for name in SCENARIOS)], dtype=np.int8)
        seconds = (events["timestamp_ms"] // 1_000).astype("datetime64[s]")
        return pa.table(
            {
                "TRANSACTION_ID": number,
                "TX_DATETIME": seconds,
                "CUSTOMER_ID": pa.array(events["customer"]),
                "TERMINAL_ID": pa.array(events["terminal"]),
                "TX_AMOUNT": np.round(events["amount_euro"], 2),
                "TX_FRAUD": fraud.astype(np.int8),
                "TX_FRAUD_SCENARIO": codes[events["scenario"]],
            }
        )

    return table


def sparkov_renderer(simulation: Simulation) -> Renderer:
    """Tables as `fraudTrain.csv`: authorised purchases, with the customer's person and home in every row."""
    people = _people(simulation)
    merchants = simulation.population.merchants
    names = pa.array([f"fraud_Merchant {number}" for number in range(merchants.count)])
    kinds = [CATEGORIES[index].sparkov for index in merchants.category]
    with_place = {
        "shopping",
        "grocery",
        "misc",
    }  # the categories that the format has once for shops and once for the net
    net = merchants.city == NONE
    categories = pa.array(
        [f"{kind}_{'net' if net[i] else 'pos'}" if kind in with_place else kind for i, kind in enumerate(kinds)]
    )
    numbered = 0

    def table(day: DayOfTransactions) -> pa.Table:
        nonlocal numbered
        events, fraud = _authorised_purchases(day)
        count = len(events)
        merchant = pa.array(events["merchant"])
        person = people.take(pa.array(events["customer"]))
        seconds = events["timestamp_ms"] // 1_000
        latitude, longitude = _merchant_places(simulation, events, day.day)
        clock = pa.array((seconds * 1_000).astype("datetime64[ms]")).cast(pa.timestamp("s")).cast(pa.string())
        keys = mixed(events["key"], _SALT_TRANSACTION_NUMBER + simulation.options.seed)
        columns: dict[str, pa.Array] = {
            "": pa.array(np.arange(numbered, numbered + count)),
            "trans_date_trans_time": clock,
            "cc_num": card_numbers(events["card"].astype(np.int64)).cast(pa.int64()),
            "merchant": names.take(merchant),
            "category": categories.take(merchant),
            "amt": pa.array(np.round(events["amount_euro"], 2)),
        }
        columns |= {name: person.column(name) for name in people.column_names}
        columns |= {
            "trans_num": pc.binary_join_element_wise(hexadecimal(keys), hexadecimal(mixed(keys, 1)), ""),
            "unix_time": pa.array(seconds),
            "merch_lat": pa.array(latitude),
            "merch_long": pa.array(longitude),
            "is_fraud": pa.array(fraud.astype(np.int8)),
        }
        numbered += count
        return pa.table(columns)

    return table


def paysim_renderer(simulation: Simulation) -> Renderer:
    """Tables as PaySim's: approved payments and transfers by hour, with the balances before and after."""
    population = simulation.population
    generator = generator_for(simulation.options.seed, Component.FORMATS)
    accounts = population.customers + population.collecting_accounts
    opening = np.round(generator.gamma(2.0, 1_500.0, accounts), 2)
    # Balances in cents; accounts outside of the bank have none that it could know.
    balance = np.rint(opening * 100).astype(np.int64)

    def table(day: DayOfTransactions) -> pa.Table:
        events = day.events
        keep = (events["event_type"] == AUTHORISATION) & (events["auth_result"] == APPROVED)
        events, fraud = events[keep], day.labels.fraud[keep]
        cents = np.rint(events["amount_euro"] * 100).astype(np.int64)
        transfer = events["channel"] == TRANSFER
        payee = np.where(transfer, events["counterparty"], NONE)
        known = (payee != NONE) & (payee < accounts)
        before, after = _apply(balance, events["customer"].astype(np.int64), -cents)
        payee_before, payee_after = np.zeros(len(events)), np.zeros(len(events))
        payee_before[known], payee_after[known] = _apply(balance, payee[known], cents[known])
        kind = np.where(transfer, "TRANSFER", np.where(events["channel"] == ATM, "CASH_OUT", "PAYMENT"))
        kind = np.where(events["recurring"] & ~transfer, "DEBIT", kind)
        shop = pc.binary_join_element_wise("M", pa.array(events["merchant"]).cast(pa.string()), "")
        person = pc.binary_join_element_wise("C", pa.array(payee).cast(pa.string()), "")
        origin = pa.array(events["customer"]).cast(pa.string())
        return pa.table(
            {
                "step": (events["timestamp_ms"] - population.start_ms) // HOUR_MS + 1,
                "type": pa.array(kind.tolist(), pa.string()),
                "amount": cents / 100.0,
                "nameOrig": pc.binary_join_element_wise("C", origin, ""),
                "oldbalanceOrg": before,
                "newbalanceOrig": after,
                "nameDest": pc.if_else(pa.array(transfer), person, shop),
                "oldbalanceDest": payee_before,
                "newbalanceDest": payee_after,
                "isFraud": fraud.astype(np.int8),
                # PaySim's own rule flags transfers of more than 200,000 at once; nothing here is that large.
                "isFlaggedFraud": np.zeros(len(events), dtype=np.int8),
            }
        )

    return table


FORMATS: dict[str, Callable[[Simulation], Renderer]] = {
    "native": native_renderer,
    "handbook": handbook_renderer,
    "sparkov": sparkov_renderer,
    "paysim": paysim_renderer,
}


def _authorised_purchases(day: DayOfTransactions) -> tuple[Events, Integers]:
    """Authorisations at merchants, and whether each is labelled fraud."""
    keep = (day.events["event_type"] == AUTHORISATION) & np.isin(day.events["channel"], [POS, ONLINE, ATM])
    return day.events[keep], day.labels.fraud[keep]


def _people(simulation: Simulation) -> pa.Table:
    """One row per customer with what `fraudTrain.csv` says of a person, in its order."""
    population = simulation.population
    count = population.customers
    index = np.arange(count)
    draw = mixed(index.astype(np.uint64), _SALT_PERSON + simulation.options.seed).astype(np.int64) & 0x7FFFFFFF
    home = population.home_city
    # Birthday and last name together are different for every customer, up to their product.
    birthdays = FIRST_BIRTHDAY + index * 7_919 % BIRTHDAYS
    last_names = index // BIRTHDAYS % len(LAST_NAMES)
    return pa.table(
        {
            "first": [FIRST_NAMES[i] for i in draw % len(FIRST_NAMES)],
            "last": [LAST_NAMES[i] for i in (last_names + index) % len(LAST_NAMES)],
            "gender": ["FM"[i] for i in draw // 16 % 2],
            "street": [f"{STREETS[i % len(STREETS)]} {i % 180 + 1}" for i in draw // 32],
            "city": [CITY_NAMES[i] for i in home],
            "state": [COUNTRIES[i] for i in CITY_COUNTRY[home]],
            "zip": 10_000 + home * 1_000 + draw % 1_000,
            "lat": np.round(population.home_latitude, 4),
            "long": np.round(population.home_longitude, 4),
            "city_pop": 100_000 + home * 37_511,
            "job": [JOBS[i] for i in draw // 64 % len(JOBS)],
            "dob": pa.array(birthdays.astype("datetime64[D]")).cast(pa.string()),
        }
    )


def _merchant_places(simulation: Simulation, events: Events, day: int) -> tuple[Floats, Floats]:
    """Where each purchase was made; for online shops a point within a degree of the home, as in the format."""
    generator = generator_for(simulation.options.seed, Component.FORMATS, day + 1)
    customer = events["customer"]
    around = generator.uniform(-1.0, 1.0, (2, len(events)))
    latitude: Floats = np.where(
        np.isnan(events["latitude"]), simulation.population.home_latitude[customer] + around[0], events["latitude"]
    )
    longitude: Floats = np.where(
        np.isnan(events["longitude"]), simulation.population.home_longitude[customer] + around[1], events["longitude"]
    )
    return np.asarray(latitude.round(6)), np.asarray(longitude.round(6))


def _apply(balance: Integers, account: Integers, change: Integers) -> tuple[Floats, Floats]:
    """Change balances (cents) in order, none below zero; the balances before and after each change, in euros.

    Goes by the first change of every account, then by the second, and so on: each step changes an account once.
    """
    order = np.argsort(account, kind="stable")
    ordered = account[order]
    first = np.searchsorted(ordered, ordered, side="left")
    turn = np.empty(len(account), dtype=np.int64)
    turn[order] = np.arange(len(account)) - first
    before = np.zeros(len(account), dtype=np.int64)
    after = np.zeros(len(account), dtype=np.int64)
    for step in range(int(turn.max(initial=-1)) + 1):
        now = np.flatnonzero(turn == step)
        before[now] = balance[account[now]]
        after[now] = np.maximum(before[now] + change[now], 0)
        balance[account[now]] = after[now]
    in_euros = np.float64(100.0)
    return np.asarray(before / in_euros), np.asarray(after / in_euros)
