"""Which part of a file is decided, what is known by then, and the same through `fraud features`."""

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fraud.features import feature_set

FROM, TO = "2026-01-15", "2026-01-25T12:00:00Z"
FROM_TIME, TO_TIME = datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 1, 25, 12, tzinfo=UTC)


def summary_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_bytes())


def test_a_period_has_the_same_decisions_as_that_part_of_a_full_run(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path], replayed: Path
) -> None:
    part = pq.read_table(replay(tmp_path / "out", simulated, "--from", FROM, "--to", TO) / "decisions.parquet")
    full = pq.read_table(replayed / "decisions.parquet")
    inside = pc.and_(pc.greater_equal(full["timestamp"], FROM_TIME), pc.less(full["timestamp"], TO_TIME))
    expected = full.filter(inside)
    assert 0 < expected.num_rows < full.num_rows
    assert part.equals(expected)


def test_rows_before_the_period_change_the_features_of_those_in_it(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path]
) -> None:
    with simulated.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["timestamp"] >= "2026-01-15"]
    cold_file = tmp_path / "cold.csv"
    with cold_file.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    warm = pq.read_table(replay(tmp_path / "warm", simulated, "--from", FROM) / "decisions.parquet")
    cold = pq.read_table(replay(tmp_path / "cold", cold_file) / "decisions.parquet")
    assert warm["transaction_id"].equals(cold["transaction_id"])
    assert pc.sum(warm["customer_count_30d"]).as_py() > pc.sum(cold["customer_count_30d"]).as_py()


def test_the_first_moment_is_included_and_the_last_excluded(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path], replayed: Path
) -> None:
    moments = pq.read_table(replayed / "decisions.parquet", columns=["timestamp"])["timestamp"].to_pylist()
    first, last = moments[100], moments[200]
    out = replay(tmp_path / "out", simulated, "--from", first.isoformat(), "--to", last.isoformat())
    decided = pq.read_table(out / "decisions.parquet")["timestamp"].to_pylist()
    assert min(decided) == first
    assert max(decided) < last
    assert len(decided) == sum(first <= moment < last for moment in moments)


def test_the_summary_covers_the_period_alone(tmp_path: Path, simulated: Path, replay: Callable[..., Path]) -> None:
    out = replay(tmp_path / "out", simulated, "--from", FROM, "--to", TO)
    summary = summary_of(out)
    assert [day["day"] for day in summary["days"]] == [f"2026-01-{day}" for day in range(15, 26)]
    assert summary["decided"] == pq.read_metadata(out / "decisions.parquet").num_rows


def test_a_period_with_nothing_in_it_still_gives_whole_outputs(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path]
) -> None:
    out = replay(tmp_path / "out", simulated, "--from", "2031-01-01")
    assert pq.read_metadata(out / "decisions.parquet").num_rows == 0
    assert summary_of(out)["decided"] == 0
    assert "<html" in (out / "report.html").read_text()


def test_a_limit_is_a_number_of_records_read(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path], replayed: Path
) -> None:
    out = replay(tmp_path / "out", simulated, "--limit", "777")
    part = pq.read_table(out / "decisions.parquet")
    assert summary_of(out)["transactions"] == 777
    assert part.equals(pq.read_table(replayed / "decisions.parquet").slice(0, part.num_rows))


@pytest.fixture(scope="module")
def undated(tmp_path_factory: pytest.TempPathFactory, simulated: Path) -> Path:
    """The simulated file without the times at which its labels became known."""
    path = tmp_path_factory.mktemp("undated") / "undated.csv"
    with simulated.open(newline="") as source, path.open("w", newline="") as target:
        rows = list(csv.DictReader(source))
        names = [name for name in rows[0] if name != "label_known_at"]
        writer = csv.DictWriter(target, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_label_delay_changes_what_is_known_of_entities_and_nothing_else(
    tmp_path: Path, undated: Path, replay: Callable[..., Path]
) -> None:
    tables = {
        delay: pq.read_table(replay(tmp_path / delay, undated, "--label-delay-days", delay) / "decisions.parquet")
        for delay in ("0", "14", "1000")
    }
    names = feature_set("default").names
    assert {name for name in names if not tables["0"][name].equals(tables["1000"][name])} >= {
        "merchant_fraud_rate_30d",
        "merchant_hours_since_fraud",
        "card_fraud_rate_30d",
    }
    unchanged = [name for name in names if "fraud" not in name]
    assert tables["0"].select(unchanged).equals(tables["1000"].select(unchanged))
    rates = [pc.sum(tables[delay]["merchant_fraud_rate_30d"]).as_py() for delay in ("0", "14", "1000")]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == 3
    assert tables["1000"]["merchant_hours_since_fraud"].null_count == tables["1000"].num_rows


def test_a_column_with_the_time_of_the_label_comes_before_the_delay(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path], replayed: Path
) -> None:
    out = replay(tmp_path / "out", simulated, "--label-delay-days", "1000")
    assert (out / "decisions.parquet").read_bytes() == (replayed / "decisions.parquet").read_bytes()
    assert "known when the file says, else 1000 days after the transaction" in (out / "report.html").read_text()


@pytest.mark.parametrize("feature_set_name", ["default", "handbook"])
def test_features_are_those_of_the_decisions_and_nothing_more(
    tmp_path: Path, undated: Path, replay: Callable[..., Path], fraud: Callable[..., Any], feature_set_name: str
) -> None:
    options = ("--from", FROM, "--to", TO, "--label-delay-days", "2", "--feature-set", feature_set_name)
    finished = fraud("features", undated, "--mapping", "native", *options, "--out", tmp_path / "values.parquet")
    assert (finished.exit_code, finished.stderr) == (0, "")
    out = replay(tmp_path / "out", undated, *options, "--policy", feature_set_name)
    values = pq.read_table(tmp_path / "values.parquet")
    names = ["transaction_id", *feature_set(feature_set_name).names]
    assert values.schema.names == names
    assert values.equals(pq.read_table(out / "decisions.parquet").select(names))
    assert values.num_rows > 100


def test_features_say_how_much_was_written_and_refused(tmp_path: Path, fraud: Callable[..., Any]) -> None:
    file = tmp_path / "in.csv"
    file.write_text(
        "transaction_id,user_id,timestamp,amount,currency\n"
        "a,u,2026-03-01T12:00:00Z,1,EUR\nb,u,2026-03-01T12:00:00Z\na,u,2026-03-01T12:00:00Z,1,EUR\n"
    )
    finished = fraud("features", file, "--feature-set", "handbook", "--out", tmp_path / "values.parquet")
    assert "1 row of 15 features" in finished.stdout
    assert "1 record seen before, counted once" in finished.stdout
    refused, where_all_are = finished.stderr.splitlines()
    assert refused == f"1 record refused, the first: {file}:3: has 3 columns where the header has 5"
    assert where_all_are == "`fraud replay` names each of them in rejected.jsonl"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "values.parquet"]


def test_the_list_of_features_has_every_feature_of_every_set(fraud: Callable[..., Any]) -> None:
    listed = fraud("features", "--list")
    assert listed.exit_code == 0
    words = set(listed.stdout.split())
    assert set(feature_set("default").names) | set(feature_set("handbook").names) <= words
    assert max(map(len, listed.stdout.splitlines())) <= 80


def test_the_list_says_how_values_are_aggregated_and_what_they_are_compared_with(fraud: Callable[..., Any]) -> None:
    lines = [line.strip() for line in fraud("features", "--list").stdout.splitlines()]
    assert "customer_sum_1h  customer, number, sum, window 1h" in lines
    assert "gap_before_burst  customer, number, ratio to median, window 1h, baseline 30d" in lines
    assert "card_burst_1h  card, number, ratio of counts, window 1h, baseline 30d, hop 5m" in lines


@pytest.mark.parametrize("order", [("--list", "--feature-set", "handbook"), ("--feature-set", "handbook", "--list")])
def test_the_list_of_one_set_has_that_one_alone(fraud: Callable[..., Any], order: tuple[str, ...]) -> None:
    listed = fraud("features", *order)
    assert listed.stdout.startswith("handbook: 15 features")
    assert "default:" not in listed.stdout
