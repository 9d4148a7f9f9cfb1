"""A line that cannot be read is shown without the card and address in it, whatever these look like."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.sources import load_mapping, read_records, shown_value
from fraud.sources.records import RejectedRecord
from fraud.sources.snippets import CsvSnippets, JsonSnippets, secret_columns

JSON = JsonSnippets({"pan"})
HEADER = ["id", "amount", "card_id", "city"]
CSV = CsvSnippets({"card_id"}, HEADER, ",")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"card_id": "tok-A7", "city": }', '{"card_id": "******", "city": }'),
        ('{"card_id": "token-0815-A7", "city": }', '{"card_id": "*********5-A7", "city": }'),
        ('{"ip_address":"fe80::1', '{"ip_address":"*******'),
        ('{"pan": 12345, "city": }', '{"pan": *****, "city": }'),
        ('{"PAN": "abc", "city": }', '{"PAN": "***", "city": }'),
        ("{'pan': 'abc', 'city': 'x'}", "{'pan': '***', 'city': 'x'}"),
        ("{pan: abc, city: x}", "{pan: ***, city: x}"),
        (r'{"pan": "a\"b", "city": }', r'{"pan": "****", "city": }'),
        ('{"pan": {"number": "abc"}, "city": }', '{"pan": ' + "*" * 28),
        ('{"pan": "", "city": }', '{"pan": "", "city": }'),
        ('{"pan": null, "city": }', '{"pan": ****, "city": }'),
        ('{"company": "abc", "span": "def" "span_pan": 1}', '{"company": "abc", "span": "def" "span_pan": 1}'),
        ("not even an object", "not even an object"),
    ],
)
def test_in_json_the_value_of_the_key_is_masked(line: str, shown: str) -> None:
    assert JSON.of(line.encode()) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("7,12.50,secret,London,more", "7,12.50,******,******,****"),
        ("7,12.50,secret", "7,*****,******"),
        ("secret,London", "******,******"),
        ('7,12.50,"sec', "7,*****,****"),
        ("", ""),
    ],
)
def test_in_csv_everything_from_where_the_card_may_stand_first_is_masked(line: str, shown: str) -> None:
    assert CSV.of(line.encode()) == shown


def test_csv_without_such_a_column_is_shown_as_it_is() -> None:
    assert CsvSnippets({"card_id"}, ["id", "amount"], ",").of(b"7,12.50,more") == "7,12.50,more"


# Letters that occur nowhere else in the line, so that any of the secret that is left would be found.
secrets = st.text(alphabet="XYZQ", min_size=1, max_size=8)
others = st.lists(st.text(alphabet="abc 123.:{}[]\"'", max_size=6), max_size=5)


@given(secrets, others, others)
def test_no_card_is_left_in_a_csv_line_of_the_wrong_width(secret: str, before: list[str], after: list[str]) -> None:
    cells = ["7", "1", *before, secret, *after]
    assert secret not in CSV.of(",".join(cells).encode())


@given(secrets, st.sampled_from(["{}", '"{}"', "'{}'", '"{}', "[{}", '{{"a": "{}"}}']), st.text(max_size=10))
def test_no_card_is_left_in_a_broken_json_line(secret: str, form: str, after: str) -> None:
    line = f'{{"id": "7", "card_id": {form.format(secret)}, {after.translate({ord(letter): "" for letter in "XYZQ"})}'
    assert secret not in JSON.of(line.encode())


def test_the_columns_are_those_that_the_mapping_reads(tmp_path: Path) -> None:
    mapping = tmp_path / "mine.yaml"
    mapping.write_text(
        "mapping: mine\n"
        "fields: {transaction_id: id, user_id: who, amount: amount, currency: {constant: EUR}, "
        "card_id: {columns: [bank, account], separator: '-'}}\n"
        "time: {column: time, format: iso}\n"
    )
    assert secret_columns(load_mapping(mapping)) == {"bank", "account"}
    assert secret_columns(load_mapping("native")) == {"card_id", "ip_address"}
    lines = tmp_path / "in.jsonl"
    lines.write_text('{"id": "7", "bank": "QQ", "account": "XX-YY", "time": \n')
    (record,) = read_records([lines], load_mapping(mapping))
    assert isinstance(record, RejectedRecord)
    assert shown_value(record.value) == '{"id": "7", "bank": "**", "account": "*****", "time": '
