"""The same input, model and policy give the same bytes, and the order is that of the file."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

HOSTILE = (
    '{"transaction_id": "broken\n',
    '{"transaction_id":"n","user_id":"u","timestamp":"2026-01-05T00:00:00Z","amount":-1,"currency":"EUR"}\n',
    '{"transaction_id":"z","user_id":"u","timestamp":"2026-01-05T00:00:00","amount":1,"currency":"EUR"}\n',
)


def outputs(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != "timings.json"}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, simulate: Callable[..., Path]) -> Path:
    """Good records with refused ones, repetitions and late ones between them."""
    lines = simulate("simulated.jsonl").read_text().splitlines(keepends=True)[:900]
    for place in range(0, 900, 45):
        lines.insert(place, HOSTILE[place % len(HOSTILE)])
    lines[300:300] = lines[290:293]
    lines[700:700] = [json.dumps(json.loads(lines[30]) | {"transaction_id": "late"}) + "\n"]
    path = tmp_path_factory.mktemp("mixed") / "mixed.jsonl"
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, mixed: Path, replay: Callable[..., Path]) -> Path:
    """The replay of `mixed` in one batch."""
    return replay(tmp_path_factory.mktemp("whole") / "out", mixed, "--decisions-jsonl", "--batch-size", "65536")


def test_the_file_has_what_makes_batches_differ(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_bytes())
    late = pq.read_table(whole / "decisions.parquet", columns=["transaction_id", "late"]).to_pylist()
    assert summary["rejected"] == 20
    assert summary["duplicates"] >= 3
    assert {"transaction_id": "late", "late": True} in late


@pytest.mark.parametrize("batch_size", [1, 7, 256, 1024])
def test_no_byte_depends_on_the_batch_size(
    tmp_path: Path, mixed: Path, whole: Path, replay: Callable[..., Path], batch_size: int
) -> None:
    out = replay(tmp_path / "out", mixed, "--decisions-jsonl", "--batch-size", str(batch_size))
    assert outputs(out) == outputs(whole)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_no_byte_depends_on_the_process(
    tmp_path: Path, mixed: Path, whole: Path, fraud_process: Callable[..., Any], hash_seed: str
) -> None:
    arguments = ("replay", mixed, "--out", tmp_path / "out", "--model", "none", "--decisions-jsonl")
    finished = fraud_process(*arguments, PYTHONHASHSEED=hash_seed, TZ="Pacific/Apia", LC_ALL="C")
    assert finished.exit_code == 0, finished.stderr
    assert outputs(tmp_path / "out") == outputs(whole)


def test_features_do_not_depend_on_the_process_either(
    tmp_path: Path, mixed: Path, fraud: Callable[..., Any], fraud_process: Callable[..., Any]
) -> None:
    fraud("features", mixed, "--out", tmp_path / "here.parquet")
    fraud_process("features", mixed, "--out", tmp_path / "apart.parquet", PYTHONHASHSEED="3")
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "apart.parquet").read_bytes()


def test_a_second_replay_into_the_same_folder_replaces_the_first(
    tmp_path: Path, mixed: Path, whole: Path, replay: Callable[..., Path]
) -> None:
    replay(tmp_path / "out", mixed, "--decisions-jsonl", "--limit", "10")
    assert outputs(replay(tmp_path / "out", mixed, "--decisions-jsonl")) == outputs(whole)


@pytest.fixture(scope="module")
def tangled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of three customers, tied within the second and out of order within hours."""
    places = random.Random(4)
    path = tmp_path_factory.mktemp("tangled") / "tangled.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["transaction_id", "user_id", "timestamp", "amount", "currency", "merchant_id"])
        for number in range(300):
            hour = min(23, max(0, number // 13 + places.choice([-3, 0, 0, 0])))
            timestamp = f"2026-03-01T{hour:02}:00:0{places.randrange(3)}Z"
            writer.writerow([f"t{number}", f"u{number % 3}", timestamp, "10.00", "EUR", f"m{number % 4}"])
    return path


@pytest.mark.parametrize("batch_size", ["1", "64", "1024"])
def test_tied_and_unsorted_rows_keep_the_order_of_the_file(
    tmp_path: Path, tangled: Path, replay: Callable[..., Path], batch_size: str
) -> None:
    out = replay(tmp_path / "out", tangled, "--batch-size", batch_size)
    rows = pq.read_table(out / "decisions.parquet").to_pylist()
    assert [row["transaction_id"] for row in rows] == [f"t{number}" for number in range(300)]


def test_a_row_sees_what_stood_before_it_with_an_equal_or_earlier_time_and_nothing_after_it(
    tmp_path: Path, tangled: Path, replay: Callable[..., Path]
) -> None:
    rows = pq.read_table(replay(tmp_path / "out", tangled) / "decisions.parquet").to_pylist()
    for place, row in enumerate(rows):
        seen = [
            other
            for other in rows[: place + 1]
            if other["user_id"] == row["user_id"]
            and 0 <= (row["timestamp"] - other["timestamp"]).total_seconds() < 3600
        ]
        assert row["customer_count_1h"] == len(seen)


def test_scores_and_their_reasons_do_not_depend_on_the_batch_size(
    tmp_path: Path, mixed: Path, fraud: Callable[..., Any]
) -> None:
    outs = []
    for batch_size in ("1", "7", "256", "65536"):
        outs.append(tmp_path / batch_size)
        arguments = ("--out", outs[-1], "--decisions-jsonl", "--batch-size", batch_size)
        assert fraud("replay", mixed, *arguments).exit_code == 0
    table = pq.read_table(outs[0] / "decisions.parquet", columns=["score", "model_version"])
    assert table["score"].null_count == table["model_version"].null_count == 0
    flagged = [json.loads(line)["decision"] for line in (outs[0] / "alerts.jsonl").read_bytes().splitlines()]
    assert any(decision["score_reasons"] for decision in flagged)
    assert all(outputs(out) == outputs(outs[0]) for out in outs)
