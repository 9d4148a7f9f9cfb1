"""`fraud-train evaluate`: models in folders, judged on a period."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraud.option_kinds import Days, Moment
from training.commands.judging import (
    costs_text,
    evaluation_options,
    judging_options,
    metrics_text,
    unknowable,
    write_evaluations,
)
from training.commands.options import load_rows, refusals_for_people, rows_options

if TYPE_CHECKING:
    from fraud.scoring.model import Model
    from training.evaluation import JudgedPeriod
    from training.labelled_rows import LabelledRows


@click.command(short_help="Judge models side by side on a period.")
@rows_options
@click.option("--model", "folders", multiple=True, required=True, type=click.Path(path_type=Path), metavar="DIR")
@click.option("--baseline", "baselines", multiple=True, metavar="NAME", help="Model that the others are compared with.")
@click.option(
    "--label-delay-days",
    type=Days(),
    default=7.0,
    show_default=True,
    help="Days until a label is known; a dataset has its own.",
)
@click.option("--from", "from_ms", type=Moment(), required=True, metavar="TIME", help="First moment to judge.")
@click.option("--to", "to_ms", type=Moment(), required=True, metavar="TIME", help="End, exclusive.")
@click.option(
    "--removed-days",
    type=Days(),
    default=14.0,
    show_default=True,
    help="Leave out customers whose fraud of that many days before --from, or later, is known.",
)
@click.option("--keep-compromised", is_flag=True, help="Leave nobody out.")
@judging_options
def evaluate(
    *,
    files: tuple[Path, ...],
    mapping_name: str,
    feature_set_name: str,
    folders: tuple[Path, ...],
    baselines: tuple[str, ...],
    label_delay_days: float,
    from_ms: int,
    to_ms: int,
    removed_days: float,
    keep_compromised: bool,
    costs_file: Path | None,
    review_capacity: int | None,
    draws: int,
    seed: int,
    out: Path,
) -> None:
    """Judge models on a period of FILE... (transactions, or one dataset), side by side, with intervals."""
    from fraud.transaction import timestamp_to_text
    from training.evaluation import evaluate as evaluated
    from training.metrics.judged import DAY_MS
    from training.report.page import Section

    if not from_ms < to_ms:
        raise click.UsageError("--from must be before --to")
    with refusals_for_people():
        rows = load_rows(files, mapping_name, feature_set_name, label_delay_days, to_ms=to_ms)
        models = loaded_models(rows, folders, from_ms)
        unknown = sorted(set(baselines) - models.keys())
        if unknown:
            raise click.UsageError(f"--baseline {unknown[0]}: there is no such model; there are {', '.join(models)}")
        compromised_from_ms = None if keep_compromised else from_ms - round(removed_days * DAY_MS)
        options = evaluation_options(rows, costs_file, review_capacity, draws, seed, baselines)
        period = judged_period(rows, models, from_ms, to_ms, compromised_from_ms)
        found = evaluated([period], options)
        protocol = [
            ("judged", f"{timestamp_to_text(from_ms)} to {timestamp_to_text(to_ms)}, end exclusive"),
            ("label delay", f"{rows.origin.label_delay_days:g} days"),
            (
                "left out",
                "nobody"
                if keep_compromised
                else f"customers whose fraud of the {removed_days:g} days before, or later, was known before the day",
            ),
            *((name, f"content {model.content_hash[:12]}") for name, model in models.items()),
            ("bootstrap", f"{draws} draws of customers, seed {seed}"),
            ("costs", costs_text(options.cost)),
        ]
        write_evaluations(
            out, "Models compared", files, rows, [Section("Judged period", found)], protocol, unknowable(rows)
        )
    click.echo(metrics_text(found))
    click.echo(f"written to {out}")


def loaded_models(rows: LabelledRows, folders: tuple[Path, ...], from_ms: int) -> dict[str, Model]:
    """The models by name, checked against the rows' features.

    Raises `ModelRefusedError`, and `DatasetError` for a model that has learned from the judged period.
    """
    from fraud.scoring.model import load_model
    from training.against_champion import refuse_learned

    models: dict[str, Model] = {}
    for folder in folders:
        model = load_model(folder, rows.origin.feature_set_name, rows.origin.feature_set_hash)
        name = model.name if model.name not in models else str(folder)
        refuse_learned(str(folder), model, from_ms)
        models[name] = model
    return models


def judged_period(
    rows: LabelledRows, models: dict[str, Model], from_ms: int, to_ms: int, compromised_from_ms: int | None
) -> JudgedPeriod:
    """The rows of the period with every model's scores. Raises `DatasetError` without both classes."""
    from training.dataset import DatasetError
    from training.evaluation import JudgedPeriod
    from training.exact_scores import unrounded_scores

    positions = rows.test_positions(from_ms, to_ms, compromised_from_ms=compromised_from_ms)
    judged = rows.judged(positions)
    if not judged.has_both_classes:
        raise DatasetError(
            f"of {len(judged)} labelled rows in the period {int(judged.labels.sum())} are fraud: nothing can be judged"
        )
    scores = {name: unrounded_scores(model, rows.matrix[positions]) for name, model in models.items()}
    return JudgedPeriod(from_ms, judged, scores)
