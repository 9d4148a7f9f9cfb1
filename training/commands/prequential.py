"""`fraud-train prequential`: configurations fitted and judged week after week."""

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
    from training.configuration import FitConfiguration
    from training.labelled_rows import LabelledRows
    from training.prequential import PrequentialRun, SkippedPeriod
    from training.splits import WeeklyProtocol


@click.command(short_help="Judge configurations week after week, fitted anew.")
@rows_options
@click.option(
    "--config",
    "configuration_files",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.yaml",
    help="A configuration to fit anew for each week; any number of them.",
)
@click.option(
    "--baseline",
    "baseline_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE.yaml",
    help="A configuration that the others are compared with.",
)
@click.option(
    "--baseline-dataset",
    type=click.Path(path_type=Path),
    metavar="FILE.parquet",
    help="Baselines learn from this dataset of the same transactions, which may have other features.",
)
@click.option(
    "--label-delay-days",
    "delays",
    type=Days(),
    multiple=True,
    default=(7.0,),
    show_default=True,
    help="Days until a label is known; each one given is judged apart. A dataset has its own.",
)
@click.option("--first-test", type=Moment(), required=True, metavar="TIME", help="Start of the first test week.")
@click.option("--weeks", type=click.IntRange(min=1), default=1, show_default=True, help="Test weeks, one by one.")
@click.option("--learn-from", type=Moment(), metavar="TIME", help="Nothing earlier is learned from.")
@click.option(
    "--removed-days",
    type=Days(),
    help="Leave out customers whose fraud of that many days before the test week, or later, is known; unless given, "
    "a week more than the label delay, as in the Handbook.",
)
@click.option("--keep-compromised", is_flag=True, help="Leave nobody out.")
@judging_options
def prequential(
    *,
    files: tuple[Path, ...],
    mapping_name: str,
    feature_set_name: str,
    configuration_files: tuple[Path, ...],
    baseline_files: tuple[Path, ...],
    baseline_dataset: Path | None,
    delays: tuple[float, ...],
    first_test: int,
    weeks: int,
    learn_from: int | None,
    removed_days: float | None,
    keep_compromised: bool,
    costs_file: Path | None,
    review_capacity: int | None,
    draws: int,
    seed: int,
    out: Path,
) -> None:
    """Slide over the weeks of FILE... (transactions, or one dataset): predict a week, then learn from it."""
    from training.configuration import load_configuration
    from training.dataset import DatasetError
    from training.dataset_file import read_dataset
    from training.evaluation import evaluate
    from training.report.page import Section
    from training.splits import WeeklyProtocol

    with refusals_for_people():
        _check_names((*baseline_files, *configuration_files))
        own = {file.stem: load_configuration(file) for file in configuration_files}
        baselines = {file.stem: load_configuration(file) for file in baseline_files}
        configurations = baselines | own
        baseline_rows = None if baseline_dataset is None else read_dataset(baseline_dataset)
        sections = []
        for delay in delays:
            rows = load_rows(files, mapping_name, feature_set_name, delay)
            delay_days = rows.origin.label_delay_days
            protocol = WeeklyProtocol(
                first_test_ms=first_test,
                count=weeks,
                data_from_ms=int(rows.timestamps_ms.min()) if learn_from is None else learn_from,
                delay_days=delay_days,
                removed_days=None if keep_compromised else (delay_days + 7 if removed_days is None else removed_days),
            )
            if baseline_rows is None:
                run = _run(rows, configurations, protocol)
            else:
                run = _run_apart(rows, own, baseline_rows, baselines, protocol)
            title = f"Labels known after {delay_days:g} days"
            if not run.periods:
                raise DatasetError(f"{title}: every test week was skipped, the first because {run.skipped[0].reason}")
            options = evaluation_options(
                rows, costs_file, review_capacity, draws, seed, [file.stem for file in baseline_files]
            )
            found = evaluate(run.periods, options)
            sections.append(Section(title, found, [_skipped_text(period) for period in run.skipped]))
            click.echo(f"{title}: {metrics_text(found)}")
            if rows.origin.label_delay_days != delay:
                break
        described = [
            ("test weeks", f"{weeks}, the first from {_text(first_test)}"),
            ("left out", _left_out(removed_days, keep_compromised=keep_compromised)),
            *((name, _described(configuration)) for name, configuration in configurations.items()),
            ("bootstrap", f"{draws} draws of customers, seed {seed}"),
            ("costs", costs_text(options.cost)),
        ]
        write_evaluations(out, "Week after week", files, rows, sections, described, unknowable(rows))
    click.echo(f"written to {out}")


def _check_names(files: tuple[Path, ...]) -> None:
    names = [file.stem for file in files]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise click.UsageError(f"two configurations are named {twice!r}: models are told apart by the files' names")


def _run(rows: LabelledRows, configurations: dict[str, FitConfiguration], protocol: WeeklyProtocol) -> PrequentialRun:
    from dataclasses import replace

    from training.prequential import prequential as run_prequential

    splits = {
        name: (
            configuration,
            replace(protocol, train_days=configuration.train_days).splits(),
        )
        for name, configuration in configurations.items()
    }
    return run_prequential(rows, splits, rows.origin.label_delay_days, lambda line: click.echo(line, err=True))


def _run_apart(
    rows: LabelledRows,
    own: dict[str, FitConfiguration],
    baseline_rows: LabelledRows,
    baselines: dict[str, FitConfiguration],
    protocol: WeeklyProtocol,
) -> PrequentialRun:
    from training.dataset import DatasetError
    from training.prequential import side_by_side

    if baseline_rows.origin.label_delay_days != rows.origin.label_delay_days:
        raise DatasetError(
            f"the baselines' dataset was made with a label delay of {baseline_rows.origin.label_delay_days:g} days, "
            f"the transactions are judged with {rows.origin.label_delay_days:g}: make it again"
        )
    return side_by_side(_run(baseline_rows, baselines, protocol), _run(rows, own, protocol))


def _text(timestamp_ms: int) -> str:
    from fraud.transaction import timestamp_to_text

    return timestamp_to_text(timestamp_ms)[:10]


def _left_out(removed_days: float | None, *, keep_compromised: bool) -> str:
    if keep_compromised:
        return "nobody"
    reach = "a week and the label delay" if removed_days is None else f"{removed_days:g} days"
    return f"customers whose fraud of {reach} before the test week, or later, was known before the day"


def _described(configuration: FitConfiguration) -> str:
    period = "all earlier data" if configuration.train_days is None else f"{configuration.train_days:g} days"
    settings = ", ".join(f"{name} {value}" for name, value in configuration.described().items())
    return f"{configuration.estimator.__struct_config__.tag} on {period}: {settings}, seed {configuration.seed}"


def _skipped_text(period: SkippedPeriod) -> str:
    return f"{_text(period.test_from_ms)}: {period.reason}"
