"""A model: a folder with weights and a manifest, checked when it is loaded, that scores and explains whole batches."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fraud.scoring.attribution import TreeAttribution
from fraud.scoring.drift import DriftReference
from fraud.scoring.drift_file import read_drift_reference
from fraud.scoring.estimators import UnsupportedEstimatorError, ensemble_trees, estimator_kind, linear_scorer
from fraud.scoring.linear import LinearScorer
from fraud.scoring.manifest import Manifest, ModelRefusedError, parse_manifest
from fraud.scoring.persistence import MODEL_FILE_MAX_BYTES, estimator_from_bytes
from fraud.scoring.trees import FloatArray, MaskScorer, Trees, WalkScorer, tree_scorer

MODEL_FILE = "model.skops"
MANIFEST_FILE = "manifest.json"
# Names and numbers of some hundred features are tens of kilobytes.
MANIFEST_MAX_BYTES = 1024 * 1024
SCORE_DECIMALS = 6
# exp overflows beyond 709; at 700 the probability is 0 or 1 far beyond the decimals kept.
LOG_ODDS_LIMIT = 700.0
# Contributions are summed in another order than the score: rounding stays far below, a wrong attribution far above.
_SUM_TOLERANCE = 1e-6

ScoreUnit = Literal["log_odds", "probability"]


class Estimate:
    """A fitted scikit-learn estimator in a form that scores and explains a matrix, without its manifest."""

    def __init__(self, estimator: Any, feature_names: Sequence[str], background: Sequence[float] | None = None) -> None:
        self.kind = estimator_kind(estimator)
        self.feature_names = tuple(feature_names)
        self._linear: LinearScorer | None = None
        self._trees: Trees | None = None
        self._scorer: LinearScorer | MaskScorer | WalkScorer
        if self.kind == "logistic_regression":
            self._scorer = self._linear = linear_scorer(estimator, feature_names, background)
        else:
            self._trees = ensemble_trees(estimator, feature_names)
            self._scorer = tree_scorer(self._trees)

    @property
    def raw_unit(self) -> ScoreUnit:
        """The unit of raw scores, contributions and base value.

        A forest averages probabilities, the others add log-odds.
        """
        return "probability" if self.kind == "random_forest" else "log_odds"

    def raw_scores(self, matrix: FloatArray) -> FloatArray:
        """Scores in `raw_unit`, not rounded, for `matrix`, float64 [rows, features] with NaN as missing.

        Float64 [rows].
        """
        self._check_matrix(matrix)
        return self._scorer.raw_scores(matrix)

    def score(self, matrix: FloatArray) -> FloatArray:
        """Probability of fraud, float64 [rows], rounded half-even to 1e-6.

        `matrix` is float64 [rows, features] with NaN as missing.

        A row's score has the same bits in every batch. Raises `ValueError` for another shape or type, and where a
        feature is missing that a logistic regression without imputer declares no value for.
        """
        raw = self.raw_scores(matrix)
        return np.round(raw if self.raw_unit == "probability" else _probabilities(raw), SCORE_DECIMALS)

    def explain(self, matrix: FloatArray) -> FloatArray:
        """Exact Shapley values in `raw_unit`, float64 [rows, features], not rounded, for `matrix` of the same shape.

        `base_value` plus the sum of a row is its raw score. The method is described in `fraud.scoring.attribution`.
        """
        self._check_matrix(matrix)
        return self._explainer.contributions(matrix)

    @property
    def base_value(self) -> float:
        """The raw score before any feature is known."""
        return self._explainer.base_value

    @cached_property
    def _explainer(self) -> LinearScorer | TreeAttribution:
        # Built on first use: preparing a large forest takes a second that a run without flagged rows need not spend.
        if self._linear is not None:
            return self._linear
        assert self._trees is not None  # noqa: S101 the constructor sets one of both
        return TreeAttribution(self._trees)

    def _check_matrix(self, matrix: FloatArray) -> None:
        if matrix.dtype != np.float64 or matrix.ndim != 2 or matrix.shape[1] != len(self.feature_names):
            raise ValueError(
                f"a matrix of float64 [rows, {len(self.feature_names)}] is scored, "
                f"this one is {matrix.dtype} {list(matrix.shape)}"
            )


def _probabilities(log_odds: FloatArray) -> FloatArray:
    # math.exp value by value: a vectorised exp may round differently at the end of an array.
    limited = np.clip(log_odds, -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT).tolist()
    exp = math.exp
    return np.array([1.0 / (1.0 + exp(-value)) for value in limited], dtype=np.float64)


class Model(Estimate):
    """A loaded model: what it says about itself and what it computes."""

    def __init__(self, estimator: Any, manifest: Manifest, drift_reference: DriftReference | None = None) -> None:
        super().__init__(estimator, manifest.feature_names, manifest.background)
        self.manifest = manifest
        # What scores and features looked like when it was trained; None for a model of an earlier version.
        self.drift_reference = drift_reference
        self.name = manifest.name
        self.content_hash = manifest.content_hash


def check_contributions(model: Model, matrix: FloatArray) -> None:
    """Raise `ModelRefusedError` unless base value and contributions add up to the raw score of each row.

    `matrix` is float64 [rows, features], NaN is missing.
    """
    sums = model.base_value + model.explain(matrix).sum(axis=1)
    furthest = float(np.abs(sums - model.raw_scores(matrix)).max(initial=0.0))
    if not furthest <= _SUM_TOLERANCE:
        raise ModelRefusedError(
            f"the model {model.name} cannot be explained: contributions miss the score by {furthest:g}. Train it again"
        )


def load_model(folder: Path, feature_set_name: str, feature_set_hash: str) -> Model:
    """Load and check the model in `folder` for the feature set in use.

    Raises `ModelRefusedError`, with the reason and what to do: a file is missing or too large, another feature set or
    schema, changed bytes, another minor version of scikit-learn, a type that is not trusted, damaged trees.
    """
    manifest_path, model_path = folder / MANIFEST_FILE, folder / MODEL_FILE
    manifest = read_manifest(folder)
    check_fit(manifest, str(folder), feature_set_name, feature_set_hash)
    content = _read_bounded(model_path, MODEL_FILE_MAX_BYTES)
    if hashlib.sha256(content).hexdigest() != manifest.model_file_hash:
        raise ModelRefusedError(
            f"{model_path} is not the file that {manifest_path} describes: its hash does not match. "
            f"Restore the folder or train again: {retrain_command(manifest)}"
        )
    estimator = estimator_from_bytes(content, str(model_path))
    try:
        model = Model(estimator, manifest, read_drift_reference(folder, manifest.content_hash))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, UnsupportedEstimatorError) as error:
        raise ModelRefusedError(f"{model_path} cannot be scored: {error}") from error
    if model.kind != manifest.kind:
        raise ModelRefusedError(
            f"{model_path} holds a {model.kind}, its manifest says {manifest.kind}. Train the model again"
        )
    return model


def read_manifest(folder: Path) -> Manifest:
    """What the model in `folder` says about itself. Raises `ModelRefusedError`."""
    path = folder / MANIFEST_FILE
    return parse_manifest(_read_bounded(path, MANIFEST_MAX_BYTES), str(path))


def check_fit(manifest: Manifest, place: str, feature_set_name: str, feature_set_hash: str) -> None:
    """Raise `ModelRefusedError` unless the model fits this feature set and minor version of scikit-learn."""
    import sklearn

    if manifest.feature_set_name != feature_set_name:
        raise ModelRefusedError(
            f"the model {place} was trained on the feature set {manifest.feature_set_name!r}, "
            f"in use is {feature_set_name!r}. Use --feature-set {manifest.feature_set_name}, another model, "
            "or none: rules decide alone then"
        )
    if manifest.feature_set_hash != feature_set_hash:
        raise ModelRefusedError(
            f"the model {place} was trained on another version of the feature set {feature_set_name!r} (schema "
            f"{manifest.feature_set_hash[:12]}, in use is {feature_set_hash[:12]}). "
            f"Train it again: {retrain_command(manifest)}"
        )
    trained_with = manifest.library_versions.get("scikit-learn", "an unknown version")
    if _minor(trained_with) != _minor(sklearn.__version__):
        raise ModelRefusedError(
            f"the model {place} was trained with scikit-learn {trained_with}, installed is {sklearn.__version__}; "
            f"trees are read as that version wrote them. Train it again: {retrain_command(manifest)}"
        )


def retrain_command(manifest: Manifest) -> str:
    """The command that trains such a model again; FILE... stands for the transaction files."""
    training = manifest.training
    return (
        f"fraud-train fit FILE... --mapping {training.configuration.get('mapping', 'NAME')} "
        f"--feature-set {manifest.feature_set_name} --label-delay-days {training.label_delay_days:g} "
        f"--train-from {training.period_from} --train-to {training.period_to} --validate-to {training.validation_to} "
        f"--model-kind {manifest.kind} --seed {training.seed} --out models/{manifest.name}"
    )


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _read_bounded(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise ModelRefusedError(
            f"{path} {reason}. A model is a folder with {MANIFEST_FILE} and {MODEL_FILE}, as fraud-train fit writes it"
        ) from error
    if len(content) > max_bytes:
        raise ModelRefusedError(f"{path} is larger than {max_bytes} bytes. Train a smaller model")
    return content
