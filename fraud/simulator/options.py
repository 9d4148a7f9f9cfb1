"""What a simulation can be told, with the checks that turn a wrong value into a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

# The order is the number of a scenario in columns that hold a number (0 is legitimate); new ones go to the end.
SCENARIOS = (
    "account_takeover",
    "card_testing",
    "impossible_travel",
    "compromised_terminal",
    "card_not_present_leak",
    "velocity_burst",
    "amount_probing",
    "mule_cash_out",
)

# Shares of fraudulent transactions, not of cases: remote fraud leads, as in the card statistics of the ECB, where most
# of the value lost is lost without the card being present.
DEFAULT_SCENARIO_SHARES: Mapping[str, float] = MappingProxyType(
    {
        "account_takeover": 0.16,
        "card_testing": 0.14,
        "impossible_travel": 0.08,
        "compromised_terminal": 0.18,
        "card_not_present_leak": 0.20,
        "velocity_burst": 0.08,
        "amount_probing": 0.06,
        "mule_cash_out": 0.10,
    }
)

# Every city needs a shop and every category a merchant; fewer merchants than this and a scenario has nowhere to happen.
MERCHANTS_MINIMUM = 100
# A mule collects from up to fifteen victims, who must be different people.
CUSTOMERS_MINIMUM = 20
# Above this "fraud" is no longer the rare event that every part of the product is made for.
FRAUD_RATE_MAXIMUM = 0.5
# Ten years: the day's number is packed into 16 bits of a transaction's key.
DAYS_MAXIMUM = 3_660

# The lowest and the highest value of each option that is a number, by its name in `SimulationOptions`.
WHOLE_LIMITS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "seed": (0, 2**63 - 1),
        "days": (1, DAYS_MAXIMUM),
        "customers": (CUSTOMERS_MINIMUM, 10_000_000),
        "merchants": (MERCHANTS_MINIMUM, 1_000_000),
        "terminals_per_merchant": (1, 100),
    }
)
NUMBER_LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "transactions_per_customer_per_day": (0.001, 100.0),
        "fraud_rate": (0.0, FRAUD_RATE_MAXIMUM),
        "travel_rate": (0.0, 0.5),
        "unreported_share": (0.0, 1.0),
        "dispute_rate": (0.0, 0.1),
        "label_delay_factor": (0.0, 100.0),
    }
)
TIMESTAMP_YEARS = (1990, 2090)


class InvalidOptionError(ValueError):
    """An option that no simulation can be made with; the message names it, its value and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class SimulationOptions:
    """Everything that decides the bytes of a simulation. Raises `InvalidOptionError`.

    `transactions_per_customer_per_day` counts legitimate purchases and transfers, before sprees, retries and refunds.
    `fraud_rate` is the share of fraud in all authorisations. `scenario_shares` are relative shares of the fraudulent
    transactions; a scenario that is not named gets none. `travel_rate` is the share of days that a customer is away.
    `unreported_share` of frauds never get a label; `dispute_rate` of legitimate payments are disputed by their own
    customer. `label_delay_factor` multiplies every label delay.
    """

    seed: int = 1
    days: int = 60
    start: date = date(2026, 1, 1)
    customers: int = 2_000
    merchants: int = 600
    terminals_per_merchant: int = 2
    transactions_per_customer_per_day: float = 1.0
    fraud_rate: float = 0.005
    scenario_shares: Mapping[str, float] = field(default_factory=lambda: DEFAULT_SCENARIO_SHARES)
    travel_rate: float = 0.03
    unreported_share: float = 0.02
    dispute_rate: float = 0.0004
    label_delay_factor: float = 1.0

    def __post_init__(self) -> None:
        for name, (fewest, most) in WHOLE_LIMITS.items():
            _check_whole(name, getattr(self, name), fewest, most)
        for name, (lowest, highest) in NUMBER_LIMITS.items():
            _check_number(name, getattr(self, name), lowest, highest)
        if not TIMESTAMP_YEARS[0] <= self.start.year < TIMESTAMP_YEARS[1]:
            raise InvalidOptionError(
                f"start: must be from {TIMESTAMP_YEARS[0]} on and before {TIMESTAMP_YEARS[1]}, not {self.start}"
            )
        _check_shares(self.scenario_shares)


def normalised_shares(options: SimulationOptions) -> dict[str, float]:
    """Each scenario's share of the fraudulent transactions, in the order of `SCENARIOS`, summing to 1."""
    total = math.fsum(options.scenario_shares.values())
    return {name: options.scenario_shares.get(name, 0.0) / total for name in SCENARIOS}


def _check_whole(name: str, value: int, lowest: int, highest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise InvalidOptionError(f"{name}: must be a whole number from {lowest} to {highest}, not {value!r}")


def _check_number(name: str, value: float, lowest: float, highest: float) -> None:
    if not math.isfinite(value) or not lowest <= value <= highest:
        raise InvalidOptionError(f"{name}: must be a number from {lowest:g} to {highest:g}, not {value!r}")


def _check_shares(shares: Mapping[str, float]) -> None:
    for name, share in shares.items():
        if name not in SCENARIOS:
            known = ", ".join(SCENARIOS)
            raise InvalidOptionError(f"scenario_shares: no scenario is called {name!r}; there are {known}")
        if not math.isfinite(share) or share < 0:
            raise InvalidOptionError(f"scenario_shares: the share of {name} must be zero or more, not {share!r}")
    if math.fsum(shares.values()) <= 0:
        raise InvalidOptionError("scenario_shares: at least one scenario needs a share above zero")
