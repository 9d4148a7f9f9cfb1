"""Alerts are counted with what rows hold; what they do not hold is named and missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from learning_rows import simulated

from fraud.features import feature_set
from fraud.rules.policy import Policy, parse_policy
from fraud.rules.values import Kind
from fraud.transaction import Transaction
from training.alert_volume import alert_count, policy_columns, unread_names
from training.history_dataset import HistoryRow, known_rows
from training.policy_inputs import input_kinds, needed_inputs, rule_inputs

FEATURES = feature_set("default")
KINDS = {"country": Kind.TEXT, "count": Kind.NUMBER, "profile.mean_amount": Kind.NUMBER, "amount": Kind.NUMBER}
RULES = """policy: p
version: 1
score_thresholds: {block: 0.5}
rules:
  - {id: abroad, description: d, condition: country != "DE", action: review, reason_code: ABROAD}
  - {id: rich, description: d, condition: profile.mean_amount > 9, action: allow, notify: analyst, reason_code: RICH}
"""
CONTROL = "control_group: {share: 0.5, key: 0123456789abcdef}\n"
ROWS = simulated(1, days=1, rows_a_day=40)
SCORES = np.repeat([0.9, 0.1], 20)
COUNTRIES = np.array(["DE", "FR", None, "DE"] * 10, dtype=object)
MEANS = np.where(np.arange(40) % 10 == 3, 10.0, np.nan)


def parse(text: str = RULES) -> Policy:
    return parse_policy(text, "policy.yaml", KINDS)


def counted(policy: Policy, **inputs: np.ndarray) -> int:
    rows = replace(ROWS, inputs={name.replace("__", "."): values for name, values in inputs.items()})
    return alert_count(policy, policy_columns(policy, rows, np.arange(40), KINDS), SCORES)


def test_what_asks_somebody_to_act_or_tells_somebody_is_an_alert() -> None:
    # 20 by score, 5 of the others abroad, one more told about: of places 23 and 33 the second is abroad anyway.
    assert counted(parse(), country=COUNTRIES, profile__mean_amount=MEANS) == 26


def test_what_rows_do_not_hold_is_missing_and_named() -> None:
    assert counted(parse(), profile__mean_amount=MEANS) == 22
    assert unread_names(parse(), ROWS) == ("country", "profile.mean_amount")
    assert unread_names(parse(), replace(ROWS, inputs={"country": COUNTRIES})) == ("profile.mean_amount",)


def test_a_control_group_lets_through_whom_it_draws() -> None:
    identities = {name: np.array([f"{name}{row}" for row in range(40)], dtype=object) for name in ("user_id", "t")}
    inputs = {"user_id": identities["user_id"], "transaction_id": identities["t"]}
    policy = parse(RULES.replace("rules:", f"{CONTROL}rules:"))
    group = policy.control_group
    assert group is not None
    drawn = sum(group.draws(f"user_id{row}", f"t{row}") for row in range(20))
    assert 0 < drawn < 20
    assert counted(policy, **inputs) == 20 - drawn
    assert needed_inputs(policy) == {"country", "profile.mean_amount", "user_id", "transaction_id"}
    assert needed_inputs(parse()) == {"country", "profile.mean_amount"}


@pytest.mark.parametrize("known", [("mean_amount",), ("mean_amount", "tenure_days")])
def test_of_history_the_profile_is_held_as_far_as_every_policy_has_read_it(known: tuple[str, ...]) -> None:
    profiles = [dict.fromkeys(known, 7.0), {"mean_amount": 5.0, "tenure_days": 1.0}]
    values = np.zeros(len(FEATURES.names))
    transaction = Transaction("t", "u", 0, 100, "EUR", 100, merchant_id="m")
    rows = [
        HistoryRow("a:0", place, place, transaction, values, None, None, {}, profile=profile)
        for place, profile in enumerate(profiles)
    ]
    found = known_rows(rows, {}, known_by_ms=10**12, maturity_days=7)
    assert found.profile_names == set(known)
    kinds = input_kinds(FEATURES, {"profile.mean_amount": Kind.NUMBER, "merchant_id": Kind.TEXT, "amount": Kind.NUMBER})
    (block,) = found.blocks(rule_inputs(FEATURES, kinds, kinds, 2))
    assert {name: values.tolist() for name, values in block.inputs.items()} == {
        "profile.mean_amount": [7.0, 5.0],
        "merchant_id": ["m", "m"],
    }
