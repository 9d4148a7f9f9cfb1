"""A model comes to decide by an evaluation against the champion that it passed, and by nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fraud.scoring.registry import read_registry
from fraud.settings import HOME
from training.cli import main as fraud_train

FIT = ("--train-from", "2026-01-05", "--train-to", "2026-01-28", "--validate-to", "2026-02-01", "--seed", "3")
JUDGED = ("--from", "2026-02-01", "--to", "2026-02-09", "--draws", "50")
WHY = ("--why", "it finds more", "--who", "Ann")
# Small models of few rows. One tree is worse than twenty by far; four trees more change little.
TREES = {"default": 20, "challenger": 24, "stump": 1}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(fraud_train, [str(argument) for argument in arguments])


def finished(*arguments: str | Path, exit_code: int = 0) -> str:
    result = run(*arguments)
    assert result.exit_code == exit_code, result.output
    assert "Traceback" not in result.output
    return result.output


def refused(*arguments: str | Path) -> str:
    return " ".join(finished(*arguments, exit_code=2).split())


@pytest.fixture(scope="module")
def dataset(simulate: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("promotion") / "rows.parquet"
    finished("dataset", simulate("promotion.csv", "--customers", "300"), "--out", path)
    return path


@pytest.fixture(scope="module")
def fitted(dataset: Path) -> Path:
    """A registry of three models, of which none was compared."""
    models = dataset.parent / "models"
    for name, trees in TREES.items():
        configuration = dataset.parent / f"{name}.yaml"
        configuration.write_text(
            f"estimator: {{kind: boosting, tree_count: {trees}, max_leaves: 6, min_rows_per_leaf: 10}}\n"
        )
        finished("fit", dataset, *FIT, "--config", configuration, "--out", models / name)
    return models


@pytest.fixture(scope="module")
def compared(fitted: Path, dataset: Path) -> Path:
    finished("models", "compare", "challenger", dataset, *JUDGED, "--models", fitted)
    finished("models", "compare", "stump", dataset, *JUDGED, "--models", fitted, exit_code=3)
    return fitted


@pytest.fixture
def models(compared: Path, tmp_path: Path) -> Path:
    """A registry of one's own."""
    return Path(shutil.copytree(compared, tmp_path / "models"))


def kept(models: Path, name: str) -> Path:
    (found,) = (models / name).glob("evaluation-*.json")
    return found


def test_a_model_that_was_never_compared_does_not_come_to_decide(models: Path) -> None:
    kept(models, "challenger").unlink()
    told = refused("models", "promote", "challenger", *WHY, "--models", models)
    assert "no evaluation against the champion" in told
    assert "fraud-train models compare challenger" in told
    assert not read_registry(models).changes


def test_a_model_that_passed_decides_and_the_registry_says_on_what_it_rests(models: Path) -> None:
    finished("models", "promote", "challenger", *WHY, "--models", models)
    champion = read_registry(models).champion
    assert champion is not None
    assert (champion.model, champion.who, champion.why) == ("challenger", "Ann", "it finds more")
    assert champion.evaluation_hash is not None
    assert kept(models, "challenger").name == f"evaluation-{champion.evaluation_hash[:16]}.json"
    assert read_registry(models).state_of("default") == "archived"
    finished("models", "rollback", *WHY, "--models", models)
    assert "decides already" not in finished("models", "list", "--models", models)
    assert read_registry(models).state_of("default") == "champion"


def test_a_model_that_failed_a_gate_is_refused_with_the_figures(models: Path) -> None:
    told = refused("models", "promote", "stump", *WHY, "--models", models)
    assert "stump has failed" in told
    assert "alerts a day at the active policy" in told
    assert read_registry(models).champion is None


def test_an_evaluation_against_another_champion_counts_for_nothing(models: Path, dataset: Path) -> None:
    shutil.copytree(models / "challenger", models / "second")
    finished("models", "promote", "challenger", *WHY, "--models", models)
    assert "which is not the champion" in refused("models", "promote", "second", *WHY, "--models", models)
    finished("models", "compare", "second", dataset, *JUDGED, "--models", models)
    finished("models", "promote", "second", *WHY, "--models", models)


def test_a_changed_policy_wants_a_new_comparison(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "policy.yaml"
    text = (HOME / "policies" / "default.yaml").read_text()
    changed.write_text(text.replace("challenge: 0.1", "challenge: 0.2"))
    assert changed.read_text() != text
    monkeypatch.setenv("FRAUD_POLICY_FILE", str(changed))
    assert "the policy was changed" in refused("models", "promote", "challenger", *WHY, "--models", models)


def test_an_edited_evaluation_is_refused(models: Path) -> None:
    path = kept(models, "stump")
    path.write_bytes(path.read_bytes().replace(b'"passed": false', b'"passed": true'))
    assert "was changed after it was written" in refused("models", "promote", "stump", *WHY, "--models", models)


def test_a_model_that_was_fitted_again_has_no_evaluation(models: Path, dataset: Path) -> None:
    finished("fit", dataset, *FIT, "--model-kind", "logistic_regression", "--out", models / "challenger")
    assert "no evaluation against the champion" in refused("models", "promote", "challenger", *WHY, "--models", models)


def test_nothing_is_judged_on_what_it_has_learned(models: Path, dataset: Path) -> None:
    early = ("--from", "2026-01-20", "--to", "2026-02-09")
    assert "cannot be judged on what came before" in refused(
        "models", "compare", "challenger", dataset, *early, "--models", models
    )


def test_the_champion_is_compared_with_nobody(models: Path, dataset: Path) -> None:
    assert "default is the champion already" in refused(
        "models", "compare", "default", dataset, *JUDGED, "--models", models
    )


def test_the_card_says_what_the_model_is_and_what_nobody_knows(models: Path) -> None:
    card = finished("models", "show", "challenger", "--models", models)
    manifest = json.loads((models / "challenger" / "manifest.json").read_bytes())
    evaluation = json.loads(kept(models, "challenger").read_bytes())
    precision = evaluation["metrics"]["average_precision"]["value"]
    for told in (
        "# challenger",
        manifest["content_hash"],
        f"{manifest['training']['row_count']:,}",
        "2026-02-01T00:00:00.000Z to 2026-02-09T00:00:00.000Z",
        f"| Average precision | {precision:.3f} [",
        "| scenario | ",
        "| alerts | passed |",
        "## Limits",
    ):
        assert told in card
    assert "Alerts were counted without" not in card


def test_the_same_models_on_the_same_rows_are_judged_the_same(models: Path, dataset: Path) -> None:
    before = json.loads(kept(models, "challenger").read_bytes())
    kept(models, "challenger").unlink()
    finished("models", "compare", "challenger", dataset, *JUDGED, "--models", models)
    after = json.loads(kept(models, "challenger").read_bytes())
    for told in (before, after):
        # When, and how fast a row was scored then.
        del told["judged_at"], told["gates"][-1]
    assert after == before
