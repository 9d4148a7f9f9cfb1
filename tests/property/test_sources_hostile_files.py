import gzip
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fraud.sources import MappingError, Record, RejectedRecord, load_mapping, parse_mapping, read_records

HEADER = b"transaction_id,user_id,timestamp,amount,currency"
GOOD = b"t1,u1,2026-03-01T12:00:00Z,1.00,EUR"
MESSAGE = b'{"transaction_id":"t1","user_id":"u1","timestamp":"2026-03-01T12:00:00Z","amount":1,"currency":"EUR"}'
NATIVE = load_mapping("native")
MAPPED = parse_mapping(
    "mapping: m\nfields: {transaction_id: transaction_id, user_id: user_id, amount: amount, currency: currency}\n"
    "time: {column: timestamp, format: iso}\n",
    "m.yaml",
)
LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [GOOD, MESSAGE, b"", b'"', GOOD + b'"', b'"' + GOOD, b"\xff", b"a,b,c,d,e", b"{}", b"null", b"[]"]
        ),
        st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")),
        st.text(alphabet='t,u1"\r{}[]:\x00é', max_size=30).map(str.encode),
    ),
    max_size=12,
)


def read(ending: str, content: bytes, mapping: object = NATIVE) -> list[Record]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in.{ending}"
        path.write_bytes(content)
        return list(read_records([path], mapping))  # type: ignore[arg-type]


@given(LINES)
def test_every_line_of_a_csv_file_is_accepted_refused_or_part_of_a_quoted_field(lines: list[bytes]) -> None:
    content = b"\n".join([HEADER, *lines, GOOD])
    records = read("csv", content)
    numbers = [record.line for record in records]
    assert numbers == sorted(set(numbers))
    # Without quotes no record spans lines, so each line that is not blank is answered for.
    if b'"' not in content:
        filled = [number for number, line in enumerate(content.split(b"\n"), 1) if number > 1 and line.strip(b"\r")]
        assert numbers == filled


@given(LINES, st.sampled_from([NATIVE, MAPPED]))
def test_every_line_of_a_json_file_is_accepted_or_refused(lines: list[bytes], mapping: object) -> None:
    content = b"\n".join(lines)
    records = read("jsonl", content, mapping)
    filled = [
        number
        for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
        if line.strip(b" \t\r")
    ]
    assert [record.line for record in records] == (filled or [0])


@given(LINES, st.integers(1, 3))
def test_an_unterminated_quote_never_costs_the_good_row_far_behind_it(lines: list[bytes], copies: int) -> None:
    # More good rows than a record may have lines.
    content = b"\n".join([HEADER, *lines * copies, *[GOOD] * 70])
    accepted = [record for record in read("csv", content) if not isinstance(record, RejectedRecord)]
    assert len(accepted) >= 5


@settings(max_examples=50)
@given(
    st.sampled_from(["csv", "jsonl", "parquet", "csv.gz", "jsonl.gz", "csv.zst", "jsonl.zst"]), st.binary(max_size=300)
)
def test_random_bytes_never_end_the_reading(ending: str, content: bytes) -> None:
    try:
        records = read(ending, content)
    except MappingError:
        # Something that happens to be a header, without the columns needed.
        assert ending.startswith("csv")
    else:
        assert all(isinstance(record, RejectedRecord) for record in records)
        assert records


@settings(max_examples=50)
@given(st.integers(0, 400), st.integers(0, 255))
def test_one_wrong_byte_in_a_compressed_file_is_told_and_never_ends_the_reading(position: int, byte: int) -> None:
    lines = [MESSAGE.replace(b"t1", f"t{number * 7919 % 1_000}".encode()) for number in range(200)]
    content = bytearray(gzip.compress(b"\n".join(lines), mtime=0))
    changed = content[position % len(content)] != byte
    content[position % len(content)] = byte
    records = read("jsonl.gz", bytes(content))
    assert records
    if not changed:
        assert len(records) == 200
