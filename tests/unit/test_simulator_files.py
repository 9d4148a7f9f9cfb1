"""The files that the simulator writes: the same bytes each time, whole or not at all, in every format's own columns."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from fraud.simulator import SimulationOptions, simulate, write_simulation
from fraud.simulator.command import FORMAT_NAMES
from fraud.simulator.formats import FORMATS

SMALL = SimulationOptions(seed=7, days=5, customers=150, merchants=120, fraud_rate=0.03)

HEADERS = {
    "handbook": "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD,TX_FRAUD_SCENARIO",
    "sparkov": (
        ",trans_date_trans_time,cc_num,merchant,category,amt,first,last,gender,street,city,state,zip,lat,long,city_pop,job,"
        "dob,trans_num,unix_time,merch_lat,merch_long,is_fraud"
    ),
    "paysim": (
        "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud,isFlaggedFraud"
    ),
    "native": (
        "transaction_id,user_id,timestamp,amount,currency,event_type,auth_result,original_transaction_id,entry_mode,"
        "is_recurring,card_id,merchant_id,merchant_category,terminal_id,counterparty_id,channel,country,city,latitude,"
        "longitude,device_id,ip_address,label,label_source,label_known_at,scenario"
    ),
}


def test_the_command_offers_every_format() -> None:
    assert tuple(FORMATS) == FORMAT_NAMES


@pytest.mark.parametrize("file_format", FORMAT_NAMES)
@pytest.mark.parametrize("ending", ["csv", "jsonl.gz", "jsonl.zst", "parquet"])
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, file_format: str, ending: str) -> None:
    first, second = tmp_path / f"first.{ending}", tmp_path / f"second.{ending}"
    write_simulation(SMALL, first, file_format=file_format)
    write_simulation(SMALL, second, file_format=file_format)
    assert first.read_bytes() == second.read_bytes()


def test_another_seed_gives_other_transactions(tmp_path: Path) -> None:
    write_simulation(SMALL, tmp_path / "first.csv")
    write_simulation(SimulationOptions(seed=8, days=5, customers=150, merchants=120), tmp_path / "second.csv")
    first = {line.split(",")[0] for line in (tmp_path / "first.csv").read_text().splitlines()[1:]}
    second = {line.split(",")[0] for line in (tmp_path / "second.csv").read_text().splitlines()[1:]}
    assert not first & second


def test_more_fraud_leaves_the_honest_payments_as_they_are() -> None:
    def honest(fraud_rate: float) -> list[dict[str, object]]:
        options = SimulationOptions(seed=7, days=5, customers=150, merchants=120, fraud_rate=fraud_rate)
        rows = pa.concat_tables(simulate(options)).to_pylist()
        return [row for row in rows if row["scenario"] is None]

    assert honest(0.0) == honest(0.1)


@pytest.mark.parametrize("file_format", FORMAT_NAMES)
def test_each_format_has_exactly_its_columns(tmp_path: Path, file_format: str) -> None:
    path = tmp_path / "out.csv"
    write_simulation(SMALL, path, file_format=file_format)
    assert path.read_text(encoding="utf-8").splitlines()[0] == HEADERS[file_format]


def test_csv_json_lines_and_parquet_say_the_same(tmp_path: Path) -> None:
    for ending in ("csv", "jsonl", "parquet"):
        write_simulation(SMALL, tmp_path / f"out.{ending}")
    expected = pa.concat_tables(simulate(SMALL)).to_pylist()
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist() == expected
    schema = pyarrow.parquet.read_schema(tmp_path / "out.parquet")
    conversion = pyarrow.csv.ConvertOptions(
        column_types=dict(zip(schema.names, schema.types, strict=True)), strings_can_be_null=True
    )
    assert pyarrow.csv.read_csv(tmp_path / "out.csv", convert_options=conversion).to_pylist() == expected
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    present = [{name: value for name, value in row.items() if value is not None} for row in expected]
    assert lines == present


@pytest.mark.parametrize("file_format", FORMAT_NAMES)
def test_every_format_is_valid_json_with_times_in_whole_seconds_where_it_has_none_finer(
    tmp_path: Path, file_format: str
) -> None:
    write_simulation(SMALL, tmp_path / "out.jsonl", file_format=file_format)
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) > 400
    for time in ("TX_DATETIME", "trans_date_trans_time"):
        assert all(len(record[time]) == len("2026-01-01 00:00:00") for record in records if time in record)


def test_a_gzip_file_holds_the_plain_one(tmp_path: Path) -> None:
    write_simulation(SMALL, tmp_path / "out.jsonl")
    write_simulation(SMALL, tmp_path / "out.jsonl.gz")
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()) == (tmp_path / "out.jsonl").read_bytes()


def test_an_interrupted_simulation_leaves_no_file(tmp_path: Path) -> None:
    def interrupt(rows: int) -> None:
        raise KeyboardInterrupt

    for ending in ("csv", "parquet"):
        with pytest.raises(KeyboardInterrupt):
            write_simulation(SMALL, tmp_path / f"out.{ending}", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_the_summary_counts_what_the_file_holds(tmp_path: Path) -> None:
    reported: list[int] = []
    summary = write_simulation(SMALL, tmp_path / "out.parquet", progress=reported.append)
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert summary.rows == len(rows) == sum(reported)
    assert summary.frauds == sum(row["scenario"] is not None for row in rows) == sum(summary.scenarios.values())
    assert summary.authorisations == sum(row["event_type"] == "authorisation" for row in rows)


def test_the_handbook_file_counts_its_transactions_in_time_order(tmp_path: Path) -> None:
    write_simulation(SMALL, tmp_path / "out.parquet", file_format="handbook")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table["TRANSACTION_ID"].to_pylist() == list(range(len(table)))
    assert table["TX_DATETIME"].to_pylist() == sorted(table["TX_DATETIME"].to_pylist())
    assert set(table["TX_FRAUD_SCENARIO"].to_pylist()) <= {0, 1, 2, 3}
    assert set(table["TX_FRAUD"].to_pylist()) == {0, 1}


def test_the_sparkov_file_has_one_person_and_home_for_each_customer(tmp_path: Path) -> None:
    write_simulation(SMALL, tmp_path / "out.parquet", file_format="sparkov")
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    homes: dict[tuple[str, ...], set[tuple[float, float]]] = {}
    for row in rows:
        homes.setdefault((row["first"], row["last"], row["dob"]), set()).add((row["lat"], row["long"]))
    assert 100 < len(homes) <= SMALL.customers
    assert {len(places) for places in homes.values()} == {1}
    assert len({row["trans_num"] for row in rows}) == len(rows)
    assert all(row["merchant"].startswith("fraud_") and len(str(row["cc_num"])) == 16 for row in rows)
    assert rows[0]["trans_date_trans_time"].startswith("2026-01-01 0")


def test_the_paysim_balances_follow_from_the_amounts(tmp_path: Path) -> None:
    write_simulation(SMALL, tmp_path / "out.parquet", file_format="paysim")
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    for row in rows:
        assert row["newbalanceOrig"] == pytest.approx(max(0.0, row["oldbalanceOrg"] - row["amount"]), abs=1e-6)
        assert row["nameDest"].startswith("C" if row["type"] == "TRANSFER" else "M")
    assert {"PAYMENT", "TRANSFER", "CASH_OUT", "DEBIT"} == {row["type"] for row in rows}
    assert all(earlier["step"] <= later["step"] for earlier, later in pairwise(rows))
    assert rows[-1]["step"] == 24 * SMALL.days
    assert np.all(np.array([row["isFlaggedFraud"] for row in rows]) == 0)
