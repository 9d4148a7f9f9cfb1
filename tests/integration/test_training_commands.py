"""Datasets, models and configurations judged from the command line, on a simulated file."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from training.cli import main as fraud_train
from training.dataset_file import read_dataset

CONFIGURATIONS = {
    "small_boosting": "estimator: {kind: boosting, tree_count: 20, max_leaves: 6, min_rows_per_leaf: 10}\n",
    "regression": "estimator: {kind: logistic_regression}\ntrain_days: 14\n",
}
# Small models of so few rows: what is tested is what is done with scores, not how good they are.
FIT = ("--train-from", "2026-01-05", "--train-to", "2026-01-25", "--validate-to", "2026-02-01", "--seed", "3")
JUDGED = ("--from", "2026-02-01", "--to", "2026-02-09")
WEEKS = ("--first-test", "2026-01-26", "--weeks", "2")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(fraud_train, [str(argument) for argument in arguments])


def finished(*arguments: str | Path) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def evaluation(out: Path) -> dict:
    return json.loads((out / "evaluation.json").read_bytes())


@pytest.fixture(scope="module")
def transactions(simulate: Callable[..., Path]) -> Path:
    return simulate("judged.csv", "--customers", "150")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learning")


@pytest.fixture(scope="module")
def dataset(transactions: Path, folder: Path) -> Path:
    path = folder / "rows.parquet"
    result = finished("dataset", transactions, "--out", path)
    assert "labels as known at 2026-02" in result.output
    return path


@pytest.fixture(scope="module")
def configurations(folder: Path) -> dict[str, Path]:
    paths = {}
    for name, content in CONFIGURATIONS.items():
        paths[name] = folder / f"{name}.yaml"
        paths[name].write_text(content)
    return paths


@pytest.fixture(scope="module")
def models(dataset: Path, folder: Path) -> list[Path]:
    paths = [folder / "models" / kind for kind in ("logistic_regression", "boosting")]
    for path in paths:
        finished("fit", dataset, *FIT, "--model-kind", path.name, "--out", path)
    return paths


@pytest.fixture(scope="module")
def judged(dataset: Path, models: list[Path], folder: Path) -> Path:
    out = folder / "judged"
    chosen = [part for model in models for part in ("--model", model)]
    capacity = ("--review-capacity", "2", "--draws", "40")
    finished("evaluate", dataset, *chosen, "--baseline", "logistic_regression", *JUDGED, *capacity, "--out", out)
    return out


def test_models_are_judged_side_by_side_with_intervals_and_paired_differences(judged):
    (section,) = evaluation(judged)["sections"]
    found = section["evaluation"]
    assert [model["name"] for model in found["models"]] == ["logistic_regression", "boosting"]
    for model in found["models"]:
        for metric in model["metrics"].values():
            assert metric["low"] <= metric["value"] <= metric["high"]
        assert {segment["kind"] for segment in model["segments"]} >= {"scenario", "amount", "customer"}
        assert model["workload"]["capacity"] == 2
    one, other = (model["metrics"]["auc_roc"]["value"] for model in found["models"])
    (comparison,) = found["comparisons"]
    assert comparison["differences"]["auc_roc"]["value"] == pytest.approx(other - one)


def test_judging_twice_gives_the_same_bytes(judged, dataset, models, folder):
    chosen = [part for model in models for part in ("--model", model)]
    again = folder / "again"
    capacity = ("--review-capacity", "2", "--draws", "40")
    finished("evaluate", dataset, *chosen, "--baseline", "logistic_regression", *JUDGED, *capacity, "--out", again)
    for name in ("evaluation.json", "evaluation.html"):
        assert (again / name).read_bytes() == (judged / name).read_bytes()


def test_a_dataset_and_the_file_it_comes_from_are_judged_alike(judged, transactions, models, folder):
    out = folder / "from_file"
    chosen = [part for model in models for part in ("--model", model)]
    capacity = ("--review-capacity", "2", "--draws", "40")
    finished("evaluate", transactions, *chosen, "--baseline", "logistic_regression", *JUDGED, *capacity, "--out", out)
    assert evaluation(out) == evaluation(judged)


def test_the_report_is_one_file_that_says_what_it_cannot_know(judged):
    page = (judged / "evaluation.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    assert "<script" not in page
    assert "their outcome would be missing here" in page
    assert "40 draws of customers, seed 0" in page


def test_every_command_is_said_in_a_whole_sentence():
    listed = finished("--help").output.partition("Commands:")[2]
    assert "..." not in listed


def test_what_cannot_be_judged_is_refused_in_one_line(dataset, models, folder, tmp_path):
    out = ("--out", tmp_path / "none")
    model = ("--model", models[0])
    early = refused("evaluate", dataset, *model, "--from", "2026-01-10", "--to", "2026-01-20", *out)
    assert "cannot be judged on what came before" in early
    assert "--from must be before --to" in refused(
        "evaluate", dataset, *model, "--from", "2026-02-05", "--to", "2026-02-05", *out
    )
    assert "nothing can be judged" in refused(
        "evaluate", dataset, *model, "--from", "2027-02-05", "--to", "2027-02-06", *out
    )
    assert "there is no such model" in refused("evaluate", dataset, *model, "--baseline", "other", *JUDGED, *out)
    assert "manifest.json" in refused("evaluate", dataset, "--model", folder / "absent", *JUDGED, *out)
    costs = tmp_path / "costs.yaml"
    costs.write_text("review_cost: cheap\n")
    assert "review_cost" in refused("evaluate", dataset, *model, *JUDGED, "--costs", costs, *out)
    assert "is a dataset, which is taken alone" in refused("evaluate", dataset, dataset, *model, *JUDGED, *out)
    assert not (tmp_path / "none").exists()


def test_a_review_that_costs_more_saves_less(dataset, models, tmp_path):
    net = []
    for price in (1, 20):
        costs = tmp_path / f"costs_{price}.yaml"
        costs.write_text(f"review_cost: {price}\n")
        out = tmp_path / str(price)
        finished("evaluate", dataset, "--model", models[0], *JUDGED, "--costs", costs, "--draws", "5", "--out", out)
        (section,) = evaluation(out)["sections"]
        net.append(section["evaluation"]["models"][0]["best_money"])
    assert net[0]["fraud_minor"] == net[1]["fraud_minor"]
    spent = [money["prevented_minor"] - money["review_cost_minor"] for money in net]
    assert spent[0] > spent[1]


@pytest.fixture(scope="module")
def weekly(dataset: Path, configurations: dict[str, Path], folder: Path) -> Path:
    out = folder / "weekly"
    chosen = ("--config", configurations["small_boosting"], "--baseline", configurations["regression"])
    result = finished("prequential", dataset, *chosen, *WEEKS, "--draws", "20", "--out", out)
    assert result.output.count("learned from") == 4
    return out


def test_each_week_is_judged_by_models_of_what_was_known_before(weekly):
    (section,) = evaluation(weekly)["sections"]
    assert section["title"] == "Labels known after 7 days"
    found = section["evaluation"]
    assert len(found["periods"]) == 2
    assert [model["name"] for model in found["models"]] == ["regression", "small_boosting"]
    for model in found["models"]:
        weeks = [week["average_precision"] for week in model["by_period"]]
        assert model["metrics"]["average_precision"]["value"] == pytest.approx(np.mean(weeks))


def test_the_longer_labels_take_the_fewer_weeks_can_be_judged(transactions, configurations, tmp_path):
    chosen = ("--config", configurations["regression"], "--label-delay-days", "7", "--label-delay-days", "30")
    finished("prequential", transactions, *chosen, *WEEKS, "--draws", "5", "--out", tmp_path / "out")
    short, long = evaluation(tmp_path / "out")["sections"]
    assert (short["title"], long["title"]) == ("Labels known after 7 days", "Labels known after 30 days")
    assert short["skipped"] == []
    assert len(short["evaluation"]["periods"]) > len(long["evaluation"]["periods"])
    assert "2026-01-26: regression: " in long["skipped"][0]


def test_nothing_that_became_known_later_changes_a_week(dataset, configurations, weekly, tmp_path):
    chosen = ("--config", configurations["small_boosting"], "--baseline", configurations["regression"])
    one_week = ("--first-test", "2026-01-26", "--weeks", "1", "--draws", "5")
    finished("prequential", dataset, *chosen, *one_week, "--out", tmp_path / "out")
    alone = evaluation(tmp_path / "out")["sections"][0]["evaluation"]["models"]
    together = evaluation(weekly)["sections"][0]["evaluation"]["models"]
    assert [model["by_period"][0] for model in alone] == [model["by_period"][0] for model in together]


def test_models_of_other_features_are_compared_on_the_same_transactions(
    transactions, dataset, configurations, weekly, tmp_path
):
    other = tmp_path / "handbook.parquet"
    finished("dataset", transactions, "--feature-set", "handbook", "--out", other)
    chosen = ("--config", configurations["small_boosting"], "--baseline", configurations["regression"])
    finished(
        "prequential", dataset, *chosen, "--baseline-dataset", other, *WEEKS, "--draws", "20", "--out", tmp_path / "out"
    )
    baseline, own = evaluation(tmp_path / "out")["sections"][0]["evaluation"]["models"]
    before = evaluation(weekly)["sections"][0]["evaluation"]["models"]
    assert own["metrics"] == before[1]["metrics"]
    assert baseline["metrics"] != before[0]["metrics"]
    finished("dataset", transactions, "--to", "2026-01-30", "--out", other)
    assert "do not hold the same transactions" in refused(
        "prequential", dataset, *chosen, "--baseline-dataset", other, *WEEKS, "--out", tmp_path / "none"
    )
    finished("dataset", transactions, "--label-delay-days", "3", "--out", other)
    assert "label delay of 3 days" in refused(
        "prequential", dataset, *chosen, "--baseline-dataset", other, *WEEKS, "--out", tmp_path / "none"
    )


def test_weeks_that_cannot_be_judged_are_refused_with_the_reason(dataset, configurations, tmp_path):
    out = ("--out", tmp_path / "none")
    config = ("--config", configurations["regression"])
    assert "every test week was skipped" in refused("prequential", dataset, *config, "--first-test", "2027-01-01", *out)
    twice = refused("prequential", dataset, *config, "--baseline", configurations["regression"], *WEEKS, *out)
    assert "two configurations are named 'regression'" in twice


def test_a_dataset_says_how_mature_each_week_is_and_reads_back_what_was_computed(transactions, dataset, tmp_path):
    result = finished("dataset", transactions, "--maturity-days", "14", "--out", tmp_path / "again.parquet")
    lines = [line.split() for line in result.output.splitlines() if line.startswith("202")]
    shares = [float(line[-1].rstrip("%")) for line in lines]
    assert shares[0] == 100
    assert shares[-1] < 20
    rows, again = read_dataset(dataset), read_dataset(tmp_path / "again.parquet")
    assert np.array_equal(rows.matrix, again.matrix, equal_nan=True)
    assert rows.origin == again.origin
    assert len(rows) == sum(int(line[1].replace(",", "")) for line in lines)


def test_ctrl_c_ends_a_search_with_the_best_trial_so_far_and_says_so(dataset, tmp_path):
    configuration = tmp_path / "long.yaml"
    # Far more trials than anybody waits for.
    leaves = [str(number) for number in range(2, 60)]
    configuration.write_text(
        "estimator: {kind: boosting, tree_count: 60, min_rows_per_leaf: 10}\n"
        f"search: {{choices: {{max_leaves: [{', '.join(leaves)}]}}, trials: 58, weeks: 1}}\n"
    )
    periods = ("--train-from", "2026-01-01", "--train-to", "2026-02-03", "--validate-to", "2026-02-09")
    command = [Path(sys.executable).with_name("fraud-train"), "fit", dataset, *periods, "--config", configuration]
    with subprocess.Popen(
        [*command, "--out", tmp_path / "best"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as fitting:
        first, second = fitting.stderr.readline(), fitting.stderr.readline()
        fitting.send_signal(signal.SIGINT)
        said, told = fitting.communicate()
    assert first.startswith("trial 1 of 58: average_precision")
    assert second.startswith("trial 2 of 58")
    assert fitting.returncode == 0, told
    assert re.search(r"interrupted: fitted with the best of \d+ finished trials", told)
    assert "written to" in said
    # What was fitted is the best of what was told.
    values = {
        line.split("max_leaves ")[1].strip(): float(line.split()[5])
        for line in (first + second + told).splitlines()
        if line.startswith("trial")
    }
    manifest = json.loads((tmp_path / "best" / "manifest.json").read_bytes())
    assert str(manifest["training"]["configuration"]["max_leaves"]) == max(values, key=values.__getitem__)


def test_a_file_that_is_no_dataset_is_refused(transactions, tmp_path):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and nothing else PAR1")
    assert "broken.parquet" in refused("dataset", broken, "--out", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_dataset_tells_what_was_refused_and_a_repetition_is_not(transactions, tmp_path):
    header, first, second, *_ = transactions.read_text(encoding="utf-8").splitlines()
    damaged = tmp_path / "damaged.csv"
    damaged.write_text("\n".join((header, first, second, second, "no,columns", "")), encoding="utf-8")
    told = finished("dataset", damaged, "--out", tmp_path / "rows.parquet").output
    assert f"1 record was refused and not learned from, first {damaged}:5: has 2 columns where" in " ".join(
        told.split()
    )
