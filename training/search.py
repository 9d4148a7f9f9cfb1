"""Search for settings by prequential splits inside the training period, with a budget in trials."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fraud.scoring.model import Estimate
from training.configuration import Choice, ConfigurationError, FitConfiguration, SearchConfiguration, with_settings
from training.dataset import Dataset, DatasetError
from training.estimators import training_mean
from training.exact_scores import unrounded_scores
from training.fit import fitted_estimator
from training.labelled_rows import LabelledRows
from training.metrics.cards import CARDS_A_DAY, CardRanking
from training.metrics.judged import DAY_MS, JudgedRows
from training.metrics.ranking import Ranking
from training.splits import Split, WeeklyProtocol

_WEEK_MS = 7 * DAY_MS


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, and the mean of the objective over the validation weeks."""

    settings: dict[str, Choice]
    value: float


@dataclass(frozen=True)
class SearchResult:
    """The configuration with the best settings found, every trial in order, and whether the search was cut short."""

    configuration: FitConfiguration
    trials: tuple[Trial, ...]
    was_interrupted: bool


@dataclass(frozen=True)
class _ValidationWeek:
    training: Dataset
    matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    judged: JudgedRows


def search(
    rows: LabelledRows,
    configuration: FitConfiguration,
    train_from_ms: int,
    train_to_ms: int,
    maturity_days: float,
    announce: Callable[[str], None],
) -> SearchResult:
    """Try settings; the best one wins, of equal ones the first.

    Every week is judged with labels known by `train_to_ms` and learned for with labels known when it began, so nothing
    of the validation period is seen. `KeyboardInterrupt` ends the search with the best so far. Raises `DatasetError`
    when the training period is too short, `KeyboardInterrupt` again when no trial was finished.
    """
    plan = configuration.search
    if plan is None:
        raise ConfigurationError("search: nothing to search for")
    weeks = _validation_weeks(rows, plan, train_from_ms, train_to_ms, maturity_days)
    trials: list[Trial] = []
    was_interrupted = False
    candidates = drawn_settings(plan, configuration.seed)
    try:
        for settings in candidates:
            value = _value(with_settings(configuration, settings, "search"), rows, weeks, plan)
            trials.append(Trial(settings, value))
            described = ", ".join(f"{name} {setting}" for name, setting in settings.items())
            announce(f"trial {len(trials)} of {len(candidates)}: {plan.objective} {value:.4f} with {described}")
    except KeyboardInterrupt:
        if not trials:
            raise
        was_interrupted = True
    best = max(trials, key=lambda trial: trial.value)
    return SearchResult(with_settings(configuration, best.settings, "search"), tuple(trials), was_interrupted)


def drawn_settings(plan: SearchConfiguration, seed: int) -> list[dict[str, Choice]]:
    """At most `plan.trials` different combinations of the choices, in an order drawn by the seed."""
    names = sorted(plan.choices)
    combinations = list(itertools.product(*(plan.choices[name] for name in names)))
    order = np.random.default_rng(seed).permutation(len(combinations))[: plan.trials]
    return [dict(zip(names, combinations[place], strict=True)) for place in order.tolist()]


def _validation_weeks(
    rows: LabelledRows, plan: SearchConfiguration, train_from_ms: int, train_to_ms: int, maturity_days: float
) -> list[_ValidationWeek]:
    # The last weeks of which the outcome was known by the end of training.
    known_to_ms = train_to_ms - round(maturity_days * DAY_MS)
    protocol = WeeklyProtocol(
        first_test_ms=known_to_ms - plan.weeks * _WEEK_MS,
        count=plan.weeks,
        data_from_ms=train_from_ms,
        delay_days=maturity_days,
    )
    return [_validation_week(rows, split, train_to_ms, maturity_days) for split in protocol.splits()]


def _validation_week(rows: LabelledRows, split: Split, train_to_ms: int, maturity_days: float) -> _ValidationWeek:
    try:
        training = rows.learnable(
            split.train_from_ms, split.train_to_ms, known_by_ms=split.test_from_ms, maturity_days=maturity_days
        )
    except DatasetError as error:
        raise DatasetError(f"the training period is too short to search in: {error}") from error
    known = rows.known_at(train_to_ms, maturity_days)
    positions = known.test_positions(
        split.test_from_ms, split.test_to_ms, compromised_from_ms=split.compromised_from_ms
    )
    judged = known.judged(positions)
    if not judged.has_both_classes:
        raise DatasetError("the training period is too short to search in: a validation week has no known fraud")
    return _ValidationWeek(training, rows.matrix[positions], judged)


def _value(
    configuration: FitConfiguration, rows: LabelledRows, weeks: list[_ValidationWeek], plan: SearchConfiguration
) -> float:
    values = []
    names = rows.origin.feature_names
    for week in weeks:
        estimator = fitted_estimator(week.training, names, configuration)
        scores = unrounded_scores(Estimate(estimator, names, training_mean(estimator)), week.matrix)
        ranking = Ranking(scores, week.judged.labels)
        if plan.objective == "card_precision":
            value = CardRanking(scores, week.judged).precision(CARDS_A_DAY)
        elif plan.objective == "auc_roc":
            value = ranking.auc_roc(week.judged.weights)
        else:
            value = ranking.average_precision(week.judged.weights)
        values.append(0.0 if value is None else value)
    return sum(values) / len(values)
