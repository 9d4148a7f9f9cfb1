"""The report as one HTML page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from fraud.report import formats
from fraud.report.plots import Plot, draw_plots

Summary = dict[str, Any]

_TEMPLATE = "report.html.j2"
_NO_LABELS = "the file has no labels"
# Long enough for every id that people choose; a hostile one must not stretch the page.
_IDENTIFIER_LENGTH = 60
_EXAMPLE_LENGTH = 160
# The first characters of a hash tell versions apart; the whole one is in the decisions and in the tooltip.
_HASH_LENGTH = 12


@dataclass(frozen=True)
class Component:
    """One thing that the decisions rest on: its kind in words ("model"), its name and the SHA-256 of its content."""

    kind: str
    name: str
    hash: str


@dataclass(frozen=True)
class RejectedReason:
    """How many records were refused for one reason, and the first of them in words (masked by the caller)."""

    count: int
    example: str


@dataclass(frozen=True)
class ReportContext:
    """What was run: everything the page shows that is not in the summary.

    `sources` names of the files; `components` model, policy, feature set and rates (no model: leave it out);
    `label_delay_days` None where the file has the time at which labels became known; `rejected` by error code;
    `rule_descriptions` by rule id.
    """

    sources: Sequence[str]
    mapping: str
    components: Sequence[Component]
    label_delay_days: float | None
    program_version: str
    rejected: Mapping[str, RejectedReason] = field(default_factory=dict)
    rule_descriptions: Mapping[str, str] = field(default_factory=dict)


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
    currency, exponent = summary["base_currency"], summary["base_currency_exponent"]
    environment.filters.update(
        count=formats.count,
        percent=formats.percent,
        decimal=formats.decimal,
        money=lambda amount_minor: formats.money(amount_minor, currency, exponent),
        identifier=lambda text: formats.shortened(text, _IDENTIFIER_LENGTH),
        example=lambda text: formats.shortened(text, _EXAMPLE_LENGTH),
        short_hash=lambda text: text[:_HASH_LENGTH],
    )
    drawn = draw_plots(summary) if plots is None else plots
    return environment.get_template(_TEMPLATE).render(
        summary=summary,
        context=context,
        tiles=key_numbers(summary),
        # The one text that is not escaped: our own drawing, in which every text was escaped when it was drawn.
        plots=[(plot, None if plot.svg is None else Markup(plot.svg)) for plot in drawn],  # noqa: S704
        rejected=sorted(context.rejected.items(), key=lambda item: (-item[1].count, item[0])),
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
            _NO_LABELS if frauds is None else f"of {formats.count(frauds)} known frauds",
        ),
        Tile(
            "Precision",
            formats.percent(detection["alert_precision"]),
            _NO_LABELS if frauds is None else "of labelled alerts are fraud",
        ),
        Tile(
            "Alerts",
            formats.count(detection["alerts"]),
            f"{formats.percent(detection['alert_share'])} of {formats.count(summary['decided'])} decisions",
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
            _NO_LABELS if alarms is None else f"{formats.count(alarms)} legitimate transactions",
        ),
    ]


def _value_tile(summary: Summary) -> Tile:
    ranking = summary["ranking"]
    by_policy, by_model = ranking["fraud_value_caught_by_policy"], ranking["fraud_value_caught_by_model"]
    note = "by policy" if by_model is None else f"by policy; {formats.percent(by_model)} by score alone"
    return Tile(
        f"Fraud value in {formats.percent(ranking['alert_budget_share'])} of payments",
        formats.percent(by_policy),
        _NO_LABELS if summary["labels"]["frauds"] is None else note,
    )


def _money_tiles(summary: Summary) -> list[Tile]:
    money, currency, exponent = summary["money"], summary["base_currency"], summary["base_currency_exponent"]
    if money["stopped"] is None:
        return [
            Tile("Money stopped", formats.NOTHING, _NO_LABELS),
            Tile("Money lost", formats.NOTHING, _NO_LABELS),
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
