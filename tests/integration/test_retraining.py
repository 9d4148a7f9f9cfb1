"""The scheduled job fits on new labels, judges, and puts a model into the shadow, wherever it was killed before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fraud.scoring.registry import read_registry
from training.cli import main as fraud_train

FIT = ("--train-from", "2026-01-05", "--train-to", "2026-01-26", "--validate-to", "2026-02-01", "--seed", "3")
RETRAIN = ("--as-of", "2026-02-09", "--judged-days", "7", "--draws", "20")
KILLED = Path(__file__).parents[1] / "retraining_killed.py"


def finished(*arguments: str | Path, exit_code: int = 0) -> str:
    result = CliRunner().invoke(fraud_train, [str(argument) for argument in arguments])
    assert result.exit_code == exit_code, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def folder(simulate: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, configurations, and a registry with a champion of few trees."""
    folder = tmp_path_factory.mktemp("retraining")
    finished("dataset", simulate("retraining.csv", "--customers", "300"), "--out", folder / "rows.parquet")
    for name, trees in (("stump", 1), ("few", 20)):
        (folder / f"{name}.yaml").write_text(
            f"estimator: {{kind: boosting, tree_count: {trees}, max_leaves: 6, min_rows_per_leaf: 10}}\n"
        )
    few = ("--config", folder / "few.yaml", "--out", folder / "models" / "default")
    finished("fit", folder / "rows.parquet", *FIT, *few)
    return folder


@pytest.fixture
def models(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder / "models", tmp_path / "models"))


def retrained(folder: Path, models: Path, *arguments: str | Path, exit_code: int = 0) -> str:
    few = ("--config", folder / "few.yaml")
    return finished(
        "retrain", folder / "rows.parquet", *RETRAIN, *few, *arguments, "--models", models, exit_code=exit_code
    )


def test_a_model_that_passes_scores_in_shadow_and_decides_nothing(folder: Path, models: Path) -> None:
    told = retrained(folder, models)
    (change,) = read_registry(models).changes
    assert (change.state, change.why) == ("shadow", "retrained, and passed every gate")
    assert change.model.startswith("retrained-2026-02-02-")
    assert f"fraud-train models promote {change.model}" in told
    assert read_registry(models).champion is None


def test_a_second_run_changes_nothing(folder: Path, models: Path) -> None:
    retrained(folder, models)
    before = {path: path.read_bytes() for path in models.rglob("*") if path.is_file()}
    assert "is there already" in retrained(folder, models)
    assert {path: path.read_bytes() for path in models.rglob("*") if path.is_file()} == before


def test_only_what_was_known_then_is_learned_from(folder: Path, models: Path) -> None:
    retrained(folder, models)
    (name,) = (path.name for path in models.iterdir() if path.name.startswith("retrained-"))
    training = json.loads((models / name / "manifest.json").read_bytes())["training"]
    assert training["period_to"] == "2026-01-26T00:00:00.000Z"
    evaluation = json.loads(next((models / name).glob("evaluation-*.json")).read_bytes())
    assert evaluation["period_from"] == training["period_to"]
    assert evaluation["known_by"] == "2026-02-09T00:00:00.000Z"


def test_a_model_that_fails_a_gate_stays_a_candidate(folder: Path, models: Path) -> None:
    told = retrained(folder, models, "--config", folder / "stump.yaml", exit_code=3)
    (change,) = read_registry(models).changes
    assert change.state == "candidate"
    assert f"{change.model} stays a candidate" in told


def test_what_a_person_archived_stays_so(folder: Path, models: Path) -> None:
    retrained(folder, models)
    (change,) = read_registry(models).changes
    finished("models", "archive", change.model, "--why", "odd", "--models", models)
    assert "stays so" in retrained(folder, models)
    assert read_registry(models).state_of(change.model) == "archived"


def test_what_decides_already_is_left_alone(folder: Path, models: Path) -> None:
    retrained(folder, models)
    (change,) = read_registry(models).changes
    finished("models", "promote", change.model, "--why", "better", "--models", models)
    stands = (models / "registry.json").read_bytes()
    late = ("--as-of", "2026-02-09", "--judged-days", "7")
    told = finished("retrain", folder / "rows.parquet", *late, "--config", folder / "few.yaml", "--models", models)
    assert "decides already" in told
    assert (models / "registry.json").read_bytes() == stands


def test_the_job_may_be_killed_at_any_step_and_goes_on(folder: Path, models: Path) -> None:
    few = ("--config", folder / "few.yaml")
    arguments = ["retrain", KILLED, models, folder / "rows.parquet", *RETRAIN, *few][1:]
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
        # Threads of a library do not survive a fork.
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) > 8
    assert [run["first"] for run in runs] == [-9] * (len(runs) - 1) + [0]
    for run in runs:
        assert run["again"] == 0
        assert (run["state"], run["changes"], run["evaluations"]) == ("shadow", 1, 1)
        assert run["rests_on_it"]
        assert run["has_card"]
        assert (run["model"], run["content_hash"]) == (runs[0]["model"], runs[0]["content_hash"])
