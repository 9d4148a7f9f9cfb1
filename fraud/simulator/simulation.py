"""Plays a simulation day by day: what is due is emitted in time order, what lies ahead waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time

import numpy as np

from fraud.simulator.campaigns import FraudCase, plan_cases
from fraud.simulator.events import DAY_MS, Component, Events, assign_keys, blank_events, generator_for, uniform_by_key
from fraud.simulator.labels import Labels, label_events
from fraud.simulator.legitimate import DECLINED_SHARE, RETRY_SHARE, SPREE_RATE, day_factor, legitimate_day
from fraud.simulator.options import SCENARIOS, SimulationOptions
from fraud.simulator.population import Population, build_population
from fraud.simulator.scenarios import Scene, play_case

# Payments of one spree on average (see `legitimate._sprees`).
SPREE_MEAN_SIZE = 8.0
WHOLE_SECOND_SHARE = 0.6  # of terminals
_SALT_CLOCK = 5_000


@dataclass(frozen=True)
class DayOfTransactions:
    """What happened on one day (0-based), in time order, with labels row by row."""

    day: int
    events: Events
    labels: Labels


class Simulation:
    """A simulated world and what happens in it. Iterating `days()` again gives the same again."""

    def __init__(self, options: SimulationOptions) -> None:
        self.options = options
        midnight = datetime.combine(options.start, time(), tzinfo=UTC)
        self.population: Population = build_population(options, int(midnight.timestamp()) * 1_000)

    def days(self) -> Iterator[DayOfTransactions]:
        """Every day in turn. Memory holds one day, and the refunds and frauds that wait for theirs."""
        cases = plan_cases(self.options, expected_authorisations(self.options, self.population))
        waiting = blank_events(0)
        for day in range(self.options.days):
            legitimate = legitimate_day(self.options, self.population, day)
            started = [case for case in cases if case.day == day]
            cases = [case for case in cases if case.day > day]
            frauds, continued = self._frauds(day, started, legitimate)
            cases += continued
            made = np.concatenate([legitimate, frauds])
            cut_clocks(made)
            happened = np.concatenate([waiting, made])
            due = happened["timestamp_ms"] < self.population.start_ms + (day + 1) * DAY_MS
            waiting = happened[~due]
            events = happened[due]
            # Of equal times the one made first goes first, refunds and frauds of earlier days before the day's own.
            events = events[np.argsort(events["timestamp_ms"], kind="stable")]
            yield DayOfTransactions(day, events, label_events(self.options, events))

    def _frauds(self, day: int, cases: list[FraudCase], legitimate: Events) -> tuple[Events, list[FraudCase]]:
        """The transactions of the cases of a day, and the cases that go on tomorrow."""
        played = [blank_events(0)]
        continued = []
        for case in cases:
            generator = generator_for(self.options.seed, Component.FRAUD, case.key, day)
            events, follow_up = play_case(Scene(self.population, generator, legitimate, case))
            events["scenario"] = SCENARIOS.index(case.scenario) + 1
            played.append(events)
            if follow_up is not None:
                continued.append(follow_up)
        frauds = np.concatenate(played)
        assign_keys(frauds, Component.FRAUD, day)
        return frauds, continued


def cut_clocks(events: Events) -> None:
    """Cut the milliseconds off where a terminal's clock has none, so that equal times happen as in real files."""
    whole_seconds = uniform_by_key(events["terminal"].astype(np.uint64), _SALT_CLOCK) < WHOLE_SECOND_SHARE
    events["timestamp_ms"] -= np.where(whole_seconds, events["timestamp_ms"] % 1_000, 0)


def expected_authorisations(options: SimulationOptions, population: Population) -> float:
    """How many legitimate authorisations to expect: habits, sprees, recurring payments and retries."""
    rate = options.transactions_per_customer_per_day
    days = np.arange(options.days)
    start = options.start.toordinal()
    factors = np.array([day_factor(options.start.fromordinal(start + int(day))) for day in days])
    joined = population.joined_day
    active = np.array([(population.activity * (joined <= day)).sum() for day in days])
    sprees = SPREE_RATE * SPREE_MEAN_SIZE * min(1.0, rate) * np.array([(joined <= day).sum() for day in days])
    agreements = ((population.agreement_merchant >= 0) | (population.agreement_account >= 0)).sum() / 30.4
    habits = (factors * (rate * active + sprees)).sum() * (1.0 - options.travel_rate / 10.0)
    return float(habits * (1.0 + 1.35 * DECLINED_SHARE * RETRY_SHARE) + agreements * options.days)
