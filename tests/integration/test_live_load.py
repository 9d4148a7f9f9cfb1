"""Past transactions loaded before going live: what is decided afterwards equals a replay of everything."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from live_worker import FRAUD, TopicReader, WorkerProcess, fraud, worker_environment
from redis import Redis
from undisturbed import Undisturbed, replay, wait_for_all, write_lines

from fraud.stack import Stack

LOADED, LIVE = 1_800, 400
# Labels of the first records only, and soon: all are known before the last loaded transaction.
LABELLED = 900
LABEL_DELAY = ("--label-delay-days", "0.5")


@pytest.fixture
def environment(stack: Stack) -> dict[str, str]:
    return worker_environment(stack, "loading")


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def some_labelled(environment: dict[str, str], folder: Path) -> list[str]:
    simulated = folder / "simulated.jsonl"
    options = ("--days", "30", "--customers", "300", "--seed", "5")
    fraud(environment, "simulate", "--out", simulated, *options)
    lines = []
    for place, line in enumerate(simulated.read_text().splitlines()[: LOADED + LIVE]):
        record = json.loads(line)
        kept = {name: value for name, value in record.items() if not name.startswith("label") and name != "scenario"}
        if place < LABELLED and record["label"] is not None:
            kept["label"] = record["label"]
        lines.append(json.dumps(kept))
    return lines


def killed_load(environment: dict[str, str], file: Path, after_s: float) -> None:
    """Whatever it was doing by then."""
    load = subprocess.Popen([FRAUD, "load", str(file), *LABEL_DELAY], env=environment, stderr=subprocess.DEVNULL)
    time.sleep(after_s)
    load.kill()
    load.wait()


def test_live_decisions_after_a_load_equal_a_replay_of_everything(
    environment: dict[str, str], worker: WorkerProcess, tmp_path: Path
) -> None:
    lines = some_labelled(environment, tmp_path)
    everything = write_lines(tmp_path / "everything.jsonl", lines)
    past = write_lines(tmp_path / "past.jsonl", [*lines[:LOADED], '{"transaction_id": 7}'])
    present = write_lines(tmp_path / "present.jsonl", lines[LOADED:])
    ids = {json.loads(line)["transaction_id"] for line in lines[LOADED:]}
    whole = replay(environment, everything, tmp_path / "replay", *LABEL_DELAY)
    expected = Undisturbed(
        {one: said for one, said in whole.decisions.items() if one.transaction_id in ids},
        {one: said for one, said in whole.alerts.items() if one.transaction_id in ids},
    )
    fraud(environment, "init")
    for after_s in (3.0, 6.0):
        killed_load(environment, past, after_s)
    rejected = tmp_path / "rejected.jsonl"
    told = fraud(environment, "load", past, *LABEL_DELAY, "--rejected", rejected)
    assert f"{LOADED:,} transactions and {LABELLED:,} labels loaded, nothing published" in told
    (refused,) = map(json.loads, rejected.read_text().splitlines())
    assert (refused["file"], refused["line"]) == (str(past), LOADED + 1)
    with Redis.from_url(environment["FRAUD_REDIS_URL"]) as redis:
        redis.flushdb()
    fraud(environment, "rebuild", "entities")
    fraud(environment, "load", past, *LABEL_DELAY)

    fraud(environment, "produce", present, "--speed", "max")
    worker.start()
    with closing(TopicReader(environment, "decisions")) as decisions, closing(TopicReader(environment, "alerts")) as al:
        differences = expected.compare(wait_for_all(decisions, expected.decisions, 1.0, worker))
        assert not differences.wrong, differences.wrong
        assert not differences.degraded
        assert not expected.compare_alerts(wait_for_all(al, expected.alerts, 1.0, worker)).wrong

    refused_load = subprocess.run(
        [FRAUD, "load", str(past)], env=environment, capture_output=True, text=True, check=False
    )
    assert refused_load.returncode == 2
    assert "1 workers of the group 'loading' are at work" in refused_load.stderr
    assert worker.stop() == 0
