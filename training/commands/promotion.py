"""`fraud-train models compare` and `promote`: a model against the champion, and its way to deciding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraud.option_kinds import Days, Moment
from training.commands.judging import unknowable
from training.commands.models import author, author_options, check_usable, chosen_registry, registry_option, subject_of
from training.commands.options import load_rows, now_text, refusals_for_people, rows_options

if TYPE_CHECKING:
    from fraud.rules.policy import Policy
    from fraud.rules.values import Kind
    from fraud.scoring.registry import Registry
    from training.against_champion import AgainstChampion, Contest, ContestPeriod
    from training.evaluation_file import KeptEvaluation
    from training.labelled_rows import LabelledRows
    from training.registry import Subject

# A gate that has failed is not a mistake of whoever called: scripts tell the two apart.
FAILED_EXIT_CODE = 3


@click.command(short_help="Judge a model against the champion.")
@click.argument("name")
@rows_options
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
@click.option("--draws", type=click.IntRange(min=1), default=1_000, show_default=True, help="Draws of the bootstrap.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the bootstrap.")
@registry_option
def compare(
    *,
    name: str,
    files: tuple[Path, ...],
    mapping_name: str,
    feature_set_name: str,
    label_delay_days: float,
    from_ms: int,
    to_ms: int,
    removed_days: float,
    draws: int,
    seed: int,
    folder: Path | None,
) -> None:
    """Judge the model NAME against the champion on a period of FILE... (transactions, or one dataset).

    The evaluation and a model card are kept in the model's folder; `promote` rests on the newest. The exit code is 3
    when a gate fails.
    """
    from training.against_champion import ContestPeriod
    from training.policy_inputs import needed_inputs

    if not from_ms < to_ms:
        raise click.UsageError("--from must be before --to")
    with refusals_for_people():
        registry_path = chosen_registry(folder)
        inputs = needed_inputs(active_policy()[0])
        rows = load_rows(files, mapping_name, feature_set_name, label_delay_days, to_ms=to_ms, inputs=inputs)
        period = ContestPeriod(from_ms, to_ms, last_known_ms(rows, to_ms), removed_days)
        kept = judged_against_champion(registry_path, name, rows, period, draws=draws, seed=seed)
    click.echo(comparison_text(kept.content))
    click.echo(f"kept in {registry_path / name}, evaluation {kept.evaluation_hash[:16]}")
    if kept.content.failed:
        raise SystemExit(FAILED_EXIT_CODE)


def last_known_ms(rows: LabelledRows, to_ms: int) -> int:
    """When the last label of the rows before `to_ms` became known, or that time itself."""
    return max(int(rows.label_known_at_ms[rows.timestamps_ms < to_ms].max(initial=0)), to_ms)


def judged_against_champion(
    registry_path: Path, name: str, rows: LabelledRows, period: ContestPeriod, *, draws: int, seed: int
) -> KeptEvaluation:
    """Judge the model and keep evaluation and card in its folder. Raises what reading and judging raise."""
    from time import perf_counter

    from fraud.scoring.model import read_manifest
    from training.against_champion import against_champion
    from training.evaluation import EvaluationOptions
    from training.evaluation_file import hashed_evaluation, keep_evaluation
    from training.folder import replace_file
    from training.metrics.cost import CostModel
    from training.model_card import CARD_FILE, model_card

    contest = contest_of(registry_path, name)
    options = EvaluationOptions(10**rows.origin.base_exponent, CostModel(), None, seed, draws=draws)
    found = against_champion(rows, contest, period, options, perf_counter, now_text())
    model_folder = registry_path / name
    kept = hashed_evaluation(found)
    card = model_card(read_manifest(model_folder), found, kept.evaluation_hash, unknowable(rows))
    replace_file(model_folder / CARD_FILE, card.encode())
    # Last, so that who finds it finds the card too.
    keep_evaluation(model_folder, kept)
    return kept


def contest_of(registry_path: Path, name: str) -> Contest:
    """The model and the champion, loaded for the feature set of the settings, with the active policy.

    Raises `ModelRefusedError`, `PolicyError`, `RegistryError`.
    """
    from fraud.features import feature_set
    from fraud.scoring.model import load_model
    from fraud.scoring.registry import champion_name, check_model_name, load_champion
    from fraud.settings import load_settings
    from training.against_champion import Contest
    from training.registry import RegistryError

    settings = load_settings()
    check_model_name(name, str(registry_path))
    champion = champion_name(registry_path)
    if champion == name:
        raise RegistryError(f"{name} is the champion already: there is nobody to compare it with")
    features = feature_set(settings.feature_set)
    policy, kinds = active_policy()
    return Contest(
        candidate_name=name,
        candidate=load_model(registry_path / name, features.name, features.schema_hash),
        champion_name=champion,
        champion=load_champion(registry_path, features.name, features.schema_hash),
        policy=policy,
        kinds=kinds,
    )


def active_policy() -> tuple[Policy, dict[str, Kind]]:
    """The policy of the settings, and the type of every name that its conditions may read. Raises `PolicyError`."""
    from fraud.bootstrap import condition_names, policy_for
    from fraud.features import feature_set
    from fraud.settings import load_settings

    settings = load_settings()
    features = feature_set(settings.feature_set)
    return policy_for(settings, features, {}, settings.policy_file), condition_names(features, settings, {})


def comparison_text(found: AgainstChampion) -> str:
    """Metrics, differences and gates for a terminal."""
    from training.evaluation import METRICS
    from training.report.page import difference_text, interval_text

    lines = [
        f"{found.rows:,} payments with {found.frauds:,} frauds, {found.period_from} to {found.period_to}",
        f"{'':34}{found.candidate.name:32}{found.champion.name + ' (champion)':44}difference",
    ]
    lines.extend(
        f"{title:34}{interval_text(found.metrics[metric]):32}{interval_text(found.champion_metrics[metric]):44}"
        f"{difference_text(found.differences[metric])}"
        for metric, title in METRICS.items()
    )
    lines.extend(
        f"{'passed' if gate.passed else 'FAILED'}  {gate.name.replace('_', ' '):20}{gate.told}" for gate in found.gates
    )
    return "\n".join(lines)


@click.command(short_help="Let a model decide.")
@click.argument("name")
@author_options
@registry_option
def promote(*, name: str, folder: Path | None, who: str | None, why: str) -> None:
    """Let the model NAME decide; the champion before it is archived. Workers follow within seconds.

    Refused without an evaluation against the present champion at the active policy, and when a gate has failed.
    """
    from training.registry import promoted
    from training.registry_file import change_registry

    with refusals_for_people():
        registry_path = chosen_registry(folder)
        policy, _ = active_policy()

        def step(registry: Registry) -> Registry:
            subject, first = promotable(registry_path, registry, name, policy)
            after = promoted(registry, subject, first, author(who, why))
            check_usable(registry_path, after)
            return after

        change_registry(registry_path, step)
    click.echo(f"{name} decides from now on")


def promotable(registry_path: Path, registry: Registry, name: str, policy: Policy) -> tuple[Subject, Subject | None]:
    """The model with the evaluation that its promotion rests on, and what decides while nothing is registered.

    Raises `RegistryError` where the newest evaluation is of another model, champion or policy, or a gate failed.
    """
    from fraud.scoring.registry import FIRST_CHAMPION
    from training.evaluation_file import kept_evaluations
    from training.registry import refuse_outdated

    subject = subject_of(registry_path, name)
    first = None
    if registry.champion is None and name != FIRST_CHAMPION:
        first = subject_of(registry_path, FIRST_CHAMPION)
    kept = kept_evaluations(registry_path / name)
    if not kept:
        return subject, first
    newest = kept[-1]
    champion_hash = registry.champion.content_hash if registry.champion is not None else first and first.content_hash
    refuse_outdated(newest.content, subject, champion_hash, policy.content_hash)
    return subject._replace(evaluation_hash=newest.evaluation_hash), first
