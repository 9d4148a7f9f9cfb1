"""The plots of the report as SVG for a page: drawn from the summary alone, the same bytes for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from fraud.report.drawing import (
    FRAUD,
    HEIGHT_POINTS,
    INK,
    LEGITIMATE,
    UNKNOWN,
    Plot,
    axes_of,
    drawing_style,
    figure,
    legend_above,
    svg,
)
from fraud.report.formats import count, percent, short_money, shortened

Summary = dict[str, Any]

_RULES_SHOWN = 12
_RULE_NAME_LENGTH = 22
# As a share of an axis: what three lines of names take below a point, or the longest of them beside it.
_NEAR_AN_AXIS = 0.25


def _score_distribution(summary: Summary) -> Figure:
    histogram = summary["ranking"]["score_histogram"]
    drawn = figure()
    axes = axes_of(drawn)
    bins = histogram["bins"]
    edges = [position / bins for position in range(bins + 1)]
    for name, colour, label in (
        ("unknown", UNKNOWN, "unlabelled"),
        ("legitimate", LEGITIMATE, "legitimate"),
        ("fraud", FRAUD, "fraud"),
    ):
        if any(histogram[name]):
            axes.stairs(histogram[name], edges, fill=True, color=colour, alpha=0.18)
            axes.stairs(histogram[name], edges, color=colour, linewidth=1.5, label=label)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.8)
    axes.set_xlim(0, 1)
    axes.set_xlabel("score")
    axes.set_ylabel("transactions (log scale)")
    _plain_log(axes)
    for threshold in summary["thresholds"]:
        axes.axvline(threshold["score"], color=INK, linewidth=1, linestyle=(0, (3, 2)))
        axes.annotate(
            threshold["action"],
            (threshold["score"], 1),
            xycoords=("data", "axes fraction"),
            xytext=(-3, -3),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            fontsize=8.5,
        )
    legend_above(axes)
    return drawn


def _plain_log(axes: Axes) -> None:
    axes.yaxis.set_major_locator(LogLocator(base=10, numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    axes.yaxis.set_minor_locator(NullLocator())


def _precision_recall(summary: Summary) -> Figure:
    curve = summary["ranking"]["precision_recall_curve"]
    drawn = figure()
    axes = axes_of(drawn)
    recall = [point["recall"] for point in curve]
    precision = [point["precision"] for point in curve]
    axes.step([0, *recall], [precision[0], *precision], where="pre", color=LEGITIMATE, label="model")
    _mark_thresholds(axes, summary["thresholds"])
    detection = summary["detection"]
    if detection["alert_precision"] is not None and detection["alert_recall"] is not None:
        position = (detection["alert_recall"], detection["alert_precision"])
        axes.plot(*position, marker="D", markersize=6, linestyle="none", color=FRAUD, label="policy, as it decided")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.04)
    axes.set_xlabel("recall: share of frauds found")
    axes.set_ylabel("precision: share of alerts right")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}%"))
    legend_above(axes, columns=2)
    return drawn


def _mark_thresholds(axes: Axes, thresholds: list[dict[str, Any]]) -> None:
    """Mark the policy's thresholds on the curve; a name that would lie on the one before goes a line further.

    Names stand below and to the left of their points, but not where that would leave the axes.
    """
    step, before = 0, (2.0, 2.0)
    for threshold in sorted(thresholds, key=lambda entry: (-entry["score"], entry["action"])):
        if threshold["precision"] is None or threshold["recall"] is None:
            continue
        position = (threshold["recall"], threshold["precision"])
        near = abs(position[0] - before[0]) < 0.2 and abs(position[1] - before[1]) < 0.1
        step, before = (step + 1 if near else 0), position
        is_left, is_low = position[0] < _NEAR_AN_AXIS, position[1] < _NEAR_AN_AXIS
        away = 4 + 11 * step
        axes.plot(*position, marker="o", markersize=4.5, color=LEGITIMATE)
        axes.annotate(
            threshold["action"],
            position,
            xytext=(6 if is_left else -6, away if is_low else -away),
            textcoords="offset points",
            fontsize=8.5,
            ha="left" if is_left else "right",
            va="bottom" if is_low else "top",
        )


def _date_axis(axes: Axes, days: list[dict[str, Any]]) -> list[int]:
    """Prepare an axis of dates and return the position of each day."""
    positions = [date.fromisoformat(day["day"]).toordinal() for day in days]
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(_date_text))
    if len(positions) == 1:
        # Left to itself an axis of one position spreads by a share of its value: a century on either side.
        axes.set_xlim(positions[0] - 0.5, positions[0] + 0.5)
    return positions


def _date_text(ordinal: float, _: object) -> str:
    # A locator may ask for a tick before the first or after the last date that there is.
    day = round(ordinal)
    if not 1 <= day <= date.max.toordinal():
        return ""
    return date.fromordinal(day).isoformat()


def _one_day_markers(days: list[dict[str, Any]]) -> dict[str, Any]:
    """Return markers for a series too short to make a line."""
    return {"marker": "o", "markersize": 3} if len(days) < 15 else {"marker": None}


def _alerts_by_day(summary: Summary) -> Figure:
    days = summary["days"]
    drawn = figure()
    axes = axes_of(drawn)
    positions = _date_axis(axes, days)
    alerts = [day["alerts"] for day in days]
    markers = _one_day_markers(days)["marker"]
    axes.fill_between(positions, alerts, color=LEGITIMATE, alpha=0.18, linewidth=0)
    axes.plot(positions, alerts, color=LEGITIMATE, label="alerts", marker=markers, markersize=3)
    if summary["labels"]["labelled"]:
        caught = [day["frauds_caught"] for day in days]
        frauds = [day["frauds"] for day in days]
        axes.plot(positions, frauds, color=FRAUD, label="frauds", marker=markers, markersize=3)
        axes.plot(
            positions,
            caught,
            color=FRAUD,
            linewidth=1.2,
            linestyle=(0, (2, 1.5)),
            label="frauds alerted on",
            marker=markers,
            markersize=3,
        )
    # The axis has whole numbers: days without any alert would otherwise show 0 again and again.
    axes.set_ylim(0, max(1, axes.get_ylim()[1]))
    axes.set_ylabel("transactions a day")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    legend_above(axes)
    return drawn


def _money_by_action(summary: Summary) -> Figure:
    actions = summary["actions"]
    labelled = bool(summary["labels"]["labelled"])
    series = (
        (("fraud_amount_minor", FRAUD, "fraud"), ("legitimate_amount_minor", LEGITIMATE, "legitimate"))
        if labelled
        else (("amount_minor", UNKNOWN, "unlabelled"),)
    )
    exponent = summary["base_currency_exponent"]
    drawn = figure()
    axes = axes_of(drawn)
    height = 0.8 / len(series)
    largest = 1.0
    for place, (field, colour, label) in enumerate(series):
        amounts = [action[field] for action in actions.values()]
        largest = max(largest, *(amount / 10**exponent for amount in amounts))
        positions = [row + (place - (len(series) - 1) / 2) * height for row in range(len(actions))]
        axes.barh(positions, [amount / 10**exponent for amount in amounts], height * 0.92, color=colour, label=label)
        for position, amount in zip(positions, amounts, strict=True):
            text = short_money(amount, exponent)
            start = max(amount / 10**exponent, 1)
            axes.annotate(text, (start, position), xytext=(3, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(1, largest * 12)
    axes.xaxis.set_major_locator(LogLocator(base=10, numticks=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_money(round(value), 0).replace(".0", "")))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="both", which="both", length=0)
    axes.set_yticks(range(len(actions)), list(actions), color=INK, fontsize=10)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{summary['base_currency']} (log scale)")
    legend_above(axes)
    return drawn


def _rules_that_ask_for_work(summary: Summary) -> list[dict[str, Any]]:
    """The rules that hit, without those that allow: these hit most, and few frauds among their hits are their merit."""
    return [rule for rule in summary["rules"] if rule["hits"] and rule["action"] != "allow"]


def _rule_hits(summary: Summary) -> Figure:
    rules = sorted(_rules_that_ask_for_work(summary), key=lambda rule: (-rule["hits"], rule["rule_id"]))[:_RULES_SHOWN]
    labelled = bool(summary["labels"]["labelled"])
    drawn = figure(60 + 17 * max(len(rules), 3))
    axes = axes_of(drawn)
    names = [shortened(rule["rule_id"], _RULE_NAME_LENGTH) for rule in rules]
    hits = [rule["hits"] for rule in rules]
    if labelled:
        frauds = [rule["frauds"] for rule in rules]
        axes.barh(range(len(rules)), frauds, 0.7, color=FRAUD, label="fraud")
        others = [total - fraud for total, fraud in zip(hits, frauds, strict=True)]
        axes.barh(range(len(rules)), others, 0.7, left=frauds, color=LEGITIMATE, label="not fraud, or unlabelled")
    else:
        axes.barh(range(len(rules)), hits, 0.7, color=UNKNOWN, label="unlabelled")
    for row, rule in enumerate(rules):
        text = count(rule["hits"]) if rule["precision"] is None else percent(rule["precision"])
        axes.annotate(text, (rule["hits"], row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_yticks(range(len(rules)), names, color=INK, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, max(hits) * 1.18)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("hits; beside each bar its precision" if labelled else "hits")
    legend_above(axes, columns=2)
    return drawn


def _score_drift(summary: Summary) -> Figure:
    days = [day for day in summary["days"] if day["score_quantiles"] is not None]
    drawn = figure(HEIGHT_POINTS + 55)
    upper, lower = drawn.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    positions = _date_axis(upper, days)
    markers = _one_day_markers(days)["marker"]
    for name, style, label in (
        ("p99", "solid", "highest 1%"),
        ("p90", (0, (4, 1.5)), "highest 10%"),
        ("p50", (0, (1, 1.2)), "median"),
    ):
        values = [max(day["score_quantiles"][name], 1e-6) for day in days]
        upper.plot(positions, values, color=LEGITIMATE, linestyle=style, label=label, marker=markers, markersize=3)
    upper.set_yscale("log")
    # From a power of ten to a power of ten: scores that lie between two of them would have no number on their axis.
    lowest, highest = (math.log10(end) for end in upper.dataLim.intervaly)
    upper.set_ylim(10 ** math.floor(lowest), 10 ** max(math.ceil(highest), math.floor(lowest) + 1))
    upper.yaxis.set_major_locator(LogLocator(base=10, numticks=5))
    upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    upper.yaxis.set_minor_locator(NullLocator())
    upper.set_ylabel("score (log scale)")
    legend_above(upper)
    known = [(at, day["score_stability_index"]) for at, day in zip(positions, days, strict=True)]
    shown = [(at, index) for at, index in known if index is not None]
    lower.plot([at for at, _ in shown], [index for _, index in shown], color=FRAUD, marker=markers, markersize=3)
    lower.axhline(0.25, color=INK, linewidth=1, linestyle=(0, (3, 2)))
    lower.set_ylim(0, max([0.3, *(index * 1.1 for _, index in shown)]))
    lower.yaxis.set_major_locator(MaxNLocator(nbins=3))
    lower.set_ylabel("stability\nindex")
    return drawn


_NO_MODEL = "The replay ran without a model, so nothing has a score."
_NO_LABELS = "The file has no labels, so nobody knows which transactions were fraud."


def _without_scores(summary: Summary) -> str:
    return "" if summary["ranking"]["score_histogram"] else _NO_MODEL


def _without_curve(summary: Summary) -> str:
    if not summary["ranking"]["score_histogram"]:
        return _NO_MODEL
    if not summary["labels"]["labelled"]:
        return _NO_LABELS
    return "" if summary["ranking"]["precision_recall_curve"] else "None of the labelled transactions is a fraud."


def _without_decisions(summary: Summary) -> str:
    return "" if summary["decided"] else "No transaction was decided."


def _without_hits(summary: Summary) -> str:
    return "" if _rules_that_ask_for_work(summary) else "No rule that challenges, reviews or blocks was ever true."


@dataclass(frozen=True)
class _Kind:
    """A row of the table of plots: `absence` returns why it can't be drawn, empty if it can."""

    name: str
    title: str
    reading: str
    unlabelled_reading: str
    absence: Callable[[Summary], str]
    draw: Callable[[Summary], Figure]


_KINDS = (
    _Kind(
        "score_distribution",
        "Scores",
        "Fraud should lie to the right of legitimate payments; dashed lines are the policy's thresholds.",
        "What lies to the right of a dashed line is above that threshold of the policy.",
        _without_scores,
        _score_distribution,
    ),
    _Kind(
        "precision_recall",
        "Precision and recall",
        "Each point of the line is a threshold on the score: further right finds more fraud, further up wastes less "
        "work. A policy above the line gains from its rules.",
        "",
        _without_curve,
        _precision_recall,
    ),
    _Kind(
        "alerts_by_day",
        "Alerts and fraud by day",
        "The dashed line should lie close under the line of frauds; the blue above it is work on legitimate payments.",
        "How much work the policy makes, day by day.",
        _without_decisions,
        _alerts_by_day,
    ),
    _Kind(
        "money_by_action",
        "Money by action",
        "All amounts as attempted. Fraud in the row allow slipped through; legitimate money in the others was held up.",
        "All amounts as attempted, by what was done with them.",
        _without_decisions,
        _money_by_action,
    ),
    _Kind(
        "rule_hits",
        "Rules that hit most",
        "A long bar with little orange costs much work for little fraud; the percentage is the rule's precision. Rules "
        "that allow are in the table below.",
        "How often each rule was true, alone or with others. Rules that allow are in the table below.",
        _without_hits,
        _rule_hits,
    ),
    _Kind(
        "score_drift",
        "Score drift",
        "Lines that bend mean that the scores have changed. The index compares each day with the first week; above "
        "0.25 (dashed) look for the cause before you trust the thresholds.",
        "Lines that bend mean that the scores have changed. The index compares each day with the first week; above "
        "0.25 (dashed) look for the cause before you trust the thresholds.",
        _without_scores,
        _score_drift,
    ),
)


def draw_plots(summary: Summary) -> list[Plot]:
    """Draw every plot that the summary has the numbers for; the others say why they are absent."""
    return [_draw(kind, summary) for kind in _KINDS]


def _draw(kind: _Kind, summary: Summary) -> Plot:
    absence = _without_decisions(summary) or kind.absence(summary)
    reading = kind.reading if summary["labels"]["labelled"] else kind.unlabelled_reading
    if absence:
        return Plot(kind.name, kind.title, reading, None, absence)
    with drawing_style():
        return Plot(kind.name, kind.title, reading, svg(kind.draw(summary), kind.name, kind.title))
