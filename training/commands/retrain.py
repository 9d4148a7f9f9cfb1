"""`fraud-train retrain`: the scheduled job from new labels to a model in shadow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from fraud.option_kinds import Days, Moment, moment_ms
from training.commands.fit import MODEL_KINDS, chosen_configuration
from training.commands.from_history import HistoryRequest, history_rows
from training.commands.models import author, chosen_registry, registry_option, subject_of
from training.commands.options import load_rows, now_text, refusals_for_people, rows_or_history_options
from training.commands.promotion import FAILED_EXIT_CODE, comparison_text, contest_of, judged_against_champion

if TYPE_CHECKING:
    from fraud.scoring.manifest import ModelKind
    from training.configuration import FitConfiguration
    from training.evaluation_file import KeptEvaluation
    from training.fitting import FitPeriods
    from training.labelled_rows import LabelledRows


class Source(NamedTuple):
    """Where rows come from: files, or history where there are none. `as_of_ms`: what is known then counts."""

    files: tuple[Path, ...]
    mapping_name: str
    feature_set_name: str
    label_delay_days: float
    maturity_days: float
    as_of_ms: int


class Windows(NamedTuple):
    """How many days are judged, and how many before them are learned from; None for all."""

    judged_days: float
    train_days: float | None


@click.command(short_help="The scheduled job: fit on new labels, judge, shadow.")
@rows_or_history_options
@click.option(
    "--label-delay-days",
    type=Days(),
    default=7.0,
    show_default=True,
    help="When a label becomes known after its transaction, where the file does not say.",
)
@click.option(
    "--maturity-days",
    type=Days(),
    help="Age at which a row without a fraud label counts as legitimate; the label delay unless given.",
)
@click.option("--as-of", "as_of_ms", type=Moment(), metavar="TIME", help="What was known then counts; now.")
@click.option(
    "--judged-days",
    type=click.FloatRange(min=1),
    default=14.0,
    show_default=True,
    help="Judge on so many of the last mature days.",
)
@click.option("--train-days", type=click.FloatRange(min=1), help="Learn from so many days before; all unless given.")
@click.option(
    "--config",
    "configuration_file",
    type=click.Path(path_type=Path),
    metavar="FILE.yaml",
    help="Estimator, sampling, calibration and search; see docs/learning.md.",
)
@click.option("--model-kind", type=click.Choice(MODEL_KINDS), default="boosting", show_default=True)
@click.option("--seed", type=click.IntRange(min=0, max=2**32 - 1), help="Seed of everything random, 0 unless given.")
@click.option("--draws", type=click.IntRange(min=1), default=1_000, show_default=True, help="Draws of the bootstrap.")
@click.option("--who", metavar="NAME", help="Who does it; the user of this machine.")
@registry_option
def retrain(
    *,
    files: tuple[Path, ...],
    from_history: bool,
    mapping_name: str,
    feature_set_name: str,
    label_delay_days: float,
    maturity_days: float | None,
    as_of_ms: int | None,
    judged_days: float,
    train_days: float | None,
    configuration_file: Path | None,
    model_kind: ModelKind,
    seed: int | None,
    draws: int,
    who: str | None,
    folder: Path | None,
) -> None:
    """Fit on the labels known by now, judge against the champion, and let a model that passes score in shadow.

    Run it by a timer: a second run of the same day finds what the first has done, and goes on where it was killed.
    Promotion is a person's: fraud-train models promote. The exit code is 3 when a gate fails.
    """
    from time import time_ns

    if from_history == bool(files):
        raise click.UsageError("give either FILE... or --from-history")
    source = Source(
        files,
        mapping_name,
        feature_set_name,
        label_delay_days,
        label_delay_days if maturity_days is None else maturity_days,
        time_ns() // 1_000_000 if as_of_ms is None else as_of_ms,
    )
    with refusals_for_people():
        registry_path = chosen_registry(folder)
        rows = known_rows_of(source)
        configuration = chosen_configuration(configuration_file, model_kind, seed)
        periods = periods_of(registry_path, rows, source, Windows(judged_days, train_days))
        name = fitted_name(registry_path, rows, configuration, periods)
        kept = evaluation_of(registry_path, name, rows, periods, source.as_of_ms, draws)
        if kept is None:
            click.echo(f"{name} decides already")
            return
        click.echo(comparison_text(kept.content))
        click.echo(entered(registry_path, name, kept, who))
    if kept.content.failed:
        raise SystemExit(FAILED_EXIT_CODE)


def known_rows_of(source: Source) -> LabelledRows:
    """The rows with the labels as known at `source.as_of_ms`. Raises what reading raises."""
    import math

    from fraud.settings import load_settings
    from training.commands.promotion import active_policy
    from training.policy_inputs import needed_inputs

    inputs = needed_inputs(active_policy()[0])
    if not source.files:
        request = HistoryRequest(
            source.feature_set_name, -math.inf, source.as_of_ms, source.as_of_ms, source.maturity_days
        )
        return history_rows(load_settings(), request, inputs)
    rows = load_rows(
        source.files,
        source.mapping_name,
        source.feature_set_name,
        source.label_delay_days,
        to_ms=source.as_of_ms,
        inputs=inputs,
    )
    return rows.known_at(source.as_of_ms, source.maturity_days)


def periods_of(registry_path: Path, rows: LabelledRows, source: Source, windows: Windows) -> FitPeriods:
    """What is learned from and judged on that day. Raises `DatasetError`, `ModelRefusedError`."""
    from fraud.scoring.model import read_manifest
    from fraud.scoring.registry import champion_name
    from training.retraining import retraining_periods

    champion = read_manifest(registry_path / champion_name(registry_path))
    return retraining_periods(
        source.as_of_ms,
        maturity_days=source.maturity_days,
        judged_days=windows.judged_days,
        train_days=windows.train_days,
        first_row_ms=int(rows.timestamps_ms.min()),
        champion_learned_until_ms=moment_ms(champion.training.period_to),
    )


def fitted_name(registry_path: Path, rows: LabelledRows, configuration: FitConfiguration, periods: FitPeriods) -> str:
    """The name of the model of that day, which is fitted unless it is there."""
    from fraud.scoring.model import MANIFEST_FILE
    from training.fitting import fit_and_write
    from training.retraining import retrained_name

    name = retrained_name(rows, configuration, periods)
    if (registry_path / name / MANIFEST_FILE).exists():
        click.echo(f"{name} is there already")
        return name
    fit_and_write(
        rows, configuration, periods, registry_path / name, now_text(), lambda line: click.echo(line, err=True)
    )
    click.echo(f"{name} is fitted")
    return name


def evaluation_of(
    registry_path: Path, name: str, rows: LabelledRows, periods: FitPeriods, as_of_ms: int, draws: int
) -> KeptEvaluation | None:
    """The evaluation of that day against the present champion, kept or made now; None for the champion itself."""
    from fraud.scoring.registry import champion_name
    from training.against_champion import ContestPeriod
    from training.evaluation_file import kept_evaluations

    if champion_name(registry_path) == name:
        return None
    contest = contest_of(registry_path, name)
    wanted = (contest.candidate.content_hash, contest.champion.content_hash, contest.policy.content_hash)
    kept = kept_evaluations(registry_path / name)
    if kept:
        newest = kept[-1].content
        if (newest.candidate.content_hash, newest.champion.content_hash, newest.policy.content_hash) == wanted:
            return kept[-1]
    period = ContestPeriod(periods.train_to_ms, periods.validate_to_ms, as_of_ms, removed_days=None)
    return judged_against_champion(registry_path, name, rows, period, draws=draws, seed=0)


def entered(registry_path: Path, name: str, kept: KeptEvaluation, who: str | None) -> str:
    """Enter the model into the registry as what the gates make it, and say so. Raises `RegistryError`."""
    from fraud.scoring.registry import Registry, read_registry
    from training.registry import registered
    from training.registry_file import change_registry
    from training.retraining import shadowed_alone

    if read_registry(registry_path).state_of(name) == "archived":
        return f"{name} was archived by a person, and stays so"
    subject = subject_of(registry_path, name)._replace(evaluation_hash=kept.evaluation_hash)

    def step(registry: Registry) -> Registry:
        if kept.content.failed:
            return registered(registry, subject, author(who, "retrained, and failed a gate"))
        return shadowed_alone(registry, subject, author(who, "retrained, and passed every gate"))

    change_registry(registry_path, step)
    if kept.content.failed:
        return f"{name} stays a candidate"
    return f"{name} scores in shadow; to let it decide: fraud-train models promote {name} --why TEXT"
