"""Models side by side on the same rows: every metric with its interval, and every difference paired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from training.metrics.bootstrap import DRAWS, Interval, bootstrap, difference, interval
from training.metrics.cards import CARDS_A_DAY, CardRanking
from training.metrics.cost import CostModel, Money, best_review_threshold, money
from training.metrics.judged import FloatArray, JudgedRows
from training.metrics.probability import ReliabilityBin, brier_score, brier_skill, reliability_curve
from training.metrics.ranking import ALERT_RATE, FALSE_POSITIVE_RATE, Ranking, alert_threshold
from training.metrics.segments import Segment, segments
from training.metrics.workload import Workload, workload

# What each number is called, in the order in which tables show them.
METRICS = {
    "auc_roc": "AUC ROC",
    "average_precision": "Average precision",
    "card_precision_100": "Card precision@100",
    "recall_at_0.1_percent_false_positives": "Recall at 0.1% false positives",
    "value_recall_at_0.5_percent_alerts": "Value recall at 0.5% alerts",
    "brier_score": "Brier score",
}
_CURVE_POINTS = 200


@dataclass(frozen=True)
class JudgedPeriod:
    """A test period: when it began (UTC milliseconds), its rows, and each model's scores, float64 [rows], by name."""

    test_from_ms: int
    judged: JudgedRows
    scores: Mapping[str, FloatArray]


@dataclass(frozen=True)
class EvaluationOptions:
    """How to judge: money and capacity, the seed and the number of draws of the bootstrap, and whom to compare with.

    `minor_units` make one unit of the base currency. `baselines`: models that the others are compared with.
    """

    minor_units: int
    cost: CostModel
    review_capacity: int | None
    seed: int
    baselines: Sequence[str] = ()
    draws: int = DRAWS


@dataclass(frozen=True)
class ModelEvaluation:
    """One model over all periods. Metrics are means over the periods; the rest pools their rows.

    `by_period`: for each period, metric by name. `precision_recall`: points (recall, precision).
    """

    name: str
    metrics: dict[str, Interval]
    by_period: list[dict[str, float | None]]
    brier_skill: float | None
    reliability: list[ReliabilityBin]
    precision_recall: list[tuple[float, float]]
    segments: list[Segment]
    review_threshold: float
    money: Money
    best_money: Money
    workload: Workload | None


@dataclass(frozen=True)
class Comparison:
    """The paired difference `model - baseline` in each metric."""

    model: str
    baseline: str
    differences: dict[str, Interval]


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report shows. `periods` are the starts of the test periods, UTC milliseconds."""

    periods: list[int]
    rows: int
    frauds: int
    customers: int
    fraud_amount_minor: int
    models: list[ModelEvaluation]
    comparisons: list[Comparison]

    def model(self, name: str) -> ModelEvaluation:
        """The evaluation of the model of that name. Raises `KeyError`."""
        return {model.name: model for model in self.models}[name]


def evaluate(periods: Sequence[JudgedPeriod], options: EvaluationOptions) -> Evaluation:
    """Judge every model that all periods have scores of. Raises `ValueError` without a period."""
    if not periods:
        raise ValueError("there is no period to judge")
    names = list(periods[0].scores)
    measures = {f"{metric}/{name}": measure for name in names for metric, measure in _measures(periods, name).items()}
    customer_count = max(int(period.judged.customers.max(initial=0)) for period in periods) + 1
    values, drawn = bootstrap(measures, customer_count, seed=options.seed, draws=options.draws)
    pooled = _pooled([period.judged for period in periods])
    models = []
    for name in names:
        intervals = {metric: interval(values[f"{metric}/{name}"], drawn[f"{metric}/{name}"]) for metric in METRICS}
        models.append(_model_evaluation(name, intervals, periods, pooled, options))
    return Evaluation(
        periods=[period.test_from_ms for period in periods],
        rows=len(pooled),
        frauds=int(pooled.labels.sum()),
        customers=len(np.unique(pooled.customers)),
        fraud_amount_minor=round((pooled.weights * pooled.labels * pooled.base_amounts_minor).sum()),
        models=models,
        comparisons=[
            Comparison(
                name,
                baseline,
                {
                    metric: difference(
                        values[f"{metric}/{name}"],
                        values[f"{metric}/{baseline}"],
                        drawn[f"{metric}/{name}"],
                        drawn[f"{metric}/{baseline}"],
                    )
                    for metric in METRICS
                },
            )
            for baseline in options.baselines
            for name in names
            if name not in options.baselines
        ],
    )


Measure = Callable[[FloatArray], float | None]


def _measures(periods: Sequence[JudgedPeriod], name: str) -> dict[str, Measure]:
    """Each metric as a function of how often each customer is drawn: the mean over the periods that have a value."""
    rankings = [Ranking(period.scores[name], period.judged.labels) for period in periods]
    cards = [CardRanking(period.scores[name], period.judged) for period in periods]
    judged = [period.judged for period in periods]

    def over_periods(of_period: Callable[[int, FloatArray], float | None]) -> Measure:
        def measure(customer_weights: FloatArray) -> float | None:
            found = []
            for place, rows in enumerate(judged):
                value = of_period(place, rows.weights * customer_weights[rows.customers])
                if value is not None:
                    found.append(value)
            return sum(found) / len(found) if found else None

        return measure

    def card_precision(customer_weights: FloatArray) -> float | None:
        found = [value for card in cards if (value := card.precision(CARDS_A_DAY, customer_weights)) is not None]
        return sum(found) / len(found) if found else None

    return {
        "auc_roc": over_periods(lambda place, weights: rankings[place].auc_roc(weights)),
        "average_precision": over_periods(lambda place, weights: rankings[place].average_precision(weights)),
        "card_precision_100": card_precision,
        "recall_at_0.1_percent_false_positives": over_periods(
            lambda place, weights: rankings[place].recall_at_false_positive_rate(weights, FALSE_POSITIVE_RATE)
        ),
        "value_recall_at_0.5_percent_alerts": over_periods(
            lambda place, weights: rankings[place].value_recall(judged[place].base_amounts_minor, weights, ALERT_RATE)
        ),
        "brier_score": over_periods(
            lambda place, weights: brier_score(periods[place].scores[name], judged[place].labels, weights)
        ),
    }


def _model_evaluation(
    name: str,
    intervals: dict[str, Interval],
    periods: Sequence[JudgedPeriod],
    pooled: JudgedRows,
    options: EvaluationOptions,
) -> ModelEvaluation:
    scores = np.concatenate([period.scores[name] for period in periods])
    whole = np.ones(int(pooled.customers.max(initial=0)) + 1)
    best = best_review_threshold(scores, pooled, options.cost, options.minor_units)
    threshold = options.cost.review_threshold
    if threshold is None:
        threshold = alert_threshold(scores, ALERT_RATE, pooled.weights)
    return ModelEvaluation(
        name=name,
        metrics=intervals,
        by_period=[
            {metric: measure(whole) for metric, measure in _measures([period], name).items()} for period in periods
        ],
        brier_skill=brier_skill(scores, pooled.labels, pooled.weights),
        reliability=reliability_curve(scores, pooled.labels, pooled.weights),
        precision_recall=_curve(Ranking(scores, pooled.labels), pooled.weights),
        segments=segments(scores, pooled),
        review_threshold=threshold,
        money=money(scores, pooled, _reviewing(options.cost, threshold), options.minor_units),
        best_money=best[1] if best else money(scores, pooled, options.cost, options.minor_units),
        workload=workload(scores, pooled, threshold, options.review_capacity),
    )


def _reviewing(cost: CostModel, threshold: float) -> CostModel:
    return msgspec.structs.replace(cost, review_threshold=threshold)


def _curve(ranking: Ranking, weights: FloatArray) -> list[tuple[float, float]]:
    points = ranking.precision_recall_points(weights)
    if points is None:
        return []
    recall, precision = points
    # A curve on a page needs no more points than it has pixels: those where recall passes equal steps.
    places = np.unique(np.searchsorted(recall, np.linspace(0, 1, _CURVE_POINTS)).clip(0, len(recall) - 1))
    return list(zip(recall[places].tolist(), precision[places].tolist(), strict=True))


def _pooled(parts: Sequence[JudgedRows]) -> JudgedRows:
    return JudgedRows(
        np.concatenate([part.timestamps_ms for part in parts]),
        np.concatenate([part.customers for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.base_amounts_minor for part in parts]),
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.scenarios for part in parts]),
        parts[0].scenario_names,
    )
