"""The `fraud` command: thin, and quick to start, since each command imports what it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

import fraud
from fraud.option_kinds import Days, Moment
from fraud.termination import Termination

if TYPE_CHECKING:
    from fraud.pipeline import Period
    from fraud.settings import Settings

EXIT_REJECTS = 1
EXIT_USAGE = 2
_HOME = Path(__file__).resolve().parent.parent
_LABEL_DELAY_DAYS = 7.0

Command = TypeVar("Command", bound=Callable[..., Any])


def _apply(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_source_options = _apply(
    click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."),
    click.option(
        "--mapping",
        "mapping_name",
        default="native",
        show_default=True,
        metavar="NAME|FILE.yaml",
        help="How columns become fields: handbook, native, paysim, sparkov, or a file of your own.",
    ),
    click.option(
        "--label-delay-days",
        type=Days(),
        default=_LABEL_DELAY_DAYS,
        show_default=True,
        help="When a label becomes known after its transaction, where the file does not say.",
    ),
    click.option("--from", "from_ms", type=Moment(), help="Decide from here on; earlier rows warm the state."),
    click.option("--to", "to_ms", type=Moment(), help="Decide up to here, exclusive."),
    click.option("--limit", type=click.IntRange(min=1), help="Stop after this many records of the files."),
)

_fail_on_rejects = click.option("--fail-on-rejects", is_flag=True, help="Exit with 1 if any record was refused.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(fraud.__version__, prog_name="fraud")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path),
    metavar="FILE.yaml",
    help="Settings for any command; the environment wins. Else the file that FRAUD_SETTINGS_FILE names.",
)
def cli(settings_file: Path | None) -> None:
    """Real-time fraud detection: replay transaction files, check policies, simulate customers and fraud."""
    # Read by `command_settings` from the context, so that every command has it without an option of its own.
    del settings_file


@cli.command(short_help="Decide transaction files; write decisions and a report.")
@_source_options
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where to write the results."
)
@click.option(
    "--model",
    "model_name",
    default="default",
    show_default=True,
    metavar="NAME|DIR|none",
    help="A folder under models/, or any folder; none for rules only.",
)
@click.option(
    "--policy",
    "policy_name",
    default="default",
    show_default=True,
    metavar="NAME|FILE.yaml",
    help="A policy under policies/, or a file of your own.",
)
@click.option("--feature-set", "feature_set_name", default="default", show_default=True, metavar="NAME")
@_fail_on_rejects
@click.option("--decisions-jsonl", is_flag=True, help="Write every decision as a message of the topic, too.")
@click.option(
    "--batch-size", type=click.IntRange(min=1, max=65_536), help="Transactions a batch; never changes a result."
)
def replay(
    *,
    files: tuple[Path, ...],
    mapping_name: str,
    label_delay_days: float,
    from_ms: int | None,
    to_ms: int | None,
    limit: int | None,
    out: Path,
    model_name: str,
    policy_name: str,
    feature_set_name: str,
    fail_on_rejects: bool,
    decisions_jsonl: bool,
    batch_size: int | None,
) -> None:
    """Run transaction files through the service and write decisions, alerts and a report."""
    import asyncio
    import dataclasses
    from time import perf_counter

    from fraud.bootstrap import load_artefacts
    from fraud.progress import progress_bar, tell_of_compiling
    from fraud.replay.run import ReplayOptions, relaxed_collection
    from fraud.replay.session import ReplayRequest, ReplaySession
    from fraud.report.console import rejections_text, summary_text
    from fraud.sources.mapping import load_mapping
    from fraud.typical import typical_batch

    settings = _settings()
    if batch_size is not None:
        settings = dataclasses.replace(settings, batch_size=batch_size)
    mapping = load_mapping(mapping_name)
    artefacts = load_artefacts(
        settings,
        feature_set_name,
        mapping.attribute_kinds,
        policy_file=_shipped("policies", policy_name, ".yaml"),
        model_folder=None if model_name == "none" else _shipped("models", model_name, ""),
    )
    options = ReplayOptions(_period(from_ms, to_ms), label_delay_days, limit)
    request = ReplayRequest(files, mapping, out, options, decisions_jsonl)
    session = ReplaySession(settings, artefacts, request, perf_counter)
    tell_of_compiling()
    asyncio.run(typical_batch(settings, artefacts))
    with progress_bar(session.files.total_bytes) as advance, relaxed_collection():
        outcome = asyncio.run(session.run(advance))
    click.echo(summary_text(outcome.summary, outcome.timings), nl=False)
    if settings.uses_development_key:
        click.echo("\ntokens         made with the development key; set FRAUD_TOKEN_KEY for real data")
    click.echo(f"\nreport         {out / 'report.html'}")
    if outcome.refusals:
        click.echo(rejections_text(outcome.refusals, str(out / "rejected.jsonl")), nl=False)
        if fail_on_rejects:
            sys.exit(EXIT_REJECTS)


def _list_features(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        from fraud.features import FEATURE_SETS
        from fraud.features.listing import feature_table_text

        asked = context.get_parameter_source("feature_set_name") is click.core.ParameterSource.COMMANDLINE
        click.echo(feature_table_text((context.params["feature_set_name"],) if asked else FEATURE_SETS), nl=False)
        context.exit()


@cli.command(short_help="Write the feature values of transaction files.")
@click.option(
    "--list",
    is_flag=True,
    expose_value=False,
    callback=_list_features,
    help="Print the table of features, of the set that is named or of all, and leave.",
)
@_source_options
# Eager: --list needs its value, wherever it stands.
@click.option("--feature-set", "feature_set_name", default="default", show_default=True, metavar="NAME", is_eager=True)
@_fail_on_rejects
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE.parquet")
def features(
    *,
    files: tuple[Path, ...],
    mapping_name: str,
    label_delay_days: float,
    from_ms: int | None,
    to_ms: int | None,
    limit: int | None,
    feature_set_name: str,
    fail_on_rejects: bool,
    out: Path,
) -> None:
    """Write the feature values of transaction files, computed by the core that decides."""
    from time import perf_counter

    from fraud.features import feature_set
    from fraud.pipeline import StageTimings
    from fraud.progress import progress_bar, tell_of_compiling
    from fraud.replay.feature_file import write_features
    from fraud.replay.run import ReplayOptions, relaxed_collection
    from fraud.sources.mapping import load_mapping
    from fraud.sources.reader import TransactionFiles

    settings = _settings()
    mapping = load_mapping(mapping_name)
    chosen = feature_set(feature_set_name)
    source = TransactionFiles(files, mapping)
    options = ReplayOptions(_period(from_ms, to_ms), label_delay_days, limit)
    tell_of_compiling()
    with progress_bar(source.total_bytes) as advance, relaxed_collection():
        written = write_features(settings, source, mapping, chosen, options, StageTimings(perf_counter), out, advance)
    repeated = f"; {_records(written.duplicates)} seen before, counted once" if written.duplicates else ""
    rows = "row" if written.rows == 1 else "rows"
    click.echo(f"{written.rows:,} {rows} of {len(chosen.names)} features in {out}{repeated}")
    if written.rejected:
        click.echo(f"{_records(written.rejected)} refused, the first: {written.first_rejected}", err=True)
        click.echo("`fraud replay` names each of them in rejected.jsonl", err=True)
        if fail_on_rejects:
            sys.exit(EXIT_REJECTS)


@cli.group()
def policy() -> None:
    """Check policies before they decide."""


@policy.command(short_help="Say what is wrong with a policy, or show its rules.")
@click.argument("policy_name", metavar="NAME|FILE.yaml")
@click.option("--feature-set", "feature_set_name", default="default", show_default=True, metavar="NAME")
@click.option(
    "--mapping",
    "mapping_name",
    default="native",
    show_default=True,
    metavar="NAME|FILE.yaml",
    help="Whose attributes the policy may read.",
)
def check(policy_name: str, feature_set_name: str, mapping_name: str) -> None:
    """Check a policy, your own file or one that ships: every problem with its place, or the table of its rules."""
    from fraud.bootstrap import condition_names, other_condition_names
    from fraud.features import feature_set
    from fraud.rules.check import check_policy
    from fraud.sources.mapping import load_mapping

    file = _shipped("policies", policy_name, ".yaml")
    features, kinds, settings = feature_set(feature_set_name), load_mapping(mapping_name).attribute_kinds, _settings()
    others = other_condition_names(features, settings, kinds)
    outcome = check_policy(file, condition_names(features, settings, kinds), others)
    click.echo(outcome.text)
    sys.exit(0 if outcome.is_valid else EXIT_USAGE)


def _records(number: int) -> str:
    return f"{number:,} record{'' if number == 1 else 's'}"


def _add_commands() -> None:
    from fraud.live.add_partitions_command import add_partitions_command
    from fraud.live.command import produce_command, tail_command, worker_command
    from fraud.live.dead_letters_command import dead_letters_command
    from fraud.live.load_command import load_command
    from fraud.live.profile_command import profile_command
    from fraud.live.rebuild_command import rebuild_command
    from fraud.live.schemas_command import schemas_command
    from fraud.live.setup_command import init_command
    from fraud.settings_command import settings_command
    from fraud.simulator.command import simulate_command
    from fraud.stack.command import stack_command

    for command in (
        init_command,
        add_partitions_command,
        load_command,
        worker_command,
        produce_command,
        tail_command,
        dead_letters_command,
        rebuild_command,
    ):
        cli.add_command(command)
    cli.add_command(profile_command)
    cli.add_command(schemas_command)
    cli.add_command(settings_command)
    cli.add_command(simulate_command)
    cli.add_command(stack_command)


def _settings() -> Settings:
    from fraud.settings_command import command_settings

    return command_settings()


def _period(from_ms: int | None, to_ms: int | None) -> Period:
    from fraud.pipeline import Period

    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise click.UsageError("--from must be before --to")
    whole = Period()
    return Period(whole.from_ms if from_ms is None else from_ms, whole.to_ms if to_ms is None else to_ms)


def _shipped(what: str, name: str, ending: str) -> Path:
    """A name stands for what ships under it; anything that looks like a path, or exists, is one.

    What is shipped as `policies` or `models` is a file with that ending, or a folder where there is none.
    """
    folder = _HOME / what
    shipped = folder / f"{name}{ending}"
    if name and shipped.exists() and "/" not in name and "." not in name:
        return shipped
    # Nothing at all, as a variable of the shell that is not set, would be the present folder.
    if not name or not Path(name).exists():
        found = [path for path in folder.glob(f"[!.]*{ending}") if path.is_dir() == (not ending)]
        names = ", ".join(sorted(path.name.removesuffix(ending) for path in found)) or "none"
        own = f"a {ending} file" if ending else "a folder"
        raise click.UsageError(
            f"{name or repr(name)}: there is no such file or folder. Shipped {what}: {names}; or name {own}"
        )
    return Path(name)


def main() -> None:
    """Run the command; what a person can mend is one line on standard error and exit code 2."""
    termination = Termination()
    try:
        _add_commands()
        status = cli.main(prog_name="fraud", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing was written under its final name", err=True)
        # What a shell says of a program that was ended by this signal.
        sys.exit(128 + termination.stopped_by)
    except Exception as error:
        if not _is_for_people(error):
            raise
        click.echo(str(error), err=True)
        sys.exit(EXIT_USAGE)
    sys.exit(status if isinstance(status, int) else 0)


def _is_for_people(error: Exception) -> bool:
    from fraud.features import UnknownFeatureSetError
    from fraud.live.brokers import BrokersUnreachableError
    from fraud.live.dynamodb_client import TablesUnreachableError
    from fraud.money import RatesError
    from fraud.replay.outputs import OutputError
    from fraud.rules.problems import PolicyError
    from fraud.scoring.manifest import ModelRefusedError
    from fraud.settings import SettingsError
    from fraud.sources.records import SourceError
    from fraud.stack import StackError

    known = (RatesError, OutputError, PolicyError, ModelRefusedError, SettingsError, SourceError, StackError, OSError)
    return isinstance(error, (*known, BrokersUnreachableError, TablesUnreachableError, UnknownFeatureSetError))
