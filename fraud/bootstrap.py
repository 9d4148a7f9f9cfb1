"""Builds a pipeline from settings, artefacts and stores: the one place where the parts meet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fraud.admission import Admission
from fraud.deciding import Decider
from fraud.features import FEATURE_SETS, feature_set
from fraud.features.extraction import Extraction
from fraud.features.rotation import Rotation
from fraud.features.table import DAY_MS, HOUR_MS, FeatureSet, StateLimits
from fraud.money import RateTable, load_rates
from fraud.pipeline import Period, Pipeline, StageTimings
from fraud.ports import CustomerStore, EntityStore
from fraud.privacy import RotatingTokeniser, Tokeniser
from fraud.rule_inputs import rule_names
from fraud.rules.policy import Policy, load_policy
from fraud.rules.values import Kind
from fraud.scoring.model import Model
from fraud.scoring.registry import load_chosen
from fraud.settings import Settings, SettingsError


@dataclass(frozen=True)
class Artefacts:
    """What decisions are made with; model and policy are None where only features are wanted."""

    feature_set: FeatureSet
    rates: RateTable
    policy: Policy | None
    model: Model | None
    kinds: dict[str, Kind]


# Above every age of an event, and small enough for 64 bits to be added to and taken from a timestamp.
_LONGEST_LIMIT_MS = 1 << 61


def state_limits(settings: Settings) -> StateLimits:
    """The limits of lateness and memory, in milliseconds."""
    return StateLimits(
        allowed_lateness_ms=_limit_ms(settings.allowed_lateness_hours, HOUR_MS),
        forget_after_ms=_limit_ms(settings.forget_after_days, DAY_MS),
        duplicate_horizon_ms=_limit_ms(settings.duplicate_horizon_days, DAY_MS),
    )


def _limit_ms(length: float, unit_ms: int) -> int:
    return min(round(length * unit_ms), _LONGEST_LIMIT_MS)


def refuse_contradicting_limits(settings: Settings, features: FeatureSet) -> None:
    """Raise `SettingsError` if customers or entities would be forgotten while features still look back on them."""
    limits = state_limits(settings)
    plan = features.plan(limits)
    reach_ms = max([plan.customer_retention_ms, *(entity.retention_ms for entity in plan.entities)])
    if limits.forget_after_ms < reach_ms:
        raise SettingsError(
            f"FRAUD_FORGET_AFTER_DAYS is {settings.forget_after_days:g}, but features of the set {features.name} look "
            f"further back, with a delay of labels and FRAUD_ALLOWED_LATENESS_HOURS on top: "
            f"set it to {math.ceil(reach_ms / DAY_MS)} or more"
        )
    if limits.duplicate_horizon_ms > limits.forget_after_ms:
        raise SettingsError(
            f"FRAUD_DUPLICATE_HORIZON_DAYS is {settings.duplicate_horizon_days:g}, but what a customer did is "
            f"forgotten after FRAUD_FORGET_AFTER_DAYS, {settings.forget_after_days:g}: set it to that or less"
        )


def condition_names(features: FeatureSet, settings: Settings, attribute_kinds: Mapping[str, str]) -> dict[str, Kind]:
    """Every name that a policy for this feature set and mapping may read."""
    return rule_names(features, attribute_kinds, detailed=features.plan(state_limits(settings)).detailed)


def other_condition_names(
    features: FeatureSet, settings: Settings, attribute_kinds: Mapping[str, str]
) -> dict[str, dict[str, Kind]]:
    """What `condition_names` would be under every other feature set, by its name."""
    others = [feature_set(name) for name in FEATURE_SETS if name != features.name]
    return {other.name: condition_names(other, settings, attribute_kinds) for other in others}


def load_artefacts(
    settings: Settings,
    feature_set_name: str,
    attribute_kinds: Mapping[str, str],
    *,
    policy_file: Path | None,
    model_folder: Path | None,
) -> Artefacts:
    """Load and check everything that decisions rest on. Where `model_folder` is a registry, its champion decides.

    Raises `PolicyError`, `ModelRefusedError`, `RatesError`, `SettingsError` for limits that contradict each other, or
    `ValueError` for an unknown feature set.
    """
    features = feature_set(feature_set_name)
    refuse_contradicting_limits(settings, features)
    return Artefacts(
        feature_set=features,
        rates=load_rates(settings.rates_file, settings.base_currency),
        policy=None if policy_file is None else policy_for(settings, features, attribute_kinds, policy_file),
        model=None if model_folder is None else load_chosen(model_folder, features.name, features.schema_hash),
        kinds=condition_names(features, settings, attribute_kinds),
    )


def policy_for(
    settings: Settings, features: FeatureSet, attribute_kinds: Mapping[str, str], policy_file: Path
) -> Policy:
    """Load a policy and check it for this feature set and mapping. Raises `PolicyError`."""
    kinds = condition_names(features, settings, attribute_kinds)
    return load_policy(policy_file, kinds, other_condition_names(features, settings, attribute_kinds))


def decider_of(artefacts: Artefacts) -> Decider:
    """Decides with these artefacts. Raises `ValueError` where they have no policy."""
    if artefacts.policy is None:
        raise ValueError("nothing is decided without a policy")
    return Decider(artefacts.feature_set, artefacts.policy, artefacts.model, artefacts.rates, artefacts.kinds)


def token_maker(settings: Settings) -> Tokeniser:
    """Makes tokens with the present key, and with the key before while that is set. Raises `ValueError`."""
    present = Tokeniser(settings.token_key.encode(), settings.token_key_id)
    if settings.token_previous_key is None or settings.token_previous_key_id is None:
        return present
    return RotatingTokeniser(present, Tokeniser(settings.token_previous_key.encode(), settings.token_previous_key_id))


def build_pipeline(
    settings: Settings,
    artefacts: Artefacts,
    customers: CustomerStore,
    entities: EntityStore,
    *,
    timings: StageTimings,
    period: Period,
    accepts_zero_amounts: bool = False,
    profile_names: Sequence[str] = (),
    admission: Admission | None = None,
) -> Pipeline:
    """A pipeline on these stores; without a policy it stops after the features, and reads `profile_names` beside.

    `admission` is given where messages have been admitted before.
    """
    try:
        tokeniser = token_maker(settings)
        admission = admission or Admission(
            artefacts.rates,
            tokeniser,
            settings.tokenised_fields,
            accepts_zero_amounts=accepts_zero_amounts,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error
    plan = artefacts.feature_set.plan(state_limits(settings))
    rotation = Rotation(tokeniser.former, plan) if isinstance(tokeniser, RotatingTokeniser) else None
    decider = None if artefacts.policy is None else decider_of(artefacts)
    return Pipeline(
        admission=admission,
        extraction=Extraction(artefacts.feature_set, plan, artefacts.rates.base_exponent),
        customers=customers,
        entities=entities,
        decider=decider,
        timings=timings,
        period=period,
        rotation=rotation,
        profile_names=profile_names,
    )
