"""`fraud-train fit`: a model from transaction files or a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraud.option_kinds import Days, Moment
from training.commands.options import load_rows, now_text, refusals_for_people, rows_options

if TYPE_CHECKING:
    from fraud.scoring.manifest import Manifest, ModelKind
    from training.configuration import FitConfiguration

MODEL_KINDS = ("logistic_regression", "random_forest", "boosting")


@click.command(short_help="Fit a model and write its folder.")
@rows_options
@click.option(
    "--label-delay-days",
    type=Days(),
    default=7.0,
    show_default=True,
    help="Days until a label is known; a dataset has its own.",
)
@click.option(
    "--maturity-days",
    type=Days(),
    help="Age at which a row without a fraud label counts as legitimate; the label delay unless given.",
)
@click.option("--train-from", type=Moment(), metavar="TIME", required=True, help="First moment to learn from.")
@click.option(
    "--train-to",
    type=Moment(),
    metavar="TIME",
    required=True,
    help="End of learning, exclusive; only labels known by then count.",
)
@click.option(
    "--validate-to",
    type=Moment(),
    metavar="TIME",
    required=True,
    help="End of the period that the model is judged on, exclusive.",
)
@click.option(
    "--config",
    "configuration_file",
    type=click.Path(path_type=Path),
    metavar="FILE.yaml",
    help="Estimator, sampling, calibration and search; see docs/learning.md.",
)
@click.option("--model-kind", type=click.Choice(MODEL_KINDS), default="boosting", show_default=True)
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), help="Seed of everything random, 0 unless given.")
@click.option(
    "--out", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write, such as models/NAME."
)
def fit(
    *,
    files: tuple[Path, ...],
    mapping_name: str,
    feature_set_name: str,
    label_delay_days: float,
    maturity_days: float | None,
    train_from: int,
    train_to: int,
    validate_to: int,
    configuration_file: Path | None,
    model_kind: ModelKind,
    seed: int | None,
    folder: Path,
) -> None:
    """Fit a model on FILE... (transactions, or one dataset) and write it, with its manifest, as a folder.

    Ctrl-C during a search ends it with the best settings so far.
    """
    from training.fitting import FitPeriods, fit_and_write

    if not train_from < train_to < validate_to:
        raise click.UsageError(
            "the periods must follow each other: --train-from before --train-to before --validate-to"
        )
    with refusals_for_people():
        configuration = chosen_configuration(configuration_file, model_kind, seed)
        rows = load_rows(files, mapping_name, feature_set_name, label_delay_days, from_ms=train_from, to_ms=validate_to)
        maturity = rows.origin.label_delay_days if maturity_days is None else maturity_days
        periods = FitPeriods(train_from, train_to, validate_to, maturity)
        written = fit_and_write(
            rows, configuration, periods, folder, now_text(), lambda line: click.echo(line, err=True)
        )
    if written.searched is not None and written.searched.was_interrupted:
        click.echo(f"interrupted: fitted with the best of {len(written.searched.trials)} finished trials", err=True)
    click.echo(metrics_table(written.manifest, folder))


def chosen_configuration(file: Path | None, model_kind: ModelKind, seed: int | None) -> FitConfiguration:
    """The configuration of a file, or a kind's default; a seed given here wins. Raises `ConfigurationError`."""
    import msgspec

    from training.configuration import DEFAULT_CONFIGURATIONS, FitConfiguration, load_configuration

    if file is None:
        return FitConfiguration(DEFAULT_CONFIGURATIONS[model_kind], 0 if seed is None else seed)
    configuration = load_configuration(file)
    return configuration if seed is None else msgspec.structs.replace(configuration, seed=seed)


def metrics_table(manifest: Manifest, folder: Path) -> str:
    """What was learned from and how it did, for a terminal."""
    training = manifest.training
    lines = [
        f"{manifest.name}: {manifest.kind} on {len(manifest.feature_names)} features of {manifest.feature_set_name!r}",
        f"trained on {training.row_count:,} transactions with {training.fraud_count:,} known frauds, "
        f"{training.period_from[:10]} to {training.period_to[:10]}; judged until {training.validation_to[:10]}",
    ]
    for name, value in manifest.metrics.items():
        shown = "no value: one class only" if value is None else f"{value:.4f}"
        lines.append(f"  {name.replace('_', ' '):38} {shown}")
    for name, threshold in manifest.thresholds.items():
        lines.append(f"  {'threshold for ' + name.replace('_', ' '):38} {threshold:.6f}")
    lines.append(f"written to {folder}, content {manifest.content_hash[:12]}")
    return "\n".join(lines)
