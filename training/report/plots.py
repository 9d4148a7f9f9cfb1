"""The plots of the report on models: drawn from the evaluation alone, the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fraud.report.drawing import GRID, INK, MUTED, SERIES, Plot, axes_of, drawing_style, figure, legend_above, svg
from fraud.report.formats import percent, shortened
from fraud.transaction import timestamp_to_text
from training.evaluation import METRICS, Comparison, Evaluation, ModelEvaluation

_LINES = ("-", "--", ":", "-.")
_NAME_LENGTH = 26
_ROW_POINTS = 24


def evaluation_plots(evaluation: Evaluation) -> list[Plot]:
    """Every plot of one evaluation."""
    with drawing_style():
        return [
            _by_period(evaluation, "average_precision"),
            _by_period(evaluation, "card_precision_100"),
            _precision_recall(evaluation),
            _reliability(evaluation),
            _differences(evaluation),
            _scenarios(evaluation),
        ]


def _line(number: int) -> dict[str, Any]:
    """Colour and dashes of the series of that number: another pair for each of the first 24."""
    return {"color": SERIES[number % len(SERIES)], "linestyle": _LINES[number // len(SERIES) % len(_LINES)]}


def _finished(drawn: Figure, name: str, title: str, reading: str) -> Plot:
    return Plot(name, title, reading, svg(drawn, name, title))


def _tall(models: Sequence[ModelEvaluation], height_points: float = 218) -> Figure:
    """A figure with room for a legend line for each model."""
    return figure(height_points + 13 * len(models))


def _by_period(evaluation: Evaluation, metric: str) -> Plot:
    title = f"{METRICS[metric]} by test period"
    if len(evaluation.periods) < 2:
        return Plot(f"by_period_{metric}", title, "", None, "One period was judged: there is no course over time.")
    drawn = _tall(evaluation.models)
    axes = axes_of(drawn)
    days = [timestamp_to_text(start_ms)[5:10] for start_ms in evaluation.periods]
    for number, model in enumerate(evaluation.models):
        values = [period[metric] for period in model.by_period]
        known = [(place, value) for place, value in enumerate(values) if value is not None]
        axes.plot(
            [place for place, _ in known],
            [value for _, value in known],
            marker="o",
            markersize=3.5,
            label=shortened(model.name, _NAME_LENGTH),
            **_line(number),
        )
    axes.set_xticks(range(len(days)), days, rotation=45 if len(days) > 6 else 0)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    legend_above(axes, columns=1)
    return _finished(drawn, f"by_period_{metric}", title, "Each point: one test period, by its first day.")


def _precision_recall(evaluation: Evaluation) -> Plot:
    drawn = _tall(evaluation.models)
    axes = axes_of(drawn)
    for number, model in enumerate(evaluation.models):
        if model.precision_recall:
            recall, precision = zip(*model.precision_recall, strict=True)
            axes.plot(recall, precision, label=shortened(model.name, _NAME_LENGTH), **_line(number))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    legend_above(axes, columns=1)
    return _finished(
        drawn, "precision_recall", "Precision and recall", "All periods pooled; to the right and above is better."
    )


def _reliability(evaluation: Evaluation) -> Plot:
    title = "Reliability"
    drawn = _tall(evaluation.models)
    axes = axes_of(drawn)
    lowest = 1.0
    for number, model in enumerate(evaluation.models):
        bins = [point for point in model.reliability if point.mean_score > 0 and point.fraud_share > 0]
        lowest = min([lowest, *(min(point.mean_score, point.fraud_share) for point in bins)])
        axes.plot(
            [point.mean_score for point in bins],
            [point.fraud_share for point in bins],
            marker="o",
            markersize=3.5,
            label=shortened(model.name, _NAME_LENGTH),
            **_line(number),
        )
    axes.plot([lowest, 1], [lowest, 1], color=MUTED, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    axes.set_xlabel("mean score")
    axes.set_ylabel("share of fraud")
    legend_above(axes, columns=1)
    return _finished(drawn, "reliability", title, "On the thin line a score is a probability; above it, it is too low.")


def _differences(evaluation: Evaluation) -> Plot:
    title = "Difference in average precision"
    shown = [
        (comparison, found.value, found.low, found.high)
        for comparison in evaluation.comparisons
        if (found := comparison.differences["average_precision"]).value is not None
    ]
    if not shown:
        return Plot("differences", title, "", None, "No baseline was named, so there is nothing to compare with.")
    drawn = figure(70 + _ROW_POINTS * len(shown))
    axes = axes_of(drawn)
    for place, (_, value, low, high) in enumerate(shown):
        if low is None or high is None or value is None:
            continue
        colour = SERIES[2] if low > 0 else SERIES[1] if high < 0 else MUTED
        axes.plot([low, high], [place, place], color=colour, linewidth=2.4)
        axes.plot([value], [place], marker="o", markersize=5, color=colour)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [_versus(row[0]) for row in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    return _finished(drawn, "differences", title, "Paired, with its 95% interval; right of zero the first is better.")


def _versus(comparison: Comparison) -> str:
    return f"{shortened(comparison.model, 20)}\nto {shortened(comparison.baseline, 20)}"


def _scenarios(evaluation: Evaluation) -> Plot:
    title = "Frauds caught by scenario"
    names = [segment.name for segment in evaluation.models[0].segments if segment.kind == "scenario"]
    if not names:
        return Plot("scenarios", title, "", None, "The file names no fraud scenarios.")
    models = evaluation.models
    drawn = _tall(models, 60 + len(names) * (14 + 11 * len(models)))
    axes = axes_of(drawn)
    height = 0.8 / len(models)
    for number, model in enumerate(models):
        found = {segment.name: segment.recall_at_false_positive_rate or 0.0 for segment in model.segments}
        axes.barh(
            [place + number * height for place in range(len(names))],
            [found[name] for name in names],
            height=0.9 * height,
            color=SERIES[number % len(SERIES)],
            label=shortened(model.name, _NAME_LENGTH),
        )
    axes.set_yticks(
        [place + 0.4 - height / 2 for place in range(len(names))],
        [shortened(name.replace("_", " "), 18) for name in names],
    )
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", color=GRID)
    legend_above(axes, columns=1)
    return _finished(drawn, "scenarios", title, "Share above the score that alarms 0.1% of legitimate payments.")
