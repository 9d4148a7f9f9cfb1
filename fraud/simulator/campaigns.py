"""When fraud happens: cases of each scenario, clustered in campaigns, that add up to the wanted rate."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fraud.simulator.events import NONE, Component, Floats, generator_for
from fraud.simulator.options import SCENARIOS, SimulationOptions, normalised_shares


@dataclass(frozen=True)
class FraudCase:
    """One fraud that starts on `day` (0-based) and has `size` transactions. `key` seeds its random numbers.

    `terminal` is what a skimming case that goes on has taken hold of, -1 before.
    """

    scenario: str
    day: int
    size: int
    key: int
    terminal: int = field(default=NONE)


# Fewest and most transactions of one case; what a case of each kind must have to be recognised as one.
CASE_SIZES: dict[str, tuple[int, int]] = {
    "account_takeover": (2, 8),
    "card_testing": (5, 16),
    "impossible_travel": (1, 4),
    "compromised_terminal": (10, 45),
    "card_not_present_leak": (6, 40),
    "velocity_burst": (8, 22),
    "amount_probing": (4, 9),
    "mule_cash_out": (6, 24),
}
# One campaign a fortnight of every scenario, a few days long and several times the quiet level.
CAMPAIGN_EVERY_DAYS = 14
CAMPAIGN_STRENGTH = 5.0
# Skimming needs weeks to be used up, so it starts early enough.
LAST_START = {"compromised_terminal": 0.7}


def plan_cases(options: SimulationOptions, legitimate_authorisations: float) -> list[FraudCase]:
    """Cases, by day, whose sizes add up to the fraud rate for this expected number of legitimate authorisations."""
    frauds = legitimate_authorisations * options.fraud_rate / (1.0 - options.fraud_rate)
    cases: list[FraudCase] = []
    left_over = 0.0
    for name, share in normalised_shares(options).items():
        if share <= 0:
            continue
        generator = generator_for(options.seed, Component.CAMPAIGNS, SCENARIOS.index(name))
        budget = frauds * share + left_over
        sizes, left_over = _sizes(generator, name, budget)
        last_day = max(1, int(options.days * LAST_START.get(name, 1.0)))
        weights = _day_weights(generator, options.days)[:last_day]
        days = np.sort(generator.choice(last_day, len(sizes), p=weights / weights.sum()))
        cases += [
            FraudCase(name, int(day), size, SCENARIOS.index(name) << 32 | number)
            for number, (day, size) in enumerate(zip(days, sizes, strict=True))
        ]
    return sorted(cases, key=lambda case: (case.day, case.key))


def _sizes(generator: np.random.Generator, scenario: str, budget: float) -> tuple[list[int], float]:
    """Sizes of cases up to the budget, and what is left over, which goes to the next scenario."""
    fewest, most = CASE_SIZES[scenario]
    sizes = []
    while budget >= fewest:
        size = int(generator.integers(fewest, min(most, int(budget)) + 1))
        sizes.append(size)
        budget -= size
    return sizes, budget


def _day_weights(generator: np.random.Generator, days: int) -> Floats:
    """How likely a case starts on each day: a quiet level with campaigns of a few days on top."""
    weights = np.ones(days)
    for _ in range(max(1, days // CAMPAIGN_EVERY_DAYS)):
        first = int(generator.integers(0, days))
        weights[first : first + int(generator.integers(2, 7))] += CAMPAIGN_STRENGTH
    return weights
