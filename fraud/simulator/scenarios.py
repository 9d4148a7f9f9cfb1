"""The fraud scenarios: each a function from a case to its transactions, in one table at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fraud.simulator.campaigns import FraudCase
from fraud.simulator.events import (
    APPROVED,
    AUTHORISATION,
    CHIP,
    CONTACTLESS,
    DAY_MS,
    DECLINED,
    ECOMMERCE,
    HOUR_MS,
    MAGSTRIPE,
    MANUAL,
    MINUTE_MS,
    NONE,
    Events,
    Floats,
    Integers,
    blank_events,
)
from fraud.simulator.places import CITIES, CITY_LATITUDE, CITY_LONGITUDE, VISIT_WEIGHTS, distance_km
from fraud.simulator.population import DEVICES_EACH, Population
from fraud.simulator.purchases import (
    HOSTING_ADDRESSES,
    HOSTING_NETWORK,
    LARGEST_AMOUNT_EURO,
    MOBILE_ADDRESSES,
    MOBILE_NETWORK,
    complete_purchases,
    complete_transfers,
    own_cards,
    own_devices,
    set_amounts,
    usual_amounts,
)

RING_DAYS = 10  # a ring of fraudsters works this long with the same few devices and one network
RINGS = 4
RING_DEVICES = 5
VICTIM_DEVICE_SHARE = 0.15  # malware on the victim's own phone: a takeover without a new device
IMPOSSIBLE_KM_PER_HOUR = 1_000.0  # faster than the 900 km/h of an airliner, so that nobody could have travelled
FAR_KM = 1_200.0
LIMITS_EURO = (150.0, 250.0, 500.0, 1_000.0, 2_000.0)
CONTACTLESS_LIMIT_EURO = 50.0  # without a PIN, in the countries of the euro


@dataclass(frozen=True)
class Scene:
    """Where a case takes place: the population, the day's honest payments and the case's own random numbers."""

    population: Population
    generator: np.random.Generator
    legitimate: Events
    case: FraudCase

    @property
    def day_start_ms(self) -> int:
        """The first millisecond of the case's day."""
        return self.population.start_ms + self.case.day * DAY_MS

    def times(self, start_ms: float, offsets_ms: Floats) -> Integers:
        """Timestamps at offsets from a start, pressed together where they would go beyond the end of the simulation."""
        room = self.population.end_ms - 1 - start_ms
        furthest = max(float(offsets_ms.max(initial=0.0)), 1.0)
        return (start_ms + offsets_ms * min(1.0, room / furthest)).astype(np.int64)

    def start_ms(self) -> float:
        """A start in the day: fraudsters work when shops are open, and somewhat more at night than others."""
        hour = self.generator.normal(15.0, 5.0) if self.generator.random() < 0.75 else self.generator.uniform(0.0, 24.0)
        return self.day_start_ms + (hour % 24.0) * HOUR_MS

    def customers(self, count: int) -> Integers:
        """Different customers who have joined by now."""
        joined = np.flatnonzero(self.population.joined_day <= self.case.day)
        return self.generator.choice(joined, min(count, len(joined)), replace=False).astype(np.int64)

    def stolen_cards(self, customer: Integers) -> Integers:
        """The main cards in use of these customers."""
        return own_cards(self.population, customer, self.case.day, second=np.zeros(len(customer), dtype=np.bool_))

    def ring(self) -> int:
        """One of the rings that are at work now."""
        return self.case.day // RING_DAYS * RINGS + int(self.generator.integers(0, RINGS))

    def devices(self, count: int) -> Integers:
        """Devices of fraudsters: one for the case, which a ring re-uses for other victims, or none that is told."""
        first = self.population.customers * DEVICES_EACH
        if self.generator.random() < 0.45:
            device = first + self.ring() * RING_DEVICES + int(self.generator.integers(0, RING_DEVICES))
        else:
            device = first + 1_000_000 + int(self.generator.integers(0, 1 << 40))
        return np.full(count, device, dtype=np.int64)

    def addresses(self, count: int) -> Integers:
        """Addresses of fraudsters: a ring's corner of a hosting network, a hijacked home, or a mobile network."""
        kind = self.generator.random()
        if kind < 0.5:
            corner = HOSTING_NETWORK + self.ring() * 64 % HOSTING_ADDRESSES
            return corner + self.generator.integers(0, 12, count)
        if kind < 0.75:
            return np.full(count, (10 << 24) + int(self.generator.integers(0, 200 << 16)), dtype=np.int64)
        return MOBILE_NETWORK + self.generator.integers(0, MOBILE_ADDRESSES, count)

    def purchases(self, customer: Integers, merchant: Integers) -> Events:
        """Payments of these customers' main cards at these merchants, at the usual amounts, without a time."""
        events = blank_events(len(customer))
        events["customer"] = customer
        events["merchant"] = merchant
        events["card"] = self.stolen_cards(customer)
        events["amount_euro"] = usual_amounts(self.generator, self.population, customer, merchant)
        return events

    def finish(self, events: Events, *, refused: float) -> Events:
        """Fill in the merchants' side, and decline this share of the payments."""
        complete_purchases(self.generator, self.population, events)
        declined = self.generator.random(len(events)) < refused
        events["auth_result"] = np.where(declined, DECLINED, events["auth_result"])
        return events


def _remote(scene: Scene, events: Events) -> None:
    """Give remote payments the fraudster's device and address."""
    events["entry_mode"] = ECOMMERCE
    events["device"] = scene.devices(len(events))
    events["ip"] = scene.addresses(len(events))


def account_takeover(scene: Scene) -> Events:
    """Somebody else is logged in: a device and merchants that the customer never used, and more money each time."""
    size, generator, population = scene.case.size, scene.generator, scene.population
    victim = np.repeat(scene.customers(1), size)
    events = scene.purchases(victim, population.merchants.worth_stealing(generator, size))
    events["amount_euro"] = 110.0 * population.spending[victim] * np.exp(generator.normal(0.4, 0.8, size))
    events["amount_euro"] = np.minimum(events["amount_euro"], LARGEST_AMOUNT_EURO)
    events["timestamp_ms"] = scene.times(
        scene.start_ms(), np.cumsum(generator.exponential(generator.choice([6.0, 40.0, 300.0]), size)) * MINUTE_MS
    )
    _remote(scene, events)
    if generator.random() < VICTIM_DEVICE_SHARE:
        events["device"] = own_devices(generator, population, victim, scene.case.day)[0]
    events = scene.finish(events, refused=0.15)
    if generator.random() < 0.25:
        drained = events[-1:]
        for name in ("merchant", "terminal", "card", "entry_mode"):
            drained[name] = NONE
        drained["counterparty"] = generator.integers(0, population.customers + population.collecting_accounts)
        complete_transfers(population, drained, generator)
    return events


def card_testing(scene: Scene) -> Events:
    """Is the card alive? Many small payments at one or two shops of digital goods, some declined; then large ones."""
    size, generator, population = scene.case.size, scene.generator, scene.population
    large = 1 if size < 8 else int(generator.integers(1, 4))
    small = size - large
    shops = generator.choice(population.merchants.digital_goods, 2)
    merchant = np.concatenate(
        [generator.choice(shops, small, p=(0.8, 0.2)), population.merchants.worth_stealing(generator, large)]
    )
    events = scene.purchases(np.repeat(scene.customers(1), size), merchant)
    events["amount_euro"][:small] = generator.uniform(0.5, 5.0, small)
    events["amount_euro"][small:] = np.exp(generator.normal(np.log(320.0), 0.6, large)).clip(90.0, 3_000.0)
    seconds = np.concatenate(
        [generator.exponential(generator.choice([8.0, 60.0, 240.0]), small), generator.uniform(300.0, 7_200.0, large)]
    )
    events["timestamp_ms"] = scene.times(scene.start_ms(), np.cumsum(seconds) * 1_000.0)
    _remote(scene, events)
    events["entry_mode"] = np.where(generator.random(size) < 0.2, MANUAL, ECOMMERCE)
    if generator.random() < 0.5:
        events["device"] = NONE  # a script has no device to tell
    events["auth_result"][:small] = np.where(generator.random(small) < 0.35, DECLINED, APPROVED)
    return scene.finish(events, refused=0.0)


def impossible_travel(scene: Scene) -> Events:
    """A copy of the card is used in a far city minutes after its owner paid at home."""
    size, generator, population = scene.case.size, scene.generator, scene.population
    anchors = _present(scene.legitimate)
    anchors = anchors[anchors["timestamp_ms"] < population.end_ms - 4 * HOUR_MS]
    if not len(anchors):
        return blank_events(0)
    anchor = anchors[generator.integers(0, len(anchors))]
    here = np.full(len(CITIES), anchor["latitude"]), np.full(len(CITIES), anchor["longitude"])
    kilometres = distance_km(*here, CITY_LATITUDE, CITY_LONGITUDE)
    weights = np.where(kilometres > FAR_KM, VISIT_WEIGHTS, 0.0)
    city = int(generator.choice(len(CITIES), p=weights / weights.sum()))
    # The scatter of shops around a city is a few km, far less than the margin over an airliner's speed.
    longest_minutes = min(60.0 * kilometres[city] / IMPOSSIBLE_KM_PER_HOUR, 180.0)
    gaps = generator.uniform(12.0, longest_minutes, size)
    gaps[1:] = generator.exponential(25.0, size - 1)
    customer = np.full(size, anchor["customer"], dtype=np.int64)
    events = scene.purchases(customer, population.merchants.worth_stealing(generator, size, city=city))
    events["card"] = anchor["card"]
    events["amount_euro"] *= generator.uniform(0.8, 2.5, size)
    events["timestamp_ms"] = scene.times(float(anchor["timestamp_ms"]), np.cumsum(gaps) * MINUTE_MS)
    events["entry_mode"] = generator.choice([MAGSTRIPE, CHIP, CONTACTLESS], size, p=(0.55, 0.3, 0.15))
    return scene.finish(events, refused=0.12)


def compromised_terminal(scene: Scene) -> Events:
    """A day's part of a skimming: cards that were at the terminal are charged there again, or used elsewhere."""
    generator, population, terminal = scene.generator, scene.population, scene.case.terminal
    visits = _present(scene.legitimate)
    visits = visits[visits["terminal"] == terminal]
    skimmed = visits[generator.random(len(visits)) < 0.6][: scene.case.size]
    uses = generator.integers(1, 4, len(skimmed))
    stolen = np.repeat(skimmed, uses)[: scene.case.size]
    size = len(stolen)
    if not size:
        return blank_events(0)
    colluding = generator.random(size) < 0.6
    elsewhere = population.merchants.worth_stealing(generator, size, city=int(stolen["city"][0]))
    merchant = np.where(colluding, stolen["merchant"], elsewhere).astype(np.int64)
    events = scene.purchases(stolen["customer"].astype(np.int64), merchant)
    events["card"] = stolen["card"]
    events["amount_euro"] *= generator.uniform(0.9, 2.2, size)
    days_left = (population.end_ms - 1 - stolen["timestamp_ms"]) / DAY_MS
    delay_days = np.minimum(generator.exponential(4.0, size), 0.95 * days_left * generator.random(size))
    delay_days = np.maximum(delay_days, np.minimum(0.02, days_left / 2))
    events["timestamp_ms"] = stolen["timestamp_ms"] + (delay_days * DAY_MS).astype(np.int64)
    events["entry_mode"] = generator.choice([MAGSTRIPE, CHIP, CONTACTLESS], size, p=(0.45, 0.35, 0.2))
    events = scene.finish(events, refused=0.06)
    events["terminal"] = np.where(colluding, terminal, events["terminal"])
    return events


def card_not_present_leak(scene: Scene) -> Events:
    """Card numbers leaked by an online shop, used online for a fortnight beside their owners' own payments."""
    size, generator, population = scene.case.size, scene.generator, scene.population
    leak = int(population.merchants.online(generator, 1)[0])
    clients = np.flatnonzero((population.usual_online == leak).any(axis=1) & (population.joined_day <= scene.case.day))
    wanted = max(1, size // 4)
    if len(clients) >= wanted:
        victims = generator.choice(clients, wanted, replace=False).astype(np.int64)
    else:
        victims = scene.customers(wanted)
    victim = generator.choice(victims, size)
    events = scene.purchases(victim, population.merchants.worth_stealing(generator, size))
    events["amount_euro"] = np.minimum(
        events["amount_euro"] * np.exp(generator.normal(0.4, 0.5, size)), LARGEST_AMOUNT_EURO
    )
    days = generator.exponential(4.0, size).clip(max=14.0)
    events["timestamp_ms"] = scene.times(scene.start_ms(), days * DAY_MS)
    _remote(scene, events)
    told = generator.random(size) < 0.6
    events["device"] = np.where(told, events["device"] + victim % 3, NONE)
    events["entry_mode"] = np.where(generator.random(size) < 0.12, MANUAL, ECOMMERCE)
    return scene.finish(events, refused=0.12)


def velocity_burst(scene: Scene) -> Events:
    """A stolen card is tapped again and again in shops near its owner, below the amount that asks for a PIN."""
    size, generator, population = scene.case.size, scene.generator, scene.population
    victim = np.repeat(scene.customers(1), size)
    city = population.home_city[victim]
    merchant = population.merchants.in_city(generator, city)
    same = generator.random(size) < 0.5
    merchant = np.where(same, merchant[0], merchant)
    events = scene.purchases(victim, merchant)
    events["amount_euro"] = generator.uniform(9.0, CONTACTLESS_LIMIT_EURO - 1.0, size)
    span = generator.uniform(20.0, 90.0) * MINUTE_MS
    events["timestamp_ms"] = scene.times(scene.start_ms(), np.sort(generator.random(size)) * span)
    events["entry_mode"] = CONTACTLESS
    return scene.finish(events, refused=0.08)


def amount_probing(scene: Scene) -> Events:
    """How much will pass? Rising amounts at one merchant, what is over the limit declined, the last just under it."""
    size, generator, population = scene.case.size, scene.generator, scene.population
    limit = float(generator.choice(LIMITS_EURO))
    merchant = np.repeat(population.merchants.worth_stealing(generator, 1), size)
    events = scene.purchases(np.repeat(scene.customers(1), size), merchant)
    rising = np.sort(generator.uniform(0.2, 0.97, size))
    rising[-1] = generator.uniform(0.975, 0.998)
    minutes = np.cumsum(generator.exponential(generator.choice([3.0, 20.0]), size))
    events["timestamp_ms"] = scene.times(scene.start_ms(), minutes * MINUTE_MS)
    _remote(scene, events)
    events = scene.finish(events, refused=0.0)
    set_amounts(events, np.round(rising * limit, 2), np.zeros(size, dtype=np.int64))
    over = size - 2
    if generator.random() < 0.7:
        over_limit = events[over : over + 1]
        set_amounts(over_limit, np.array([round(limit * generator.uniform(1.01, 1.1), 2)]), np.zeros(1, dtype=np.int64))
        over_limit["auth_result"] = DECLINED
    return events


def mule_cash_out(scene: Scene) -> Events:
    """Transfers from several deceived customers to one account, which its owner empties within hours."""
    size, generator, population = scene.case.size, scene.generator, scene.population
    incoming = max(3, round(size * 0.6))
    people = scene.customers(incoming + 1)
    mule, victims = people[0], people[1:]
    deceived = blank_events(incoming)
    deceived["customer"] = np.resize(victims, incoming)
    deceived["counterparty"] = mule
    level = 260.0 * population.spending[deceived["customer"]]
    deceived["amount_euro"] = np.minimum(level * np.exp(generator.normal(0.3, 0.7, incoming)), LARGEST_AMOUNT_EURO)
    deceived["device"] = own_devices(generator, population, deceived["customer"].astype(np.int64), scene.case.day)
    deceived["ip"] = population.home_ip[deceived["customer"]]
    complete_transfers(population, deceived, generator)
    received = np.sort(generator.exponential(16.0, incoming).clip(max=72.0))
    outgoing = size - incoming
    from_receipt = np.sort(generator.integers(0, incoming, outgoing))
    emptied = received[from_receipt] + generator.uniform(0.3, 5.0, outgoing)
    times = scene.times(scene.start_ms(), np.concatenate([received, emptied]) * HOUR_MS)
    deceived["timestamp_ms"] = times[:incoming]
    out = _cash_out(scene, int(mule), deceived["amount_euro"][from_receipt])
    out["timestamp_ms"] = times[incoming:]
    events: Events = np.concatenate([deceived, out])
    return events


def _cash_out(scene: Scene, mule: int, received_euro: Floats) -> Events:
    """A mule's payments out: cash from machines near home, or transfers to accounts abroad."""
    generator, population = scene.generator, scene.population
    owner = np.full(len(received_euro), mule, dtype=np.int64)
    machines = population.merchants.cash_machines
    near = machines[population.merchants.city[machines] == population.home_city[mule]]
    out = scene.purchases(owner, generator.choice(near if len(near) else machines, len(owner)))
    out["amount_euro"] = np.minimum(received_euro * generator.uniform(0.6, 0.95, len(owner)), 1_000.0)
    out["entry_mode"] = CHIP
    out = scene.finish(out, refused=0.05)
    transferred = generator.random(len(out)) < 0.4
    abroad = out[transferred]
    for name in ("merchant", "terminal", "card", "entry_mode", "city"):
        abroad[name] = NONE
    abroad["latitude"] = abroad["longitude"] = np.nan
    first_account = population.customers + population.collecting_accounts
    abroad["counterparty"] = first_account + scene.ring() * 3 + generator.integers(0, 3, len(abroad))
    abroad["device"] = mule * DEVICES_EACH
    abroad["ip"] = population.home_ip[mule]
    complete_transfers(population, abroad, generator)
    out[transferred] = abroad
    return out


def _present(events: Events) -> Events:
    """Approved purchases at a terminal with the card present."""
    approved = (events["event_type"] == AUTHORISATION) & (events["auth_result"] == APPROVED)
    present: Events = events[approved & np.isin(events["entry_mode"], [CHIP, CONTACTLESS, MAGSTRIPE])]
    return present


# A scenario's name in `options.SCENARIOS` -> what plays a case of it. A new scenario is an entry here, in that tuple
# and in `campaigns.CASE_SIZES`.
SCENARIO_FUNCTIONS: dict[str, Callable[[Scene], Events]] = {
    "account_takeover": account_takeover,
    "card_testing": card_testing,
    "impossible_travel": impossible_travel,
    "compromised_terminal": compromised_terminal,
    "card_not_present_leak": card_not_present_leak,
    "velocity_burst": velocity_burst,
    "amount_probing": amount_probing,
    "mule_cash_out": mule_cash_out,
}


def play_case(scene: Scene) -> tuple[Events, FraudCase | None]:
    """The transactions that a case makes from its day on, and the case to go on with the next day, None when over."""
    case = scene.case
    if case.scenario == "compromised_terminal" and case.terminal == NONE:
        scene = replace(scene, case=_taken_terminal(scene))
        case = scene.case
    events = SCENARIO_FUNCTIONS[case.scenario](scene)
    left = case.size - len(events)
    return events, replace(case, day=case.day + 1, size=left) if left > 0 else None


def _taken_terminal(scene: Scene) -> FraudCase:
    """The case with a terminal to skim: a busy one, chosen by a payment of the day."""
    visits = _present(scene.legitimate)
    if not len(visits):
        return scene.case
    return replace(scene.case, terminal=int(visits["terminal"][scene.generator.integers(0, len(visits))]))
