"""Every feature of both sets against the oracle, event by event, over sequences that hit all edges."""

from __future__ import annotations

import math
from random import Random

import msgspec
import pytest
from event_sequences import SMALL_LIMITS, TINY_LIMITS, USUAL_LIMITS, Pools, Sequence, generate, sequences
from feature_oracle import Oracle
from hypothesis import given
from hypothesis import strategies as st
from oracle_events import Limits
from payments import HOUR_MS, MINUTE_MS, Bench, admission, payment

from fraud.bootstrap import state_limits
from fraud.features import FEATURE_SETS, feature_set
from fraud.settings import Settings
from fraud.transaction import TransactionMessage

WITHOUT_OPTIONAL_FIELDS = payment("t", amount=25.5)
WITH_ALL_OPTIONAL_FIELDS = msgspec.structs.replace(
    WITHOUT_OPTIONAL_FIELDS,
    auth_result="declined",
    entry_mode="chip",
    is_recurring=True,
    card_id="card",
    merchant_id="merchant",
    merchant_category="category",
    terminal_id="terminal",
    counterparty_id="counterparty",
    channel="pos",
    country="AT",
    city="Wien",
    latitude=48.2082,
    longitude=16.3738,
    device_id="device",
    ip_address="192.0.2.7",
    attributes={"own_field": 1.5},
)


def compare_with_oracle(sequence: Sequence, settings: Settings, feature_set_name: str, batch_size: int = 16) -> None:
    """Raise at the first message on which the engine and the oracle differ."""
    bench = Bench(settings, feature_set_name, verdicts=sequence.verdicts)
    outcomes = bench.run(sequence.messages, batch_size)
    limits = state_limits(settings)
    oracle = Oracle(
        feature_set_name,
        Limits(limits.allowed_lateness_ms, limits.forget_after_ms, limits.duplicate_horizon_ms),
        sequence.verdicts,
    )
    admit = admission(settings).admit
    kinds = [row.kind for row in bench.artefacts.feature_set.rows]
    for number, (message, outcome) in enumerate(zip(sequence.messages, outcomes, strict=True)):
        what, late, expected = oracle.process(admit(message))
        assert (outcome.what, outcome.late) == (what, late), f"message {number}"
        if what == "decided":
            wrong = [
                f"{name}: {value!r}, the oracle says {expected[name]!r}"
                for name, kind, value in zip(bench.names, kinds, outcome.values, strict=True)
                if not agree(value, expected[name], kind)
            ]
            assert not wrong, f"message {number}: " + "; ".join(wrong)


def agree(value: float, expected: float, kind: str) -> bool:
    if math.isnan(expected) or math.isnan(value):
        return math.isnan(expected) and math.isnan(value)
    return value == expected if kind != "number" else math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_the_oracle_knows_every_feature(name: str) -> None:
    bench = Bench(feature_set_name=name)
    sequence = generate(Random(1), 1, Pools())
    oracle = Oracle(name, Limits(0, 1, 1), {})
    _, _, values = oracle.process(admission(bench.settings).admit(sequence.messages[0]))
    assert set(feature_set(name).names) <= set(values)


@pytest.mark.parametrize(
    ("message", "empty"),
    [
        (WITH_ALL_OPTIONAL_FIELDS, {"original_transaction_id"}),
        (WITHOUT_OPTIONAL_FIELDS, set(TransactionMessage.__struct_fields__[6:])),
    ],
    ids=["with all optional fields", "without any"],
)
@pytest.mark.parametrize("name", FEATURE_SETS)
def test_every_feature_of_the_first_payment_ever(name: str, message: TransactionMessage, empty: set[str]) -> None:
    """Only a reversal has an original; whatever other field there is, is set in one case and in the other is not."""
    assert {field for field in message.__struct_fields__ if getattr(message, field) in (None, {})} == empty
    compare_with_oracle(Sequence([message], {}), USUAL_LIMITS, name)


@pytest.mark.parametrize("settings", [USUAL_LIMITS, SMALL_LIMITS, TINY_LIMITS], ids=["usual", "small", "tiny"])
@pytest.mark.parametrize("name", FEATURE_SETS)
@given(data=st.data())
def test_every_value_is_what_the_feature_means(name: str, settings: Settings, data: st.DataObject) -> None:
    compare_with_oracle(data.draw(sequences()), settings, name)


@pytest.mark.parametrize("name", FEATURE_SETS)
@given(random=st.randoms(use_true_random=False))
def test_one_busy_customer_at_one_place(name: str, random: Random) -> None:
    """Many ties, identical amounts and duplicates."""
    steps_ms = (0, 0, 0, MINUTE_MS, 10 * MINUTE_MS, -MINUTE_MS, -10 * MINUTE_MS, HOUR_MS)
    compare_with_oracle(generate(random, 40, Pools(1, 1, 1), steps_ms), SMALL_LIMITS, name)


@pytest.mark.parametrize("seed", range(3))
def test_crowds_pass_the_capacity_of_every_memory(seed: int) -> None:
    """More merchants, categories, countries, devices and customers than are remembered."""
    random = Random(seed)
    steps_ms = (0, MINUTE_MS, HOUR_MS, 7 * HOUR_MS, -MINUTE_MS)
    pools = Pools(customers=2, merchants=90, others=24)
    compare_with_oracle(generate(random, 260, pools, steps_ms), USUAL_LIMITS, "default")
    pools = Pools(customers=60, merchants=1, others=1)
    compare_with_oracle(generate(random, 160, pools, (0, MINUTE_MS, HOUR_MS)), USUAL_LIMITS, "default")
