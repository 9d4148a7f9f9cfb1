"""What the third notebook says in numbers: money by threshold, and policies that decided the same payments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml
from matplotlib.ticker import FuncFormatter, NullFormatter

from fraud.report.drawing import INK, SERIES, Plot, axes_of, drawing_style, figure, legend_above, svg
from fraud.report.formats import count, percent, short_money
from fraud.report.formats import money as money_text
from training.metrics.cost import CostModel, Money, money
from training.metrics.judged import FloatArray, JudgedRows
from training.metrics.thresholds import best_thresholds
from training.notebook.listing import Listing

Summary = dict[str, Any]
# Points of a curve on a screen; a plot of 330 points width shows no more.
_CURVE_POINTS = 120


def review_curve(scores: FloatArray, judged: JudgedRows, cost: CostModel, minor_units: int) -> list[tuple[float, int]]:
    """Reviews a day and the net saving in minor units, if everything above a threshold were reviewed.

    From one review in the whole period to a tenth of all payments.
    """
    days = days_of(judged)
    shares = np.geomspace(1 / len(scores), 0.1, _CURVE_POINTS)
    found = []
    for threshold in np.unique(np.quantile(scores, 1 - shares, method="higher"))[::-1].tolist():
        outcome = money(scores, judged, msgspec.structs.replace(cost, review_threshold=threshold), minor_units)
        found.append((float(judged.weights[scores >= threshold].sum()) / days, round(outcome.net_minor)))
    return found


def review_curve_plot(
    curves: Mapping[str, Sequence[tuple[float, int]]], currency: str, base_exponent: int, days: float
) -> Plot:
    """Net saving a day by reviews a day, a line for each of `curves`; `days` are what their savings were made in."""
    title = "Saved by reviews"
    with drawing_style():
        drawn = figure(218 + 13 * len(curves))
        axes = axes_of(drawn)
        for number, (name, points) in enumerate(curves.items()):
            reviews = [point[0] for point in points]
            saved = [point[1] / days for point in points]
            best = int(np.argmax(saved))
            colour = SERIES[number % len(SERIES)]
            axes.plot(reviews, saved, color=colour, label=name)
            axes.plot([reviews[best]], [saved[best]], marker="o", markersize=6, color=colour)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_money(int(value), base_exponent)))
        axes.set_xlabel("reviews a day")
        axes.set_ylabel(f"{currency} a day")
        legend_above(axes, columns=1)
        reading = (
            "Prevented less the cost of reviews; the point is the best place. Beyond it reviews cost more than they "
            "save."
        )
        return Plot("review_curve", title, reading, svg(drawn, "review_curve", title))


def choices(
    scores: FloatArray,
    judged: JudgedRows,
    costs: Mapping[str, CostModel],
    minor_units: int,
    reviews_a_day: float | None,
) -> dict[str, tuple[CostModel, Money]]:
    """The best thresholds under each cost model, by its name."""
    return {name: best_thresholds(scores, judged, cost, minor_units, reviews_a_day) for name, cost in costs.items()}


def choices_listing(chosen: Mapping[str, tuple[CostModel, Money]], currency: str, base_exponent: int) -> Listing:
    """The thresholds under each cost model and what they save."""
    return Listing(
        ("costs", "challenge from", "review from", "block from", "prevented", "net saving"),
        [
            (
                name,
                *(
                    _score(threshold)
                    for threshold in (cost.challenge_threshold, cost.review_threshold, cost.block_threshold)
                ),
                percent(outcome.prevented_share),
                money_text(round(outcome.net_minor), currency, base_exponent),
            )
            for name, (cost, outcome) in chosen.items()
        ],
    )


def _score(threshold: float | None) -> str:
    return "never" if threshold is None else f"{threshold:.4f}"


def policy_with_thresholds(policy_file: Path, cost: CostModel, folder: Path, name: str) -> Path:
    """Write the policy with the thresholds of `cost`, rounded to 4 decimals, as `name`.yaml; comments are left behind.

    Raises `OSError`, and `yaml.YAMLError` for what is not YAML.
    """
    content = yaml.safe_load(policy_file.read_bytes())
    thresholds = {
        "challenge": cost.challenge_threshold,
        "review": cost.review_threshold,
        "block": cost.block_threshold,
    }
    content["policy"] = name
    content["score_thresholds"] = {
        action: max(round(threshold, 4), 0.0001) for action, threshold in thresholds.items() if threshold is not None
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")
    return path


def summary_of(replay: Path) -> Summary:
    """The numbers of a replay's folder."""
    content: Summary = msgspec.json.decode((replay / "summary.json").read_bytes())
    return content


def policies_listing(summaries: Mapping[str, Summary]) -> Listing:
    """Policies that decided the same payments, side by side."""
    rows = [_policy_column(summary) for summary in summaries.values()]
    return Listing(("", *summaries), [(title, *(row[title] for row in rows)) for title in rows[0]])


def _policy_column(summary: Summary) -> dict[str, str]:
    currency, exponent = summary["base_currency"], summary["base_currency_exponent"]
    fraud, hindered = summary["money"], summary["money"]["legitimate_hindered"]
    detection, actions = summary["detection"], summary["actions"]

    def amount(total: Mapping[str, int] | None) -> str:
        return money_text(None if total is None else total["amount_minor"], currency, exponent)

    return {
        "decided": count(summary["decided"]),
        **{f"{action}s": count(actions[action]["count"]) for action in ("challenge", "review", "block")},
        "reviews a day": f"{summary['workload']['reviews_a_day']['mean']:.1f}",
        "alerts that were fraud": percent(detection["alert_precision"]),
        "frauds that were alerts": percent(detection["alert_recall"]),
        "fraud money stopped": amount(fraud["stopped"]),
        "fraud money lost": amount(fraud["lost"]),
        "after the first block": amount(fraud["after_block"]),
        "share stopped": percent(fraud["value_recall"]),
        "legitimate payments challenged": count(hindered and hindered["challenge"]["payments"]),
        "legitimate payments blocked": count(hindered and hindered["block"]["payments"]),
    }


def days_of(judged: JudgedRows) -> int:
    """Calendar days (UTC) from the first row to the last, both counted."""
    return int(judged.days.max() - judged.days.min()) + 1
