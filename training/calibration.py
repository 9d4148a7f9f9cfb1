"""Scores become probabilities: a line through raw scores, fitted on rows that the model has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fraud.scoring.model import Estimate
from training.dataset import Dataset, DatasetError
from training.labelled_rows import LabelledRows
from training.metrics.judged import DAY_MS

# A steeper or flatter line than this says that the held-out rows are too few to calibrate on, not that scores are off.
_STEEPEST = 20.0


@dataclass(frozen=True)
class HeldOut:
    """Training rows cut in two by time: a model of `earlier` is calibrated on `later`, which it has not seen."""

    earlier: Dataset
    later: Dataset


def held_out(
    rows: LabelledRows, from_ms: int, to_ms: int, *, known_by_ms: int, maturity_days: float, days: float
) -> HeldOut | None:
    """The rows of [from_ms, to_ms) that are known, cut `days` before the newest that may be known as legitimate.

    None where either part has one class alone: then there is nothing to calibrate by.
    """
    newest_ms = min(to_ms, known_by_ms - round(maturity_days * DAY_MS))
    cut_ms = newest_ms - round(days * DAY_MS)
    try:
        return HeldOut(
            rows.learnable(from_ms, cut_ms, known_by_ms=known_by_ms, maturity_days=maturity_days),
            rows.learnable(cut_ms, to_ms, known_by_ms=known_by_ms, maturity_days=maturity_days),
        )
    except DatasetError:
        return None


def calibration_line(estimate: Estimate, later: Dataset) -> tuple[float, float]:
    """Slope and intercept of the line through the raw scores of `later` that fits their outcomes best.

    In log-odds, for regression and boosting, by maximum likelihood (Platt 1999, without his smoothed targets, which
    matter under a hundred rows); in probability, for forests, by least squares, kept within [0, 1].
    """
    raw = estimate.raw_scores(later.matrix)
    outcome = later.labels.astype(np.float64)
    if estimate.raw_unit == "probability":
        return _least_squares(raw, outcome)
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=np.inf).fit(raw[:, None], later.labels)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return (slope, intercept) if 1 / _STEEPEST < slope < _STEEPEST else (1.0, 0.0)


def _least_squares(raw: np.ndarray, outcome: np.ndarray) -> tuple[float, float]:
    mean_raw, mean_outcome = float(raw.mean()), float(outcome.mean())
    variance = float(((raw - mean_raw) ** 2).mean())
    if not variance:
        return 1.0, 0.0
    slope = float(((raw - mean_raw) * (outcome - mean_outcome)).mean()) / variance
    # Through the middle of the data, but never below 0 at a raw score of 0 nor above 1 at a raw score of 1.
    slope = min(max(slope, 1 / _STEEPEST), mean_outcome / mean_raw, (1 - mean_outcome) / (1 - mean_raw))
    return slope, mean_outcome - slope * mean_raw
