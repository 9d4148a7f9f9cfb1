"""Predict, then learn: week after week, each configuration is fitted on what was known and judged on what came next.

Source of the scheme: Dawid, *Present position and potential developments* (1984); Fraud Detection Handbook, chapter 5,
"Prequential validation".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fraud.scoring.model import Estimate
from training.calibration import held_out
from training.configuration import FitConfiguration
from training.dataset import DatasetError
from training.estimators import training_mean
from training.evaluation import JudgedPeriod
from training.exact_scores import unrounded_scores
from training.fit import fitted_estimator
from training.labelled_rows import LabelledRows
from training.metrics.judged import FloatArray, JudgedRows
from training.splits import Split


@dataclass(frozen=True)
class SkippedPeriod:
    """A test period that no model could be fitted for, and why."""

    test_from_ms: int
    reason: str


@dataclass(frozen=True)
class PrequentialRun:
    """The judged periods in order, and those that were skipped."""

    periods: list[JudgedPeriod]
    skipped: list[SkippedPeriod]


def prequential(
    rows: LabelledRows,
    configurations: Mapping[str, tuple[FitConfiguration, Sequence[Split]]],
    maturity_days: float,
    announce: Callable[[str], None],
) -> PrequentialRun:
    """Fit and score every configuration, by name, over its own splits; all have the same test periods in order.

    Each period is scored as the service would, but for the rounding. A period is skipped, for all configurations, if
    one of them has nothing to learn from there. `announce` is told one line about each fit. Raises `ValueError` when
    test periods differ.
    """
    splits = {name: list(of_name) for name, (_, of_name) in configurations.items()}
    tests = {tuple((split.test_from_ms, split.test_to_ms) for split in of_name) for of_name in splits.values()}
    if len(tests) != 1:
        raise ValueError("all configurations must be judged on the same periods")
    periods, skipped = [], []
    for place in range(len(next(iter(tests)))):
        of_period = {name: (configurations[name][0], splits[name][place]) for name in configurations}
        outcome = _period(rows, of_period, maturity_days, announce)
        if isinstance(outcome, SkippedPeriod):
            skipped.append(outcome)
            announce(f"skipped: {outcome.reason}")
        else:
            periods.append(outcome)
    return PrequentialRun(periods, skipped)


def side_by_side(one: PrequentialRun, other: PrequentialRun) -> PrequentialRun:
    """Two runs over the same transactions with different features as one: the periods that both have judged.

    Raises `DatasetError` if a period holds other transactions in one than in the other.
    """
    others = {period.test_from_ms: period for period in other.periods}
    periods = []
    for period in one.periods:
        twin = others.get(period.test_from_ms)
        if twin is None:
            continue
        if not _same_rows(period.judged, twin.judged):
            raise DatasetError(
                "the datasets do not hold the same transactions: make both from the same files, with the same label "
                "delay and period"
            )
        periods.append(JudgedPeriod(period.test_from_ms, period.judged, {**period.scores, **twin.scores}))
    both = {period.test_from_ms for period in periods}
    skipped = {period.test_from_ms: period for period in (*one.skipped, *other.skipped)}
    return PrequentialRun(periods, [skipped[start] for start in sorted(skipped) if start not in both])


def _same_rows(one: JudgedRows, other: JudgedRows) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("timestamps_ms", "customers", "labels", "base_amounts_minor", "scenarios")
    )


def _period(
    rows: LabelledRows,
    configurations: Mapping[str, tuple[FitConfiguration, Split]],
    maturity_days: float,
    announce: Callable[[str], None],
) -> JudgedPeriod | SkippedPeriod:
    split = next(iter(configurations.values()))[1]
    positions = rows.test_positions(split.test_from_ms, split.test_to_ms, compromised_from_ms=split.compromised_from_ms)
    judged = rows.judged(positions)
    if not judged.has_both_classes:
        return SkippedPeriod(split.test_from_ms, "the test period has no fraud, or nothing else")
    scores: dict[str, FloatArray] = {}
    for name, (configuration, own_split) in configurations.items():
        try:
            training = rows.learnable(
                own_split.train_from_ms,
                own_split.train_to_ms,
                known_by_ms=own_split.test_from_ms,
                maturity_days=maturity_days,
            )
        except DatasetError as error:
            return SkippedPeriod(split.test_from_ms, f"{name}: {error}")
        halves = None
        if configuration.calibration != "none":
            halves = held_out(
                rows,
                own_split.train_from_ms,
                own_split.train_to_ms,
                known_by_ms=own_split.test_from_ms,
                maturity_days=maturity_days,
                days=configuration.calibration_days,
            )
        estimator = fitted_estimator(training, rows.origin.feature_names, configuration, halves)
        estimate = Estimate(estimator, rows.origin.feature_names, training_mean(estimator))
        scores[name] = unrounded_scores(estimate, rows.matrix[positions])
        announce(f"{name}: learned from {training.row_count:,} rows with {training.fraud_count:,} frauds")
    return JudgedPeriod(split.test_from_ms, judged, scores)
