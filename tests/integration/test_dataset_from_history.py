"""What is learned from history is what is learned from the file that the service was fed with."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner
from live_worker import PATIENCE_S, TopicReader, WorkerProcess, fraud, worker_environment
from undisturbed import simulated_lines, wait_for_messages, write_lines

from fraud.features import feature_set
from fraud.option_kinds import moment_ms
from fraud.scoring.model import load_model
from fraud.settings import HOME
from fraud.stack import Stack
from training.cli import main as fraud_train
from training.dataset_file import read_dataset

# Every tenth of a simulated stream, so that it lasts for weeks.
TAKEN, EVERY = 12_000, 10
LEARNED, JUDGED, SCORED = 600, 1_000, 1_200
# With this much or more it is fraud, in this test.
FRAUD_FROM = 150.0


@pytest.fixture
def environment(stack: Stack, tmp_path: Path) -> dict[str, str]:
    shutil.copytree(HOME / "models" / "default", tmp_path / "default")
    (tmp_path / "champion").symlink_to("default")
    return worker_environment(stack, "history-dataset", model_folder=str(tmp_path / "champion"))


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    yield worker
    worker.end()


def train(environment: dict[str, str], *arguments: str | Path) -> str:
    result = CliRunner(env=environment).invoke(fraud_train, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return str(result.output)


def wait_for_metric(worker: WorkerProcess, *parts: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not any(all(part in line for part in parts) for line in worker.metrics.splitlines()):
        assert time.monotonic() < end, worker.last_lines
        time.sleep(0.2)


def send_labels(environment: dict[str, str], records: Sequence[dict[str, Any]]) -> None:
    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"])
        await producer.start()
        for record in records:
            message = {
                "label_id": f"l-{record['transaction_id']}",
                "transaction_id": record["transaction_id"],
                "transaction_timestamp": record["timestamp"],
                "user_id": record["user_id"],
                "label": record["label"],
                "source": "analyst",
                "known_at": record["label_known_at"],
            }
            value = json.dumps(message).encode()
            await producer.send(environment["FRAUD_LABELS_TOPIC"], value, key=record["user_id"].encode())
        await producer.flush()
        await producer.stop()

    asyncio.run(send())


def labelled(records: list[dict[str, Any]], known_at: str) -> list[dict[str, Any]]:
    name = {True: "fraud", False: "legitimate"}
    return [
        {**record, "label": name[record["amount"] >= FRAUD_FROM], "label_source": "analyst", "label_known_at": known_at}
        for record in records
    ]


def test_a_model_from_history_is_the_model_from_the_file_and_scores_live_as_in_training(
    environment: dict[str, str], worker: WorkerProcess, tmp_path: Path
) -> None:
    lines = simulated_lines(environment, tmp_path, TAKEN)[::EVERY][:SCORED]
    records = [json.loads(line) for line in lines]
    times = [record["timestamp"] for record in records]
    # Labels become known between one part of the stream and the next: their order is the same, live and in a file.
    first = labelled(records[:LEARNED], times[LEARNED])
    second = labelled(records[LEARNED:JUDGED], times[JUDGED])
    whole = write_lines(tmp_path / "whole.jsonl", [json.dumps(record) for record in first + second + records[JUDGED:]])
    fraud(environment, "init")
    worker.start()
    worker.wait_until_ready()
    with closing(TopicReader(environment, "decisions")) as reader:

        def decide(from_row: int, to_row: int, labels: list[dict[str, Any]]) -> None:
            part = write_lines(tmp_path / f"from-{from_row}.jsonl", lines[from_row:to_row])
            fraud(environment, "produce", part, "--speed", "max")
            authorisations = sum(record["event_type"] == "authorisation" for record in records[:to_row])
            wait_for_messages(reader, authorisations, worker)
            send_labels(environment, labels)
            if labels:
                wait_for_metric(worker, f'fraud_labels_total{{outcome="counted"}} {float(to_row)}')

        decide(0, LEARNED, first)
        decide(LEARNED, JUDGED, second)
        as_of = ("--as-of", times[JUDGED], "--maturity-days", "7")
        told = train(environment, "dataset", "--from-history", *as_of, "--out", tmp_path / "history.parquet")
        assert "labels as known at" in told
        train(environment, "dataset", whole, *as_of, "--out", tmp_path / "file.parquet")
        periods = ("--train-from", times[0], "--train-to", times[LEARNED + 200], "--validate-to", times[JUDGED - 1])
        for source in ("history", "file"):
            options = ("--model-kind", "boosting", "--seed", "3", "--out", tmp_path / source)
            train(environment, "fit", tmp_path / f"{source}.parquet", *periods, *options)
        (tmp_path / "champion.new").symlink_to("history")
        (tmp_path / "champion.new").replace(tmp_path / "champion")
        wait_for_metric(worker, "fraud_active{", 'name="history"')
        decide(JUDGED, SCORED, [])
        decisions = [json.loads(message.value)["decision"] for message in reader.read()]
    assert worker.stop() == 0

    of_history, of_file = read_dataset(tmp_path / "history.parquet"), read_dataset(tmp_path / "file.parquet")
    known = of_file.labels_known_by(moment_ms(times[JUDGED]), 7.0)
    known[of_file.timestamps_ms > moment_ms(times[JUDGED])] = -1
    kept = np.flatnonzero(known != -1)
    assert 0 < len(of_history) == len(kept)
    assert of_history.matrix.tobytes() == of_file.matrix[kept].tobytes()
    assert of_history.labels.tolist() == known[kept].tolist()
    assert of_history.base_amounts_minor.tolist() == of_file.base_amounts_minor[kept].tolist()
    weights = [(tmp_path / source / "model.skops").read_bytes() for source in ("history", "file")]
    assert weights[0] == weights[1]

    features = feature_set("default")
    model = load_model(tmp_path / "file", features.name, features.schema_hash)
    scored = [decision for decision in decisions if decision["versions"]["model"]["name"] == "history"]
    assert len(scored) > 100
    assert [decision["score"] for decision in scored] == model.score(of_file.matrix[-len(scored) :]).tolist()
