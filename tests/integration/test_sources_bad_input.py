import gzip
import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fraud.money import amount_to_minor
from fraud.sources import (
    MappingError,
    RejectedRecord,
    SourceError,
    SourceRecord,
    TransactionFiles,
    load_mapping,
    parse_mapping,
    read_records,
)
from fraud.transaction import InvalidTransactionError, check_texts, message_columns

NATIVE = load_mapping("native")
HEADER = "transaction_id,user_id,timestamp,amount,currency,latitude,card_id"
# The same fields as in `native`, through the general reader instead of the topic's decoder.
MAPPED = parse_mapping(
    """
mapping: mapped
fields:
  transaction_id: transaction_id
  user_id: user_id
  amount: amount
  currency: currency
  latitude: {column: latitude, optional: true}
  card_id: {column: card_id, optional: true}
  is_recurring: {column: is_recurring, optional: true}
  entry_mode: {column: entry_mode, optional: true}
time: {column: timestamp, format: iso}
""",
    "mapped.yaml",
)
READERS = pytest.mark.parametrize("mapping", [NATIVE, MAPPED], ids=["topic", "mapped"])


def row(number: int, **changes: str) -> str:
    values = {
        "transaction_id": f"t{number}",
        "user_id": "u1",
        "timestamp": "2026-03-01T12:00:00Z",
        "amount": "12.34",
        "currency": "EUR",
        "latitude": "52.5",
        "card_id": "4000121111111111",
    }
    return ",".join((values | changes).values())


def message(number: int, **changes: object) -> dict[str, object]:
    values: dict[str, object] = {
        "transaction_id": f"t{number}",
        "user_id": "u1",
        "timestamp": "2026-03-01T12:00:00Z",
        "amount": 12.34,
        "currency": "EUR",
    }
    return {name: value for name, value in (values | changes).items() if value is not ...}


def between(folder: Path, name: str, bad: bytes, mapping: object = NATIVE) -> RejectedRecord:
    """The refusal of `bad`, written as the third record of five; the other four must be read."""
    path = folder / name
    if name.endswith(".csv"):
        good = [row(number).encode() for number in (1, 2, 4, 5)]
        lines = [HEADER.encode(), *good[:2], bad, *good[2:]]
    else:
        good = [json.dumps(message(number)).encode() for number in (1, 2, 4, 5)]
        lines = [*good[:2], bad, *good[2:]]
    path.write_bytes(b"\n".join(lines) + b"\n")
    records = list(read_records([path], mapping))  # type: ignore[arg-type]
    accepted = [record for record in records if isinstance(record, SourceRecord)]
    rejected = [record for record in records if isinstance(record, RejectedRecord)]
    assert [record.message.transaction_id for record in accepted] == ["t1", "t2", "t4", "t5"]
    assert len(rejected) == 1
    assert [record.line for record in records] == sorted(record.line for record in records)
    assert rejected[0].line == (4 if name.endswith(".csv") else 3)
    assert rejected[0].file == str(path)
    return rejected[0]


@pytest.mark.parametrize(
    ("bad", "field", "code", "reason"),
    [
        (row(3) + ",more", "", "wrong_column_count", "has 8 columns where the header has 7"),
        ("t3,u1", "", "wrong_column_count", "has 2 columns where the header has 7"),
        (row(3, user_id='"u1'), "", "unterminated_quote", "opens a quote that is not closed within the record"),
        (row(3, user_id='"u"1'), "", "broken_csv", "is not a CSV record: ',' expected after '\"'"),
        (row(3, user_id="u\r1"), "", "broken_csv", "is not a CSV record: new-line character seen in unquoted field"),
        (row(3, user_id=""), "user_id", "missing_field", "is missing or empty"),
        (row(3, amount=""), "amount", "missing_field", "is missing or empty"),
        (row(3, timestamp=""), "timestamp", "missing_field", "is missing or empty"),
        (row(3, timestamp="2026-03-01T12:00:00"), "timestamp", "timestamp_without_zone", "must name its zone"),
        (row(3, timestamp="yesterday"), "timestamp", "invalid_timestamp", "must be an ISO 8601 time such as"),
        (
            row(3, timestamp="2026-13-01T12:00:00Z"),
            "timestamp",
            "invalid_timestamp",
            "must be an ISO 8601 time such as",
        ),
        (row(3, latitude="north"), "latitude", "invalid_coordinate", "must be a number between -90 and 90"),
        (row(3, latitude="91"), "latitude", "invalid_coordinate", "must be a number between -90 and 90"),
        (row(3, latitude="nan"), "latitude", "invalid_coordinate", "must be a number between -90 and 90"),
        (row(3, currency="EURO"), "currency", "unknown_currency", "must be an ISO 4217 currency code"),
        (row(3, user_id="u" * 201), "user_id", "value_too_long", "must have at most 200 characters, has 201"),
    ],
)
def test_a_bad_csv_row_costs_itself_alone(tmp_path: Path, bad: str, field: str, code: str, reason: str) -> None:
    rejected = between(tmp_path, "in.csv", bad.encode())
    assert (rejected.field, rejected.code) == (field, code)
    assert rejected.reason.startswith(reason)


@READERS
@pytest.mark.parametrize(
    ("bad", "field", "code"),
    [
        (b'{"transaction_id": "t3", "user_id', "", "broken_json"),
        (b"not json", "", "broken_json"),
        (json.dumps(message(3, amount=float("nan"))).encode(), "", "broken_json"),
        (json.dumps(message(3, user_id=...)).encode(), "user_id", "missing_field"),
        (json.dumps(message(3, user_id={"a": 1})).encode(), "user_id", "wrong_type"),
        (json.dumps(message(3, amount=True)).encode(), "amount", "wrong_type"),
        (json.dumps(message(3, timestamp="2026-03-01T12:00:00")).encode(), "timestamp", "timestamp_without_zone"),
        (json.dumps(message(3, timestamp="now")).encode(), "timestamp", "invalid_timestamp"),
        (json.dumps(message(3, latitude=-90.5)).encode(), "latitude", "invalid_coordinate"),
        (json.dumps(message(3, currency="EURO")).encode(), "currency", "unknown_currency"),
        (json.dumps(message(3, card_id="4" * 201)).encode(), "card_id", "value_too_long"),
        (json.dumps(message(3, entry_mode="telepathy")).encode(), "entry_mode", "invalid_value"),
        (json.dumps(message(3, is_recurring="perhaps")).encode(), "is_recurring", "wrong_type"),
        (b'{"transaction_id": "t\xff3"}', "", "wrong_encoding"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "", "nested_too_deeply"),
        (b"{\x00}", "", "broken_json"),
    ],
)
def test_a_bad_json_line_costs_itself_alone(tmp_path: Path, mapping: object, bad: bytes, field: str, code: str) -> None:
    rejected = between(tmp_path, "in.jsonl", bad, mapping)
    assert (rejected.field, rejected.code) == (field, code)
    assert "`" not in rejected.reason


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"user_id": ""}, "empty_value", "must not be empty"),
        ({"user_id": 7}, "wrong_type", "must be text, not a number"),
        ({"timestamp": 1767225600}, "wrong_type", "must be an RFC 3339 time in text, not a number"),
        ({"event_type": "gift"}, "invalid_value", "must be one of authorisation, refund, reversal"),
        ({"label": "maybe"}, "invalid_value", "must be one of fraud, legitimate"),
        ({"auth_result": "maybe"}, "invalid_value", "must be one of approved, declined"),
        ({"amount": [1]}, "wrong_type", "must be a number or text, not a list"),
        ({"attributes": {"a": None}}, "wrong_type", "must be true or false or a number or text, not null"),
        ({"latitude": 91}, "invalid_coordinate", "must be a number of at most 90.0"),
    ],
)
def test_the_topic_s_own_strictness_is_told_in_words(
    tmp_path: Path, change: dict[str, object], code: str, reason: str
) -> None:
    rejected = between(tmp_path, "in.jsonl", json.dumps(message(3, **change)).encode())
    assert (rejected.code, rejected.reason) == (code, reason)
    assert rejected.field == next(iter(change))


def test_a_file_that_is_one_list_is_told_what_a_line_should_be(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    for text in (json.dumps([message(1)]), json.dumps([message(1)], indent=2)):
        path.write_text(text)
        first = next(iter(read_records([path], NATIVE)))
        assert isinstance(first, RejectedRecord)
        assert "each line is one object" in first.reason


def test_a_rejected_value_is_the_offending_one(tmp_path: Path) -> None:
    assert between(tmp_path, "in.csv", row(3, latitude="north").encode()).value == "north"
    assert between(tmp_path, "in.jsonl", json.dumps(message(3, latitude=91)).encode()).value == "91"
    assert between(tmp_path, "in.jsonl", json.dumps(message(3, latitude="n")).encode(), MAPPED).value == "n"


@pytest.mark.parametrize("amount", ["NaN", "inf", "twelve", "1_0", "1e999999"])
def test_a_text_amount_that_is_no_number_is_left_for_the_core_to_refuse(tmp_path: Path, amount: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"{HEADER}\n{row(1, amount=amount)}\n")
    (record,) = read_records([path], NATIVE)
    assert isinstance(record, SourceRecord)
    with pytest.raises(InvalidTransactionError):
        amount_to_minor(record.message.amount, "EUR")


def test_control_characters_are_left_for_the_core_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"{HEADER}\n{row(1, user_id=chr(0) + 'u')}\n")
    (record,) = read_records([path], NATIVE)
    assert isinstance(record, SourceRecord)
    with pytest.raises(InvalidTransactionError, match="control characters"):
        check_texts(message_columns([record.message]))


def test_a_wrong_encoding_costs_its_own_row(tmp_path: Path) -> None:
    rejected = between(tmp_path, "in.csv", row(3, user_id="Müller").encode("latin-1"))
    assert (rejected.code, rejected.reason) == ("wrong_encoding", "is not UTF-8 text")


def test_a_quote_that_is_never_closed_does_not_swallow_the_rows_after_it(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    rows = [row(number) for number in range(1, 3_000)]
    rows[9] = row(10, user_id='"u1')
    rows[2_500] = row(2_501, user_id='"u1')
    path.write_text("\n".join([HEADER, *rows]))
    records = list(read_records([path], NATIVE))
    assert len(records) == 2_999
    assert [record.line for record in records if isinstance(record, RejectedRecord)] == [11, 2_502]


def test_a_quoted_field_may_span_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    good = [row(number) + ',"first\nsecond, ""third"""' for number in range(1, 2_000)]
    path.write_text("\n".join([HEADER + ",note", *good]))
    records = list(read_records([path], NATIVE))
    assert [record.line for record in records] == list(range(2, 4_000, 2))
    assert all(isinstance(record, SourceRecord) for record in records)


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_a_field_of_ten_megabytes_is_refused_without_holding_it(tmp_path: Path, name: str) -> None:
    bad = row(3, user_id="u" * 10_000_000) if name.endswith("csv") else json.dumps(message(3, user_id="u" * 10_000_000))
    data = bad.encode()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0] + 12_000_000
        rejected = between(tmp_path, name, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # `between` itself writes ten million bytes once more.
    assert peak - before < 20_000_000
    assert (rejected.code, rejected.reason) == ("record_too_long", "is longer than 1,048,576 bytes")
    assert len(rejected.value) <= 400


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.csv"
        path.write_text("\n".join([HEADER, *(row(number) for number in range(count))]))
        tracemalloc.start()
        try:
            read = sum(1 for _ in read_records([path], NATIVE))
            assert read == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(30_000) < 1.3 * peak(5_000)


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n{row(1)}\r\n\r\n{row(2)}\r\n".encode())
    assert [record.line for record in read_records([path], NATIVE)] == [2, 4]


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.parquet", "in.csv.gz", "in.jsonl.zst"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = b""
    if name.endswith(".gz"):
        content = gzip.compress(b"")
    if name.endswith(".zst"):
        content = pa.compress(b"", codec="zstd", asbytes=True)
    path.write_bytes(content)
    (record,) = read_records([path], NATIVE)
    assert record == RejectedRecord(str(path), 0, "", "", "empty_file", "the file is empty")


@pytest.mark.parametrize("content", [b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe\x00", b'"id'])
def test_a_csv_file_without_a_readable_header_is_one_refusal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    (record,) = read_records([path], NATIVE)
    assert isinstance(record, RejectedRecord)
    assert record.code in {"empty_file", "unreadable_header"}


def compressed(name: str, data: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(data)
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, "zstd") as output:
        output.write(data)
    return bytes(stream.getvalue().to_pybytes())


@pytest.mark.parametrize("name", ["in.csv.gz", "in.csv.zst", "in.jsonl.gz", "in.jsonl.zst"])
def test_a_compressed_file_that_is_cut_is_read_up_to_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    count = 20_000
    if "csv" in name:
        lines = [HEADER, *(row(number, amount=f"{number * 7919 % 9973}.25") for number in range(count))]
    else:
        lines = [json.dumps(message(number, amount=number * 7919 % 9973)) for number in range(count)]
    whole = compressed(name, "\n".join(lines).encode())
    path.write_bytes(whole[: len(whole) // 2])
    *records, last = read_records([path], NATIVE)
    assert len(records) > count // 5
    assert [record.message.transaction_id for record in records if isinstance(record, SourceRecord)] == [
        f"t{number}" for number in range(len(records))
    ]
    assert isinstance(last, RejectedRecord)
    assert last.code == "damaged_file"
    assert last.line == records[-1].line + 1


@pytest.mark.parametrize("name", ["in.csv.gz", "in.jsonl.zst", "in.parquet"])
def test_a_file_that_is_not_what_its_ending_says_is_one_refusal(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(f"{HEADER}\n{row(1)}\n")
    (record,) = read_records([path], NATIVE)
    assert isinstance(record, RejectedRecord)
    assert record.code == "damaged_file"


def test_a_parquet_file_that_is_cut_is_one_refusal(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.Table.from_pylist([message(number) for number in range(1_000)]), path)
    path.write_bytes(path.read_bytes()[:-100])
    (record,) = read_records([path], NATIVE)
    assert isinstance(record, RejectedRecord)
    assert (record.code, record.line) == ("damaged_file", 0)


def test_a_parquet_file_that_is_damaged_inside_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    rows = [message(number) for number in range(40_000)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=10_000, compression="gzip", use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2_000] = b"\xff" * 2_000
    path.write_bytes(bytes(content))
    *records, last = read_records([path], NATIVE)
    assert len(records) >= 10_000
    assert all(isinstance(record, SourceRecord) for record in records)
    assert isinstance(last, RejectedRecord)
    assert last.code == "damaged_file"


def test_a_csv_file_cut_in_its_last_row_loses_that_row(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"{HEADER}\n{row(1)}\n{row(2)[:20]}")
    first, second = read_records([path], NATIVE)
    assert isinstance(first, SourceRecord)
    assert isinstance(second, RejectedRecord)
    assert second.code == "wrong_column_count"


def test_bad_values_in_parquet_cost_their_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    rows = [message(number, latitude=50.0, card_id="1") for number in range(8)]
    rows[1]["amount"] = float("inf")
    rows[2]["amount"] = float("nan")
    rows[3]["user_id"] = ""
    rows[4]["latitude"] = -91.0
    rows[5]["currency"] = None
    rows[6]["card_id"] = "4" * 10_000_000
    pq.write_table(pa.Table.from_pylist(rows), path)
    records = list(read_records([path], NATIVE))
    assert [(record.line, record.code) for record in records if isinstance(record, RejectedRecord)] == [
        (2, "amount_not_finite"),
        (3, "amount_not_finite"),
        (4, "missing_field"),
        (5, "invalid_coordinate"),
        (6, "missing_field"),
        (7, "value_too_long"),
    ]
    assert len(records) == 8


def test_text_in_parquet_that_is_not_utf_8_costs_its_own_row(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    table = pa.Table.from_pylist([message(number) for number in range(3)])
    users = pa.array([b"u1", b"M\xfcller", b"u3"])
    table = table.set_column(table.column_names.index("user_id"), "user_id", users)
    pq.write_table(table, path)
    assert [getattr(record, "code", "") for record in read_records([path], NATIVE)] == ["", "wrong_encoding", ""]


def test_what_cannot_be_read_at_all_is_said_before_the_first_record(tmp_path: Path) -> None:
    good = tmp_path / "in.csv"
    good.write_text(f"{HEADER}\n{row(1)}\n")
    unknown = tmp_path / "in.xlsx"
    unknown.write_bytes(b"PK")
    packed = tmp_path / "in.parquet.gz"
    packed.write_bytes(b"")
    for path, problem in (
        (tmp_path / "missing.csv", "no such file"),
        (tmp_path, "is a folder"),
        (unknown, "unknown kind of file"),
        (packed, "unknown kind of file"),
    ):
        with pytest.raises(SourceError, match=problem) as caught:
            TransactionFiles([good, path], NATIVE)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["in.csv", "in.parquet", "in.jsonl"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "in.csv":
        path.write_text("TRANSACTION_ID,TX_DATETIME,CUSTOMER,TERMINAL_ID,TX_AMOUNT\n")
    elif name == "in.jsonl":
        # Each line has its own keys, and one that cannot be read has none.
        lines = [
            '{"TRANSACTION_ID": 1, "TX_DATETIME": "2018-04-01 00:00:31"}',
            "{",
            '{"CUSTOMER": 1, "TERMINAL_ID": 2, "TX_AMOUNT": 3}',
        ]
        path.write_text("\n".join(lines))
    else:
        names = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER", "TERMINAL_ID", "TX_AMOUNT"]
        pq.write_table(pa.table({column: pa.array([], pa.string()) for column in names}), path)
    with pytest.raises(MappingError) as caught:
        TransactionFiles([path], load_mapping("handbook"))
    text = str(caught.value)
    assert text.startswith("handbook.yaml:5:3: column 'CUSTOMER_ID' is not in ")
    assert "did you mean 'CUSTOMER'?" in text
    assert "It has: 'TRANSACTION_ID', 'TX_DATETIME', 'CUSTOMER', 'TERMINAL_ID', 'TX_AMOUNT'" in text


def test_a_json_record_without_a_needed_key_is_refused_alone_where_others_have_it(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    whole = '"TX_DATETIME": "2018-04-01 00:00:31", "CUSTOMER_ID": 1, "TERMINAL_ID": 2, "TX_AMOUNT": 3'
    path.write_text(f'{{{whole}}}\n{{"TRANSACTION_ID": 2, {whole}}}\n')
    refused, accepted = read_records([path], load_mapping("handbook"))
    assert isinstance(refused, RejectedRecord)
    assert (refused.line, refused.field, refused.code) == (1, "transaction_id", "missing_field")
    assert isinstance(accepted, SourceRecord)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"{HEADER},amount\n{row(1)},1\n")
    with pytest.raises(MappingError, match="column 'amount' is there more than once"):
        TransactionFiles([path], NATIVE)
