"""One fit from labelled rows to a folder: search, fit, judge, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fraud.scoring.drift_file import DRIFT_FILE, drift_reference_bytes
from fraud.scoring.manifest import Manifest, Training
from fraud.transaction import timestamp_to_text
from training.calibration import HeldOut, held_out
from training.configuration import FitConfiguration
from training.dataset import Dataset, DatasetError, IntegerArray, data_hash
from training.drift import ScoredRows, drift_reference
from training.fit import ALERT_THRESHOLD, fit
from training.folder import Identity, model_files, write_folder
from training.labelled_rows import NEVER_KNOWN_MS, UNKNOWN, LabelledRows
from training.metrics.judged import BooleanArray
from training.search import SearchResult, search


@dataclass(frozen=True)
class FitPeriods:
    """When to learn and when to judge: UTC milliseconds, `train_to_ms` and `validate_to_ms` exclusive.

    Labels known by `train_to_ms` count. A row that is not known as fraud then is legitimate once it is `maturity_days`
    old, and is not learned from before.
    """

    train_from_ms: int
    train_to_ms: int
    validate_to_ms: int
    maturity_days: float


@dataclass(frozen=True)
class WrittenModel:
    """A fitted model's manifest, and how its settings were found if they were searched for."""

    manifest: Manifest
    searched: SearchResult | None


def training_rows(rows: LabelledRows, periods: FitPeriods) -> Dataset:
    """What may be learned from. Raises `DatasetError`."""
    return rows.learnable(
        periods.train_from_ms,
        periods.train_to_ms,
        known_by_ms=periods.train_to_ms,
        maturity_days=periods.maturity_days,
    )


def fit_and_write(
    rows: LabelledRows,
    configuration: FitConfiguration,
    periods: FitPeriods,
    folder: Path,
    created_at: str,
    announce: Callable[[str], None],
) -> WrittenModel:
    """Fit on the training period, judge on the validation period, write the folder. `created_at` is RFC 3339.

    `announce` is told one line about each trial of a search. Raises `DatasetError`, `ConfigurationError`, and
    `OSError` where the folder cannot be written.
    """
    training = training_rows(rows, periods)
    validation = validation_rows(rows, periods)
    searched = None
    if configuration.search is not None:
        searched = search(
            rows, configuration, periods.train_from_ms, periods.train_to_ms, periods.maturity_days, announce
        )
        configuration = searched.configuration
    names = rows.origin.feature_names
    fitted = fit(training, validation, names, configuration, _held_out(rows, configuration, periods))
    manifest, files = model_files(
        fitted,
        Identity(folder.name, rows.origin.feature_set_name, rows.origin.feature_set_hash, names, created_at),
        Training(
            data_hash=data_hash((training, validation)),
            period_from=timestamp_to_text(periods.train_from_ms),
            period_to=timestamp_to_text(periods.train_to_ms),
            validation_to=timestamp_to_text(periods.validate_to_ms),
            label_delay_days=rows.origin.label_delay_days,
            row_count=training.row_count,
            fraud_count=training.fraud_count,
            seed=configuration.seed,
            configuration={
                "mapping": rows.origin.mapping,
                "maturity_days": periods.maturity_days,
                **configuration.described(),
            },
        ),
    )
    judged = ScoredRows(
        rows=validation,
        scores=fitted.estimate.score(validation.matrix),
        alert_threshold=fitted.thresholds[ALERT_THRESHOLD],
        delays_ms=validation_delays_ms(rows, periods),
    )
    reference = drift_reference(manifest, training, judged)
    files[DRIFT_FILE] = drift_reference_bytes(reference)
    write_folder(folder, files)
    return WrittenModel(manifest, searched)


def validation_rows(rows: LabelledRows, periods: FitPeriods) -> Dataset:
    """What a fit is judged on: every labelled row after the training period. Raises `DatasetError` without one."""
    chosen = _is_validated(rows, periods)
    if not chosen.any():
        raise DatasetError("there are no labelled rows in the validation period: check the period and the label column")
    return Dataset(rows.matrix[chosen], rows.labels[chosen], rows.base_amounts_minor[chosen])


def validation_delays_ms(rows: LabelledRows, periods: FitPeriods) -> IntegerArray:
    """How long after each of the `validation_rows` its label became known, int64 [rows], negative for never."""
    chosen = _is_validated(rows, periods)
    known_at_ms = rows.label_known_at_ms[chosen]
    return np.where(known_at_ms == NEVER_KNOWN_MS, NEVER_KNOWN_MS, known_at_ms - rows.timestamps_ms[chosen])


def _is_validated(rows: LabelledRows, periods: FitPeriods) -> BooleanArray:
    times = rows.timestamps_ms
    validated: BooleanArray = (
        (times >= periods.train_to_ms) & (times < periods.validate_to_ms) & (rows.labels != UNKNOWN)
    )
    return validated


def _held_out(rows: LabelledRows, configuration: FitConfiguration, periods: FitPeriods) -> HeldOut | None:
    if configuration.calibration == "none":
        return None
    return held_out(
        rows,
        periods.train_from_ms,
        periods.train_to_ms,
        known_by_ms=periods.train_to_ms,
        maturity_days=periods.maturity_days,
        days=configuration.calibration_days,
    )
