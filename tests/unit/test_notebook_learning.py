"""What the second notebook computes: periods, maturity by week, features alone, models as folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from learning_rows import DAY_MS, START_MS, labelled, simulated

from training.configuration import BoostingConfiguration, FitConfiguration
from training.dataset import Dataset, DatasetError
from training.notebook import learning
from training.notebook.learning_plots import alone_plot, areas_alone, importance_plot


def test_training_ends_where_judging_begins_and_whole_days_are_taken() -> None:
    periods = learning.usual_periods(simulated(1, days=60))
    assert periods.train_from_ms == START_MS + 14 * DAY_MS
    assert periods.train_to_ms == START_MS + 32 * DAY_MS
    assert periods.validate_to_ms == START_MS + 60 * DAY_MS
    assert periods.maturity_days == 7


def test_a_file_of_a_month_is_too_short_and_says_what_to_do() -> None:
    with pytest.raises(DatasetError, match=r"of 30 days.*Take a longer file"):
        learning.usual_periods(simulated(1, days=30))


def test_a_week_is_as_mature_as_the_share_of_its_frauds_that_were_known() -> None:
    times = [START_MS, START_MS + DAY_MS, START_MS + 8 * DAY_MS]
    rows = labelled(times, [1, 1, 1], [START_MS + 3 * DAY_MS, START_MS + 50 * DAY_MS, START_MS + 60 * DAY_MS])
    found = learning.maturity_by_week(rows, START_MS + 10 * DAY_MS)
    assert found.rows == [("2026-01-01", "2", "2", "1", "50%"), ("2026-01-08", "1", "1", "0", "0%")]


def test_the_feature_that_makes_the_label_is_the_best_alone() -> None:
    values = np.random.default_rng(2).normal(size=(400, 3))
    values[:100, 1] = np.nan
    labels = (values[:, 2] < -1).astype(np.int8)
    found = areas_alone(Dataset(values, labels, np.ones(400, dtype=np.int64)), ("a", "b", "c"))
    assert found[0] == ("c", 0.0, 0.0)
    assert {name: missing for name, _, missing in found}["b"] == 0.25


def test_features_that_hardly_any_fraud_has_say_nothing_alone() -> None:
    values = np.zeros((50, 1))
    labels = np.array([1] + [0] * 49, dtype=np.int8)
    areas = areas_alone(Dataset(values, labels, np.ones(50, dtype=np.int64)), ("a",))
    assert areas == []
    assert alone_plot(areas).svg is None


def test_a_fitted_model_is_the_one_that_was_written_and_is_judged_on_later_rows(tmp_path: Path) -> None:
    rows = simulated(3, days=60)
    periods = learning.usual_periods(rows)
    small = FitConfiguration(BoostingConfiguration(tree_count=5, max_leaves=4), name="small")
    larger = FitConfiguration(BoostingConfiguration(tree_count=15, max_leaves=4), name="larger")
    said: list[str] = []
    models = learning.fitted(rows, [small, larger], periods, tmp_path, said.append)
    assert (tmp_path / "larger" / "manifest.json").exists()
    assert [line.partition(":")[0] for line in said] == ["small", "larger"]
    period = learning.judged_period(rows, models, periods.train_to_ms, periods.validate_to_ms)
    listing = learning.metrics_listing(learning.evaluation(rows, period, baseline="small"))
    assert list(listing.columns) == ["", "small", "larger", "larger less small"]
    assert "Average precision" in [row[0] for row in listing.rows]
    assert importance_plot(models["larger"], rows.matrix[:50]).svg
