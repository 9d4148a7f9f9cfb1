"""The report as a page: tables and plots of one evaluation or several, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

import fraud.report
from fraud.report import formats
from fraud.transaction import timestamp_to_text
from training.evaluation import METRICS, Evaluation, ModelEvaluation
from training.metrics.bootstrap import Interval
from training.report.plots import evaluation_plots

_TEMPLATE = "evaluation.html.j2"


@dataclass(frozen=True)
class Section:
    """One evaluation under its heading, such as a label delay."""

    title: str
    evaluation: Evaluation
    skipped: Sequence[str] = ()


@dataclass(frozen=True)
class ReportText:
    """What stands around the numbers: a heading, where the rows come from, the protocol, and what cannot be known."""

    title: str
    sources: Sequence[str]
    base_currency: str
    base_exponent: int
    protocol: Sequence[tuple[str, str]]
    unknowable: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """A row of a table: what it is about, and a cell for each column."""

    subject: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table; `subject` heads the first column."""

    title: str
    subject: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""


def render_evaluation(text: ReportText, sections: Sequence[Section]) -> str:
    """Return the whole page. Same arguments, same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Path(str(fraud.report.__path__[0])) / "style.css"
    shown = [
        (
            section,
            evaluation_tables(section.evaluation, text.base_currency, text.base_exponent),
            # The one text that is not escaped: our own drawing, in which every text was escaped when it was drawn.
            [
                (plot, None if plot.svg is None else Markup(plot.svg))  # noqa: S704
                for plot in evaluation_plots(section.evaluation)
            ],
        )
        for section in sections
    ]
    return environment.get_template(_TEMPLATE).render(
        text=text,
        style=Markup(style.read_text(encoding="utf-8")),  # noqa: S704 our own file
        sections=shown,
        count=formats.count,
    )


def interval_text(value: Interval, digits: int = 3) -> str:
    """A value with its interval: `0.712 (0.690 to 0.735)`; a dash without one."""
    if value.value is None:
        return formats.NOTHING
    shown = f"{value.value:.{digits}f}"
    if value.low is None or value.high is None:
        return shown
    return f"{shown} ({value.low:.{digits}f} to {value.high:.{digits}f})"


def difference_text(value: Interval) -> str:
    """A difference with its sign and interval."""
    if value.value is None:
        return formats.NOTHING
    shown = f"{value.value:+.3f}"
    return shown if value.low is None or value.high is None else f"{shown} ({value.low:+.3f} to {value.high:+.3f})"


def evaluation_tables(evaluation: Evaluation, currency: str, exponent: int) -> list[Table]:
    """Every table of one evaluation, in the order of the page."""
    tables = [_metrics(evaluation)]
    if evaluation.comparisons:
        tables.append(_comparisons(evaluation))
    if len(evaluation.periods) > 1:
        tables.append(_by_period(evaluation))
    tables += [_money(evaluation, currency, exponent), _workload(evaluation)]
    kinds = dict.fromkeys(segment.kind for segment in evaluation.models[0].segments)
    tables += [_segments(evaluation, kind) for kind in kinds]
    return tables


def _metrics(evaluation: Evaluation) -> Table:
    rows = tuple(
        Row(
            model.name,
            tuple(interval_text(model.metrics[metric], 5 if metric == "brier_score" else 3) for metric in METRICS),
        )
        for model in evaluation.models
    )
    note = "Means over the test periods, with 95% intervals by drawing customers again."
    return Table("Metrics", "Model", tuple(METRICS.values()), rows, note)


def _comparisons(evaluation: Evaluation) -> Table:
    rows = tuple(
        Row(
            f"{comparison.model} to {comparison.baseline}",
            tuple(difference_text(comparison.differences[metric]) for metric in METRICS if metric != "brier_score"),
        )
        for comparison in evaluation.comparisons
    )
    columns = tuple(title for metric, title in METRICS.items() if metric != "brier_score")
    return Table(
        "Paired differences", "Model", columns, rows, "On the same draws: positive is better than the baseline."
    )


def _by_period(evaluation: Evaluation) -> Table:
    rows = []
    for place, start_ms in enumerate(evaluation.periods):
        cells = []
        for model in evaluation.models:
            found = model.by_period[place]
            cells.append(
                f"{formats.decimal(found['average_precision'], 3)} / {formats.decimal(found['card_precision_100'], 3)}"
            )
        rows.append(Row(timestamp_to_text(start_ms)[:10], tuple(cells)))
    columns = tuple(model.name for model in evaluation.models)
    return Table("By test period", "From", columns, tuple(rows), "Average precision / card precision@100.")


def _money(evaluation: Evaluation, currency: str, exponent: int) -> Table:
    def cells(model: ModelEvaluation) -> tuple[str, ...]:
        spent = model.money
        return (
            formats.percent(spent.prevented_share),
            formats.money(round(spent.prevented_minor), currency, exponent),
            formats.money(
                round(spent.review_cost_minor + spent.challenge_cost_minor + spent.false_block_cost_minor),
                currency,
                exponent,
            ),
            formats.money(round(spent.net_minor), currency, exponent),
            formats.money(round(model.best_money.net_minor), currency, exponent),
        )

    return Table(
        "Money",
        "Model",
        ("Fraud money prevented", "Prevented", "Costs", "Net", "Net at the best threshold"),
        tuple(Row(model.name, cells(model)) for model in evaluation.models),
        "By the cost model below. The best threshold is chosen on the judged rows themselves: an upper bound.",
    )


def _workload(evaluation: Evaluation) -> Table:
    rows = []
    for model in evaluation.models:
        found = model.workload
        if found is None:
            continue
        over = formats.NOTHING if found.capacity is None else f"{found.days_over_capacity} of {found.days}"
        missed = formats.NOTHING if found.capacity is None else formats.count(found.frauds_not_reviewed)
        rows.append(
            Row(
                model.name,
                (f"{found.threshold:.4f}", f"{found.mean:.1f}", formats.count(found.highest), over, missed),
            )
        )
    columns = ("Threshold", "Reviews a day", "At most", "Days over capacity", "Frauds not reviewed")
    return Table("Workload", "Model", columns, tuple(rows), "Everything at or above the threshold is reviewed.")


def _segments(evaluation: Evaluation, kind: str) -> Table:
    rows = []
    for model in evaluation.models:
        for segment in model.segments:
            if segment.kind != kind:
                continue
            rows.append(
                Row(
                    f"{segment.name}: {model.name}",
                    (
                        formats.count(segment.frauds),
                        formats.decimal(segment.auc_roc, 3),
                        formats.decimal(segment.average_precision, 3),
                        formats.percent(segment.recall_at_false_positive_rate),
                    ),
                )
            )
    rows.sort(key=lambda row: row.subject.partition(":")[0])
    return Table(
        f"By {kind}",
        kind.capitalize(),
        ("Frauds", "AUC ROC", "Average precision", "Recall at 0.1% false positives"),
        tuple(rows),
        "The threshold of the recall is that of all rows together.",
    )
