"""What the fourth notebook computes: a simulated world that changes on one day, and how its weeks are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from learning_rows import DAY_MS, START_MS, simulated

from fraud.scoring.model import Model
from fraud.simulator.options import SimulationOptions
from fraud.simulator.writing import write_simulation
from training.configuration import BoostingConfiguration, FitConfiguration
from training.dataset import DatasetError
from training.fitting import FitPeriods
from training.labelled_rows import LabelledRows
from training.notebook.drift_reading import (
    alarms_listing,
    drift_by_week,
    moved_features,
    moved_plot,
    reference_beside,
    simulated_change,
    weeks_plot,
)
from training.notebook.learning import fitted

OPTIONS = SimulationOptions(seed=3, days=8, customers=60, merchants=100, fraud_rate=0.05)
CHANGED_MS = START_MS + 48 * DAY_MS


def test_until_the_change_the_world_is_the_one_without_it(tmp_path: Path) -> None:
    changed = pq.read_table(simulated_change(tmp_path, OPTIONS, changed_after_days=4).paths[0])
    write_simulation(OPTIONS, tmp_path / "unchanged.parquet")
    unchanged = pq.read_table(tmp_path / "unchanged.parquet")
    is_before = pc.less(changed["timestamp"], "2026-01-05")
    before = changed.filter(is_before)
    assert before.equals(unchanged.slice(0, len(before)))
    after = changed.filter(pc.invert(is_before))
    assert after["device_id"].null_count == len(after)
    assert set(after["scenario"].to_pylist()) <= {None, "account_takeover", "mule_cash_out"}
    assert len(set(changed["transaction_id"].to_pylist())) == len(changed)


@pytest.fixture(scope="module")
def rows() -> LabelledRows:
    """Rows whose third feature is missing from one day on."""
    honest = simulated(seed=8, days=62, rows_a_day=200)
    matrix = honest.matrix.copy()
    matrix[honest.timestamps_ms >= CHANGED_MS, 2] = np.nan
    return replace(honest, matrix=matrix)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(rows: LabelledRows, folder: Path) -> Model:
    periods = FitPeriods(START_MS, START_MS + 28 * DAY_MS, START_MS + 41 * DAY_MS, 7)
    small = FitConfiguration(BoostingConfiguration(tree_count=10, max_leaves=4), name="small")
    return fitted(rows, [small], periods, folder, lambda _line: None)["small"]


def test_the_feature_that_broke_moved_most_and_its_week_alarms(rows: LabelledRows, model: Model, folder: Path) -> None:
    reference = reference_beside(folder / "small", model)
    weeks = drift_by_week(model, reference, rows, START_MS + 41 * DAY_MS, START_MS + 62 * DAY_MS, 7)
    assert [week.from_ms for week in weeks] == [START_MS + day * DAY_MS for day in (41, 48, 55)]
    moved = moved_features(weeks, before=1)
    assert moved[0][0] == rows.origin.feature_names[2]
    assert moved[0][1] < 0.1 < 0.25 < moved[0][2]
    listing = alarms_listing(weeks)
    assert [row[-1] for row in listing.rows] == ["0", "1", "1"]
    # Of the last week hardly a row is old enough to say that it is legitimate.
    assert "too few rows" in listing.rows[-1]
    assert weeks_plot(weeks, CHANGED_MS).svg
    assert moved_plot(moved).svg


def test_a_model_without_a_reference_says_that_it_must_be_fitted_again(model: Model, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="Fit it again"):
        reference_beside(tmp_path, model)
