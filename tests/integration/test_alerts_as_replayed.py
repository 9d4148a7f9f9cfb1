"""The gate counts as many alerts as a replay with the model raises, from files and from a dataset alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from command_line import run_here

from fraud.settings import HOME
from training.cli import main as fraud_train
from training.dataset_file import read_dataset
from training.policy_inputs import needed_inputs

FIT = ("--train-from", "2026-01-05", "--train-to", "2026-01-28", "--validate-to", "2026-02-01", "--seed", "3")
PERIOD = ("--from", "2026-02-01", "--to", "2026-02-09")
TREES = {"default": 20, "challenger": 40}
# Reads every kind of name: fields of the transaction, the profile, the amount, the hour, features and the score.
POLICY = """policy: wide
version: 1
score_thresholds: {challenge: 0.02, block: 0.2}
control_group: {share: 0.5, key: 0123456789abcdef}
block_lists:
  - {id: far, description: d, condition: latitude > 58 and amount > 200, reason_code: FAR}
allow_lists:
  - {id: habit, description: d, condition: is_recurring and profile.transaction_count > 30, reason_code: HABIT}
rules:
  - id: told
    description: Only tells somebody
    condition: country != profile.home_country
    action: allow
    notify: customer
    reason_code: TOLD
  - id: night
    description: d
    condition: hour_of_day < 7 and amount > profile.mean_amount and customer_count_1h >= 1
    action: review
    priority: 5
    reason_code: NIGHT
"""


def trained(*arguments: str | Path, exit_codes: tuple[int, ...] = (0,)) -> str:
    result = CliRunner().invoke(fraud_train, [str(argument) for argument in arguments])
    assert result.exit_code in exit_codes, result.output
    return str(result.output)


@pytest.fixture(scope="module")
def transactions(simulate: Callable[..., Path]) -> Path:
    return simulate("alerts.csv", "--customers", "150")


@pytest.fixture(scope="module")
def dataset(transactions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alerts") / "rows.parquet"
    trained("dataset", transactions, "--out", path)
    return path


@pytest.fixture(scope="module")
def models(dataset: Path) -> Path:
    folder = dataset.parent / "models"
    for name, trees in TREES.items():
        configuration = dataset.parent / f"{name}.yaml"
        configuration.write_text(
            f"estimator: {{kind: boosting, tree_count: {trees}, max_leaves: 6, min_rows_per_leaf: 10}}\n"
        )
        trained("fit", dataset, *FIT, "--config", configuration, "--out", folder / name)
    return folder


@pytest.fixture(params=["shipped", "wide"])
def policy(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The active policy."""
    file = HOME / "policies" / "default.yaml"
    if request.param == "wide":
        file = tmp_path / "wide.yaml"
        file.write_text(POLICY)
    monkeypatch.setenv("FRAUD_POLICY_FILE", str(file))
    return file


def replayed_alerts(transactions: Path, model: Path, policy: Path, out: Path) -> list[dict[str, object]]:
    finished = run_here("replay", transactions, "--model", model, "--policy", policy, *PERIOD, "--out", out)
    assert finished.exit_code == 0, finished.stderr
    return [json.loads(line)["decision"] for line in (out / "alerts.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("source", ["files", "dataset"])
def test_alerts_are_counted_as_a_replay_raises_them(
    source: str, transactions: Path, dataset: Path, models: Path, policy: Path, tmp_path: Path
) -> None:
    rows = transactions if source == "files" else dataset
    trained("models", "compare", "challenger", rows, *PERIOD, "--draws", "20", "--models", models, exit_codes=(0, 3))
    newest = max((models / "challenger").glob("evaluation-*.json"), key=lambda file: file.stat().st_mtime_ns)
    counted = json.loads(newest.read_bytes())["alerts"]
    raised = {name: replayed_alerts(transactions, models / name, policy, tmp_path / name) for name in TREES}
    assert counted["unread_names"] == []
    assert counted["champion"] == len(raised["default"])
    assert counted["candidate"] == len(raised["challenger"])
    assert "Alerts were counted without" not in (models / "challenger" / "model_card.md").read_text()
    assert len(raised["default"]) != len(raised["challenger"])
    if policy.name == "wide.yaml":
        alerts = raised["challenger"]
        assert {alert["action"] for alert in alerts} >= {"allow", "challenge", "review", "block"}
        assert {alert["assignment_probability"] for alert in alerts} == {0.5, 1.0}


def test_a_dataset_and_its_files_hold_the_same_inputs_of_rules(transactions: Path, dataset: Path, policy: Path) -> None:
    from training.commands.options import load_rows
    from training.commands.promotion import active_policy

    names = needed_inputs(active_policy()[0])
    of_file = load_rows((transactions,), "native", "default", 7.0, inputs=names)
    of_dataset = read_dataset(dataset, names)
    assert of_file.inputs.keys() == of_dataset.inputs.keys() == names - set(of_file.origin.feature_names)
    for name, values in of_file.inputs.items():
        np.testing.assert_array_equal(values, of_dataset.inputs[name])
    assert any(values.dtype == object for values in of_file.inputs.values())
    assert read_dataset(dataset).inputs == {}
