"""What a fit is asked to do: one frozen object for each kind of model, with the defaults and why they are these."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from fraud.scoring.manifest import ModelKind


@dataclass(frozen=True)
class LogisticRegressionConfiguration:
    """`inverse_regularisation` is scikit-learn's C.

    Missing values become the training median, then features are scaled.
    """

    inverse_regularisation: float = 1.0
    # lbfgs on scaled features needs some 50 iterations; the rest is room for correlated features.
    max_iterations: int = 1_000


@dataclass(frozen=True)
class RandomForestConfiguration:
    """Trees of bounded size.

    64 leaves is the most that the mask scorer takes, five times faster than walking larger ones.
    """

    tree_count: int = 100
    max_leaves: int = 64
    min_rows_per_leaf: int = 20


@dataclass(frozen=True)
class BoostingConfiguration:
    """Gradient boosting on histograms.

    Slow learning with small trees and strong regularisation, because frauds are few: a leaf of 20 rows may hold one.
    """

    tree_count: int = 100
    learning_rate: float = 0.1
    max_leaves: int = 16
    min_rows_per_leaf: int = 50
    regularisation: float = 1.0


EstimatorConfiguration = LogisticRegressionConfiguration | RandomForestConfiguration | BoostingConfiguration

DEFAULT_CONFIGURATIONS: dict[ModelKind, EstimatorConfiguration] = {
    "logistic_regression": LogisticRegressionConfiguration(),
    "random_forest": RandomForestConfiguration(),
    "boosting": BoostingConfiguration(),
}


@dataclass(frozen=True)
class FitConfiguration:
    """The estimator to fit and the seed of everything random in it."""

    estimator: EstimatorConfiguration = field(default_factory=BoostingConfiguration)
    seed: int = 0

    def described(self) -> dict[str, int | float]:
        """The estimator's settings by name, for the manifest."""
        return dict(asdict(self.estimator))
