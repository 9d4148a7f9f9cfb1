"""What the fourth notebook says: how far a model's weeks have moved from those that it was judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud.report.drawing import (
    FRAUD,
    INK,
    LEGITIMATE,
    MUTED,
    SERIES,
    Plot,
    axes_of,
    drawing_style,
    figure,
    legend_above,
    svg,
)
from fraud.report.formats import count, shortened
from fraud.scoring.drift import DriftMeasure, DriftReference, DriftThresholds
from fraud.scoring.drift_file import DRIFT_FILE, read_drift_reference
from fraud.scoring.model import Model
from fraud.simulator.options import SimulationOptions
from fraud.simulator.writing import simulate
from fraud.transaction import timestamp_to_text
from training.dataset import DatasetError
from training.drift import DriftPeriod, drift_by_period, weekly_bounds
from training.labelled_rows import LabelledRows
from training.metrics.judged import DAY_MS
from training.notebook.listing import Listing
from training.notebook.source import Source

_FEATURES_SHOWN = 10
# More lines than this cannot be told apart.
_LINES_SHOWN = 5
# What the simulated world is like after its change: fraud by taking over accounts and cashing out, three times as
# often; and apps that no longer send which device they run on.
CHANGED_FRAUD = {"account_takeover": 0.5, "mule_cash_out": 0.5}
_FRAUD_RATE_FACTOR = 3.0
_SILENCED_FIELD = "device_id"


def simulated_change(kept_in: Path, options: SimulationOptions, changed_after_days: int) -> Source:
    """A simulation in which from one day on fraud is another and a field is not sent any more.

    The honest payments are those of `options` to the byte, but for the field. Written to `kept_in` unless it is there.
    """
    other = replace(options, scenario_shares=CHANGED_FRAUD, fraud_rate=options.fraud_rate * _FRAUD_RATE_FACTOR)
    key = sha256(repr((options, other, changed_after_days)).encode()).hexdigest()[:12]
    path = kept_in / f"changed-{key}.parquet"
    if not path.exists():
        kept_in.mkdir(parents=True, exist_ok=True)
        before = list(simulate(options))[:changed_after_days]
        after = [_silenced(day) for day in list(simulate(other))[changed_after_days:]]
        partial = path.with_suffix(".partial")
        pq.write_table(_with_own_names(pa.concat_tables(before), pa.concat_tables(after)), partial)
        partial.replace(path)
    return Source((path,), kept_in)


def _silenced(day: pa.Table) -> pa.Table:
    place = day.schema.get_field_index(_SILENCED_FIELD)
    return day.set_column(place, _SILENCED_FIELD, pa.nulls(len(day), day.schema.field(place).type))


def _with_own_names(before: pa.Table, after: pa.Table) -> pa.Table:
    """One table; what one world calls by a name of the other, which happens among frauds, is left out."""
    again = pc.is_in(after["transaction_id"], before["transaction_id"].combine_chunks())
    return pa.concat_tables([before, after.filter(pc.invert(again))])


def reference_beside(folder: Path, model: Model) -> DriftReference:
    """What the model in `folder` was trained and judged on. Raises `DatasetError` for a model that has none."""
    reference = read_drift_reference(folder, model.content_hash)
    if reference is None:
        raise DatasetError(f"{folder} has no {DRIFT_FILE}: it was fitted by an earlier version. Fit it again")
    return reference


def drift_by_week(
    model: Model, reference: DriftReference, rows: LabelledRows, from_ms: int, known_by_ms: int, maturity_days: float
) -> list[DriftPeriod]:
    """Every measure for each week from `from_ms` on, with the labels as they were known at `known_by_ms`.

    Alarms are by the default thresholds.
    """
    end_ms = (int(rows.timestamps_ms.max()) // DAY_MS + 1) * DAY_MS
    return drift_by_period(
        rows,
        model.score(rows.matrix),
        reference,
        DriftThresholds(),
        bounds_ms=weekly_bounds(from_ms, end_ms),
        known_by_ms=known_by_ms,
        maturity_days=maturity_days,
    )


def _value(week: DriftPeriod, kind: str, name: str) -> float | None:
    return next(one.value for one in week.measures if (one.kind, one.name) == (kind, name))


def alarms_listing(weeks: Sequence[DriftPeriod]) -> Listing:
    """For each week: the index of the score, the three measures of labels, and how many features alarm."""
    rows = []
    for week in weeks:
        cells = [
            _shown(measure)
            for kind in ("score_stability", "label_rate", "alert_precision", "calibration")
            for measure in week.measures
            if measure.kind == kind
        ]
        features = [measure for measure in week.measures if measure.kind == "feature_stability" and measure.alarms]
        rows.append((timestamp_to_text(week.from_ms)[:10], *cells, count(len(features))))
    return Listing(
        ("week from", "score stability", "label rate", "alert precision", "calibration", "features that alarm"), rows
    )


def _shown(measure: DriftMeasure) -> str:
    if measure.value is None:
        return "too few rows"
    return f"{measure.value:.2f}" + (" ALARM" if measure.alarms else "")


def moved_features(weeks: Sequence[DriftPeriod], before: int) -> list[tuple[str, float, float]]:
    """Name, highest index in the first `before` weeks and in the weeks after, of the features that moved most.

    What was far away from the first week on has not moved: it is a feature that grows with time.
    """
    names = [measure.name for measure in weeks[0].measures if measure.kind == "feature_stability"]
    found = []
    for name in names:
        values = [_value(week, "feature_stability", name) or 0.0 for week in weeks]
        found.append((name, max(values[:before], default=0.0), max(values[before:], default=0.0)))
    return sorted(found, key=lambda row: row[1] - row[2])


def moved_plot(moved: Sequence[tuple[str, float, float]]) -> Plot:
    """The features that moved most, before and after."""
    title = "Features that moved most"
    shown = moved[:_FEATURES_SHOWN]
    with drawing_style():
        drawn = figure(78 + 22 * len(shown))
        axes = axes_of(drawn)
        for place, (_, before, after) in enumerate(shown):
            axes.plot([before, after], [place, place], color=MUTED, linewidth=1)
        places = range(len(shown))
        axes.plot([row[1] for row in shown], places, "o", color=LEGITIMATE, markersize=5, label="before")
        axes.plot([row[2] for row in shown], places, "o", color=FRAUD, markersize=5, label="after")
        axes.axvline(DriftThresholds().stability, color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_yticks(places, [shortened(row[0], 32) for row in shown], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel("population stability index, highest week")
        legend_above(axes)
        reading = "Right of the dashed line is an alarm. Look first for what several of them have in common."
        return Plot("moved", title, reading, svg(drawn, "moved", title))


def weeks_plot(weeks: Sequence[DriftPeriod], changed_ms: int) -> Plot:
    """The score's index and those of the features that moved most, week by week."""
    title = "Stability by week"
    before = sum(week.from_ms < changed_ms for week in weeks)
    names = [row[0] for row in moved_features(weeks, before)[: _LINES_SHOWN - 1]]
    with drawing_style():
        drawn = figure(218 + 13 * (len(names) + 1))
        axes = axes_of(drawn)
        for number, (kind, name) in enumerate(
            [("score_stability", "score"), *(("feature_stability", name) for name in names)]
        ):
            values = [_value(week, kind, name) or 0.0 for week in weeks]
            width = 2.4 if kind == "score_stability" else 1.2
            axes.plot(
                range(len(weeks)), values, marker="o", markersize=3.5, linewidth=width, color=SERIES[number], label=name
            )
        axes.axhline(DriftThresholds().stability, color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_xticks(range(len(weeks)), [timestamp_to_text(week.from_ms)[5:10] for week in weeks])
        axes.set_ylim(bottom=0)
        axes.set_ylabel("index")
        legend_above(axes, columns=1)
        reading = (
            "A step is a change on one day: a feed, a release, a new product. A slope is the world, or time itself."
        )
        return Plot("weeks", title, reading, svg(drawn, "weeks", title))
