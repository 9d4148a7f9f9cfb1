"""The report as one HTML page that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from fraud.report import formats
from fraud.report.context import ReportContext
from fraud.report.drawing import Plot
from fraud.report.plots import draw_plots
from fraud.report.tables import IDENTIFIER_LENGTH, report_tables

Summary = dict[str, Any]

_TEMPLATE = "report.html.j2"
# The first characters of a hash tell versions apart; the whole one is in the decisions and in the tooltip.
_HASH_LENGTH = 12


@dataclass(frozen=True)
class Tile:
    """A key number: what it is, its value, and a few words that make it understood."""

    name: str
    value: str
    note: str


def render_report(summary: Summary, context: ReportContext, plots: Sequence[Plot] | None = None) -> str:
    """Return the whole page. `plots` are drawn from the summary unless they are given. Same arguments, same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=formats.count,
        decimal=formats.decimal,
        identifier=lambda text: formats.shortened(text, IDENTIFIER_LENGTH),
        short_hash=lambda text: text[:_HASH_LENGTH],
    )
    drawn = draw_plots(summary) if plots is None else plots
    return environment.get_template(_TEMPLATE).render(
        summary=summary,
        context=context,
        tiles=key_numbers(summary),
        # The one text that is not escaped: our own drawing, in which every text was escaped when it was drawn.
        plots=[(plot, None if plot.svg is None else Markup(plot.svg)) for plot in drawn],  # noqa: S704
        tables=report_tables(summary, context),
    )


def key_numbers(summary: Summary) -> list[Tile]:
    """Return the numbers at the head of the page; a dash where the file has no labels or the run no model."""
    detection, reviews = summary["detection"], summary["workload"]["reviews_a_day"]
    frauds, alarms = summary["labels"]["frauds"], detection["false_positives"]
    return [
        *_money_tiles(summary),
        Tile(
            "Recall",
            formats.percent(detection["alert_recall"]),
            _no_labels(summary) if frauds is None else f"of {formats.count(frauds)} known frauds",
        ),
        Tile(
            "Precision",
            formats.percent(detection["alert_precision"]),
            _no_labels(summary) if frauds is None else "of labelled alerts are fraud",
        ),
        Tile(
            "Alerts",
            formats.count(detection["alerts"]),
            f"{formats.percent(detection['alert_share'])} of {formats.count(summary['decided'])} decisions"
            f"{_notified_only(detection['notified_only'])}",
        ),
        Tile(
            "Reviews a day",
            formats.decimal(reviews["mean"] if reviews else None),
            f"at most {formats.count(reviews['max'])}, 95% of days up to {formats.count(reviews['p95'])}"
            if reviews
            else "nothing was decided",
        ),
        _value_tile(summary),
        Tile(
            "False alarms",
            formats.percent(detection["false_positive_rate"]),
            _no_labels(summary) if alarms is None else f"{formats.count(alarms)} legitimate transactions",
        ),
    ]


def _notified_only(number: int) -> str:
    if not number:
        return ""
    return f"; {formats.count(number)} more allowed and told to somebody"


def _no_labels(summary: Summary) -> str:
    return "the file has no labels" if summary["decided"] else "nothing was decided"


def _value_tile(summary: Summary) -> Tile:
    ranking = summary["ranking"]
    by_policy, by_model = ranking["fraud_value_caught_by_policy"], ranking["fraud_value_caught_by_model"]
    note = "by policy" if by_model is None else f"by policy; {formats.percent(by_model)} by score alone"
    return Tile(
        f"Fraud value in {formats.percent(ranking['alert_budget_share'])} of payments",
        formats.percent(by_policy),
        _no_labels(summary) if summary["labels"]["frauds"] is None else note,
    )


def _money_tiles(summary: Summary) -> list[Tile]:
    money, currency, exponent = summary["money"], summary["base_currency"], summary["base_currency_exponent"]
    if money["stopped"] is None:
        return [
            Tile("Money stopped", formats.NOTHING, _no_labels(summary)),
            Tile("Money lost", formats.NOTHING, _no_labels(summary)),
        ]
    stopped, lost, later = money["stopped"], money["lost"], money["after_block"]
    after = (
        f", {formats.money(later['amount_minor'], currency, exponent)} more after a block" if later["payments"] else ""
    )
    return [
        Tile(
            "Money stopped",
            formats.money(stopped["amount_minor"], currency, exponent),
            f"{formats.percent(money['value_recall'])} of fraud money{after}",
        ),
        Tile(
            "Money lost",
            formats.money(lost["amount_minor"], currency, exponent),
            f"{formats.count(lost['payments'])} fraudulent payments allowed",
        ),
    ]
