"""A model is promoted and rolled back and the policy changes while transactions stream in: no decision is of two."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

import pytest
from live_worker import FRAUD, PATIENCE_S, TopicReader, WorkerProcess, fraud, worker_environment
from undisturbed import Undisturbed, identity_of, replay, simulated_lines, wait_for_all, write_lines

from fraud.option_kinds import moment_ms
from fraud.scoring.model import read_manifest
from fraud.settings import HOME
from fraud.stack import Stack
from training.cli import FitRequest, fit_and_write
from training.registry import Author, Subject, promoted
from training.registry_file import change_registry

SEGMENT = 500
# Each part of the stream takes about so long, so that a change falls into the middle of it.
SEGMENT_S = 8
POLICY = (HOME / "policies" / "default.yaml").read_text()
STRICTER = POLICY.replace("version: 1", "version: 2").replace("challenge: 0.1", "challenge: 0.01")
FIRST, SECOND, THIRD, FOURTH = (
    ("default", "default 1"),
    ("second", "default 1"),
    ("second", "default 2"),
    ("default", "default 2"),
)


@pytest.fixture
def environment(stack: Stack, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "policy.yaml").write_text(POLICY)
    shutil.copytree(HOME / "models" / "default", tmp_path / "models" / "default")
    chosen = {"policy_file": str(tmp_path / "policy.yaml"), "model_folder": str(tmp_path / "models")}
    return worker_environment(stack, "reload", batch_size="16", **chosen)


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


@pytest.fixture
def segments(environment: dict[str, str], tmp_path: Path) -> list[Path]:
    """Four parts of a stream, and the whole of it in `whole.jsonl`."""
    lines = simulated_lines(environment, tmp_path, 4 * SEGMENT)
    write_lines(tmp_path / "whole.jsonl", lines)
    rest = iter(lines)
    return [write_lines(tmp_path / f"segment-{place}.jsonl", list(islice(rest, SEGMENT))) for place in range(4)]


@pytest.fixture
def expected(environment: dict[str, str], segments: list[Path], tmp_path: Path) -> dict[tuple[str, str], Undisturbed]:
    """The whole stream replayed under each pair of versions."""
    assert len(segments) == len((FIRST, SECOND, THIRD, FOURTH))
    days = {name: moment_ms(name) for name in ("2026-01-05", "2026-01-28", "2026-02-10")}
    simulated = (tmp_path / "simulated.jsonl",)
    request = FitRequest(
        simulated, "native", "default", 7.0, *days.values(), "logistic_regression", 3, tmp_path / "models" / "second"
    )
    fit_and_write(request, "2026-03-01T00:00:00Z")
    (tmp_path / "stricter.yaml").write_text(STRICTER)
    choices = {
        FIRST: ("policy", "default"),
        SECOND: ("policy", "second"),
        THIRD: ("stricter", "second"),
        FOURTH: ("stricter", "default"),
    }
    return {
        versions: replay(
            environment,
            tmp_path / "whole.jsonl",
            tmp_path / "-".join(versions),
            *("--policy", str(tmp_path / f"{policy}.yaml"), "--model", str(tmp_path / "models" / model)),
        )
        for versions, (policy, model) in choices.items()
    }


def wait_until(holds: Callable[[], bool], worker: WorkerProcess) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, worker.last_lines
        time.sleep(0.2)


@contextmanager
def streaming(environment: dict[str, str], segment: Path, worker: WorkerProcess) -> Iterator[None]:
    """While this part of the stream comes in; at the end all of it has."""
    times = [json.loads(line)["timestamp"] for line in segment.read_text().splitlines()]
    speed = max(1, (moment_ms(max(times)) - moment_ms(min(times))) // 1_000 // SEGMENT_S)
    decided = worker.decided
    producer = subprocess.Popen([FRAUD, "produce", segment, "--speed", f"{speed}x"], env=environment)
    try:
        wait_until(lambda: worker.decided > decided, worker)
        yield
        assert producer.wait(PATIENCE_S) == 0
    finally:
        producer.kill()
        producer.wait()


def metric(worker: WorkerProcess, *parts: str) -> bool:
    """Whether a line of the metrics has all of these in it."""
    return any(all(part in line for part in parts) for line in worker.metrics.splitlines())


def versions_of(message: bytes) -> tuple[str, str]:
    versions = json.loads(message)["decision"]["versions"]
    return versions["model"]["name"], versions["policy"]["name"]


def promote(name: str, models: Path) -> None:
    """What `fraud-train models promote` does once an evaluation has passed the gates."""
    hashes = {model: read_manifest(models / model).content_hash for model in ("default", name)}
    subject, first = Subject(name, hashes[name], "e" * 64), Subject("default", hashes["default"])
    ann = Author("Ann", "2026-03-01T00:00:00Z", "finds more")
    change_registry(models, lambda registry: promoted(registry, subject, first, ann))


def fraud_train(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run([str(Path(FRAUD).with_name("fraud-train")), *arguments], env=environment, check=True)


def replace_file(file: Path, text: str) -> None:
    """As somebody should who knows that it is being read."""
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


def test_decisions_are_those_of_a_replay_under_the_versions_that_they_name(
    environment: dict[str, str],
    segments: Sequence[Path],
    expected: dict[tuple[str, str], Undisturbed],
    worker: WorkerProcess,
    tmp_path: Path,
) -> None:
    fraud(environment, "init")
    worker.start()
    worker.wait_until_ready()
    policy = tmp_path / "policy.yaml"
    with streaming(environment, segments[0], worker):
        promote("second", tmp_path / "models")
        wait_until(lambda: metric(worker, "fraud_active{", 'name="second"'), worker)
    with streaming(environment, segments[1], worker):
        replace_file(policy, STRICTER.replace("review: 0.3", "review: many"))
        wait_until(lambda: metric(worker, 'fraud_reload_refused{part="policy"} 1.0'), worker)
        assert metric(worker, "fraud_active{", 'name="default 1"')
        assert "policy.yaml:10" in worker.log.read_text()
        replace_file(policy, STRICTER)
        wait_until(lambda: metric(worker, "fraud_active{", 'name="default 2"'), worker)
        assert metric(worker, 'fraud_reload_refused{part="policy"} 0.0')
    with streaming(environment, segments[2], worker):
        fraud_train(environment, "models", "rollback", "--why", "too many alerts")
        wait_until(lambda: metric(worker, "fraud_active{", 'name="default"'), worker)
    with streaming(environment, segments[3], worker):
        pass
    with closing(TopicReader(environment, "decisions")) as reader:
        messages = wait_for_all(reader, expected[FIRST].decisions, 1.0, worker)
    assert worker.stop() == 0
    assert len(messages) == len(expected[FIRST].decisions)
    assert Counter(map(versions_of, (message.value for message in messages))).keys() == {FIRST, SECOND, THIRD, FOURTH}
    wrong = [
        identity_of(message.value)
        for message in messages
        if expected[versions_of(message.value)].decisions[identity_of(message.value)] != message.value
    ]
    assert wrong == []
