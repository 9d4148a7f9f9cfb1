"""Configurations become scikit-learn estimators, and what sampling and weights did to their scores is taken back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from training.configuration import (
    BoostingConfiguration,
    ConfigurationError,
    EstimatorConfiguration,
    LogisticRegressionConfiguration,
    RandomForestConfiguration,
)


def new_estimator(chosen: EstimatorConfiguration, feature_names: Sequence[str], seed: int) -> Any:
    """An estimator to fit, of a kind that the service scores. Raises `ConfigurationError` for an unknown feature."""
    if isinstance(chosen, LogisticRegressionConfiguration):
        return _logistic_regression(chosen)
    if isinstance(chosen, RandomForestConfiguration):
        return _random_forest(chosen, seed)
    return _boosting(chosen, feature_names, seed)


def _logistic_regression(chosen: LogisticRegressionConfiguration) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline(
        [
            # A feature that was never present in training keeps its column, as zero.
            ("imputer", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("scaler", StandardScaler()),
            ("regression", LogisticRegression(C=chosen.inverse_regularisation, max_iter=chosen.max_iterations)),
        ]
    )


def _random_forest(chosen: RandomForestConfiguration, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=chosen.tree_count,
        max_leaf_nodes=chosen.max_leaves,
        max_depth=chosen.max_depth,
        min_samples_leaf=chosen.min_rows_per_leaf,
        max_features="sqrt" if chosen.features_a_split is None else chosen.features_a_split,
        random_state=seed,
    )


def _boosting(chosen: BoostingConfiguration, feature_names: Sequence[str], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=chosen.tree_count,
        learning_rate=chosen.learning_rate,
        max_leaf_nodes=chosen.max_leaves,
        max_depth=chosen.max_depth,
        min_samples_leaf=chosen.min_rows_per_leaf,
        l2_regularization=chosen.regularisation,
        max_features=chosen.features_a_split,
        monotonic_cst=_directions(chosen, feature_names),
        categorical_features=None,
        # Stopping early would hold out a random part of the rows, later ones among them: learning from the future.
        early_stopping=False,
        random_state=seed,
    )


def _directions(chosen: BoostingConfiguration, feature_names: Sequence[str]) -> list[int] | None:
    """1, -1 or 0 for each feature; None without any direction."""
    if not chosen.rising and not chosen.falling:
        return None
    directions = dict.fromkeys(feature_names, 0)
    for names, direction in ((chosen.rising, 1), (chosen.falling, -1)):
        for name in names:
            if directions.get(name) is None:
                raise ConfigurationError(f"estimator.rising, estimator.falling: the set has no feature {name!r}")
            if directions[name]:
                raise ConfigurationError(f"estimator.rising, estimator.falling: {name!r} stands in them twice")
            directions[name] = direction
    return list(directions.values())


def multiply_odds(estimator: Any, factor: float) -> None:
    """Multiply the odds of fraud that a fitted estimator gives by `factor`, in place.

    Keeping a share s of the legitimate rows multiplies the odds in the sample by 1/s, counting each fraud w times by w;
    multiplying by s/w takes both back. Source: Elkan, *The Foundations of Cost-Sensitive Learning*, IJCAI 2001, theorem
    2; Dal Pozzolo et al., *Calibrating Probability with Undersampling*, CIDM 2015. A regression and boosting add it to
    the log-odds, a forest multiplies in each leaf, whose share of fraud is an estimate of its own.
    """
    if factor == 1:
        return
    if hasattr(estimator, "named_steps"):
        estimator.named_steps["regression"].intercept_ += math.log(factor)
    elif hasattr(estimator, "_predictors"):
        estimator._baseline_prediction += math.log(factor)
    else:
        for member in estimator.estimators_:
            values = member.tree_.value
            odds = factor * values[:, 0, 1]
            values[:, 0, 1] = odds / (odds + values[:, 0, 0])
            values[:, 0, 0] = 1 - values[:, 0, 1]


def straighten(estimator: Any, slope: float, intercept: float) -> None:
    """Replace the raw score r of a fitted estimator by `slope * r + intercept`, in place.

    Raw scores are log-odds for regression and boosting, probabilities for a forest: there `intercept` and
    `slope + intercept` must lie within [0, 1].
    """
    if hasattr(estimator, "named_steps"):
        regression = estimator.named_steps["regression"]
        regression.coef_ *= slope
        regression.intercept_ = slope * regression.intercept_ + intercept
    elif hasattr(estimator, "_predictors"):
        for predictors in estimator._predictors:
            predictors[0].nodes["value"] *= slope
        estimator._baseline_prediction = slope * estimator._baseline_prediction + intercept
    else:
        for member in estimator.estimators_:
            values = member.tree_.value
            values[:, 0, 1] = slope * values[:, 0, 1] + intercept
            values[:, 0, 0] = 1 - values[:, 0, 1]


def training_mean(estimator: Any) -> tuple[float, ...] | None:
    """The training mean of each feature, imputed as in the model, for a regression; None for trees."""
    from sklearn.pipeline import Pipeline

    if not isinstance(estimator, Pipeline):
        return None
    means: list[float] = np.asarray(estimator.named_steps["scaler"].mean_, dtype=np.float64).tolist()
    return tuple(means)
