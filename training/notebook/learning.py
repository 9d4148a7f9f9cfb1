"""What the second notebook says in numbers: periods, how mature each week is, and how models did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from fraud.scoring.model import Model, load_model
from fraud.transaction import timestamp_to_text
from training.configuration import DEFAULT_CONFIGURATIONS, FitConfiguration
from training.dataset import Dataset, DatasetError
from training.evaluation import METRICS, Evaluation, EvaluationOptions, JudgedPeriod
from training.evaluation import evaluate as evaluated
from training.exact_scores import unrounded_scores
from training.fitting import FitPeriods, fit_and_write
from training.labelled_rows import FRAUD, LabelledRows
from training.metrics.cost import CostModel
from training.metrics.judged import DAY_MS
from training.notebook.listing import Listing
from training.report.page import difference_text, interval_text

# Two weeks of customers' habits before the first row that is learned from: before, every merchant is new to everybody.
WARM_UP_DAYS = 14
# The last four weeks judge: fewer frauds, and no difference between models is larger than chance.
JUDGED_DAYS = 28
# A third of the draws of the commands: interval ends move by a tenth of the width, and somebody waits for a notebook.
DRAWS = 300
_WEEK_MS = 7 * DAY_MS
# A hundred cards a day are most of those that pay at all in a file as small as a notebook's.
_OF_MANY_CUSTOMERS = "card_precision_100"


def usual_periods(rows: LabelledRows) -> FitPeriods:
    """Two weeks to warm up, then training, then four weeks to judge by; whole days (UTC).

    Raises `DatasetError` where the rows are of too few days for that.
    """
    first = int(rows.timestamps_ms.min()) // DAY_MS
    end = int(rows.timestamps_ms.max()) // DAY_MS + 1
    if end - first < WARM_UP_DAYS + JUDGED_DAYS + 14:
        raise DatasetError(
            f"the rows are of {end - first} days, but {WARM_UP_DAYS} to warm up, 14 or more to learn from and "
            f"{JUDGED_DAYS} to judge by are needed. Take a longer file, or set the periods yourself: FitPeriods(...)"
        )
    train_to_ms = (end - JUDGED_DAYS) * DAY_MS
    return FitPeriods((first + WARM_UP_DAYS) * DAY_MS, train_to_ms, end * DAY_MS, rows.origin.label_delay_days)


def training_rows(rows: LabelledRows, periods: FitPeriods) -> Dataset:
    """The rows to learn from, with the labels that were known when training ended. Raises `DatasetError`."""
    return rows.learnable(
        periods.train_from_ms,
        periods.train_to_ms,
        known_by_ms=periods.train_to_ms,
        maturity_days=periods.maturity_days,
    )


def maturity_by_week(rows: LabelledRows, known_by_ms: int) -> Listing:
    """For each week (UTC, from the first day on) before `known_by_ms`, how many of its frauds were known by then."""
    first_ms = int(rows.timestamps_ms.min()) // DAY_MS * DAY_MS
    weeks = (rows.timestamps_ms - first_ms) // _WEEK_MS
    fraud = rows.labels == FRAUD
    known = fraud & (rows.label_known_at_ms >= 0) & (rows.label_known_at_ms <= known_by_ms)
    cells = []
    for week in range(int((known_by_ms - first_ms - 1) // _WEEK_MS) + 1):
        of_week = (weeks == week) & (rows.timestamps_ms < known_by_ms)
        frauds, found = int(fraud[of_week].sum()), int(known[of_week].sum())
        share = f"{found / frauds:.0%}" if frauds else ""
        start = timestamp_to_text(first_ms + week * _WEEK_MS)[:10]
        cells.append((start, f"{int(of_week.sum()):,}", f"{frauds:,}", f"{found:,}", share))
    return Listing(("week from", "payments", "frauds", "known by then", "share"), cells)


def fitted(
    rows: LabelledRows,
    configurations: Sequence[FitConfiguration],
    periods: FitPeriods,
    folder: Path,
    announce: Callable[[str], None] = print,
) -> dict[str, Model]:
    """Fit each configuration, write it to a folder of its name inside `folder`, and load it again as the service does.

    Raises what `fit_and_write` and `load_model` raise.
    """
    models = {}
    # The notebook is the shell that owns the clock; the time stays outside of a model's content.
    created_at = datetime.now(UTC).isoformat(timespec="seconds")  # noqa: TID251
    for configuration in configurations:
        name = configuration.name
        written = fit_and_write(rows, configuration, periods, folder / name, created_at, announce)
        trained = written.manifest.training
        announce(f"{name}: learned from {trained.row_count:,} rows with {trained.fraud_count:,} known frauds")
        models[name] = load_model(folder / name, rows.origin.feature_set_name, rows.origin.feature_set_hash)
    return models


def default_configurations() -> list[FitConfiguration]:
    """A logistic regression to compare with, and boosting, as `fraud-train fit` has them by default."""
    return [FitConfiguration(DEFAULT_CONFIGURATIONS[kind], name=kind) for kind in ("logistic_regression", "boosting")]


def judged_period(rows: LabelledRows, models: dict[str, Model], from_ms: int, to_ms: int) -> JudgedPeriod:
    """The labelled rows of [from_ms, to_ms) with each model's scores; nobody is left out.

    Raises `DatasetError` without a row of both classes.
    """
    positions = rows.test_positions(from_ms, to_ms, compromised_from_ms=None)
    judged = rows.judged(positions)
    if not judged.has_both_classes:
        raise DatasetError(
            f"of {len(judged)} labelled rows in the period {int(judged.labels.sum())} are fraud: nothing can be judged"
        )
    return JudgedPeriod(
        from_ms, judged, {name: unrounded_scores(model, rows.matrix[positions]) for name, model in models.items()}
    )


def evaluation(rows: LabelledRows, period: JudgedPeriod, baseline: str) -> Evaluation:
    """Every metric with its interval, and the difference of every other model to `baseline`."""
    options = EvaluationOptions(
        minor_units=10**rows.origin.base_exponent,
        cost=CostModel(),
        review_capacity=None,
        seed=0,
        baselines=(baseline,),
        draws=DRAWS,
    )
    return evaluated([period], options)


def metrics_listing(found: Evaluation) -> Listing:
    """Metrics by model, with intervals of 95%, then the paired differences."""
    columns = ["", *(model.name for model in found.models)]
    columns += [f"{comparison.model} less {comparison.baseline}" for comparison in found.comparisons]
    return Listing(
        columns,
        [
            (
                title,
                *(interval_text(model.metrics[metric]) for model in found.models),
                *(difference_text(comparison.differences[metric]) for comparison in found.comparisons),
            )
            for metric, title in METRICS.items()
            if metric != _OF_MANY_CUSTOMERS
        ],
    )
