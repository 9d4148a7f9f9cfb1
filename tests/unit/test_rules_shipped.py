"""The policies that ship, and every example of the manual."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from fraud.rules.policy import PolicyError, load_policy, parse_policy
from fraud.rules.values import ACTIONS, Kind

ROOT = Path(__file__).parents[2]
TRANSACTION = {
    **dict.fromkeys(("amount", "hour_of_day", "latitude", "longitude"), Kind.NUMBER),
    **dict.fromkeys(
        [
            "currency",
            "country",
            "merchant_id",
            "merchant_category",
            "terminal_id",
            "counterparty_id",
            "channel",
            "entry_mode",
            "card_id",
            "card_prefix",
            "device_id",
            "ip_address",
            "ip_prefix",
            "auth_result",
            "city",
        ],
        Kind.TEXT,
    ),
    "is_recurring": Kind.BOOLEAN,
}
PROFILE = {
    **{
        f"profile.{name}": Kind.NUMBER
        for name in [
            "transaction_count",
            "mean_amount",
            "maximum_amount",
            "tenure_days",
            "known_devices",
            "known_merchants",
        ]
    },
    "profile.home_country": Kind.TEXT,
}
DEFAULT_FEATURES = {
    **dict.fromkeys(
        [
            "customer_count_10m",
            "customer_count_1h",
            "customer_count_24h",
            "customer_sum_1h",
            "customer_sum_24h",
            "customer_declined_count_1h",
            "customer_declined_count_24h",
            "customer_distinct_merchants_24h",
            "customer_distinct_countries_24h",
            "customer_distinct_devices_24h",
            "amount_deviation",
            "amount_to_customer_maximum",
            "identical_amounts_24h",
            "travel_speed_kmh",
            "distance_to_usual_place_km",
            "small_attempts_1h",
            "amount_to_small_attempts_1h",
            "rising_amounts_run",
            "takeover_sequence_stage",
            "merchant_fraud_rate_30d",
            "terminal_fraud_rate_30d",
            "device_fraud_rate_30d",
            "ip_fraud_rate_30d",
            "card_fraud_rate_30d",
            "device_distinct_customers_30d",
            "ip_distinct_customers_24h",
            "terminal_burst_1h",
            "customer_seconds_since_last",
        ],
        Kind.NUMBER,
    ),
    **dict.fromkeys(["country_is_home", "device_is_new", "merchant_is_new", "card_is_new"], Kind.BOOLEAN),
}
HANDBOOK_FEATURES = dict.fromkeys(
    [
        "TX_DURING_WEEKEND",
        "TX_DURING_NIGHT",
        *(
            f"{measure}_{days}DAY_WINDOW"
            for measure in ("CUSTOMER_ID_NB_TX", "CUSTOMER_ID_AVG_AMOUNT", "TERMINAL_ID_NB_TX", "TERMINAL_ID_RISK")
            for days in (1, 7, 30)
        ),
    ],
    Kind.NUMBER,
)
NAMES = {
    "default": {**TRANSACTION, **PROFILE, **DEFAULT_FEATURES},
    "handbook": {"amount": Kind.NUMBER, "hour_of_day": Kind.NUMBER, **PROFILE, **HANDBOOK_FEATURES},
}
MANUAL = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"```yaml\n(.*?)```(?:\n\n```text\n(.*?)\n```)?", re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_policies_are_valid_on_their_feature_set(name: str) -> None:
    policy = load_policy(ROOT / "policies" / f"{name}.yaml", NAMES[name])
    assert policy.name == name
    assert len(policy.rules) >= 20
    assert list(policy.score_thresholds) == ["challenge", "review", "block"]


@pytest.mark.parametrize("name", NAMES)
def test_a_payment_of_which_nothing_is_known_is_allowed(name: str) -> None:
    policy = load_policy(ROOT / "policies" / f"{name}.yaml", NAMES[name])
    names = {**NAMES[name], "score": Kind.NUMBER}
    nothing = {
        read: np.array([None], dtype=object) if names[read] is Kind.TEXT else np.array([np.nan])
        for read in policy.reads
    }
    evaluation = policy.evaluate(nothing, 1)
    assert not evaluation.hits.any()
    assert ACTIONS[evaluation.action_codes[0]] == "allow"


def test_the_default_policy_blocks_card_testing_and_impossible_travel() -> None:
    policy = load_policy(ROOT / "policies" / "default.yaml", NAMES["default"])
    names = {**NAMES["default"], "score": Kind.NUMBER}
    columns = {
        read: np.array([None] * 3, dtype=object) if names[read] is Kind.TEXT else np.full(3, np.nan)
        for read in policy.reads
    }
    columns["small_attempts_1h"] = np.array([4.0, 0.0, 0.0])
    columns["amount_to_small_attempts_1h"] = np.array([100.0, np.nan, np.nan])
    columns["travel_speed_kmh"] = np.array([0.0, 2500.0, 300.0])
    assert [ACTIONS[code] for code in policy.evaluate(columns, 3).action_codes] == ["block", "block", "allow"]


def test_every_example_of_the_manual_does_what_it_says() -> None:
    examples = EXAMPLE.findall(MANUAL)
    assert len(examples) >= 6
    for text, message in examples:
        # A whole policy, rules of one, or another of its keys.
        rest = f"rules:\n{text}" if text.startswith(" ") else f"{text}rules: []\n"
        whole = text if text.startswith("policy:") else f"policy: example\nversion: 1\n{rest}"
        if message:
            with pytest.raises(PolicyError) as refused:
                parse_policy(whole, "my-policy.yaml", NAMES["default"])
            assert str(refused.value) == message
        else:
            parse_policy(whole, "my-policy.yaml", NAMES["default"])


def test_the_five_lines_of_the_manual_can_be_added_to_the_default_policy() -> None:
    five_lines = EXAMPLE.findall(MANUAL)[0][0]
    assert len(five_lines.splitlines()) == 5
    whole = (ROOT / "policies" / "default.yaml").read_text(encoding="utf-8") + five_lines
    before = load_policy(ROOT / "policies" / "default.yaml", NAMES["default"])
    assert len(parse_policy(whole, "default.yaml", NAMES["default"]).rules) == len(before.rules) + 1
