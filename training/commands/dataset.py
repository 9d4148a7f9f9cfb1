"""`fraud-train dataset`: features and labels of transaction files, or of history, as one Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraud.option_kinds import Days, Moment
from training.commands.from_history import HistoryRequest, write_history_dataset
from training.commands.options import refusals_for_people, rows_or_history_options, say_refused

if TYPE_CHECKING:
    from training.labelled_rows import WeekMaturity


@click.command(short_help="Features and labels of files, or of history, as one dataset.")
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
@click.option("--from", "from_ms", type=Moment(), metavar="TIME", help="First row; earlier ones warm the state.")
@click.option("--to", "to_ms", type=Moment(), metavar="TIME", help="End, exclusive.")
@click.option(
    "--as-of", "as_of_ms", type=Moment(), metavar="TIME", help="Say how mature labels are at this time; the end."
)
@click.option(
    "--replayed",
    "is_replayed",
    is_flag=True,
    help="With --from-history: compute the features anew from its transactions.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The Parquet file to write.")
def dataset(
    *,
    files: tuple[Path, ...],
    mapping_name: str,
    feature_set_name: str,
    from_history: bool,
    label_delay_days: float,
    maturity_days: float | None,
    from_ms: int | None,
    to_ms: int | None,
    as_of_ms: int | None,
    is_replayed: bool,
    out: Path,
) -> None:
    """Compute the features of FILE... through the core and write them with labels and the times these became known.

    With --from-history the features are those frozen in the decisions of the service, with labels as known --as-of, now
    unless given; what was decided without a part of the service is left out, and what is not known yet. With --replayed
    they are computed anew, as for a feature that is new: nothing is left out then but what is not known yet.
    """
    import math
    from time import perf_counter, time_ns

    from fraud.pipeline import Period
    from fraud.progress import progress_bar, tell_of_compiling
    from fraud.replay.run import relaxed_collection
    from fraud.settings import load_settings
    from training.building import FilesRequest, ReplayedFiles
    from training.dataset_file import read_dataset, write_dataset
    from training.labelled_rows import label_maturity

    if from_history == bool(files):
        raise click.UsageError("give either FILE... or --from-history")
    if is_replayed and not from_history:
        raise click.UsageError("--replayed goes with --from-history: files are always replayed")
    maturity = label_delay_days if maturity_days is None else maturity_days
    period = Period(-math.inf if from_ms is None else from_ms, math.inf if to_ms is None else to_ms)
    if from_history:
        known_by_ms = time_ns() // 1_000_000 if as_of_ms is None else as_of_ms
        wanted = HistoryRequest(feature_set_name, period.from_ms, period.to_ms, known_by_ms, maturity, is_replayed)
        with refusals_for_people():
            weeks = write_history_dataset(load_settings(), wanted, out)
        click.echo(maturity_table(weeks, known_by_ms))
        return
    with refusals_for_people():
        request = FilesRequest(files, mapping_name, feature_set_name, label_delay_days, period, inputs=None)
        replayed = ReplayedFiles(load_settings(), request, perf_counter)
        tell_of_compiling()
        try:
            with progress_bar(replayed.total_bytes) as advance, relaxed_collection():
                blocks = replayed.blocks(advance)
                written = write_dataset(out, replayed.origin, replayed.features, blocks, replayed.input_kinds)
        finally:
            # Also where every record was refused, and nothing else says why nothing is left.
            say_refused(replayed.rejected, replayed.first_rejected)
        rows = read_dataset(out)
    known_by_ms = int(rows.timestamps_ms.max()) if as_of_ms is None else as_of_ms
    click.echo(f"{written:,} rows with {len(replayed.features.names)} features written to {out}")
    click.echo(maturity_table(label_maturity(rows, known_by_ms, maturity), known_by_ms))


def maturity_table(weeks: list[WeekMaturity], known_by_ms: int) -> str:
    """How much of each week was known by then, for a terminal."""
    from fraud.transaction import timestamp_to_text

    lines = [
        f"labels as known at {timestamp_to_text(known_by_ms)}",
        f"{'week from':12}{'rows':>12}{'frauds':>10}{'unknown':>12}{'known':>9}",
    ]
    lines.extend(
        f"{timestamp_to_text(week.first_day_ms)[:10]:12}{week.rows:>12,}{week.frauds:>10,}{week.unknown:>12,}"
        f"{week.known_share:>9.1%}"
        for week in weeks
    )
    return "\n".join(lines)
