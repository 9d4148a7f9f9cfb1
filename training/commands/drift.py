"""`fraud-train drift`: how far the present has moved from what a model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraud.option_kinds import Days, Moment
from training.commands.options import load_rows, refusals_for_people, rows_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fraud.scoring.drift import DriftMeasure, DriftReference
    from training.drift import DriftPeriod

EXIT_ALARM = 3
_FEATURES_SHOWN = 5
_KINDS = {
    "score_stability": "score stability",
    "label_rate": "label rate",
    "alert_precision": "alert precision",
    "calibration": "calibration",
}


@click.command(short_help="Compare weeks with what a model was trained on.")
@rows_options
@click.option("--model", "folder", required=True, type=click.Path(path_type=Path), metavar="DIR")
@click.option("--from", "from_ms", type=Moment(), required=True, metavar="TIME", help="First moment to look at.")
@click.option("--to", "to_ms", type=Moment(), required=True, metavar="TIME", help="End, exclusive.")
@click.option("--as-of", "as_of_ms", type=Moment(), metavar="TIME", help="Labels as known at this time; --to.")
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
@click.option(
    "--thresholds",
    "thresholds_file",
    type=click.Path(path_type=Path),
    metavar="FILE.yaml",
    help="Where alarms begin; see docs/learning.md.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.json", help="Also write every number there.")
def drift(
    *,
    files: tuple[Path, ...],
    mapping_name: str,
    feature_set_name: str,
    folder: Path,
    from_ms: int,
    to_ms: int,
    as_of_ms: int | None,
    label_delay_days: float,
    maturity_days: float | None,
    thresholds_file: Path | None,
    out: Path | None,
) -> None:
    """Compare the rows of FILE..., week by week, with those that the model in --model was trained and judged on.

    Exit code 3 when something is beyond its threshold in the last week whose labels are known enough to tell.
    """
    from fraud.scoring.drift import DriftThresholds
    from fraud.scoring.model import load_model
    from training.configuration import load_drift_thresholds
    from training.dataset import DatasetError
    from training.drift import drift_by_period, weekly_bounds

    if not from_ms < to_ms:
        raise click.UsageError("--from must be before --to")
    with refusals_for_people():
        thresholds = DriftThresholds() if thresholds_file is None else load_drift_thresholds(thresholds_file)
        rows = load_rows(files, mapping_name, feature_set_name, label_delay_days, from_ms=from_ms, to_ms=to_ms)
        model = load_model(folder, rows.origin.feature_set_name, rows.origin.feature_set_hash)
        if model.drift_reference is None:
            raise DatasetError(
                f"{folder} has no reference of drift: it was trained by an earlier version. Train it again"
            )
        periods = drift_by_period(
            rows,
            model.score(rows.matrix),
            model.drift_reference,
            thresholds,
            bounds_ms=weekly_bounds(from_ms, to_ms),
            known_by_ms=to_ms if as_of_ms is None else as_of_ms,
            maturity_days=rows.origin.label_delay_days if maturity_days is None else maturity_days,
        )
        if not periods:
            raise DatasetError("there are no transactions in the period: check the period and the files")
        if out is not None:
            _write(out, folder.name, periods)
    click.echo(drift_text(folder.name, model.drift_reference, periods))
    if last_alarms(periods):
        raise SystemExit(EXIT_ALARM)


def last_alarms(periods: Sequence[DriftPeriod]) -> list[DriftMeasure]:
    """The alarms of each kind in the last period that could tell: labels come later than scores."""
    found: dict[tuple[str, str], DriftMeasure] = {}
    for period in periods:
        found.update({(one.kind, one.name): one for one in period.measures if one.value is not None})
    return [measure for measure in found.values() if measure.alarms]


def drift_text(name: str, reference: DriftReference, periods: Sequence[DriftPeriod]) -> str:
    """A line for each period, and what alarms, for a terminal."""
    from fraud.transaction import timestamp_to_text

    header = (
        f"{'from':12}{'rows':>9}" + "".join(f"{title:>17}" for title in _KINDS.values()) + f"{'features moved':>16}"
    )
    lines = [
        f"{name}: trained {reference.training_from[:10]} to {reference.training_to[:10]}, "
        f"judged until {reference.judged_to[:10]}",
        header,
    ]
    for period in periods:
        by_kind = {measure.kind: measure for measure in period.measures if measure.kind in _KINDS}
        moved = sum(measure.alarms for measure in period.measures if measure.kind == "feature_stability")
        cells = "".join(f"{_shown(by_kind[kind]):>17}" for kind in _KINDS)
        first_day = timestamp_to_text(period.from_ms)[:10]
        lines.append(f"{first_day:12}{by_kind['score_stability'].rows:>9,}{cells}{moved:>16}")
    lines.append("stability is an index, 0.1 a shift, 0.25 a large one; the others are what was seen / expected")
    alarms = last_alarms(periods)
    features = sorted((one for one in alarms if one.kind == "feature_stability"), key=_value, reverse=True)
    shown = [(_KINDS[one.kind], one) for one in alarms if one.kind in _KINDS]
    shown += [(f"{one.name}: stability", one) for one in features[:_FEATURES_SHOWN]]
    lines += [f"ALARM {title} {_value(one):.2f}, threshold {one.threshold:g}" for title, one in shown]
    if len(features) > _FEATURES_SHOWN:
        lines.append(f"ALARM and {len(features) - _FEATURES_SHOWN} more features")
    if not alarms:
        lines.append("no alarm")
    return "\n".join(lines)


def _value(measure: DriftMeasure) -> float:
    return 0.0 if measure.value is None else measure.value


def _shown(measure: DriftMeasure) -> str:
    return "too few" if measure.value is None else f"{measure.value:.2f}{'!' if measure.alarms else ''}"


def _write(out: Path, name: str, periods: Sequence[DriftPeriod]) -> None:
    import msgspec

    from fraud.replay.outputs import OutputFolder
    from fraud.transaction import timestamp_to_text

    content = {
        "model": name,
        "periods": [
            {
                "from": timestamp_to_text(period.from_ms),
                "to": timestamp_to_text(period.to_ms),
                "measures": period.measures,
            }
            for period in periods
        ],
        "alarms": last_alarms(periods),
    }
    with OutputFolder(out.parent) as folder:
        encoded = msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2)
        folder.path(out.name).write_bytes(encoded + b"\n")
        folder.publish()
