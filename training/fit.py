"""Fitting: rows and a configuration in, an estimator out. The same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fraud.scoring.model import Estimate
from training.calibration import HeldOut, calibration_line
from training.configuration import FitConfiguration
from training.dataset import Dataset, FloatArray
from training.estimators import multiply_odds, new_estimator, straighten, training_mean
from training.metrics.ranking import ALERT_RATE, alert_threshold, ranking_metrics

# What the threshold at ALERT_RATE is called in a manifest.
ALERT_THRESHOLD = "alerts_0.5_percent"


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
    training: Dataset,
    validation: Dataset,
    feature_names: Sequence[str],
    configuration: FitConfiguration,
    held_out: HeldOut | None = None,
) -> FittedModel:
    """Fit on `training` alone, then judge on `validation` with the scores that the service would give.

    `feature_names` name the columns in order. `held_out` are the same training rows in two parts, for a configuration
    that calibrates. Raises `ConfigurationError` for a feature that the
    set lacks, `ValueError` where scikit-learn cannot fit the rows.
    """
    estimator = fitted_estimator(training, feature_names, configuration, held_out)
    background = training_mean(estimator)
    estimate = Estimate(estimator, feature_names, background)
    scores = estimate.score(validation.matrix)
    return FittedModel(
        estimator=estimator,
        estimate=estimate,
        background=background,
        metrics=ranking_metrics(scores, validation.labels, validation.base_amounts_minor),
        thresholds={ALERT_THRESHOLD: alert_threshold(scores, ALERT_RATE)},
    )


def fitted_estimator(
    training: Dataset,
    feature_names: Sequence[str],
    configuration: FitConfiguration,
    held_out: HeldOut | None = None,
) -> Any:
    """The estimator alone; arguments and errors as in `fit`."""
    estimator = _fitted_on(training, feature_names, configuration)
    if configuration.calibration != "none" and held_out is not None:
        rehearsed = _fitted_on(held_out.earlier, feature_names, configuration)
        estimate = Estimate(rehearsed, feature_names, training_mean(rehearsed))
        straighten(estimator, *calibration_line(estimate, held_out.later))
    return estimator


def _fitted_on(training: Dataset, feature_names: Sequence[str], configuration: FitConfiguration) -> Any:
    from threadpoolctl import threadpool_limits

    estimator = new_estimator(configuration.estimator, feature_names, configuration.seed)
    rows = _sampled(training, configuration)
    # The order in which threads add gradients changes the last bits of a tree: one thread, so that the result does not
    # depend on the number of cores.
    with threadpool_limits(limits=1):
        _fit(estimator, rows, configuration.fraud_weight)
    multiply_odds(estimator, configuration.legitimate_share / configuration.fraud_weight)
    return estimator


def _fit(estimator: Any, rows: Dataset, fraud_weight: float) -> None:
    matrix = _with_empty_columns_filled(rows.matrix)
    if fraud_weight == 1:
        estimator.fit(matrix, rows.labels)
        return
    weights = np.where(rows.labels > 0, fraud_weight, 1.0)
    if hasattr(estimator, "named_steps"):
        estimator.fit(matrix, rows.labels, regression__sample_weight=weights)
    else:
        estimator.fit(matrix, rows.labels, sample_weight=weights)


def _sampled(training: Dataset, configuration: FitConfiguration) -> Dataset:
    """All frauds and `legitimate_share` of the others, in their order."""
    if configuration.legitimate_share == 1:
        return training
    drawn = np.random.default_rng(configuration.seed).random(training.row_count) < configuration.legitimate_share
    kept = drawn | (training.labels > 0)
    return Dataset(training.matrix[kept], training.labels[kept], training.base_amounts_minor[kept])


def _with_empty_columns_filled(matrix: FloatArray) -> FloatArray:
    """Zero in place of a feature that no row has: trees cannot bin it, and from a constant they learn nothing."""
    empty = np.isnan(matrix).all(axis=0)
    return np.where(empty, 0.0, matrix) if empty.any() else matrix
