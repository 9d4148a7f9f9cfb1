"""Labels come late, each source in its own time."""

from __future__ import annotations

import numpy as np
import pytest

from fraud.simulator import SimulationOptions
from fraud.simulator.events import DAY_MS, NONE, Events, assign_keys, blank_events
from fraud.simulator.events import Component as Part
from fraud.simulator.labels import SOURCE_DELAYS, SourceDelay, label_events
from fraud.transaction import LABEL_SOURCES

COUNT = 20_000


def events(scenario: int) -> Events:
    made = blank_events(COUNT)
    made["timestamp_ms"] = 1_767_225_600_000
    made["scenario"] = scenario
    assign_keys(made, Part.FRAUD, 3)
    return made


@pytest.mark.parametrize("entry", SOURCE_DELAYS, ids=lambda entry: entry.source)
def test_each_source_has_its_share_and_its_delay(entry: SourceDelay) -> None:
    labels = label_events(SimulationOptions(unreported_share=0.0), events(scenario=1))
    mine = labels.source == LABEL_SOURCES.index(entry.source)
    days = (labels.known_at_ms[mine] - 1_767_225_600_000) / DAY_MS
    assert np.mean(mine) == pytest.approx(entry.share, abs=0.02)
    assert np.median(days) == pytest.approx(entry.median_days, rel=0.1)
    assert days.min() >= entry.least_days - 0.001


def test_alerts_take_days_and_chargebacks_weeks_with_a_heavy_tail() -> None:
    labels = label_events(SimulationOptions(), events(scenario=1))
    days = (labels.known_at_ms - 1_767_225_600_000) / DAY_MS
    alerts = days[labels.source == LABEL_SOURCES.index("issuer_alert")]
    chargebacks = days[labels.source == LABEL_SOURCES.index("chargeback")]
    assert np.percentile(alerts, 90) < 7
    assert 21 < np.median(chargebacks) < 42
    assert np.percentile(chargebacks, 99) > 90


def test_an_unreported_fraud_is_believed_to_be_legitimate() -> None:
    labels = label_events(SimulationOptions(unreported_share=0.1), events(scenario=2))
    assert np.mean(~labels.fraud) == pytest.approx(0.1, abs=0.01)
    assert np.all(labels.source[~labels.fraud] == NONE)
    assert np.all(labels.known_at_ms[~labels.fraud] == 0)


def test_a_dispute_of_an_honest_payment_stands_as_chargeback_or_falls_to_representment() -> None:
    labels = label_events(SimulationOptions(dispute_rate=0.1), events(scenario=0))
    assert np.mean(labels.source != NONE) == pytest.approx(0.1, abs=0.01)
    assert {LABEL_SOURCES[code] for code in np.unique(labels.source[labels.fraud])} == {"chargeback"}
    disputed = ~labels.fraud & (labels.source != NONE)
    assert {LABEL_SOURCES[code] for code in np.unique(labels.source[disputed])} == {"representment"}
    assert disputed.sum() > labels.fraud.sum()


def test_the_delay_factor_multiplies_every_delay() -> None:
    plain = label_events(SimulationOptions(), events(scenario=1))
    double = label_events(SimulationOptions(label_delay_factor=2.0), events(scenario=1))
    known = plain.source != NONE
    start = 1_767_225_600_000
    assert np.allclose((double.known_at_ms - start)[known], 2 * (plain.known_at_ms - start)[known], atol=2)
