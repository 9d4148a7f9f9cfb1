"""From the policy's draw to the report: what a control group lets through stands for what was blocked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from live_worker import fraud, worker_environment
from undisturbed import write_lines

from fraud.stack import Stack
from training.cli import main as fraud_train
from training.dataset_file import read_dataset

# Of the simulated payments one in ten is above this.
BLOCKED_FROM = 100.0
CONTROL = "control_group: {share: 0.5, key: 0123456789abcdef}\n"
# The only thing that blocks, so that it is known beforehand what has no outcome.
RULES = """
rules:
  - {id: high, description: d, condition: amount >= 100, action: block, reason_code: HIGH}
"""
LOADED = 3_000


@pytest.fixture
def environment(stack: Stack, tmp_path: Path) -> dict[str, str]:
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"policy: control\nversion: 1\n{CONTROL}{RULES}")
    return worker_environment(stack, "control-group") | {"FRAUD_POLICY_FILE": str(policy)}


def train(environment: dict[str, str], *arguments: str | Path) -> str:
    result = CliRunner(env=environment).invoke(fraud_train, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return str(result.output)


def simulated(environment: dict[str, str], folder: Path) -> Path:
    """Payments without a label where they would be blocked: nobody reports what did not happen."""
    everything = folder / "simulated.jsonl"
    fraud(environment, "simulate", "--out", everything, "--days", "30", "--customers", "400", "--seed", "5")
    records = [json.loads(line) for line in everything.read_text().splitlines()]
    kept = [record for record in records if record["event_type"] == "authorisation" and record["currency"] == "EUR"]
    kept = kept[:: len(kept) // LOADED][:LOADED]
    for record in kept:
        if record["amount"] >= BLOCKED_FROM:
            for name in [name for name in record if name.startswith("label")]:
                del record[name]
    return write_lines(folder / "payments.jsonl", [json.dumps(record) for record in kept])


def test_history_with_a_control_group_is_weighted_and_the_report_says_so(
    environment: dict[str, str], tmp_path: Path
) -> None:
    payments = simulated(environment, tmp_path)
    fraud(environment, "init")
    fraud(environment, "load", payments, "--label-delay-days", "2")
    rows_file, out = tmp_path / "history.parquet", tmp_path / "judged"
    train(environment, "dataset", "--from-history", "--as-of", "2027-01-01", "--maturity-days", "2", "--out", rows_file)
    rows = read_dataset(rows_file)
    amounts = rows.base_amounts_minor / 100
    blocked = amounts >= BLOCKED_FROM
    assert set(rows.weights[~blocked]) == {1.0}
    assert set(rows.weights[blocked]) == {0.0, 2.0}
    # All that was loaded: the weights of those let through make up for those blocked.
    assert abs(rows.weights.sum() - len(rows)) < 4 * np.sqrt(blocked.sum())
    assert len(rows) == len(payments.read_text().splitlines())

    # The same features, computed anew from the transactions: how a new feature would be backfilled.
    anew = tmp_path / "anew.parquet"
    told = train(
        environment,
        *("dataset", "--from-history", "--replayed", "--as-of", "2027-01-01", "--maturity-days", "2", "--out", anew),
    )
    assert f"{len(rows):,} rows with" in told
    assert read_dataset(anew).matrix.tobytes() == rows.matrix.tobytes()

    periods = ("--train-from", "2026-01-01", "--train-to", "2026-01-18", "--validate-to", "2026-01-31")
    train(environment, "fit", rows_file, *periods, "--maturity-days", "2", "--out", tmp_path / "model")
    judged = ("--model", tmp_path / "model", "--from", "2026-01-18", "--to", "2026-01-31", "--draws", "20")
    train(environment, "evaluate", rows_file, *judged, "--out", out)
    page = (out / "evaluation.html").read_text()
    assert f"{int((rows.weights == 0).sum()):,} payments were blocked" in page
    assert f"{int((rows.weights == 2).sum()):,} others were let through by a control group" in page
