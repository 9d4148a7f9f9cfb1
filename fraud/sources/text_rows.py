"""CSV and JSON lines: blocks of lines in, records out. One bad line costs one record."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from fraud.sources.assembly import Assembly, Kind
from fraud.sources.mapping import Mapping
from fraud.sources.records import GroundTruth, Record, RejectedRecord, SourceRecord
from fraud.sources.streams import RECORD_MAX_BYTES, ByteStream, LineReader, Lines
from fraud.transaction import Identifier, LabelName, LabelSource, TransactionMessage, timestamp_to_ms

# Large enough that the cost of a block vanishes in that of its records, small enough to stay in the processor's cache.
BLOCK_RECORDS = 1_024
# A quoted field may contain line ends; an unterminated quote swallows lines until this many, and they are read again.
RECORD_MAX_LINES = 64

_TOO_LONG = f"is longer than {RECORD_MAX_BYTES:,} bytes"


class _TextTable:
    """Rows of texts, as columns."""

    def __init__(self, positions: dict[str, int], rows: Sequence[Sequence[str]], lines: Sequence[int]) -> None:
        self._columns = list(zip(*rows, strict=True))
        self._positions = positions
        self.lines = lines
        self.header_lines = 1

    def column(self, name: str, kind: Kind) -> Sequence[Any]:
        """See `Table`."""
        return self._columns[self._positions[name]]


class _ObjectTable:
    """Decoded JSON objects, as columns."""

    def __init__(self, rows: Sequence[dict[str, Any]], lines: Sequence[int]) -> None:
        self._rows = rows
        self.lines = lines
        self.header_lines = 0

    def column(self, name: str, kind: Kind) -> Sequence[Any]:
        """See `Table`."""
        return [row.get(name) for row in self._rows]


def csv_header(stream: ByteStream, delimiter: str) -> list[str] | None:
    """The column names in the first line of a CSV file, None if there is no readable one."""
    first = LineReader(stream).take(1)
    if not first.texts or first.too_long:
        return None
    try:
        return next(csv.reader([first.texts[0].decode()], strict=True, delimiter=delimiter), None)
    except (UnicodeDecodeError, csv.Error):
        return None


class CsvRows:
    """The records of a CSV file whose header is `header`."""

    def __init__(self, mapping: Mapping, file: str, header: list[str]) -> None:
        self._assembly = Assembly(mapping, file, header)
        self._file = file
        self._width = len(header)
        self._positions = {name: position for position, name in enumerate(header)}
        self._delimiter = mapping.delimiter

    def blocks(self, reader: LineReader) -> Iterator[list[Record]]:
        """Blocks of records in file order."""
        reader.take(1)
        while (lines := reader.take(BLOCK_RECORDS)).texts:
            yield self._fast_block(lines) or self._careful_block(lines, reader)

    def _rows_of(self, texts: list[str]) -> Iterator[list[str]]:
        return csv.reader(texts, strict=True, delimiter=self._delimiter)

    def _fast_block(self, lines: Lines) -> list[Record] | None:
        """The records, if every line is one record of the right width by itself."""
        if lines.too_long:
            return None
        try:
            rows = list(self._rows_of(b"\n".join(lines.texts).decode().split("\n")))
        except (UnicodeDecodeError, csv.Error):
            return None
        # As many rows as lines means that no record spans lines.
        if len(rows) != len(lines.texts) or set(map(len, rows)) != {self._width}:
            return None
        numbers = range(lines.first_number, lines.first_number + len(rows))
        return self._assembly.build(_TextTable(self._positions, rows, numbers))

    def _careful_block(self, lines: Lines, reader: LineReader) -> list[Record]:
        """The same, record by record, refusing what is wrong."""
        texts = list(lines.texts)
        too_long = set(lines.too_long)
        rows: list[list[str]] = []
        numbers: list[int] = []
        records: list[Record] = []
        index = 0

        def more(position: int) -> bool:
            if position >= len(texts):
                ahead = reader.take(RECORD_MAX_LINES)
                too_long.update(len(texts) + late for late in ahead.too_long)
                texts.extend(ahead.texts)
            return position < len(texts) and position not in too_long

        while index < len(texts):
            number = lines.first_number + index
            outcome = self._one_record(texts, index, more)
            if isinstance(outcome, tuple):
                row, used = outcome
                if row:
                    rows.append(row)
                    numbers.append(number)
                index += used
            else:
                value = texts[index][:_SHOWN_BYTES].decode(errors="replace")
                records.append(RejectedRecord(self._file, number, "", value, *outcome.because))
                index += 1
        if rows:
            records += self._assembly.build(_TextTable(self._positions, rows, numbers))
        return sorted(records, key=lambda record: record.line)

    def _one_record(
        self, texts: list[bytes], start: int, more: Callable[[int], bool]
    ) -> tuple[list[str], int] | _Broken:
        """The fields of the record at `start` and how many lines it has. No fields for a blank line."""
        used = 0
        size = 0

        def decoded() -> Iterator[str]:
            nonlocal used, size
            while used < RECORD_MAX_LINES and size <= RECORD_MAX_BYTES and more(start + used):
                line = texts[start + used]
                text = line.decode()
                size += len(line)
                used += 1
                yield text + "\n"

        if not more(start):
            return _Broken("record_too_long", _TOO_LONG)
        try:
            row = next(csv.reader(decoded(), strict=True, delimiter=self._delimiter), [])
        except UnicodeDecodeError:
            if used:
                return _UNTERMINATED
            return _Broken("wrong_encoding", "is not UTF-8 text")
        except csv.Error as error:
            if used > 1 or "end of data" in str(error):
                return _UNTERMINATED
            return _Broken("broken_csv", f"is not a CSV record: {error}")
        if row and len(row) != self._width:
            return _Broken("wrong_column_count", f"has {len(row)} columns where the header has {self._width}")
        return row, used


class _Broken:
    """Why a line is not a record."""

    def __init__(self, code: str, reason: str) -> None:
        self.because = (code, reason)


_UNTERMINATED = _Broken("unterminated_quote", "opens a quote that is not closed within the record")
_SHOWN_BYTES = 400


class _TopicLabel(msgspec.Struct, frozen=True, gc=False):
    """The label columns of the native format."""

    label: LabelName | None = None
    label_source: LabelSource | None = None
    label_known_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    scenario: Identifier | None = None


_NO_LABEL = _TopicLabel()
_BLANK = b" \t\r"


class JsonRows:
    """The records of a file of JSON lines. Of a key that a line has twice, the last value counts, as on the topic."""

    def __init__(self, mapping: Mapping, file: str) -> None:
        self._file = file
        self._topic_messages = mapping.topic_messages
        self._assembly = Assembly(mapping, file, None)
        self._decode_message = msgspec.json.Decoder(TransactionMessage).decode
        self._decode_label = msgspec.json.Decoder(_TopicLabel).decode
        self._decode_object = msgspec.json.Decoder(dict[str, Any]).decode
        self._shared_truths: dict[_TopicLabel, GroundTruth] = {}

    def blocks(self, reader: LineReader) -> Iterator[list[Record]]:
        """Blocks of records in file order."""
        one_by_one = self._message_records if self._topic_messages else self._object_records
        while (lines := reader.take(BLOCK_RECORDS)).texts:
            records = self._fast_messages(lines) if self._topic_messages and not lines.too_long else None
            yield records or one_by_one(lines)

    def _fast_messages(self, lines: Lines) -> list[Record] | None:
        try:
            messages = list(map(self._decode_message, lines.texts))
            labels = list(map(self._decode_label, lines.texts))
        except _JSON_ERRORS:
            return None
        number = lines.first_number
        return [
            SourceRecord(message, None if label == _NO_LABEL else self._truth(label), self._file, line)
            for line, (message, label) in enumerate(zip(messages, labels, strict=True), number)
        ]

    def _truth(self, label: _TopicLabel) -> GroundTruth:
        moment = label.label_known_at
        if moment is not None:
            return GroundTruth(label.label, label.label_source, timestamp_to_ms(moment), label.scenario)
        truth = GroundTruth(label.label, label.label_source, None, label.scenario)
        if label.scenario is not None:
            return truth
        # Without a scenario there are few different ones.
        return self._shared_truths.setdefault(label, truth)

    def _message_records(self, lines: Lines) -> list[Record]:
        records: list[Record] = []
        for index, line in enumerate(lines.texts):
            number = lines.first_number + index
            if not line.strip(_BLANK):
                continue
            try:
                if index in lines.too_long:
                    raise _TooLongError  # noqa: TRY301 - one place turns every reason into a refusal
                message, label = self._decode_message(line), self._decode_label(line)
            except _JSON_ERRORS as error:
                records.append(self._refused(line, number, error))
            else:
                records.append(
                    SourceRecord(message, None if label == _NO_LABEL else self._truth(label), self._file, number)
                )
        return records

    def _object_records(self, lines: Lines) -> list[Record]:
        refused: list[Record] = []
        rows: list[dict[str, Any]] = []
        numbers: list[int] = []
        for index, line in enumerate(lines.texts):
            number = lines.first_number + index
            if not line.strip(_BLANK):
                continue
            try:
                if index in lines.too_long:
                    raise _TooLongError  # noqa: TRY301 - as above
                rows.append(self._decode_object(line))
            except _JSON_ERRORS as error:
                refused.append(self._refused(line, number, error))
            else:
                numbers.append(number)
        records = self._assembly.build(_ObjectTable(rows, numbers)) if rows else []
        return sorted(records + refused, key=lambda record: record.line) if refused else records

    def _refused(self, line: bytes, number: int, error: Exception) -> RejectedRecord:
        shown = line[:_SHOWN_BYTES].decode(errors="replace")
        if isinstance(error, _TooLongError):
            return RejectedRecord(self._file, number, "", shown, "record_too_long", _TOO_LONG)
        if isinstance(error, UnicodeDecodeError):
            return RejectedRecord(self._file, number, "", shown, "wrong_encoding", "is not UTF-8 text")
        if isinstance(error, RecursionError):
            return RejectedRecord(self._file, number, "", shown, "nested_too_deeply", "is nested too deeply")
        if not isinstance(error, msgspec.ValidationError):
            reason = f"is not valid JSON: {str(error).removeprefix('JSON is malformed: ')}"
            return RejectedRecord(self._file, number, "", shown, "broken_json", reason)
        return self._invalid(line, number, str(error))

    def _invalid(self, line: bytes, number: int, problem: str) -> RejectedRecord:
        field, code, reason = explain_validation(problem)
        try:
            value: Any = self._decode_object(line)
            for name in field.split(".") if field else ():
                value = value.get(name, "")
        except (*_JSON_ERRORS, AttributeError):
            value = ""
        shown = value if isinstance(value, str) else "" if not field else repr(value)
        return RejectedRecord(self._file, number, field, shown, code, reason)


class _TooLongError(Exception):
    """Only the start of the line is there."""


_JSON_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _TooLongError)
_MISSING = re.compile(r"missing required field `(\w+)`")
_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_JSON_NAMES = {"str": "text", "int": "a number", "float": "a number", "bool": "true or false", "null": "null"}
_COORDINATES = ("latitude", "longitude")


def explain_validation(problem: str) -> tuple[str, str, str]:
    """Field, code and reason for people, from the message of a msgspec `ValidationError`."""
    if missing := _MISSING.search(problem):
        return missing[1], "missing_field", "is missing"
    path = _PATH.search(problem)
    field = path[1].replace("[...]", "").rstrip(".") if path else ""
    problem = _PATH.sub("", problem)
    if "timezone" in problem:
        return field, "timestamp_without_zone", "must name its zone (a trailing Z is UTC)"
    if "RFC3339" in problem or "datetime" in problem:
        return field, "invalid_timestamp", "must be an RFC 3339 time such as 2026-03-01T12:00:00Z"
    if "length >= 1" in problem:
        return field, "empty_value", "must not be empty"
    if "length <=" in problem:
        limit = problem.rsplit(" ", 1)[-1]
        return field, "value_too_long", f"must have at most {limit} characters"
    if "length" in problem and field == "currency":
        return field, "unknown_currency", "must be an ISO 4217 currency code (three capital letters)"
    if field in _COORDINATES:
        return (
            field,
            "invalid_coordinate",
            f"must be a number between {'-90 and 90' if field == 'latitude' else '-180 and 180'}",
        )
    if "Invalid enum value" in problem:
        return field, "invalid_value", "is not one of the values that this field has"
    names = re.sub(r"`([\w| ]+)`", lambda match: _readable_types(match[1]), problem)
    return field, "wrong_type", names[:1].lower() + names[1:]


def _readable_types(types: str) -> str:
    names = [
        _JSON_NAMES.get(name.strip(), "an object" if name.strip() in {"object", "dict"} else name.strip())
        for name in types.split("|")
    ]
    return " or ".join(dict.fromkeys(names))
