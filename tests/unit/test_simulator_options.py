"""A simulation is refused with a sentence before it starts, not in the middle."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fraud.simulator import SCENARIOS, InvalidOptionError, SimulationOptions, write_simulation
from fraud.simulator.campaigns import CASE_SIZES
from fraud.simulator.options import DEFAULT_SCENARIO_SHARES, normalised_shares
from fraud.simulator.scenarios import SCENARIO_FUNCTIONS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"days": 0}, "days: must be a whole number from 1 to 3660, not 0"),
        ({"seed": -1}, "seed: must be a whole number from 0"),
        ({"customers": 3}, "customers: must be a whole number from 20"),
        ({"merchants": 99}, "merchants: must be a whole number from 100"),
        ({"fraud_rate": 0.7}, "fraud_rate: must be a number from 0 to 0.5, not 0.7"),
        ({"fraud_rate": float("nan")}, "fraud_rate: must be a number from 0 to 0.5, not nan"),
        ({"transactions_per_customer_per_day": 0.0}, "transactions_per_customer_per_day: must be a number"),
        ({"start": date(1980, 1, 1)}, "start: must be from 1990 on"),
        (
            {"scenario_shares": {"card_tasting": 1.0}},
            "no scenario is called 'card_tasting'; there are account_takeover",
        ),
        ({"scenario_shares": {"card_testing": -1.0}}, "the share of card_testing must be zero or more"),
        ({"scenario_shares": {}}, "at least one scenario needs a share above zero"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError) as refusal:
        SimulationOptions(**options)
    assert message in str(refusal.value)


def test_every_scenario_has_a_share_a_size_and_a_function() -> None:
    assert set(SCENARIOS) == set(DEFAULT_SCENARIO_SHARES) == set(CASE_SIZES) == set(SCENARIO_FUNCTIONS)


def test_shares_are_relative() -> None:
    shares = normalised_shares(SimulationOptions(scenario_shares={"card_testing": 3, "amount_probing": 1}))
    assert shares["card_testing"] == 0.75
    assert shares["amount_probing"] == 0.25
    assert shares["mule_cash_out"] == 0.0


@pytest.mark.parametrize("name", ["out.txt", "out", "out.parquet.gz", "out.gz"])
def test_an_ending_that_says_no_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"must end in \.csv, \.jsonl or \.parquet"):
        write_simulation(SimulationOptions(), tmp_path / name)


def test_an_unknown_format_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="there are native, handbook, sparkov, paysim"):
        write_simulation(SimulationOptions(), tmp_path / "out.csv", file_format="ieee")
