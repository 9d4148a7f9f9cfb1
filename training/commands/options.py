"""What the commands of `fraud-train` share: options, times, loading of rows, and refusals for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from training.labelled_rows import LabelledRows

Command = TypeVar("Command", bound=Callable[..., Any])


def now_text() -> str:
    """The time now, RFC 3339 in UTC, fine enough to put in order what a script does within a second."""
    # The shell is the caller that owns the clock.
    return datetime.now(UTC).isoformat(timespec="microseconds")  # noqa: TID251


def rows_options(command: Command) -> Command:
    """FILE..., --mapping, --feature-set: where rows come from."""
    return _with_rows(command, files_required=True)


def rows_or_history_options(command: Command) -> Command:
    """FILE... or --from-history, --mapping, --feature-set: where rows come from."""
    history = click.option("--from-history", is_flag=True, help="From what the service decided, instead of FILE...")
    return _with_rows(history(command), files_required=False)


def _with_rows(command: Command, *, files_required: bool) -> Command:
    for option in (
        click.option(
            "--feature-set",
            "feature_set_name",
            default="default",
            show_default=True,
            help="Features to compute; a dataset has its own.",
        ),
        click.option(
            "--mapping",
            "mapping_name",
            default="native",
            show_default=True,
            help="Column mapping: a name or a file; a dataset needs none.",
        ),
        click.argument("files", nargs=-1, required=files_required, type=click.Path(path_type=Path), metavar="FILE..."),
    ):
        command = option(command)
    return command


class RefusedError(click.ClickException):
    """Something that a person can mend: one line on standard error, exit code 2."""

    exit_code = 2


@contextmanager
def refusals_for_people() -> Iterator[None]:
    """Turn every error that a person can mend into one line."""
    from fraud.features import UnknownFeatureSetError
    from fraud.money import RatesError
    from fraud.replay.outputs import OutputError
    from fraud.rules.problems import PolicyError
    from fraud.scoring.manifest import ModelRefusedError
    from fraud.settings import SettingsError
    from fraud.sources import SourceError
    from training.configuration import ConfigurationError
    from training.dataset import DatasetError
    from training.registry import RegistryError

    try:
        yield
    except (
        ConfigurationError,
        DatasetError,
        ModelRefusedError,
        OutputError,
        PolicyError,
        RatesError,
        RegistryError,
        SettingsError,
        SourceError,
        UnknownFeatureSetError,
        OSError,
    ) as error:
        raise RefusedError(str(error)) from error


def load_rows(
    files: tuple[Path, ...],
    mapping_name: str,
    feature_set_name: str,
    label_delay_days: float,
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
    inputs: frozenset[str] = frozenset(),
) -> LabelledRows:
    """Rows of one dataset, or of transaction files replayed through the core with a progress bar.

    Rows before `from_ms` warm the state, `to_ms` is exclusive; a dataset is taken whole. Named `inputs` of rules are
    kept with the rows. Raises what reading raises.
    """
    import math
    from time import perf_counter

    from fraud.pipeline import Period
    from fraud.progress import progress_bar, tell_of_compiling
    from fraud.replay.run import relaxed_collection
    from fraud.settings import load_settings
    from training.building import FilesRequest, ReplayedFiles, rows_of_blocks
    from training.dataset import DatasetError
    from training.dataset_file import dataset_origin, read_dataset

    datasets = [file for file in files if file.suffix == ".parquet" and dataset_origin(file) is not None]
    if datasets and len(files) == 1:
        return read_dataset(datasets[0], inputs)
    if datasets:
        raise DatasetError(f"{datasets[0]} is a dataset, which is taken alone: name one dataset, or transaction files")
    period = Period(-math.inf if from_ms is None else from_ms, math.inf if to_ms is None else to_ms)
    request = FilesRequest(files, mapping_name, feature_set_name, label_delay_days, period, inputs)
    replayed = ReplayedFiles(load_settings(), request, perf_counter)
    tell_of_compiling()
    try:
        with progress_bar(replayed.total_bytes) as advance, relaxed_collection():
            return rows_of_blocks(replayed.origin, replayed.blocks(advance), inputs)
    finally:
        # Also where every record was refused, and nothing else says why nothing is left.
        say_refused(replayed.rejected, replayed.first_rejected)


def say_refused(count: int, first: str) -> None:
    """Say on standard error that records were left out, and why the first of them."""
    if count:
        records = "record was" if count == 1 else "records were"
        click.echo(f"{count:,} {records} refused and not learned from, first {first}", err=True)
