"""Logistic regression as one weighted sum, column by column: no library's blocking of a product can change a bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fraud.scoring.trees import FloatArray


@dataclass(frozen=True)
class LinearScorer:
    """`intercept + sum(weights * x)` with missing values replaced by `fill`; imputation and scaling are folded in.

    `weights`, `fill` and `background` are tuples with one number for each feature, in the feature's own unit. A NaN in
    `fill` declares that the feature must not be missing. `background` is the training mean: what contributions are
    measured from.
    """

    weights: tuple[float, ...]
    intercept: float
    fill: tuple[float, ...]
    background: tuple[float, ...]
    feature_names: tuple[str, ...]

    @property
    def base_value(self) -> float:
        """The raw score, in log-odds, of the training mean."""
        base = self.intercept
        for weight, mean in zip(self.weights, self.background, strict=True):
            base += weight * mean
        return base

    def raw_scores(self, matrix: FloatArray) -> FloatArray:
        """Log-odds for `matrix`, float64 [rows, features]; float64 [rows].

        Raises `ValueError` for an undeclared missing value.
        """
        columns = self._filled_columns(matrix)
        scores = np.full(len(matrix), self.intercept)
        for column, weight in zip(columns, self.weights, strict=True):
            scores += column * weight
        return scores

    def contributions(self, matrix: FloatArray) -> FloatArray:
        """Exact interventional Shapley values in log-odds, float64 [rows, features]: `weight * (x - background)`.

        Source: Lundberg and Lee, NeurIPS 2017, corollary 1 (linear SHAP).
        """
        columns = self._filled_columns(matrix)
        return np.ascontiguousarray(
            (columns.T - np.array(self.background)[None, :]) * np.array(self.weights)[None, :], dtype=np.float64
        )

    def _filled_columns(self, matrix: FloatArray) -> FloatArray:
        columns = np.array(matrix.T, dtype=np.float64, order="C")
        for index, fill in enumerate(self.fill):
            missing = np.isnan(columns[index])
            if missing.any():
                if np.isnan(fill):
                    raise ValueError(
                        f"the feature {self.feature_names[index]!r} is missing in a row and the model declares no "
                        "value for that: train it with an imputer (fraud-train fit does)"
                    )
                columns[index][missing] = fill
        return columns
