"""The same transactions give the same decisions, whatever file they come in."""

import csv
import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

SAME_IN_EVERY_FORMAT = ("decisions.parquet", "alerts.jsonl", "decisions.jsonl", "summary.json")
LABEL_COLUMNS = ("label", "label_source", "label_known_at", "scenario")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: Iterable[dict[str, str]]) -> Path:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def summary_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_bytes())


@pytest.mark.parametrize("ending", ["csv.gz", "csv.zst", "jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_every_format_and_compression_gives_the_same_decisions(
    tmp_path: Path, simulate: Callable[..., Path], replay: Callable[..., Path], replayed: Path, ending: str
) -> None:
    out = replay(tmp_path / "out", simulate(f"simulated.{ending}"), "--decisions-jsonl")
    for name in SAME_IN_EVERY_FORMAT:
        assert (out / name).read_bytes() == (replayed / name).read_bytes(), name


def test_the_ending_of_a_file_is_read_in_capitals_too(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path], replayed: Path
) -> None:
    loud = tmp_path / "SIMULATED.CSV.GZ"
    loud.write_bytes(gzip.compress(simulated.read_bytes()))
    out = replay(tmp_path / "out", loud)
    assert (out / "decisions.parquet").read_bytes() == (replayed / "decisions.parquet").read_bytes()


@pytest.mark.parametrize(
    ("mapping", "feature_set", "reads_labels"),
    [
        ("handbook", "handbook", True),
        ("handbook", "default", True),
        ("sparkov", "default", True),
        ("paysim", "default", True),
        ("native", "handbook", True),
    ],
)
def test_every_shipped_mapping_reads_its_format(
    tmp_path: Path,
    simulate: Callable[..., Path],
    replay: Callable[..., Path],
    mapping: str,
    feature_set: str,
    reads_labels: bool,
) -> None:
    file = simulate(f"{mapping}.csv", "--format", mapping)
    policy = "handbook" if feature_set == "handbook" else "default"
    out = replay(tmp_path / "out", file, "--mapping", mapping, "--feature-set", feature_set, "--policy", policy)
    summary = summary_of(out)
    assert summary["rejected"] == 0
    assert summary["decided"] > 1_000
    assert (summary["labels"]["frauds"] > 10) == reads_labels
    assert len(summary["days"]) >= 39


@pytest.mark.parametrize("mapping", ["handbook", "sparkov", "paysim"])
def test_a_foreign_format_gives_the_same_decisions_as_csv_and_as_parquet(
    tmp_path: Path, simulate: Callable[..., Path], replay: Callable[..., Path], mapping: str
) -> None:
    outs = [
        replay(tmp_path / ending, simulate(f"{mapping}.{ending}", "--format", mapping), "--mapping", mapping)
        for ending in ("csv", "parquet")
    ]
    tables = [pq.read_table(out / "decisions.parquet") for out in outs]
    assert tables[0].equals(tables[1])
    assert tables[0].num_rows > 1_000


def test_sparkov_purchases_lie_at_the_merchant_and_homes_are_attributes(
    tmp_path: Path, simulate: Callable[..., Path], replay: Callable[..., Path]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        """
policy: places
version: 1
description: Shows where a purchase was made
rules:
  - id: everything
    description: Reads both places
    condition: latitude > -90 and attributes.home_latitude > -90
    action: review
    reason_code: SEEN
"""
    )
    file = simulate("sparkov.csv", "--format", "sparkov")
    out = replay(tmp_path / "out", file, "--mapping", "sparkov", "--policy", policy)
    first_row = rows_of(file)[0]
    first = json.loads((out / "alerts.jsonl").read_text().splitlines()[0])["decision"]
    values = first["rule_hits"][0]["values"]
    assert values["latitude"] == float(first_row["merch_lat"])
    assert values["attributes.home_latitude"] == float(first_row["lat"])


def test_files_without_labels_work_and_are_decided_as_if_nothing_were_known(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path]
) -> None:
    rows = rows_of(simulated)
    unlabelled = write_csv(
        tmp_path / "unlabelled.csv",
        ({name: value for name, value in row.items() if name not in LABEL_COLUMNS} for row in rows),
    )
    legitimate = write_csv(tmp_path / "legitimate.csv", (row | dict.fromkeys(LABEL_COLUMNS, "") for row in rows))
    without, empty = replay(tmp_path / "a", unlabelled), replay(tmp_path / "b", legitimate)
    assert (without / "decisions.parquet").read_bytes() == (empty / "decisions.parquet").read_bytes()
    assert set(pq.read_table(without / "decisions.parquet", columns=["label"])["label"].to_pylist()) == {None}
    summary = summary_of(without)
    assert summary["labels"]["labelled"] == 0
    assert summary["money"]["stopped"] is None
    assert summary["detection"]["alert_precision"] is None


def test_a_file_without_labels_says_so_on_the_terminal(
    tmp_path: Path, simulated: Path, fraud: Callable[..., Any]
) -> None:
    rows = rows_of(simulated)[:200]
    file = write_csv(
        tmp_path / "in.csv",
        ({name: value for name, value in row.items() if name not in LABEL_COLUMNS} for row in rows),
    )
    finished = fraud("replay", file, "--out", tmp_path / "out", "--model", "none")
    assert "the file has no labels" in finished.stdout


def test_several_files_in_sequence_equal_one(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path], replayed: Path
) -> None:
    rows = rows_of(simulated)
    parts = [
        write_csv(tmp_path / f"part{number}.csv", rows[start : start + 700])
        for number, start in enumerate(range(0, len(rows), 700))
    ]
    assert len(parts) > 2
    out = replay(tmp_path / "out", *parts, "--decisions-jsonl")
    for name in SAME_IN_EVERY_FORMAT:
        assert (out / name).read_bytes() == (replayed / name).read_bytes(), name


def test_files_of_different_kinds_can_follow_each_other(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path], replayed: Path
) -> None:
    rows = rows_of(simulated)
    first = write_csv(tmp_path / "first.csv", rows[:500])
    second = tmp_path / "second.csv.gz"
    second.write_bytes(gzip.compress(write_csv(tmp_path / "rest.csv", rows[500:]).read_bytes()))
    out = replay(tmp_path / "out", first, second)
    assert (out / "decisions.parquet").read_bytes() == (replayed / "decisions.parquet").read_bytes()


def test_an_own_mapping_file_reads_an_own_format(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path], replayed: Path
) -> None:
    mapping = tmp_path / "bank.yaml"
    mapping.write_text(
        """
mapping: bank
fields:
  transaction_id: id
  user_id: customer
  amount: {column: cents, unit: minor}
  currency: {constant: EUR}
time: {column: when, format: "%d.%m.%Y %H:%M:%S", zone: Europe/Berlin}
"""
    )
    file = tmp_path / "bank.csv"
    file.write_text("id,customer,cents,when\na,u1,1250,02.07.2026 14:00:00\nb,u1,99,02.07.2026 14:00:01\n")
    decisions = pq.read_table(replay(tmp_path / "out", file, "--mapping", mapping) / "decisions.parquet").to_pylist()
    assert [row["amount"] for row in decisions] == [12.5, 0.99]
    assert [row["timestamp"].isoformat() for row in decisions] == [
        "2026-07-02T12:00:00+00:00",
        "2026-07-02T12:00:01+00:00",
    ]


def test_a_mapping_for_other_columns_is_refused_with_the_names_that_are_there(
    tmp_path: Path, simulated: Path, fraud: Callable[..., Any]
) -> None:
    finished = fraud("replay", simulated, "--mapping", "handbook", "--out", tmp_path / "out", "--model", "none")
    assert finished.exit_code == 2
    assert "'TRANSACTION_ID' is not in" in finished.stderr
    assert "did you mean 'transaction_id'?" in finished.stderr
    assert all(f"'{name}'" in finished.stderr for name in rows_of(simulated)[0])
    assert not (tmp_path / "out").exists()


def test_a_mapping_that_misses_a_required_field_is_refused_with_its_place(
    tmp_path: Path, simulated: Path, fraud: Callable[..., Any]
) -> None:
    mapping = tmp_path / "short.yaml"
    mapping.write_text(
        "mapping: short\nfields:\n  transaction_id: transaction_id\n  user_id: user_id\n  amount: amount\n"
        "time: {column: timestamp, format: iso}\n"
    )
    finished = fraud("replay", simulated, "--mapping", mapping, "--out", tmp_path / "out", "--model", "none")
    assert finished.exit_code == 2
    assert f"{mapping}:" in finished.stderr
    assert "currency" in finished.stderr
