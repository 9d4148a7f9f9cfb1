"""What `evaluate` and `prequential` share: options of judging, and writing what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from training.evaluation import Evaluation, EvaluationOptions
    from training.labelled_rows import LabelledRows
    from training.metrics.cost import CostModel
    from training.report.page import Section

Command = TypeVar("Command", bound=Callable[..., Any])


def judging_options(command: Command) -> Command:
    """--costs, --review-capacity, --draws, --seed, --out."""
    for option in (
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            required=True,
            help="Folder for evaluation.json and evaluation.html.",
        ),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the bootstrap."),
        click.option(
            "--draws", type=click.IntRange(min=1), default=1_000, show_default=True, help="Draws of the bootstrap."
        ),
        click.option("--review-capacity", type=click.IntRange(min=0), help="Reviews a day that the team can do."),
        click.option(
            "--costs",
            "costs_file",
            type=click.Path(path_type=Path),
            metavar="FILE.yaml",
            help="Cost model: costs in base currency and thresholds; see docs/evaluation.md.",
        ),
    ):
        command = option(command)
    return command


def evaluation_options(
    rows: LabelledRows, costs_file: Path | None, capacity: int | None, draws: int, seed: int, baselines: Sequence[str]
) -> EvaluationOptions:
    """The options of judging. Raises `ConfigurationError` for a wrong cost model."""
    from training.configuration import load_costs
    from training.evaluation import EvaluationOptions
    from training.metrics.cost import CostModel

    return EvaluationOptions(
        minor_units=10**rows.origin.base_exponent,
        cost=CostModel() if costs_file is None else load_costs(costs_file),
        review_capacity=capacity,
        seed=seed,
        baselines=tuple(baselines),
        draws=draws,
    )


def write_evaluations(
    out: Path,
    title: str,
    files: Sequence[Path],
    rows: LabelledRows,
    sections: Sequence[Section],
    protocol: Sequence[tuple[str, str]],
    unknowable: Sequence[str],
) -> None:
    """Write evaluation.json and evaluation.html. Raises `OutputError` where nothing can be written."""
    import msgspec

    from fraud.replay.outputs import OutputFolder
    from training.report.page import ReportText, render_evaluation

    text = ReportText(
        title=title,
        sources=[file.name for file in files],
        base_currency=rows.origin.base_currency,
        base_exponent=rows.origin.base_exponent,
        protocol=protocol,
        unknowable=unknowable,
    )
    content = {
        "protocol": dict(protocol),
        "sections": [
            {"title": section.title, "skipped": list(section.skipped), "evaluation": section.evaluation}
            for section in sections
        ],
    }
    with OutputFolder(out) as folder:
        encoded = msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2)
        folder.path("evaluation.json").write_bytes(encoded + b"\n")
        folder.path("evaluation.html").write_text(render_evaluation(text, sections), encoding="utf-8")
        folder.publish()


def metrics_text(evaluation: Evaluation) -> str:
    """The main numbers for a terminal."""
    from training.evaluation import METRICS
    from training.report.page import difference_text, interval_text

    shown = ("auc_roc", "average_precision", "card_precision_100", "recall_at_0.1_percent_false_positives")
    lines = [f"{evaluation.rows:,} rows with {evaluation.frauds:,} frauds in {len(evaluation.periods)} test period(s)"]
    for model in evaluation.models:
        lines.append(model.name)
        lines.extend(f"  {METRICS[metric]:34}{interval_text(model.metrics[metric])}" for metric in shown)
    for comparison in evaluation.comparisons:
        lines.append(f"{comparison.model} to {comparison.baseline}")
        lines.extend(f"  {METRICS[metric]:34}{difference_text(comparison.differences[metric])}" for metric in shown)
    return "\n".join(lines)


def unknowable(rows: LabelledRows) -> list[str]:
    """What the rows cannot tell, in sentences."""
    if rows.origin.source == "files":
        return [
            "The file holds every payment with its outcome. Where earlier decisions had blocked some of them, their "
            "outcome would be missing here, and nothing on this page could make up for it."
        ]
    prevented, drawn = int((rows.weights == 0).sum()), int((rows.weights > 1).sum())
    if not prevented:
        return ["No payment here was blocked without anybody finding out about it: every outcome is known."]
    told = f"{prevented:,} payments were blocked, which never shows whether they were fraud."
    if not drawn:
        return [
            told,
            "No control group was drawn, so nothing stands for them: how a model does among payments that are blocked, "
            "and how much fraud there is in all, is not known. A policy with a `control_group` would tell.",
        ]
    return [
        told,
        f"{drawn:,} others were let through by a control group and stand for them, weighted by the inverse of their "
        f"probability, up to {rows.weights.max():.1f} payments each. What block-lists stopped was never drawn.",
        "Card precision weighs a customer by the payment with the highest score, and cannot leave out on later days "
        "whom a block kept from being found: with a control group it is approximate.",
    ]


def costs_text(cost: CostModel) -> str:
    """The cost model for people: every cost, share and threshold by its name."""
    import msgspec

    values = msgspec.structs.asdict(cost).items()
    return ", ".join(f"{name.replace('_', ' ')} {'none' if value is None else f'{value:g}'}" for name, value in values)
