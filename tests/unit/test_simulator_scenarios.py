"""Each kind of fraud shows its signature, and honest customers do most of the same things more rarely."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fraud.simulator import SCENARIOS, SimulationOptions, simulate
from fraud.simulator.events import APPROVED, AUTHORISATION, DAY_MS, HOUR_MS, MINUTE_MS, NONE, TRANSFER, Events
from fraud.simulator.merchants import CATEGORY_CODES
from fraud.simulator.places import CURRENCIES, distance_km
from fraud.simulator.population import DEVICES_EACH
from fraud.simulator.scenarios import CONTACTLESS_LIMIT_EURO, LIMITS_EURO
from fraud.simulator.simulation import Simulation
from fraud.transaction import ENTRY_MODES

PRESENT = [ENTRY_MODES.index(mode) for mode in ("chip", "contactless", "magstripe")]


@cache
def world(scenario: str) -> tuple[Simulation, Events]:
    options = SimulationOptions(
        seed=3, days=30, customers=600, merchants=200, fraud_rate=0.03, scenario_shares={scenario: 1.0}
    )
    simulation = Simulation(options)
    return simulation, np.concatenate([day.events for day in simulation.days()])


def frauds_by_customer(events: Events) -> Iterator[Events]:
    """The frauds of each customer, in time order."""
    frauds = events[events["scenario"] > 0]
    for customer in np.unique(frauds["customer"]):
        yield frauds[frauds["customer"] == customer]


def bursts(frauds: Events, gap_ms: int) -> Iterator[Events]:
    """Runs without a gap longer than this: the cases of one customer."""
    yield from np.split(frauds, np.flatnonzero(np.diff(frauds["timestamp_ms"]) > gap_ms) + 1)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_single_scenario_reaches_the_wanted_rate(scenario: str) -> None:
    _, events = world(scenario)
    authorised = events[events["event_type"] == AUTHORISATION]
    assert set(np.unique(events["scenario"])) == {0, SCENARIOS.index(scenario) + 1}
    assert np.mean(authorised["scenario"] > 0) == pytest.approx(0.03, rel=0.2)


def test_the_default_rate_and_shares_are_met() -> None:
    options = SimulationOptions(seed=5, days=40, customers=2_500)
    events = np.concatenate([day.events for day in Simulation(options).days()])
    authorised = events[events["event_type"] == AUTHORISATION]
    assert np.mean(authorised["scenario"] > 0) == pytest.approx(options.fraud_rate, rel=0.15)
    counts = np.bincount(events["scenario"], minlength=len(SCENARIOS) + 1)[1:]
    for name, count in zip(SCENARIOS, counts, strict=True):
        assert count / counts.sum() == pytest.approx(options.scenario_shares[name], abs=0.06)


def test_an_account_takeover_brings_devices_that_the_customer_never_had() -> None:
    simulation, events = world("account_takeover")
    frauds = events[(events["scenario"] > 0) & (events["device"] != NONE)]
    own = frauds["device"] // DEVICES_EACH == frauds["customer"]
    strange = frauds["device"] >= simulation.population.customers * DEVICES_EACH
    assert np.all(own | strange)
    assert 0.7 < np.mean(strange) < 0.95  # the rest is malware on the customer's own
    honest = events[(events["scenario"] == 0) & (events["event_type"] == AUTHORISATION)]
    assert np.median(frauds["amount_euro"]) > 3 * np.median(honest["amount_euro"])


def test_card_testing_is_small_amounts_then_a_large_one_on_the_same_card_within_hours() -> None:
    _, events = world("card_testing")
    seen = 0
    for frauds in frauds_by_customer(events):
        for case in bursts(frauds, 3 * HOUR_MS):
            small = case["amount_euro"] <= 6.0
            if len(case) < 5:  # cut off by the start of another case
                continue
            seen += 1
            assert small[:3].all()
            assert case["amount_euro"].max() > 60.0
            assert case["timestamp_ms"][-1] - case["timestamp_ms"][0] < DAY_MS
            assert len(np.unique(case["card"])) == 1
    assert seen > 10
    tests = events[(events["scenario"] > 0) & (events["amount_euro"] <= 6.0)]
    assert 0.2 < np.mean(tests["auth_result"] != APPROVED) < 0.5


def test_impossible_travel_is_faster_than_an_airliner() -> None:
    _, events = world("impossible_travel")
    present = events[np.isin(events["entry_mode"], PRESENT) & (events["event_type"] == AUTHORISATION)]
    speeds = []
    for customer in np.unique(present["customer"][present["scenario"] > 0]):
        mine = present[present["customer"] == customer]
        arrivals = np.flatnonzero((mine["scenario"][1:] > 0) & (mine["scenario"][:-1] == 0)) + 1
        before, after = mine[arrivals - 1], mine[arrivals]
        kilometres = distance_km(before["latitude"], before["longitude"], after["latitude"], after["longitude"])
        hours = np.maximum(after["timestamp_ms"] - before["timestamp_ms"], 1_000) / HOUR_MS
        speeds += list((kilometres / hours)[kilometres > 100])
    assert len(speeds) > 20
    assert min(speeds) > 900


def test_honest_customers_hardly_ever_travel_impossibly() -> None:
    _, events = world("impossible_travel")
    present = events[np.isin(events["entry_mode"], PRESENT) & (events["scenario"] == 0)]
    present = present[present["event_type"] == AUTHORISATION]
    order = np.argsort(present["customer"], kind="stable")
    earlier, later = present[order][:-1], present[order][1:]
    same = (earlier["customer"] == later["customer"]) & (earlier["card"] == later["card"])
    earlier, later = earlier[same], later[same]
    kilometres = distance_km(earlier["latitude"], earlier["longitude"], later["latitude"], later["longitude"])
    hours = np.maximum(later["timestamp_ms"] - earlier["timestamp_ms"], 1_000) / HOUR_MS
    assert np.mean((kilometres > 50) & (kilometres / hours > 900)) < 0.002
    assert np.any(kilometres > 1_000)  # but they do travel


def test_a_compromised_terminal_charges_cards_that_were_there_before() -> None:
    _, events = world("compromised_terminal")
    frauds = events[events["scenario"] > 0]
    terminals = Counter(frauds["terminal"].tolist())
    skimmed = [terminal for terminal, count in terminals.items() if count >= 5]
    assert skimmed
    assert sum(terminals[terminal] for terminal in skimmed) > len(frauds) / 2
    honest = events[(events["scenario"] == 0) & np.isin(events["terminal"], skimmed)]
    was_there_before = [
        np.any((honest["card"] == fraud["card"]) & (honest["timestamp_ms"] <= fraud["timestamp_ms"]))
        for fraud in frauds
    ]
    assert np.mean(was_there_before) > 0.95
    for terminal in skimmed[:3]:
        times = frauds["timestamp_ms"][frauds["terminal"] == terminal]
        assert times.max() - times.min() > DAY_MS


def test_leaked_cards_are_used_without_being_present_over_days() -> None:
    _, events = world("card_not_present_leak")
    frauds = events[events["scenario"] > 0]
    assert {ENTRY_MODES[mode] for mode in np.unique(frauds["entry_mode"])} == {"ecommerce", "manual"}
    spans = [case["timestamp_ms"][-1] - case["timestamp_ms"][0] for case in frauds_by_customer(events) if len(case) > 2]
    assert np.median(spans) > DAY_MS


def test_a_velocity_burst_is_many_taps_below_the_limit_within_minutes() -> None:
    _, events = world("velocity_burst")
    cases = [case for frauds in frauds_by_customer(events) for case in bursts(frauds, 2 * HOUR_MS)]
    assert len(cases) > 10
    for case in cases:
        assert len(case) >= 8
        assert case["timestamp_ms"][-1] - case["timestamp_ms"][0] <= len(case) * 90 * MINUTE_MS
        # A price that ends in .99 or is rounded up may pass the drawn amount, not the limit.
        assert case["amount_euro"].max() <= CONTACTLESS_LIMIT_EURO * 1.03


def test_probing_rises_to_just_under_a_limit_at_one_merchant() -> None:
    _, events = world("amount_probing")
    frauds = events[(events["scenario"] > 0) & (events["auth_result"] == APPROVED)]
    cases = [
        frauds[(frauds["customer"] == customer) & (frauds["merchant"] == merchant)]
        for customer, merchant in {(int(row["customer"]), int(row["merchant"])) for row in frauds}
    ]
    rising = [case for case in cases if np.all(np.diff(case["amount_euro"]) >= 0) and len(case) >= 2]
    assert len(rising) > 0.9 * len([case for case in cases if len(case) >= 2])
    for case in rising:
        last = case["amount_euro"][-1]
        assert any(0.97 * limit <= last < limit for limit in LIMITS_EURO)


def test_a_mule_receives_from_several_customers_and_empties_the_account() -> None:
    _, events = world("mule_cash_out")
    frauds = events[events["scenario"] > 0]
    transfers = frauds[frauds["channel"] == TRANSFER]
    payers = defaultdict(set)
    for row in transfers:
        payers[int(row["counterparty"])].add(int(row["customer"]))
    mules = [account for account, senders in payers.items() if len(senders) >= 3 and account < 600]
    assert len(mules) > 5
    for mule in mules:
        received = transfers[transfers["counterparty"] == mule]
        out = frauds[frauds["customer"] == mule]
        assert len(out)
        assert out["timestamp_ms"][-1] > received["timestamp_ms"][0]


@cache
def rows() -> list[dict[str, Any]]:
    options = SimulationOptions(seed=11, days=30, customers=800, merchants=200)
    return pa.concat_tables(simulate(options)).to_pylist()


def test_honest_life_has_travel_declines_second_tries_refunds_and_bursts() -> None:
    honest = [row for row in rows() if row["scenario"] is None]
    kinds = Counter(row["event_type"] for row in honest)
    assert 0.002 < kinds["refund"] / len(honest) < 0.02
    assert 0.0005 < kinds["reversal"] / len(honest) < 0.01
    assert 0.01 < sum(row["auth_result"] == "declined" for row in honest) / len(honest) < 0.06
    assert {row["currency"] for row in honest} == set(CURRENCIES)
    by_customer = sorted(honest, key=lambda row: row["user_id"])
    busiest_hour = 0
    for _, group in groupby(by_customer, key=lambda row: row["user_id"]):
        hours = Counter(row["timestamp"][:13] for row in group)
        busiest_hour = max(busiest_hour, *hours.values())
    assert busiest_hour >= 8


def test_times_have_ties_and_a_weekly_and_daily_rhythm() -> None:
    times = [row["timestamp"] for row in rows()]
    assert any(earlier == later for earlier, later in pairwise(times))
    hours = Counter(int(time[11:13]) for time in times)
    assert sum(hours[hour] for hour in range(9, 20)) > 5 * sum(hours[hour] for hour in range(1, 6))


def test_a_sender_leaves_out_an_optional_field_now_and_then() -> None:
    for name in ("country", "auth_result"):
        missing = [row[name] is None for row in rows() if row["event_type"] == "authorisation"]
        assert 0.005 < np.mean(missing) < 0.03


def test_no_card_number_passes_the_check_of_luhn() -> None:
    numbers = {row["card_id"] for row in rows() if row["card_id"]}
    assert len(numbers) > 800
    for number in numbers:
        assert len(number) == 16
        digits = [int(digit) for digit in reversed(number)]
        total = sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
        assert total % 10 != 0


def test_addresses_are_private_or_for_benchmarks() -> None:
    for row in rows():
        if row["ip_address"]:
            assert row["ip_address"].startswith(("10.", "198.18.", "198.19."))


def test_categories_are_merchant_category_codes() -> None:
    assert {row["merchant_category"] for row in rows()} <= {*CATEGORY_CODES, None}
