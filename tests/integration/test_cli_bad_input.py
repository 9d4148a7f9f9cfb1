"""Bad input costs its own record and is named; everything else is decided."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

COLUMNS = (
    "transaction_id",
    "user_id",
    "timestamp",
    "amount",
    "currency",
    "latitude",
    "longitude",
    "entry_mode",
    "city",
)


class Bad(NamedTuple):
    """A broken record: how it is broken, and how its refusal must name it."""

    name: str
    code: str
    field: str
    change: dict[str, Any] = {}  # noqa: RUF012 a NamedTuple's default, never changed
    line: bytes = b""


def good(number: int) -> dict[str, Any]:
    return {
        "transaction_id": f"good{number}",
        "user_id": f"u{number % 3}",
        "timestamp": f"2026-03-01T12:{number % 60:02}:00.000Z",
        "amount": 12.5,
        "currency": "EUR",
        "latitude": 52.5,
        "longitude": 13.4,
        "entry_mode": "chip",
        "city": "Berlin",
    }


def as_csv(record: dict[str, Any]) -> bytes:
    return ",".join("" if record[name] is None else str(record[name]) for name in COLUMNS).encode()


def as_json(record: dict[str, Any]) -> bytes:
    return json.dumps({name: value for name, value in record.items() if value is not None}).encode()


EVERYWHERE = (
    Bad("empty id", "empty_value", "transaction_id", {"transaction_id": "   "}),
    Bad("control character", "control_character", "user_id", {"user_id": "u\x07"}),
    Bad("same id, other content", "transaction_id_reused", "transaction_id", good(1) | {"amount": 99.0}),
    Bad("the same again", "duplicate_transaction", "transaction_id", good(1)),
    Bad("negative amount", "amount_negative", "amount", {"amount": -3.5}),
    Bad("zero amount", "amount_zero", "amount", {"amount": 0.0}),
    Bad("absurd amount", "amount_too_large", "amount", {"amount": 10**12}),
    Bad("too many decimals", "too_many_decimals", "amount", {"amount": 1.234}),
    Bad("unknown currency", "unknown_currency", "currency", {"currency": "XXQ"}),
    Bad("no rate", "no_rate", "currency", {"currency": "MNT"}),
    Bad("time without zone", "timestamp_without_zone", "timestamp", {"timestamp": "2026-03-01T12:00:00"}),
    Bad("time out of range", "timestamp_out_of_range", "timestamp", {"timestamp": "1969-03-01T12:00:00Z"}),
    Bad("unreadable time", "invalid_timestamp", "timestamp", {"timestamp": "the day before"}),
    Bad("latitude beyond the pole", "invalid_coordinate", "latitude", {"latitude": 91.0}),
    Bad("half a position", "half_a_position", "latitude", {"longitude": None}),
    Bad("missing field", "missing_field", "user_id", {"user_id": None}),
    Bad("unknown word", "invalid_value", "entry_mode", {"entry_mode": "telepathy"}),
    Bad("long value", "value_too_long", "city", {"city": "x" * 5_000}),
)
IN_CSV = (
    *EVERYWHERE,
    Bad("too many columns", "wrong_column_count", "", line=as_csv(good(0)) + b",more"),
    Bad("too few columns", "wrong_column_count", "", line=b"t,u,2026-03-01T12:00:00Z"),
    Bad("open quote", "unterminated_quote", "", {"city": '"Berlin'}),
    Bad("broken quote", "broken_csv", "", {"city": '"Ber"lin'}),
    Bad("text for a number", "amount_not_decimal", "amount", {"amount": "a lot"}),
    Bad("NaN amount", "amount_not_decimal", "amount", {"amount": "NaN"}),
    Bad("infinite amount", "amount_not_decimal", "amount", {"amount": "inf"}),
    Bad("unreadable latitude", "invalid_coordinate", "latitude", {"latitude": "north"}),
    Bad("10 MB field", "record_too_long", "", {"city": "x" * 10_000_000}),
    Bad("wrong encoding", "wrong_encoding", "", line=as_csv(good(90)).replace(b"Berlin", "Köln".encode("latin-1"))),
    Bad("null byte", "control_character", "user_id", {"user_id": "u\x00"}),
)
IN_JSON = (
    *EVERYWHERE,
    Bad("broken JSON", "broken_json", "", line=b'{"transaction_id": "t", "user_id'),
    Bad("no JSON", "broken_json", "", line=b"hello"),
    Bad("a list", "wrong_type", "", line=b"[1, 2]"),
    Bad("NaN amount", "broken_json", "", line=as_json(good(91)).replace(b"12.5", b"NaN")),
    Bad("infinite amount", "broken_json", "", line=as_json(good(92)).replace(b"12.5", b"Infinity")),
    Bad("amount beyond a double", "wrong_type", "amount", line=as_json(good(93)).replace(b"12.5", b"1e999")),
    Bad("text for a number", "amount_not_decimal", "amount", {"amount": "a lot"}),
    Bad("a boolean amount", "wrong_type", "amount", {"amount": True}),
    Bad("a number as id", "wrong_type", "user_id", {"user_id": 7}),
    Bad("an object as city", "wrong_type", "city", {"city": {"name": "Berlin"}}),
    Bad("unreadable latitude", "wrong_type", "latitude", {"latitude": "north"}),
    Bad("10 MB field", "record_too_long", "", {"city": "x" * 10_000_000}),
    Bad("deep nesting", "nested_too_deeply", "", line=b'{"nested": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    Bad("wrong encoding", "wrong_encoding", "", line=as_json(good(94)).replace(b"Berlin", b"K\xf6ln")),
)
IN_PARQUET = (
    *EVERYWHERE,
    Bad("NaN amount", "amount_not_finite", "amount", {"amount": float("nan")}),
    Bad("infinite amount", "amount_not_finite", "amount", {"amount": float("inf")}),
    Bad("10 MB field", "value_too_long", "city", {"city": "x" * 10_000_000}),
)
CASES = {"csv": IN_CSV, "jsonl": IN_JSON, "parquet": IN_PARQUET}
FIRST_LINE = {"csv": 2, "jsonl": 1, "parquet": 1}
ALONE = [pytest.param(kind, bad, id=f"{kind}-{bad.name}") for kind, cases in CASES.items() for bad in cases]


def write(path: Path, records: list[Bad | dict[str, Any]]) -> None:
    """A file of `records`: the bad ones as they are, changed from a good one."""
    kind = path.suffix.removeprefix(".")
    whole = [
        record if isinstance(record, dict) else good(0) | {"transaction_id": f"bad {place}"} | record.change
        for place, record in enumerate(records)
    ]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(whole), path)
        return
    encode = as_csv if kind == "csv" else as_json
    lines = [
        record.line if isinstance(record, Bad) and record.line else encode(values)
        for record, values in zip(records, whole, strict=True)
    ]
    header = [",".join(COLUMNS).encode()] if kind == "csv" else []
    path.write_bytes(b"\n".join([*header, *lines]) + b"\n")


def rejected(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rejected.jsonl").read_bytes().splitlines()]


def decided(out: Path) -> list[str]:
    identifiers: list[str] = pq.read_table(out / "decisions.parquet")["transaction_id"].to_pylist()
    return identifiers


@pytest.mark.parametrize("kind", CASES)
def test_a_hostile_file_loses_its_bad_records_and_no_other(
    tmp_path: Path, replay: Callable[..., Path], kind: str
) -> None:
    records: list[Bad | dict[str, Any]] = [good(0), good(1)]
    for number, bad in enumerate(CASES[kind], start=2):
        records += [bad, good(number)]
    file = tmp_path / f"hostile.{kind}"
    write(file, records)
    out = replay(tmp_path / "out", file)
    expected = [
        (str(file), line, record.field, record.code)
        for line, record in enumerate(records, start=FIRST_LINE[kind])
        if isinstance(record, Bad)
    ]
    assert [(row["file"], row["line"], row["field"], row["code"]) for row in rejected(out)] == expected
    assert all(row["reason"] and len(row["value"]) <= 80 for row in rejected(out))
    assert decided(out) == [record["transaction_id"] for record in records if isinstance(record, dict)]
    summary = json.loads((out / "summary.json").read_bytes())
    assert summary["duplicates"] == 1
    assert summary["rejected"] == len(expected) - 1
    assert summary["transactions"] == summary["decided"] == len(decided(out))


@pytest.mark.parametrize(("kind", "bad"), ALONE)
def test_each_bad_record_is_named_with_its_line_and_reason(
    tmp_path: Path, replay: Callable[..., Path], kind: str, bad: Bad
) -> None:
    file = tmp_path / f"in.{kind}"
    write(file, [good(0), good(1), bad, good(2), good(3)])
    out = replay(tmp_path / "out", file)
    assert [(row["line"], row["field"], row["code"]) for row in rejected(out)] == [
        (FIRST_LINE[kind] + 2, bad.field, bad.code)
    ]
    assert decided(out) == ["good0", "good1", "good2", "good3"]


def test_the_same_transaction_again_is_counted_once(tmp_path: Path, replay: Callable[..., Path]) -> None:
    once, twice = tmp_path / "once.csv", tmp_path / "twice.csv"
    write(once, [good(0), good(1), good(4)])
    write(twice, [good(0), good(1), good(1), good(0), good(4)])
    first, second = replay(tmp_path / "a", once), replay(tmp_path / "b", twice)
    assert (first / "decisions.parquet").read_bytes() == (second / "decisions.parquet").read_bytes()


def test_the_same_file_twice_is_decided_once(
    tmp_path: Path, simulated: Path, replay: Callable[..., Path], fraud: Callable[..., Any]
) -> None:
    rows = simulated.read_text().splitlines(keepends=True)[:101]
    file = tmp_path / "in.csv"
    file.write_text("".join(rows))
    out = replay(tmp_path / "out", file, file)
    assert (out / "decisions.parquet").read_bytes() == (
        replay(tmp_path / "once", file) / "decisions.parquet"
    ).read_bytes()
    assert {row["code"] for row in rejected(out)} == {"duplicate_transaction"}
    assert len(rejected(out)) == 100


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "csv.zst", "jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_a_file_that_is_cut_in_the_middle_is_named_and_read_up_to_there(
    tmp_path: Path, simulate: Callable[..., Path], replay: Callable[..., Path], replayed: Path, ending: str
) -> None:
    whole = simulate(f"simulated.{ending}").read_bytes()
    file = tmp_path / f"cut.{ending}"
    file.write_bytes(whole[: len(whole) // 2])
    out = replay(tmp_path / "out", file)
    (problem,) = rejected(out)
    assert problem["file"] == str(file)
    assert problem["reason"]
    if ending == "parquet":
        # The index of a Parquet file stands at its end.
        assert decided(out) == []
    else:
        everything = pq.read_table(replayed / "decisions.parquet")
        part = pq.read_table(out / "decisions.parquet")
        assert problem["line"] >= part.num_rows > 100
        assert part.equals(everything.slice(0, part.num_rows))


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "jsonl.zst", "parquet"])
def test_an_empty_file_is_named_and_does_not_stop_the_others(
    tmp_path: Path, replay: Callable[..., Path], ending: str
) -> None:
    empty, full = tmp_path / f"empty.{ending}", tmp_path / "full.csv"
    empty.write_bytes(gzip.compress(b"") if ending == "csv.gz" else b"")
    write(full, [good(0), good(1)])
    out = replay(tmp_path / "out", empty, full)
    (problem,) = rejected(out)
    assert (problem["file"], problem["line"]) == (str(empty), 0)
    assert decided(out) == ["good0", "good1"]


def test_a_file_with_a_header_alone_has_no_transactions(tmp_path: Path, replay: Callable[..., Path]) -> None:
    file = tmp_path / "in.csv"
    write(file, [])
    out = replay(tmp_path / "out", file)
    assert (decided(out), rejected(out)) == ([], [])


def test_a_file_in_another_encoding_is_one_refusal_for_each_row_with_a_foreign_letter(
    tmp_path: Path, replay: Callable[..., Path]
) -> None:
    file = tmp_path / "in.csv"
    write(file, [good(0), good(1) | {"city": "Köln"}, good(2)])
    file.write_bytes(file.read_bytes().decode().encode("latin-1"))
    out = replay(tmp_path / "out", file)
    assert [(row["line"], row["code"]) for row in rejected(out)] == [(3, "wrong_encoding")]
    assert decided(out) == ["good0", "good2"]


def test_a_file_in_utf_16_is_refused_with_what_it_should_be(tmp_path: Path, replay: Callable[..., Path]) -> None:
    file = tmp_path / "in.csv"
    write(file, [good(0)])
    file.write_bytes(file.read_bytes().decode().encode("utf-16"))
    (problem,) = rejected(replay(tmp_path / "out", file))
    assert "UTF-8" in problem["reason"]


def test_the_report_and_the_terminal_tell_of_what_was_refused(tmp_path: Path, fraud: Callable[..., Any]) -> None:
    file = tmp_path / "in.csv"
    write(file, [good(0), *IN_CSV, good(2)])
    finished = fraud("replay", file, "--out", tmp_path / "out", "--model", "none")
    assert "rejected" in finished.stdout
    assert "rejected.jsonl" in finished.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    for code in {bad.code for bad in IN_CSV} - {"duplicate_transaction"}:
        assert code in page, code


def test_rejects_end_with_exit_code_1_where_that_is_asked_for(tmp_path: Path, fraud: Callable[..., Any]) -> None:
    bad, fine = tmp_path / "bad.csv", tmp_path / "fine.csv"
    write(bad, [good(0), EVERYWHERE[4]])
    write(fine, [good(0), good(1)])
    base = ("--out", tmp_path / "out", "--model", "none")
    assert fraud("replay", bad, *base).exit_code == 0
    assert fraud("replay", bad, *base, "--fail-on-rejects").exit_code == 1
    assert (tmp_path / "out" / "report.html").exists()
    assert fraud("replay", fine, *base, "--fail-on-rejects").exit_code == 0
