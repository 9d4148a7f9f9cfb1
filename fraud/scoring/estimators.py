"""From a fitted scikit-learn estimator to arrays of our own; the one place that knows scikit-learn's insides.

Trees of HistGradientBoosting have no public form. Reading them is tied to a minor version of scikit-learn: the loader
refuses a model of another one, and the parity tests compare every supported estimator with its own `predict_proba`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fraud.scoring.linear import LinearScorer
from fraud.scoring.manifest import ModelKind
from fraud.scoring.trees import FloatArray, Trees, check_trees


class UnsupportedEstimatorError(Exception):
    """An estimator that is not scored here; the message names it and what is supported."""


SUPPORTED = (
    "supported are LogisticRegression (alone or in a Pipeline after SimpleImputer and StandardScaler), "
    "RandomForestClassifier and HistGradientBoostingClassifier without categorical features"
)


def estimator_kind(estimator: Any) -> ModelKind:
    """The kind of a supported estimator. Raises `UnsupportedEstimatorError` for any other, by its name."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    # Exact types: a subclass may predict in its own way.
    if type(estimator) in {LogisticRegression, Pipeline}:
        return "logistic_regression"
    if type(estimator) is RandomForestClassifier:
        return "random_forest"
    if type(estimator) is HistGradientBoostingClassifier:
        return "boosting"
    raise UnsupportedEstimatorError(f"{type(estimator).__name__} cannot be scored: {SUPPORTED}")


def _check_classes(estimator: Any) -> None:
    if list(estimator.classes_) != [0, 1]:
        raise UnsupportedEstimatorError(
            f"the classes of {type(estimator).__name__} are {list(estimator.classes_)}, "
            "expected are 0 (legitimate) and 1 (fraud)"
        )


def linear_scorer(estimator: Any, feature_names: Sequence[str], background: Sequence[float] | None) -> LinearScorer:
    """Logistic regression with imputation and standardisation folded in.

    `background` is the training mean of each feature; without it the scaler's mean is taken. Raises
    `UnsupportedEstimatorError` for steps that cannot be folded in.
    """
    imputer, scaler, regression = _pipeline_steps(estimator)
    _check_classes(regression)
    count = len(feature_names)
    weights = np.asarray(regression.coef_, dtype=np.float64).reshape(-1)
    intercept = float(np.asarray(regression.intercept_).reshape(-1)[0])
    fill = _fill_values(imputer, count)
    means, scales = _means_and_scales(scaler, count)
    if not len(weights) == len(fill) == len(means) == len(scales) == count:
        raise UnsupportedEstimatorError(f"the estimator was not fitted on the {count} features of the feature set")
    folded = weights / scales
    for weight, mean in zip(folded.tolist(), means.tolist(), strict=True):
        intercept -= weight * mean
    if background is None:
        if scaler is None or scaler.mean_ is None:
            raise UnsupportedEstimatorError(
                "a LogisticRegression without a StandardScaler needs the training mean of each feature"
            )
        background = means.tolist()
    return LinearScorer(
        weights=tuple(folded.tolist()),
        intercept=intercept,
        fill=tuple(fill.tolist()),
        background=tuple(float(mean) for mean in background),
        feature_names=tuple(feature_names),
    )


def _pipeline_steps(estimator: Any) -> tuple[Any, Any, Any]:
    """Imputer or None, scaler or None, regression."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    steps = [step for _, step in estimator.steps] if type(estimator) is Pipeline else [estimator]
    expected: list[type] = [SimpleImputer, StandardScaler, LogisticRegression]
    found: dict[type, Any] = {}
    for step in steps:
        while expected and type(step) is not expected[0]:
            expected.pop(0)
        if not expected:
            raise UnsupportedEstimatorError(
                f"a Pipeline with {type(step).__name__} at this place cannot be scored: {SUPPORTED}"
            )
        found[expected.pop(0)] = step
    if LogisticRegression not in found:
        raise UnsupportedEstimatorError(f"a Pipeline must end with LogisticRegression: {SUPPORTED}")
    return found.get(SimpleImputer), found.get(StandardScaler), found[LogisticRegression]


def _fill_values(imputer: Any, count: int) -> FloatArray:
    if imputer is None:
        return np.full(count, np.nan)
    if imputer.add_indicator or not np.isnan(imputer.missing_values):
        raise UnsupportedEstimatorError("a SimpleImputer must replace NaN and add no indicator columns")
    fill = np.asarray(imputer.statistics_, dtype=np.float64)
    if np.isnan(fill).any():
        raise UnsupportedEstimatorError(
            "a feature was missing in every training row, so SimpleImputer drops it: set keep_empty_features=True"
        )
    return fill


def _means_and_scales(scaler: Any, count: int) -> tuple[FloatArray, FloatArray]:
    means = np.zeros(count) if scaler is None or not scaler.with_mean else np.asarray(scaler.mean_, dtype=np.float64)
    scales = np.ones(count) if scaler is None or not scaler.with_std else np.asarray(scaler.scale_, dtype=np.float64)
    return means, scales


def ensemble_trees(estimator: Any, feature_names: Sequence[str]) -> Trees:
    """The trees of a boosting model (leaves in log-odds) or a forest (leaves in probability), checked.

    Raises `UnsupportedEstimatorError` for categorical features and several classes, `ValueError` for damaged trees.
    """
    _check_classes(estimator)
    count = len(feature_names)
    if estimator.n_features_in_ != count:
        raise UnsupportedEstimatorError(
            f"the estimator was fitted on {estimator.n_features_in_} features, the set has {count}"
        )
    if estimator_kind(estimator) == "random_forest":
        trees = _forest_trees(estimator, count)
    else:
        trees = _boosting_trees(estimator, count)
    check_trees(trees)
    return trees


def _boosting_trees(estimator: Any, feature_count: int) -> Trees:
    nodes = [predictors[0].nodes for predictors in estimator._predictors]
    if not nodes:
        raise UnsupportedEstimatorError("the boosting model has no trees")
    if any(tree["is_categorical"].any() for tree in nodes) or estimator.is_categorical_ is not None:
        raise UnsupportedEstimatorError(f"categorical features are not scored: {SUPPORTED}")
    baseline = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)
    return _joined(
        [
            {
                "leaf": tree["is_leaf"].astype(np.bool_),
                "feature": tree["feature_idx"],
                "threshold": tree["num_threshold"],
                "missing_goes_left": tree["missing_go_to_left"],
                "left": tree["left"],
                "right": tree["right"],
                "value": tree["value"],
                "cover": tree["count"],
            }
            for tree in nodes
        ],
        feature_count,
        offset=float(baseline[0]),
        single_precision=False,
    )


def _forest_trees(estimator: Any, feature_count: int) -> Trees:
    trees = []
    for member in estimator.estimators_:
        tree = member.tree_
        state = tree.__getstate__()["nodes"]
        trees.append(
            {
                "leaf": tree.children_left < 0,
                "feature": tree.feature,
                "threshold": tree.threshold,
                "missing_goes_left": state["missing_go_to_left"],
                "left": tree.children_left,
                "right": tree.children_right,
                # Leaf values are class shares; the forest's answer is their mean.
                "value": tree.value[:, 0, 1] / len(estimator.estimators_),
                "cover": tree.weighted_n_node_samples,
            }
        )
    return _joined(trees, feature_count, offset=0.0, single_precision=True)


def _joined(
    trees: list[dict[str, npt.NDArray[Any]]], feature_count: int, *, offset: float, single_precision: bool
) -> Trees:
    roots = np.cumsum([0] + [len(tree["leaf"]) for tree in trees[:-1]])
    parts: dict[str, list[npt.NDArray[Any]]] = {"left": [], "right": []}
    for root, tree in zip(roots.tolist(), trees, strict=True):
        own = np.arange(len(tree["leaf"]), dtype=np.int64)
        for side in ("left", "right"):
            children = tree[side].astype(np.int64)
            if np.any(~tree["leaf"] & ((children <= own) | (children >= len(own)))):
                raise ValueError("a child node is out of range")
            parts[side].append(np.where(tree["leaf"], own, children) + root)
    leaf = np.concatenate([tree["leaf"] for tree in trees])
    return Trees(
        feature=np.where(leaf, 0, np.concatenate([tree["feature"] for tree in trees])).astype(np.int32),
        threshold=np.concatenate([tree["threshold"] for tree in trees]).astype(np.float64),
        missing_goes_left=np.concatenate([tree["missing_goes_left"] for tree in trees]).astype(np.bool_),
        left=np.concatenate(parts["left"]).astype(np.int32),
        right=np.concatenate(parts["right"]).astype(np.int32),
        value=np.concatenate([tree["value"] for tree in trees]).astype(np.float64),
        cover=np.concatenate([tree["cover"] for tree in trees]).astype(np.float64),
        roots=roots.astype(np.int32),
        feature_count=feature_count,
        offset=offset,
        single_precision=single_precision,
    )
