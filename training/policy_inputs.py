"""What policies read beside features: kept with rows, so that the alerts of any policy can be counted on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fraud.features.table import FeatureSet
from fraud.rule_inputs import RuleInputs
from fraud.rules.policy import Policy
from fraud.rules.values import SCORE, Kind

# Every row has them, or is about them: the amount, the time, and the score that is yet to be computed.
ALWAYS_HELD = frozenset({SCORE, "amount", "hour_of_day"})
# What a control group draws by; no condition reads the second.
IDENTITY = ("user_id", "transaction_id")


def input_kinds(features: FeatureSet, condition_names: Mapping[str, Kind]) -> dict[str, Kind]:
    """Fields of the transaction and the profile, and attributes, that a condition may read: their types, by name."""
    return {
        name: kind
        for name, kind in sorted(condition_names.items())
        if name not in ALWAYS_HELD and name not in set(features.names)
    }


def needed_inputs(policy: Policy) -> frozenset[str]:
    """What rows must hold beside features so that the alerts of this policy can be counted on them."""
    drawn_by = IDENTITY if policy.control_group is not None else ()
    return (policy.reads - ALWAYS_HELD) | frozenset(drawn_by)


def rule_inputs(features: FeatureSet, kinds: Mapping[str, Kind], names: Collection[str], exponent: int) -> RuleInputs:
    """Reads those of `names` that are among `kinds`; `exponent` is that of the base currency."""
    return RuleInputs(frozenset(names) & kinds.keys(), features, kinds, exponent)
