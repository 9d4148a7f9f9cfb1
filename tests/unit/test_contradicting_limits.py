"""Limits that each may be chosen, but not together, are refused before anything is decided."""

from __future__ import annotations

import pytest

from fraud.bootstrap import refuse_contradicting_limits
from fraud.features import FEATURE_SETS, feature_set
from fraud.settings import Settings, SettingsError

# Both sets look back 30 days from a delay of labels of 7 days, and events may be a day late.
REACH_DAYS = 38


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_the_limits_that_ship_go_together(name: str) -> None:
    refuse_contradicting_limits(Settings(), feature_set(name))


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_nobody_is_forgotten_while_a_feature_looks_back_on_them(name: str) -> None:
    with pytest.raises(SettingsError, match=f"FRAUD_FORGET_AFTER_DAYS is 38, .* {name} .* {REACH_DAYS + 1} or more"):
        refuse_contradicting_limits(Settings(forget_after_days=REACH_DAYS), feature_set(name))
    refuse_contradicting_limits(Settings(forget_after_days=REACH_DAYS + 1), feature_set(name))


def test_more_lateness_needs_a_longer_memory() -> None:
    with pytest.raises(SettingsError, match="FRAUD_ALLOWED_LATENESS_HOURS"):
        refuse_contradicting_limits(
            Settings(forget_after_days=REACH_DAYS + 1, allowed_lateness_hours=60), feature_set("default")
        )


def test_what_is_forgotten_cannot_be_recognised() -> None:
    with pytest.raises(SettingsError, match=r"FRAUD_DUPLICATE_HORIZON_DAYS is 90\.5, .* FRAUD_FORGET_AFTER_DAYS, 90:"):
        refuse_contradicting_limits(Settings(duplicate_horizon_days=90.5), feature_set("default"))
    refuse_contradicting_limits(Settings(duplicate_horizon_days=90), feature_set("default"))
