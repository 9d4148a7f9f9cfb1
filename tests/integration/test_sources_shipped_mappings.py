import csv
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fraud.sources import (
    GroundTruth,
    Mapping,
    SourceRecord,
    TransactionFiles,
    load_mapping,
    parse_mapping,
    read_records,
)
from fraud.transaction import TransactionMessage

HANDBOOK = [
    ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD", "TX_FRAUD_SCENARIO"],
    ["0", "2018-04-01 00:00:31", "596", "3156", "57.16", "0", "0"],
    ["1", "2018-04-01 00:02:10", "4961", "3412", "281.45", "1", "1"],
]
SPARKOV = [
    ["", "trans_date_trans_time", "cc_num", "merchant", "category", "amt", "first", "last", "gender", "street", "city",
     "state", "zip", "lat", "long", "city_pop", "job", "dob", "trans_num", "unix_time", "merch_lat", "merch_long",
     "is_fraud"],
    ["0", "2019-01-01 00:00:18", "4000127700000001", "fraud_Rippin, Kub", "misc_net", "4.97", "Jennifer", "Banks", "F",
     "561 Perry Cove", "Moravian Falls", "NC", "28654", "36.0788", "-81.1781", "3495", "Psychologist", "1988-03-09",
     "0b242abb623afc578575680df30655b9", "1325376018", "36.011293", "-82.048315", "1"],
]  # fmt: skip
PAYSIM = [
    ["step", "type", "amount", "nameOrig", "oldbalanceOrg", "newbalanceOrig", "nameDest", "oldbalanceDest",
     "newbalanceDest", "isFraud", "isFlaggedFraud"],
    ["1", "PAYMENT", "9839.64", "C1231006815", "170136.0", "160296.36", "M1979787155", "0.0", "0.0", "0", "0"],
    ["25", "TRANSFER", "181.0", "C1305486145", "181.0", "0.0", "C553264065", "0.0", "0.0", "1", "0"],
]  # fmt: skip


def written(folder: Path, rows: list[list[str]], ending: str) -> Path:
    """The rows as a file: text columns in CSV, typed columns in Parquet, typed values in JSON lines."""
    path = folder / f"in.{ending}"
    text = folder / "text.csv"
    with text.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    table = pyarrow.csv.read_csv(text)
    if ending == "parquet":
        pq.write_table(table, path)
    elif ending == "jsonl":
        lines = [json.dumps(entry, default=lambda moment: moment.isoformat()) for entry in table.to_pylist()]
        path.write_text("\n".join(lines))
    elif ending == "csv.gz":
        path.write_bytes(gzip.compress(text.read_bytes()))
    elif ending == "csv.zst":
        with pa.CompressedOutputStream(str(path), "zstd") as output:
            output.write(text.read_bytes())
    else:
        path.write_bytes(text.read_bytes())
    return path


def accepted(path: Path, mapping: Mapping) -> list[SourceRecord]:
    records = list(read_records([path], mapping))
    assert all(isinstance(record, SourceRecord) for record in records), records
    return [record for record in records if isinstance(record, SourceRecord)]


ENDINGS = pytest.mark.parametrize("ending", ["csv", "csv.gz", "csv.zst", "jsonl", "parquet"])


@ENDINGS
def test_a_handbook_file(tmp_path: Path, ending: str) -> None:
    first, second = accepted(written(tmp_path, HANDBOOK, ending), load_mapping("handbook"))
    message = first.message
    assert (message.transaction_id, message.user_id, message.terminal_id) == ("0", "596", "3156")
    assert (float(message.amount), message.currency, message.merchant_id) == (57.16, "EUR", None)
    assert message.timestamp == datetime(2018, 4, 1, 0, 0, 31, tzinfo=UTC)
    assert message.event_type == "authorisation"
    assert first.label == GroundTruth("legitimate")
    assert second.label == GroundTruth("fraud", scenario="amount_over_220")


@ENDINGS
def test_a_sparkov_file(tmp_path: Path, ending: str) -> None:
    (record,) = accepted(written(tmp_path, SPARKOV, ending), load_mapping("sparkov"))
    message = record.message
    assert message.transaction_id == "0b242abb623afc578575680df30655b9"
    assert (message.user_id, message.card_id) == ("Jennifer|Banks|1988-03-09", "4000127700000001")
    assert message.timestamp == datetime(2019, 1, 1, 0, 0, 18, tzinfo=UTC)
    assert (message.latitude, message.longitude) == (36.011293, -82.048315)
    assert message.attributes == {"home_latitude": 36.0788, "home_longitude": -81.1781, "city_pop": 3495.0}
    assert (message.merchant_category, message.country, message.currency) == ("misc_net", "US", "USD")
    assert record.label == GroundTruth("fraud")


@ENDINGS
def test_a_paysim_file(tmp_path: Path, ending: str) -> None:
    first, second = accepted(written(tmp_path, PAYSIM, ending), load_mapping("paysim"))
    assert [first.message.transaction_id, second.message.transaction_id] == ["P1", "P2"]
    message = second.message
    assert (message.user_id, message.counterparty_id, message.channel) == ("C1305486145", "C553264065", "TRANSFER")
    assert message.timestamp == datetime(2016, 1, 2, 1, tzinfo=UTC)
    assert message.attributes == {
        "type": "TRANSFER",
        "balance_before": 181.0,
        "balance_after": 0.0,
        "counterparty_balance_before": 0.0,
        "counterparty_balance_after": 0.0,
    }
    assert (first.label, second.label) == (GroundTruth("legitimate"), GroundTruth("fraud"))


@ENDINGS
def test_a_file_without_its_label_column_is_read_all_the_same(tmp_path: Path, ending: str) -> None:
    rows = [row[:5] for row in HANDBOOK]
    assert [record.label for record in accepted(written(tmp_path, rows, ending), load_mapping("handbook"))] == [
        None
    ] * 2


NATIVE = {
    "transaction_id": "t1",
    "user_id": "u1",
    "timestamp": "2026-03-01T13:00:00.125+01:00",
    "amount": 12.5,
    "currency": "EUR",
    "event_type": "refund",
    "auth_result": "approved",
    "original_transaction_id": "t0",
    "entry_mode": "chip",
    "is_recurring": True,
    "card_id": "4000121111111111",
    "merchant_id": "m1",
    "merchant_category": "5411",
    "terminal_id": "p1",
    "counterparty_id": "a1",
    "channel": "pos",
    "country": "NO",
    "city": "Tromsø",
    "latitude": 69.65,
    "longitude": 18.96,
    "device_id": "d1",
    "ip_address": "10.0.0.1",
    "attributes": {"basket": 3.0, "gift": True, "note": "x"},
    "label": "fraud",
    "label_source": "issuer_alert",
    "label_known_at": "2026-03-04T00:00:00Z",
    "scenario": "card_testing",
}
EMPTY = {**dict.fromkeys(NATIVE), **{name: NATIVE[name] for name in ("user_id", "timestamp", "amount", "currency")}}
EMPTY |= {"transaction_id": "t2", "event_type": "authorisation", "attributes": {}}


def native_file(folder: Path, ending: str) -> Path:
    path = folder / f"in.{ending}"
    rows = [NATIVE, EMPTY]
    if ending == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
        return path
    flat = [{**row, "attributes": json.dumps(row["attributes"])} for row in rows]
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(flat), path)
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(NATIVE))
        writer.writeheader()
        writer.writerows(flat)
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_native_file_says_the_same_in_every_format(tmp_path: Path, ending: str) -> None:
    full, empty = accepted(native_file(tmp_path, ending), load_mapping("native"))
    for name in TransactionMessage.__struct_fields__:
        expected = NATIVE[name]
        if name == "timestamp":
            expected = datetime(2026, 3, 1, 12, 0, 0, 125_000, tzinfo=UTC)
        found = getattr(full.message, name)
        assert (float(found) if name == "amount" else found) == expected, name
        if name not in {"transaction_id", "user_id", "timestamp", "amount", "currency", "event_type", "attributes"}:
            assert getattr(empty.message, name) is None
    assert (empty.message.event_type, empty.message.attributes) == ("authorisation", {})
    assert full.label == GroundTruth("fraud", "issuer_alert", 1_772_582_400_000, "card_testing")
    assert empty.label is None


OWN = """
mapping: own
delimiter: ";"
fields:
  transaction_id: {column: id, prefix: "X-"}
  user_id: {columns: [bank, account], separator: "/"}
  amount: {column: cents, unit: minor}
  currency: currency
  event_type: {column: kind, values: {PAY: authorisation, BACK: refund}}
  city: {column: place, optional: true}
time: {column: when, format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}
attributes:
  loyal: {column: loyal, type: boolean}
  score: {column: score, type: number, optional: true}
label:
  column: fraud
  fraud_values: [yes]
  legitimate_values: [no]
  source: chargeback
  delay:
    seed: 1
    by_source: {chargeback: {distribution: constant, days: 30}}
"""


def test_every_part_of_an_own_mapping(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(
        "id;bank;account;cents;currency;kind;when;loyal;fraud\n"
        "1;B;7;1250;EUR;PAY;01.07.2026 14:00;1;yes\n"
        "2;B;7;1250;JPY;BACK;01.01.2026 13:00;;no\n"
        "3;B;7;1;KWD;PAY;01.01.2026 13:00;false;\n"
        "4;;7;1;KWD;PAY;01.01.2026 13:00;false;\n"
        "5;B;7;1;KWD;PAYS;01.01.2026 13:00;false;\n"
        "6;B;7;1;KWD;PAY;2026-01-01;false;\n"
        "7;B;7;1;KWD;PAY;01.01.2026 13:00;false;1.0\n"
    )
    records = list(read_records([path], parse_mapping(OWN, "own.yaml")))
    messages = [record.message for record in records if isinstance(record, SourceRecord)]
    assert [message.transaction_id for message in messages] == ["X-1", "X-2", "X-3"]
    assert [message.amount for message in messages] == ["12.50", "1250", "0.001"]
    assert [message.user_id for message in messages] == ["B/7"] * 3
    assert [message.event_type for message in messages] == ["authorisation", "refund", "authorisation"]
    # 14:00 in summer and 13:00 in winter are both noon in UTC.
    assert [message.timestamp.astimezone(UTC).hour for message in messages] == [12, 12, 12]
    assert [message.attributes for message in messages] == [{"loyal": True}, {}, {"loyal": False}]
    known_at_ms = round(messages[0].timestamp.timestamp() * 1_000) + 30 * 86_400_000
    labels = [record.label for record in records if isinstance(record, SourceRecord)]
    assert labels == [GroundTruth("fraud", "chargeback", known_at_ms), GroundTruth("legitimate"), None]
    refused = [record for record in records if not isinstance(record, SourceRecord)]
    assert [(record.line, record.field, record.code) for record in refused] == [
        (5, "user_id", "missing_field"),
        (6, "event_type", "invalid_value"),
        (7, "timestamp", "invalid_timestamp"),
        (8, "label", "invalid_label"),
    ]
    assert refused[0].reason == "is missing or empty (column bank, account)"


@pytest.mark.parametrize(
    ("time_format", "value"),
    [
        ("unix_seconds", "1772366400.5"),
        ("unix_ms", "1772366400500"),
        ("hours_since, start: 2026-03-01T10:00:00Z", "2.0001388888888889"),
    ],
)
def test_numeric_times(tmp_path: Path, time_format: str, value: str) -> None:
    mapping = parse_mapping(
        "mapping: m\nfields: {transaction_id: a, user_id: a, amount: a, currency: {constant: EUR}}\n"
        f"time: {{column: t, format: {time_format}}}\n",
        "m.yaml",
    )
    path = tmp_path / "in.csv"
    path.write_text(f"a,t\n1,{value}\n2,1e300\n3,soon\n")
    first, *refused = read_records([path], mapping)
    assert isinstance(first, SourceRecord)
    assert first.message.timestamp == datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    assert [getattr(record, "code", "") for record in refused] == ["invalid_timestamp"] * 2


def test_parquet_times_with_a_zone_and_without_and_beyond_the_calendar(tmp_path: Path) -> None:
    mapping = parse_mapping(
        "mapping: m\nfields: {transaction_id: a, user_id: a, amount: b, currency: {constant: EUR}}\n"
        "time: {column: t, format: iso, zone: Europe/Berlin}\n",
        "m.yaml",
    )
    moment = 1_772_366_400_000_000
    for arrow_type, expected_hour in ((pa.timestamp("us", "America/New_York"), 12), (pa.timestamp("us"), 11)):
        path = tmp_path / "in.parquet"
        times = pa.array([moment, None, 2**62], pa.int64()).cast(arrow_type)
        amounts = pa.array([12.34, 1.0, 1.0], pa.float32())
        pq.write_table(pa.table({"a": pa.array([1, 2, 3]).cast(pa.float64()), "b": amounts, "t": times}), path)
        first, *refused = read_records([path], mapping)
        assert isinstance(first, SourceRecord)
        assert first.message.timestamp.astimezone(UTC).hour == expected_hour
        assert (first.message.transaction_id, first.message.amount) == ("1", "12.34")
        assert [getattr(record, "code", "") for record in refused] == ["missing_field", "invalid_timestamp"]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "parquet"])
def test_progress_is_told_in_bytes_of_the_file(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path, HANDBOOK[:1] + HANDBOOK[1:] * 3_000, ending)
    files = TransactionFiles([path, path], load_mapping("handbook"))
    assert files.total_bytes == 2 * path.stat().st_size
    assert files.bytes_read == 0
    seen = []
    for block in files.blocks():
        assert 0 < len(block) <= 1_024
        seen.append(files.bytes_read)
    assert seen == sorted(seen)
    assert 0 < seen[0] < files.total_bytes
    assert files.bytes_read == files.total_bytes


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    first, second = written(tmp_path, HANDBOOK, "csv"), written(tmp_path, HANDBOOK, "parquet")
    records = list(read_records([second, first], load_mapping("handbook")))
    assert [(record.file, record.line) for record in records] == [
        (str(second), 1),
        (str(second), 2),
        (str(first), 2),
        (str(first), 3),
    ]
