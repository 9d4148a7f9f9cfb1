"""A model in shadow scores every decision of a worker, changes none, and is compared once labels have come."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from live_worker import PATIENCE_S, TopicReader, WorkerProcess, fraud, worker_environment
from undisturbed import replay, simulated_lines, wait_for_all, write_lines

from fraud.settings import HOME
from fraud.stack import Stack
from training.cli import main as fraud_train

TRANSACTIONS = 400


@pytest.fixture
def environment(stack: Stack, tmp_path: Path) -> dict[str, str]:
    for name in ("champion", "challenger"):
        shutil.copytree(HOME / "models" / "default", tmp_path / name)
    put = ("models", "shadow", "challenger", "--why", "to compare", "--models", str(tmp_path))
    assert CliRunner().invoke(fraud_train, put).exit_code == 0
    return worker_environment(stack, "shadow", model_folder=str(tmp_path / "champion"))


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def wait_for_log(worker: WorkerProcess, text: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while text not in worker.log.read_text():
        assert time.monotonic() < end, worker.last_lines
        time.sleep(0.2)


def report(environment: dict[str, str], *options: str) -> str:
    result = CliRunner(env=environment).invoke(fraud_train, ["shadow-report", "--draws", "20", *options])
    assert result.exit_code == 0, result.output
    return str(result.output)


def test_a_model_in_shadow_is_recorded_compared_and_never_heard(
    environment: dict[str, str], worker: WorkerProcess, tmp_path: Path
) -> None:
    lines = simulated_lines(environment, tmp_path, TRANSACTIONS)
    whole = write_lines(tmp_path / "whole.jsonl", lines)
    expected = replay(environment, whole, tmp_path / "replayed")
    fraud(environment, "init")
    worker.start()
    worker.wait_until_ready()
    wait_for_log(worker, "models in shadow from now on: default")
    fraud(environment, "produce", whole, "--speed", "max")
    with closing(TopicReader(environment, "decisions")) as reader:
        messages = wait_for_all(reader, expected.decisions, 1.0, worker)
    assert expected.compare(messages).wrong == {}
    newest = max(json.loads(line)["timestamp"] for line in lines)
    told = report(environment, "--as-of", newest)
    # The same model: what history holds of both is equal.
    assert f"in shadow of default: {len(expected.decisions)} rows scored by both" in told
    assert "+0.000000 higher on average" in told
    assert "come back when labels have come" in told
    assert worker.stop() == 0
