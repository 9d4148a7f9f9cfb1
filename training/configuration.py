"""What a fit is asked to do, as frozen objects that a YAML file spells out; each default says why it is that."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import yaml

from fraud.scoring.drift import DriftThresholds
from fraud.scoring.manifest import ModelKind
from training.metrics.cost import CostModel

Content = TypeVar("Content")


class ConfigurationError(Exception):
    """A configuration file that cannot be used; the message names file, field and value."""


class LogisticRegressionConfiguration(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="logistic_regression"
):
    """`inverse_regularisation` is scikit-learn's C.

    Missing values become the training median, then features are scaled.
    """

    inverse_regularisation: float = 1.0
    # lbfgs on scaled features needs some 50 iterations; the rest is room for correlated features.
    max_iterations: int = 1_000


class RandomForestConfiguration(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="random_forest"
):
    """Trees of bounded size; `max_leaves` and `max_depth` None: no bound.

    64 leaves is the most that the mask scorer takes, five times faster than walking larger ones.
    `features_a_split` is the share of the features that each split may choose from, None for their square root.
    """

    tree_count: int = 100
    max_leaves: int | None = 64
    max_depth: int | None = None
    min_rows_per_leaf: int = 20
    features_a_split: float | None = None


class BoostingConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="boosting"):
    """Gradient boosting on histograms.

    Slow learning with small trees and strong regularisation, because frauds are few: a leaf of 20 rows may hold one.
    `features_a_split` is the share of the features that each split may choose from. `rising` and `falling` name
    features that may only raise, or only lower, the score: knowledge that a few thousand frauds are too few to show.
    """

    tree_count: int = 100
    learning_rate: float = 0.1
    max_leaves: int = 16
    max_depth: int | None = None
    min_rows_per_leaf: int = 50
    regularisation: float = 1.0
    features_a_split: float = 1.0
    rising: tuple[str, ...] = ()
    falling: tuple[str, ...] = ()


EstimatorConfiguration = LogisticRegressionConfiguration | RandomForestConfiguration | BoostingConfiguration
Calibration = Literal["none", "sigmoid"]
Choice = float | int | str | None

DEFAULT_CONFIGURATIONS: dict[ModelKind, EstimatorConfiguration] = {
    "logistic_regression": LogisticRegressionConfiguration(),
    "random_forest": RandomForestConfiguration(),
    "boosting": BoostingConfiguration(),
}


class SearchConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the estimator to try, each with its possible values, and how to judge them.

    Each trial is fitted and judged on the last `weeks` weeks of the training period, one after the other, each by what
    was known when it began. A `trials` budget is spent on combinations drawn by the seed, none twice.
    """

    choices: dict[str, tuple[Choice, ...]]
    trials: int = 10
    weeks: int = 2
    objective: Literal["average_precision", "auc_roc", "card_precision"] = "average_precision"


class FitConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The estimator to fit, on which rows and with which weights, and the seed of everything random in it.

    `legitimate_share` keeps that share of the legitimate rows, drawn by the seed; `fraud_weight` counts each fraud that
    often. Both are taken out of the scores again, so that they stay probabilities. `calibration` is fitted on the last
    `calibration_days` of the training period by a model that has not seen them. Where training slides over weeks, it
    learns from the last `train_days` of what is known, or from all of it.
    """

    estimator: EstimatorConfiguration = BoostingConfiguration()
    seed: int = 0
    name: str = ""
    legitimate_share: float = 1.0
    fraud_weight: float = 1.0
    calibration: Calibration = "none"
    calibration_days: float = 7.0
    train_days: float | None = None
    search: SearchConfiguration | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for a share, weight or period that means nothing."""
        if not 0 < self.legitimate_share <= 1:
            raise ValueError(f"legitimate_share is above 0 and at most 1, it is {self.legitimate_share}")
        if not 0 < self.fraud_weight < float("inf"):
            raise ValueError(f"fraud_weight is above 0, it is {self.fraud_weight}")
        if not 0 < self.calibration_days < float("inf"):
            raise ValueError(f"calibration_days is above 0, it is {self.calibration_days}")

    def described(self) -> dict[str, str | int | float | bool | None]:
        """Everything that shapes the model by name, for the manifest; lists as text."""
        settings: dict[str, Any] = msgspec.structs.asdict(self.estimator)
        for name in ("legitimate_share", "fraud_weight", "calibration"):
            settings[name] = getattr(self, name)
        if self.calibration != "none":
            settings["calibration_days"] = self.calibration_days
        return {name: " ".join(value) if isinstance(value, tuple) else value for name, value in settings.items()}


def load_configuration(path: Path) -> FitConfiguration:
    """Read a YAML file, or run a Python file that makes a `FitConfiguration` and calls it `configuration`.

    Raises `ConfigurationError` naming the file, the field and what it may be.
    """
    configuration = _made(path) if path.suffix == ".py" else _converted(path, FitConfiguration)
    _check_search(configuration, path)
    if configuration.name:
        return configuration
    return msgspec.structs.replace(configuration, name=path.stem)


def _made(path: Path) -> FitConfiguration:
    try:
        made = runpy.run_path(str(path)).get("configuration")
    # Whatever the code of the file raises is the file's mistake.
    except Exception as error:
        raise ConfigurationError(f"{path}: {type(error).__name__}: {error}") from error
    if not isinstance(made, FitConfiguration):
        raise ConfigurationError(
            f"{path}: must set `configuration` to a training.configuration.FitConfiguration, not to {made!r}"
        )
    return made


def load_costs(path: Path) -> CostModel:
    """Read a cost model from a YAML file. Raises `ConfigurationError` naming the file, the field and what it may be."""
    return _converted(path, CostModel)


def load_drift_thresholds(path: Path) -> DriftThresholds:
    """Read thresholds of drift from a YAML file. Raises `ConfigurationError` as `load_costs` does."""
    return _converted(path, DriftThresholds)


def _converted(path: Path, kind: type[Content]) -> Content:
    try:
        return msgspec.convert(yaml.safe_load(path.read_bytes()), kind)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise ConfigurationError(f"{path}: cannot be read: {reason}") from error
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path}: nested too deeply") from error


def _check_search(configuration: FitConfiguration, path: Path) -> None:
    if configuration.search is None:
        return
    known = set(configuration.estimator.__struct_fields__)
    for name, values in configuration.search.choices.items():
        if name not in known:
            raise ConfigurationError(
                f"{path}: search.choices.{name}: the estimator has no such setting; it has {', '.join(sorted(known))}"
            )
        if not values:
            raise ConfigurationError(f"{path}: search.choices.{name}: names no value to try")
        for value in values:
            with_settings(configuration, {name: value}, str(path))


def with_settings(configuration: FitConfiguration, settings: dict[str, Choice], place: str) -> FitConfiguration:
    """The configuration with other settings of its estimator. Raises `ConfigurationError` for a wrong type."""
    content = msgspec.to_builtins(configuration.estimator) | settings
    try:
        estimator = msgspec.convert(content, EstimatorConfiguration)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{place}: search.choices: {error}") from error
    return msgspec.structs.replace(configuration, estimator=estimator)
