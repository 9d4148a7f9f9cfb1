"""A model fitted from the command line decides in a replay from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from training.cli import main as fraud_train

MODEL_KINDS = ("logistic_regression", "boosting")


@dataclass(frozen=True)
class Fitted:
    """A finished `fraud-train fit` and the folder that it wrote."""

    result: Result
    folder: Path


def fit(file: Path, folder: Path, kind: str) -> Fitted:
    periods = ("--train-from", "2026-01-05", "--train-to", "2026-01-28", "--validate-to", "2026-02-10")
    arguments = ["fit", str(file), *periods, "--model-kind", kind, "--seed", "3", "--out", str(folder)]
    return Fitted(CliRunner().invoke(fraud_train, arguments), folder)


@pytest.fixture(scope="module")
def transactions(simulate: Callable[..., Path]) -> Path:
    return simulate("learning.csv", "--customers", "150")


@pytest.fixture(scope="module", params=MODEL_KINDS)
def fitted(request: pytest.FixtureRequest, transactions: Path, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit(transactions, tmp_path_factory.mktemp("models") / f"small_{request.param}", request.param)


@pytest.fixture(scope="module")
def replayed(fitted: Fitted, transactions: Path, fraud: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("replayed")
    finished = fraud("replay", transactions, "--from", "2026-01-28", "--model", fitted.folder, "--out", out)
    assert (finished.exit_code, finished.stderr) == (0, "")
    return out


def manifest_of(fitted: Fitted) -> dict:
    return json.loads((fitted.folder / "manifest.json").read_bytes())


def test_a_fit_says_what_it_learned_from_and_how_it_did(fitted):
    assert fitted.result.exit_code == 0, fitted.result.output
    manifest = manifest_of(fitted)
    assert manifest["name"] == fitted.folder.name
    assert manifest["training"]["fraud_count"] > 10
    assert 0.5 < manifest["metrics"]["auc_roc"] <= 1
    for said in (manifest["kind"], f"{manifest['training']['row_count']:,} transactions", str(fitted.folder)):
        assert said in fitted.result.output


def test_every_decision_names_the_model_and_has_its_score(fitted, replayed):
    decisions = pq.read_table(replayed / "decisions.parquet").to_pylist()
    manifest = manifest_of(fitted)
    assert len(decisions) > 500
    assert {decision["model_version"] for decision in decisions} == {
        f"{manifest['name']}@{manifest['content_hash'][:12]}"
    }
    scores = [decision["score"] for decision in decisions]
    assert all(0 <= score <= 1 for score in scores)
    assert len(set(scores)) > 50


def test_scores_put_fraud_before_the_rest(replayed):
    ranking = json.loads((replayed / "summary.json").read_bytes())["ranking"]
    assert ranking["area_under_roc"] > 0.7


def test_the_same_fit_again_is_the_same_model(fitted, transactions, tmp_path):
    again = fit(transactions, tmp_path / fitted.folder.name, manifest_of(fitted)["kind"])
    assert again.result.exit_code == 0
    assert manifest_of(again)["content_hash"] == manifest_of(fitted)["content_hash"]


def test_a_model_of_one_feature_set_is_refused_on_the_other(fitted, transactions, fraud, tmp_path):
    options = ("--feature-set", "handbook", "--policy", "handbook", "--model", fitted.folder)
    finished = fraud("replay", transactions, *options, "--out", tmp_path / "out")
    assert finished.exit_code == 2
    assert "feature set" in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
