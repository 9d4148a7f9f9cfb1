"""A control group lets through a known share of what would be blocked, the same ones in every run."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from payments import MINUTE_MS, Bench, artefacts, payment

from fraud.rules.check import check_policy
from fraud.rules.control_group import ControlGroup
from fraud.rules.policy import Policy, PolicyError, parse_policy
from fraud.settings import Settings

KEY = "a long and secret text"
CONTROL = f"control_group: {{share: 0.25, key: {KEY}}}\n"
POLICY = """policy: test
version: 1
CONTROL
lists: {known_thieves: [thief]}
block_lists:
  - id: thief
    description: d
    condition: user_id in known_thieves
    reason_code: THIEF
rules:
  - {id: high, description: d, condition: amount > 500, action: block, reason_code: HIGH}
  - {id: middle, description: d, condition: amount > 300, action: review, reason_code: MIDDLE}
"""
PAYMENTS = [
    payment(f"{amount}-{number}", (4 * number + place) * MINUTE_MS, amount, user)
    for number in range(600)
    for place, (amount, user) in enumerate([(20.0, "one"), (400.0, "two"), (600.0, "three"), (601.0, "thief")])
]


def text(control: str = CONTROL) -> str:
    return POLICY.replace("CONTROL\n", control)


def parse(control: str) -> Policy:
    return parse_policy(text(control), "test.yaml", artefacts(Settings(), "handbook").kinds)


def decided(tmp_path: Path, control: str = CONTROL, batch_size: int = 1_000_000) -> list[bytes]:
    file = tmp_path / f"policy-{len(list(tmp_path.iterdir()))}.yaml"
    file.write_text(text(control))
    bench = Bench(feature_set_name="handbook", policy_file=file)
    return [outcome.canonical for outcome in bench.run(PAYMENTS, batch_size)]


def read(decisions: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(decision) for decision in decisions]


def test_a_share_of_what_rules_block_is_let_through_and_says_with_which_probability(tmp_path: Path) -> None:
    decisions = [one for one in read(decided(tmp_path)) if one["base_amount_minor"] == 60_000]
    let_through = [one for one in decisions if one["action"] == "allow"]
    assert abs(len(let_through) - 150) < 4 * math.sqrt(600 * 0.25 * 0.75)
    for one in decisions:
        assert one["recommended_action"] == "block"
        assert one["reason_codes"] == ["HIGH", "MIDDLE"]
        assert (one["action"], one["assignment_probability"]) in {("allow", 0.25), ("block", 0.75)}


def test_nothing_else_is_drawn_about_and_a_block_list_stands(tmp_path: Path) -> None:
    others = [one for one in read(decided(tmp_path)) if one["base_amount_minor"] != 60_000]
    assert Counter((one["action"], one["assignment_probability"]) for one in others) == {
        ("allow", 1): 600,
        ("review", 1): 600,
        ("block", 1): 600,
    }
    assert all(one["recommended_action"] == one["action"] for one in others)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_every_run_draws_the_same_in_batches_of_any_size(batch_size: int, tmp_path: Path) -> None:
    assert decided(tmp_path, batch_size=batch_size) == decided(tmp_path)


def test_who_is_drawn_follows_from_the_key_and_the_identity_alone(tmp_path: Path) -> None:
    def drawn(control: str) -> set[str]:
        decisions = read(decided(tmp_path, control))
        return {one["transaction_id"] for one in decisions if one["action"] != one["recommended_action"]}

    usual = drawn(CONTROL)
    assert drawn(CONTROL.replace(KEY, "another long and secret text")) != usual
    assert drawn(CONTROL.replace("0.25", "0.4")) > usual
    assert drawn("") == set()
    group = ControlGroup(0.5, KEY)
    # One identity's text is not another's by moving letters from the customer to the transaction.
    assert len({group.draws("a" * size, "a" * (40 - size)) for size in range(40)}) == 2


def test_the_control_group_is_part_of_what_the_policy_is(tmp_path: Path) -> None:
    hashes = {parse(control).content_hash for control in ("", CONTROL, CONTROL.replace("0.25", "0.26"))}
    hashes.add(parse(CONTROL.replace(KEY, "another long and secret text")).content_hash)
    assert len(hashes) == 4
    file = tmp_path / "policy.yaml"
    file.write_text(text())
    told = check_policy(file, artefacts(Settings(), "handbook").kinds).text
    assert "control     0.25 of what rules and score would block is let through" in told
    assert KEY not in told


@pytest.mark.parametrize(
    ("control", "told"),
    [
        ("control_group: {share: 1, key: 0123456789abcdef}\n", "not between 0 and 1"),
        ("control_group: {share: 0, key: 0123456789abcdef}\n", "not between 0 and 1"),
        ("control_group: {share: much, key: 0123456789abcdef}\n", "`share` must be a number"),
        ("control_group: {share: 0.1, key: short}\n", "fewer than 16 characters"),
        ("control_group: {share: 0.1}\n", "`key` is missing"),
        ("control_group: {key: 0123456789abcdef}\n", "`share` is missing"),
        ("control_group: 0.1\n", "must have lines of the form"),
        ("control_group: {share: 0.1, key: 0123456789abcdef, rate: 1}\n", "unknown key `rate`"),
    ],
)
def test_a_wrong_control_group_is_refused_with_its_line(control: str, told: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse(control)
    assert told in str(error.value)
    assert "test.yaml:3" in str(error.value)
