"""Fitting: a matrix, labels and a configuration in, an estimator out. The same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fraud.scoring.model import Estimate
from training.configuration import (
    BoostingConfiguration,
    FitConfiguration,
    LogisticRegressionConfiguration,
    RandomForestConfiguration,
)
from training.dataset import Dataset, FloatArray
from training.metrics import ALERT_RATE, alert_threshold, ranking_metrics


@dataclass(frozen=True)
class FittedModel:
    """A fitted scikit-learn estimator, as the service will score it, and how it did on the validation rows.

    `background` is the training mean of each feature (imputed as in the model) for a logistic regression, None for
    trees.
    """

    estimator: Any
    estimate: Estimate
    background: tuple[float, ...] | None
    metrics: dict[str, float | None]
    thresholds: dict[str, float]


def fit(
    training: Dataset, validation: Dataset, feature_names: Sequence[str], configuration: FitConfiguration
) -> FittedModel:
    """Fit on `training` alone, then judge on `validation` with the scores that the service would give.

    `feature_names` name the columns in order. Raises `ValueError` where scikit-learn cannot fit the rows.
    """
    from threadpoolctl import threadpool_limits

    estimator = _estimator(configuration)
    # The order in which threads add gradients changes the last bits of a tree: one thread, so that the result does not
    # depend on the number of cores.
    with threadpool_limits(limits=1):
        estimator.fit(_with_empty_columns_filled(training.matrix), training.labels)
    background = _background(estimator)
    estimate = Estimate(estimator, feature_names, background)
    scores = estimate.score(validation.matrix)
    return FittedModel(
        estimator=estimator,
        estimate=estimate,
        background=background,
        metrics=ranking_metrics(scores, validation),
        thresholds={"alerts_0.5_percent": alert_threshold(scores, ALERT_RATE)},
    )


def _with_empty_columns_filled(matrix: FloatArray) -> FloatArray:
    """Zero in place of a feature that no row has: trees cannot bin it, and from a constant they learn nothing."""
    empty = np.isnan(matrix).all(axis=0)
    return np.where(empty, 0.0, matrix) if empty.any() else matrix


def _estimator(configuration: FitConfiguration) -> Any:
    chosen = configuration.estimator
    if isinstance(chosen, LogisticRegressionConfiguration):
        return _logistic_regression(chosen)
    if isinstance(chosen, RandomForestConfiguration):
        return _random_forest(chosen, configuration.seed)
    return _boosting(chosen, configuration.seed)


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
        min_samples_leaf=chosen.min_rows_per_leaf,
        random_state=seed,
    )


def _boosting(chosen: BoostingConfiguration, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=chosen.tree_count,
        learning_rate=chosen.learning_rate,
        max_leaf_nodes=chosen.max_leaves,
        min_samples_leaf=chosen.min_rows_per_leaf,
        l2_regularization=chosen.regularisation,
        categorical_features=None,
        # Stopping early would hold out a random part of the rows, later ones among them: learning from the future.
        early_stopping=False,
        random_state=seed,
    )


def _background(estimator: Any) -> tuple[float, ...] | None:
    from sklearn.pipeline import Pipeline

    if not isinstance(estimator, Pipeline):
        return None
    means: list[float] = np.asarray(estimator.named_steps["scaler"].mean_, dtype=np.float64).tolist()
    return tuple(means)
