"""What each feature means, computed from the list of all events. Slow and obvious; shares no code with the product."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from statistics import median_low

from oracle_events import Customer, Entity, Event, presence
from payments import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

from fraud.transaction import Transaction

Value = float | int | bool
MISSING = math.nan
MONTH_MS = 30 * DAY_MS
LABEL_DELAY_MS = 7 * DAY_MS
HOP_MS = 5 * MINUTE_MS
CENTS = 100
LENGTHS_MS = {"10m": 10 * MINUTE_MS, "1h": HOUR_MS, "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": MONTH_MS}


class History:
    """A customer's payments in the windows that end at a transaction, which is not among them."""

    def __init__(self, customer: Customer, transaction: Transaction, allowed_lateness_ms: int) -> None:
        self.events = customer.absorbed
        self.now_ms = transaction.timestamp_ms
        newest_ms = customer.newest_ms or 0
        # A window reaches back no further than what every store still has: the longest window and the lateness.
        kept_ms = newest_ms - MONTH_MS - allowed_lateness_ms
        self.kept = [event for event in self.events if not event.reversed and event.ms > kept_ms]

    def within(self, length_ms: int) -> list[Event]:
        """Events with timestamp in (now - length, now], by time, by arrival within a time."""
        inside = [event for event in self.kept if self.now_ms - length_ms < event.ms <= self.now_ms]
        return sorted(inside, key=lambda event: event.ms)


class EntityView:
    """What everybody did at an entity, in the sawtooth windows that end at a transaction."""

    def __init__(self, entity: Entity | None, transaction: Transaction, allowed_lateness_ms: int) -> None:
        self.exists = entity is not None
        self.events = entity.events if entity is not None else []
        self.frauds_ms = entity.fraud_ms if entity is not None else []
        self.now_ms = transaction.timestamp_ms
        self.newest_ms = (entity.newest_ms if entity is not None else None) or 0
        self.lateness_ms = allowed_lateness_ms

    def window(self, length_ms: int, hop_ms: int, delay_ms: int = 0) -> list[Event]:
        """Events of the buckets of the window."""
        kept = self._kept_ms(hop_ms) // hop_ms
        low = (self.now_ms - delay_ms - length_ms) // hop_ms
        high = (self.now_ms - delay_ms) // hop_ms if delay_ms else math.ceil(Fraction(self.now_ms, hop_ms))
        return [event for event in self.events if max(low, kept) < math.ceil(Fraction(event.ms, hop_ms)) <= high]

    def frauds(self, length_ms: int, hop_ms: int) -> int:
        """Known frauds among the events of the window that ended 7 days ago."""
        low = (self.now_ms - LABEL_DELAY_MS - length_ms) // hop_ms * hop_ms
        high = (self.now_ms - LABEL_DELAY_MS) // hop_ms * hop_ms
        return sum(max(low, self._kept_ms(hop_ms)) < ms <= high for ms in self.frauds_ms)

    def hours_since_fraud(self) -> Value:
        """Whole hours since the newest known fraud of 37 days."""
        since_ms = max(self.now_ms - MONTH_MS - LABEL_DELAY_MS, self._kept_ms(HOP_MS))
        known = [ms for ms in self.frauds_ms if ms > since_ms]
        return max(0, self.now_ms - max(known)) // HOUR_MS if known else MISSING

    def fraud_run(self) -> tuple[Value, Value, Value]:
        """Matured payments since the newest fraud among those of 30 days, its run of frauds on end, hours of the run.

        Payments of the same five minutes as the fraud count as after it.
        """
        low = (self.now_ms - LABEL_DELAY_MS - MONTH_MS) // HOP_MS
        high = (self.now_ms - LABEL_DELAY_MS) // HOP_MS
        frauds = sorted(ms for ms in self.frauds_ms if low < math.ceil(Fraction(ms, HOP_MS)) <= high)
        if not frauds:
            return MISSING, MISSING, MISSING
        matured = Counter(math.ceil(Fraction(event.ms, HOP_MS)) for event in self.events)
        for ms in frauds:
            matured[math.ceil(Fraction(ms, HOP_MS))] -= 1
        legitimate = {
            ms: sum(number for bucket, number in matured.items() if math.ceil(Fraction(ms, HOP_MS)) <= bucket <= high)
            for ms in frauds
        }
        since_newest = legitimate[frauds[-1]]
        run = [ms for ms in frauds if not legitimate[ms]]
        if not run:
            return since_newest, 0, MISSING
        return since_newest, len(run), (self.now_ms - run[0]) // HOUR_MS

    def distinct(self, who: str, length_ms: int, current: str | None) -> Value:
        """Different ones last seen within the length, among the 32 of latest sight, and the current one."""
        if not self.exists:
            return MISSING
        last_seen: dict[str, int] = {}
        for event in self.events:
            one = getattr(event.transaction, who)
            if one is not None:
                before = last_seen.pop(one, event.ms)
                last_seen[one] = max(before, event.ms)
                if len(last_seen) > 32:
                    del last_seen[min(last_seen, key=lambda known: last_seen[known])]
        recent = {one for one, ms in last_seen.items() if ms > self.now_ms - length_ms}
        return len(recent | ({current} - {None}))

    def _kept_ms(self, hop_ms: int) -> int:
        """What every store still has: the longest delayed window, the lateness, and the bucket in progress."""
        return self.newest_ms - MONTH_MS - LABEL_DELAY_MS - self.lateness_ms - hop_ms


def recall(events: list[Event], name: str, capacity: int) -> dict[str, int]:
    """The things of this field that are remembered (the `capacity` used last), with the day of tenure first used."""
    first_days: dict[str, int] = {}
    for event in events:
        thing = getattr(event.transaction, name)
        if thing is not None:
            day = max(0, event.ms - events[0].ms) // DAY_MS
            first_days[thing] = first_days.pop(thing, day)
            if len(first_days) > capacity:
                del first_days[next(iter(first_days))]
    return first_days


def euros(cents: int) -> float:
    return float(Fraction(cents, CENTS))


def velocity(history: History, now: Transaction) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, length_ms in LENGTHS_MS.items():
        before = history.within(length_ms)
        payments = [*(event.transaction for event in before), now]
        values[f"customer_count_{name}"] = len(payments)
        values[f"customer_sum_{name}"] = euros(sum(payment.base_amount_minor for payment in payments))
        values[f"customer_maximum_{name}"] = euros(max(payment.base_amount_minor for payment in payments))
        values[f"customer_declined_count_{name}"] = sum(payment.auth_result == "declined" for payment in payments)
        for what, of in (
            ("merchants", "merchant_id"),
            ("categories", "merchant_category"),
            ("countries", "country"),
            ("devices", "device_id"),
        ):
            values[f"customer_distinct_{what}_{name}"] = len({getattr(payment, of) for payment in payments} - {None})
    month = history.within(MONTH_MS)
    at_merchant = [event for event in month if event.transaction.merchant_id == now.merchant_id is not None]
    values["customer_hour_to_monthly_mean"] = (len(history.within(HOUR_MS)) + 1) / ((len(month) + 1) / 720)
    values["customer_seconds_since_last"] = (now.timestamp_ms - month[-1].ms) / 1_000 if month else MISSING
    values["customer_seconds_since_last_at_merchant"] = (
        (now.timestamp_ms - at_merchant[-1].ms) / 1_000 if at_merchant else MISSING
    )
    return values


def deviations(amount: int, earlier: list[int]) -> float:
    """Population deviations from the mean; the deviation is at least a tenth of the mean and one euro."""
    mean = Fraction(sum(earlier), len(earlier))
    variance = sum((value - mean) ** 2 for value in earlier) / len(earlier)
    return float(amount - mean) / max(math.sqrt(variance), float(mean) / 10, CENTS)


def category_amounts(events: list[Event], category: str | None) -> list[int]:
    """The customer's amounts in a category, since it was last forgotten for 16 others used later."""
    kept: dict[str, list[int]] = {}
    for event in events:
        of = event.transaction.merchant_category
        if of is not None:
            kept[of] = [*kept.pop(of, []), event.amount]
            if len(kept) > 16:
                del kept[next(iter(kept))]
    return kept.get(category, []) if category is not None else []


def amounts(history: History, now: Transaction, merchant: EntityView) -> dict[str, Value]:
    amount = now.base_amount_minor
    earlier = [event.amount for event in history.events]
    in_category = category_amounts(history.events, now.merchant_category)
    at_merchant = merchant.window(MONTH_MS, HOP_MS)
    paid_there = sum(event.amount for event in at_merchant)
    return {
        "amount_base": euros(amount),
        "amount_deviation": deviations(amount, earlier) if earlier else MISSING,
        "amount_to_customer_maximum": amount / max(earlier) if any(earlier) else MISSING,
        "amount_deviation_in_category": deviations(amount, in_category) if in_category else MISSING,
        "amount_to_category_maximum": amount / max(in_category) if any(in_category) else MISSING,
        "identical_amounts_24h": sum(event.amount == amount for event in history.within(DAY_MS)),
        "merchant_amount_to_mean_30d": amount / (paid_there / len(at_merchant)) if paid_there else MISSING,
    }


def kilometres(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The haversine formula on a sphere of the mean radius of the earth."""
    (phi, theta), (phi_2, theta_2) = (tuple(map(math.radians, place)) for place in (one, other))
    haversine = (
        math.sin((phi - phi_2) / 2) ** 2 + math.cos(phi) * math.cos(phi_2) * math.sin((theta - theta_2) / 2) ** 2
    )
    return 2 * 6_371.0088 * math.asin(math.sqrt(haversine))


def position(transaction: Transaction) -> tuple[float, float] | None:
    if transaction.latitude is None or transaction.longitude is None:
        return None
    return transaction.latitude, transaction.longitude


def frequent(things: list[str] | list[tuple[float, float]], capacity: int) -> list[Counter[object]]:
    """The counts after each of `things`; a new one beyond the capacity takes the place of the rarest, earliest."""
    counts: Counter[object] = Counter()
    stages = []
    for thing in things:
        if thing not in counts and len(counts) == capacity:
            del counts[min(counts, key=lambda known: counts[known])]
        counts[thing] += 1
        stages.append(counts.copy())
    return stages


def home_country(events: list[Event]) -> str | None:
    """The country of most payments; of equal ones the one that was it first."""
    countries = [event.transaction.country for event in events if event.transaction.country is not None]
    home = None
    for country, counts in zip(countries, frequent(countries, 16), strict=True):
        if home is None or counts[country] > counts[home]:
            home = country
    return home


def distances(history: History, now: Transaction) -> dict[str, Value]:
    here, country = position(now), now.country
    positions = [(event, position(event.transaction)) for event in history.events]
    present = [(event, place) for event, place in positions if place and presence(event.transaction) == "present"]
    speed = MISSING
    if present and here is not None and presence(now) == "present":
        newest_ms = max(event.ms for event, _ in present)
        last, there = [pair for pair in present if pair[0].ms == newest_ms][-1]
        distance = kilometres(here, there)
        hours = max(abs(now.timestamp_ms - last.ms), MINUTE_MS) / HOUR_MS
        speed = 0.0 if distance < 50 else distance / hours
    cells = [(round(place[0], 1), round(place[1], 1)) for _, place in positions if place is not None]
    usual = list(frequent(cells, 8)[-1]) if cells else []
    cell_now = here and (round(here[0], 1), round(here[1], 1))
    kilometres_away = [0.0 if cell == cell_now else kilometres(here, cell) for cell in usual] if here else []
    home = home_country(history.events)
    seen = [event.transaction.country for event in history.within(DAY_MS) if event.transaction.country is not None]
    return {
        "travel_speed_kmh": speed,
        "distance_to_usual_place_km": min(kilometres_away, default=MISSING),
        "country_is_home": MISSING if home is None or country is None else country == home,
        "country_changed_24h": MISSING if country is None or not seen else country != seen[-1],
    }


def novelties(history: History, now: Transaction) -> dict[str, Value]:
    events = history.events
    tenure_ms = max(0, now.timestamp_ms - events[0].ms) if events else 0
    values: dict[str, Value] = {}
    for what, of in (
        ("device", "device_id"),
        ("merchant", "merchant_id"),
        ("category", "merchant_category"),
        ("country", "country"),
        ("ip_prefix", "ip_prefix"),
        ("card", "card_id"),
        ("counterparty", "counterparty_id"),
    ):
        thing = getattr(now, of)
        known = recall(events, of, 64 if what == "merchant" else 16)
        values[f"{what}_is_new"] = MISSING if thing is None else thing not in known
        days = max(0, tenure_ms // DAY_MS - known[thing]) if thing in known else 0
        values[f"{what}_days_since_first"] = MISSING if thing is None else days
    hours = [event.ms // HOUR_MS % 24 for event in events]
    same_hour = hours.count(now.timestamp_ms // HOUR_MS % 24)
    same_category = len(category_amounts(events, now.merchant_category))
    values["customer_tenure_days"] = tenure_ms / DAY_MS
    values["hour_surprise"] = -math.log((same_hour + 1) / (len(events) + 24))
    values["category_surprise"] = (
        MISSING if now.merchant_category is None else -math.log((same_category + 1) / (len(events) + 16))
    )
    return values


def last_new_ms(events: list[Event], name: str, capacity: int) -> int:
    """When the customer last used something for the first time; the first payment of all brings nothing new."""
    newest = 0
    for count in range(1, len(events)):
        thing = getattr(events[count].transaction, name)
        if thing is not None and thing not in recall(events[:count], name, capacity):
            newest = events[count].ms
    return newest


def takeover_stage(history: History, now: Transaction) -> int:
    events, now_ms = history.events, now.timestamp_ms
    if not events or now.device_id is None:
        return 0
    new_device = now.device_id not in recall(events, "device_id", 16)
    new_merchant = now.merchant_id is not None and now.merchant_id not in recall(events, "merchant_id", 64)
    device_ms = now_ms if new_device else last_new_ms(events, "device_id", 16)
    merchant_ms = now_ms if new_merchant else last_new_ms(events, "merchant_id", 64)
    if device_ms <= now_ms - DAY_MS:
        return 0
    if merchant_ms < device_ms:
        return 1
    return 3 if deviations(now.base_amount_minor, [event.amount for event in events]) > 3 else 2


def median_gap(events: list[Event]) -> int:
    """The lower median of the last 16 gaps."""
    gaps = [later.ms - earlier.ms for earlier, later in pairwise(events)][-16:]
    return median_low(gaps) if gaps else 0


def sequences(history: History, now: Transaction) -> dict[str, Value]:
    hour, day, month = (history.within(length) for length in (HOUR_MS, DAY_MS, MONTH_MS))
    small = [event.amount for event in hour if event.amount <= 5 * CENTS]
    run = 1
    higher = now.base_amount_minor
    for event in reversed(day):
        if event.transaction.merchant_id == now.merchant_id is not None:
            if event.amount >= higher:
                break
            run, higher = run + 1, event.amount
    gap = median_gap(month)
    before_burst = month[: len(month) - len(hour)]
    burst_gap = median_gap(before_burst)
    is_burst = len(hour) + 1 >= 3 and before_burst and burst_gap
    seen = [known for known in [*(presence(event.transaction) for event in day), presence(now)] if known]
    return {
        "small_attempts_1h": len(small),
        "amount_to_small_attempts_1h": now.base_amount_minor / (sum(small) / len(small)) if any(small) else 0.0,
        "rising_amounts_run": run,
        "takeover_sequence_stage": takeover_stage(history, now),
        "gap_to_median_gap": (now.timestamp_ms - month[-1].ms) / gap if len(month) > 1 and gap else MISSING,
        "gap_before_burst": (hour[0].ms - before_burst[-1].ms) / burst_gap if is_burst else 0.0,
        "presence_switches_24h": sum(one != other for one, other in pairwise(seen)),
    }


def burst(view: EntityView) -> Value:
    hour = len(view.window(HOUR_MS, HOP_MS))
    month = len(view.window(MONTH_MS, HOP_MS))
    if not hour:
        return 0.0
    age_hours = (view.now_ms - min(event.ms for event in view.events)) / HOUR_MS
    return hour / (max(month, hour) / min(max(age_hours, 1), 720))


def risks(places: dict[str, EntityView], now: Transaction) -> dict[str, Value]:
    values: dict[str, Value] = {}

    def add(name: str, kind: str, compute: Callable[[EntityView], Value]) -> None:
        values[f"{kind}_{name}"] = compute(places[kind]) if places[kind].exists else MISSING

    def fraud_rate(view: EntityView) -> Value:
        matured = view.window(MONTH_MS, HOP_MS, LABEL_DELAY_MS)
        return (view.frauds(MONTH_MS, HOP_MS) + 20 * 0.005) / (len(matured) + 20)

    def first_times(view: EntityView) -> Value:
        week = view.window(7 * DAY_MS, HOP_MS)
        return sum(event.merchant_was_new for event in week) / len(week) if week else MISSING

    def age(view: EntityView) -> Value:
        return max(0, view.now_ms - min(event.ms for event in view.events)) / DAY_MS if view.events else 0.0

    for kind, place in places.items():
        add("fraud_rate_30d", kind, fraud_rate)
        add("hours_since_fraud", kind, EntityView.hours_since_fraud)
        add("age_days", kind, age)
        add("count_1h", kind, lambda view: len(view.window(HOUR_MS, HOP_MS)))
        add("burst_1h", kind, burst)
        add("first_time_share_7d", kind, first_times)
        for number, name in enumerate(("legitimate_since_fraud", "fraud_run", "fraud_run_hours")):
            values[f"{kind}_{name}"] = place.fraud_run()[number] if place.exists else MISSING
        for name, length_ms in (("1h", HOUR_MS), ("24h", DAY_MS), ("30d", MONTH_MS)):
            for who, of in (("customers", "user_id"), ("cards", "card_id")):
                values[f"{kind}_distinct_{who}_{name}"] = place.distinct(of, length_ms, getattr(now, of))
    return values


def handbook(history: History, terminal: EntityView, now: Transaction) -> dict[str, Value]:
    weekday, hour = (now.timestamp_ms // DAY_MS + 3) % 7, now.timestamp_ms // HOUR_MS % 24
    values: dict[str, Value] = {
        "TX_AMOUNT": euros(now.base_amount_minor),
        "TX_DURING_WEEKEND": int(weekday in (5, 6)),
        "TX_DURING_NIGHT": int(hour <= 6),
    }
    for days in (1, 7, 30):
        paid = [*(event.amount for event in history.within(days * DAY_MS)), now.base_amount_minor]
        values[f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"] = len(paid)
        values[f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"] = euros(sum(paid)) / len(paid)
        there = terminal.window(days * DAY_MS, SECOND_MS, LABEL_DELAY_MS)
        frauds = terminal.frauds(days * DAY_MS, SECOND_MS)
        values[f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"] = len(there)
        values[f"TERMINAL_ID_RISK_{days}DAY_WINDOW"] = frauds / len(there) if there else 0.0
    return values
