"""The command `fraud-train`: the shell around fitting. It reads the clock, the files and the terminal.

Nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fraud.features.table import FeatureSet
    from fraud.replay.feature_blocks import FeatureBlock
    from fraud.scoring.manifest import Manifest, ModelKind
    from training.dataset import Dataset

MODEL_KINDS = ("logistic_regression", "random_forest", "boosting")


def moment_ms(text: str) -> int:
    """UTC milliseconds of a date (midnight UTC) or an RFC 3339 time with zone. Raises `click.BadParameter`."""
    from fraud.transaction import timestamp_to_ms

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not a date such as 2026-03-01 or a time such as 2026-03-01T12:00:00Z"
        ) from error
    if moment.tzinfo is None:
        # A date alone has no hour to be wrong about: days are counted in UTC.
        if ":" in text:
            raise click.BadParameter(f"{text!r} has no time zone: add Z for UTC")
        moment = moment.replace(tzinfo=UTC)
    return timestamp_to_ms(moment)


@dataclass(frozen=True)
class FitRequest:
    """What `fraud-train fit` was asked for.

    Times are UTC milliseconds, `period_to_ms` and `validation_to_ms` exclusive.
    """

    paths: tuple[Path, ...]
    mapping_name: str
    feature_set_name: str
    label_delay_days: float
    period_from_ms: int
    period_to_ms: int
    validation_to_ms: int
    model_kind: ModelKind
    seed: int
    folder: Path


@click.group()
def main() -> None:
    """Fit and judge models on the features that the service computes."""


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--mapping", "mapping_name", default="native", show_default=True, help="Column mapping: a name or a file."
)
@click.option("--feature-set", "feature_set_name", default="default", show_default=True, help="Features to learn from.")
@click.option(
    "--label-delay-days",
    type=click.FloatRange(min=0),
    default=7.0,
    show_default=True,
    help="Days until a label is known.",
)
@click.option("--train-from", type=moment_ms, metavar="TIME", required=True, help="First moment to learn from.")
@click.option(
    "--train-to",
    type=moment_ms,
    metavar="TIME",
    required=True,
    help="End of learning, exclusive; only labels known by then count.",
)
@click.option(
    "--validate-to",
    type=moment_ms,
    metavar="TIME",
    required=True,
    help="End of the period that the model is judged on, exclusive.",
)
@click.option("--model-kind", type=click.Choice(MODEL_KINDS), default="boosting", show_default=True)
@click.option(
    "--seed", type=click.IntRange(min=0, max=2**32 - 1), default=0, show_default=True, help="Seed of everything random."
)
@click.option(
    "--out", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write, such as models/NAME."
)
def fit(
    files: tuple[Path, ...],
    mapping_name: str,
    feature_set_name: str,
    label_delay_days: float,
    train_from: int,
    train_to: int,
    validate_to: int,
    model_kind: ModelKind,
    seed: int,
    folder: Path,
) -> None:
    """Fit a model on FILES and write it, with its manifest, as a folder."""
    if not train_from < train_to < validate_to:
        raise click.UsageError(
            "the periods must follow each other: --train-from before --train-to before --validate-to"
        )
    request = FitRequest(
        paths=files,
        mapping_name=mapping_name,
        feature_set_name=feature_set_name,
        label_delay_days=label_delay_days,
        period_from_ms=train_from,
        period_to_ms=train_to,
        validation_to_ms=validate_to,
        model_kind=model_kind,
        seed=seed,
        folder=folder,
    )
    # The shell is the caller that owns the clock.
    created_at = datetime.now(UTC).isoformat(timespec="seconds")  # noqa: TID251
    with _refusals_for_people():
        manifest = fit_and_write(request, created_at)
    click.echo(metrics_table(manifest, folder))


class RefusedError(click.ClickException):
    """Something that a person can mend: one line on standard error, exit code 2."""

    exit_code = 2


@contextmanager
def _refusals_for_people() -> Iterator[None]:
    from fraud.features import UnknownFeatureSetError
    from fraud.money import RatesError
    from fraud.settings import SettingsError
    from fraud.sources import SourceError
    from training.dataset import DatasetError

    try:
        yield
    except (DatasetError, RatesError, SettingsError, SourceError, UnknownFeatureSetError, OSError) as error:
        raise RefusedError(str(error)) from error


def fit_and_write(request: FitRequest, created_at: str) -> Manifest:
    """Compute features through the core, fit, judge, write the folder. `created_at` is RFC 3339.

    Raises what reading, the settings and `split_by_time` raise, and `OSError` where the folder cannot be written.
    """
    from fraud.features import feature_set
    from fraud.scoring.manifest import Training
    from fraud.transaction import timestamp_to_text
    from training.configuration import DEFAULT_CONFIGURATIONS, FitConfiguration
    from training.dataset import data_hash
    from training.fit import fit as fit_model
    from training.folder import Identity, model_files, write_folder

    features = feature_set(request.feature_set_name)
    training_rows, validation_rows = _computed_rows(request, features)
    configuration = FitConfiguration(DEFAULT_CONFIGURATIONS[request.model_kind], request.seed)
    fitted = fit_model(training_rows, validation_rows, features.names, configuration)
    training = Training(
        data_hash=data_hash((training_rows, validation_rows)),
        period_from=timestamp_to_text(request.period_from_ms),
        period_to=timestamp_to_text(request.period_to_ms),
        validation_to=timestamp_to_text(request.validation_to_ms),
        label_delay_days=request.label_delay_days,
        row_count=training_rows.row_count,
        fraud_count=training_rows.fraud_count,
        seed=request.seed,
        # The mapping's name alone: a path says where somebody keeps their files.
        configuration={"mapping": Path(request.mapping_name).name, **configuration.described()},
    )
    identity = Identity(request.folder.name, features.name, features.schema_hash, features.names, created_at)
    manifest, files = model_files(fitted, identity, training)
    write_folder(request.folder, files)
    return manifest


def _computed_rows(request: FitRequest, features: FeatureSet) -> tuple[Dataset, Dataset]:
    from time import perf_counter

    from fraud.pipeline import Period, StageTimings
    from fraud.progress import progress_bar
    from fraud.replay.feature_blocks import iterate_features
    from fraud.replay.run import ReplayOptions, relaxed_collection
    from fraud.settings import load_settings
    from fraud.sources import TransactionFiles, load_mapping
    from training.dataset import split_by_time

    mapping = load_mapping(request.mapping_name)
    source = TransactionFiles(request.paths, mapping)
    options = ReplayOptions(Period(request.period_from_ms, request.validation_to_ms), request.label_delay_days)
    rejected = 0

    def shown(blocks: Iterator[FeatureBlock], advance: Callable[[int, int], None]) -> Iterator[FeatureBlock]:
        nonlocal rejected
        records = 0
        for block in blocks:
            records += len(block.transaction_ids)
            rejected += len(block.rejected)
            advance(source.bytes_read, records)
            yield block

    with progress_bar(source.total_bytes) as advance, relaxed_collection():
        blocks = iterate_features(load_settings(), source, mapping, features, options, StageTimings(perf_counter))
        rows = split_by_time(shown(blocks, advance), request.period_to_ms)
    if rejected:
        click.echo(f"{rejected:,} records were refused and not learned from; fraud features names the first", err=True)
    return rows


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
