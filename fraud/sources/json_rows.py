"""JSON lines: blocks of lines in, records out. One bad line costs one record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

import msgspec

from fraud.sources.assembly import Assembly, check_needed_columns
from fraud.sources.mapping import Mapping
from fraud.sources.records import GroundTruth, Record, RejectedRecord, SourceRecord
from fraud.sources.snippets import JsonSnippets, secret_columns
from fraud.sources.streams import BLOCK_RECORDS, TOO_LONG, LineReader, Lines
from fraud.sources.targets import Kind
from fraud.sources.validation import explain_validation
from fraud.transaction import Identifier, LabelName, LabelSource, TransactionMessage, timestamp_to_ms

# Of a file that is one list, or has one object over many lines, every line is refused.
_ONE_A_LINE = "each line is one object"


class _ObjectTable:
    """Decoded JSON objects, as columns."""

    def __init__(self, rows: Sequence[dict[str, Any]], lines: Sequence[int]) -> None:
        self._rows = rows
        self.lines = lines
        self.header_lines = 0

    def column(self, name: str, kind: Kind) -> Sequence[Any]:
        """See `Table`."""
        return [row.get(name) for row in self._rows]


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
        self._mapping = mapping
        self._assembly = Assembly(mapping, file, None)
        self._snippets = JsonSnippets(secret_columns(mapping))
        self._decode_message = msgspec.json.Decoder(TransactionMessage).decode
        self._decode_label = msgspec.json.Decoder(_TopicLabel).decode
        self._decode_object = msgspec.json.Decoder(dict[str, Any]).decode
        self._shared_truths: dict[_TopicLabel, GroundTruth] = {}

    def check_columns(self, reader: LineReader) -> None:
        """Raise `MappingError` if a column that no record can be without is in none of the first records.

        A single record may lack it, and is refused alone.
        """
        if self._mapping.topic_messages:
            return
        present: dict[str, None] = {}
        left = BLOCK_RECORDS
        while left and (lines := reader.take(left)).texts:
            left -= len(lines.texts)
            for index, line in enumerate(lines.texts):
                if index not in lines.too_long:
                    with suppress(*_JSON_ERRORS):
                        present |= dict.fromkeys(self._decode_object(line))
        if present:
            check_needed_columns(self._mapping, self._file, list(present))

    def blocks(self, reader: LineReader) -> Iterator[list[Record]]:
        """Blocks of records in file order."""
        one_by_one = self._message_records if self._mapping.topic_messages else self._object_records
        while (lines := reader.take(BLOCK_RECORDS)).texts:
            records = self._fast_messages(lines) if self._mapping.topic_messages and not lines.too_long else None
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
                    raise _TooLongError
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
                    raise _TooLongError
                rows.append(self._decode_object(line))
            except _JSON_ERRORS as error:
                refused.append(self._refused(line, number, error))
            else:
                numbers.append(number)
        records = self._assembly.build(_ObjectTable(rows, numbers)) if rows else []
        return sorted(records + refused, key=lambda record: record.line) if refused else records

    def _refused(self, line: bytes, number: int, error: Exception) -> RejectedRecord:
        shown = self._snippets.of(line)
        if isinstance(error, _TooLongError):
            return RejectedRecord(self._file, number, "", shown, "record_too_long", TOO_LONG)
        if isinstance(error, UnicodeDecodeError):
            return RejectedRecord(self._file, number, "", shown, "wrong_encoding", "is not UTF-8 text")
        if isinstance(error, RecursionError):
            return RejectedRecord(self._file, number, "", shown, "nested_too_deeply", "is nested too deeply")
        if not isinstance(error, msgspec.ValidationError):
            problem = str(error).removeprefix("JSON is malformed: ")
            reason = f"is not valid JSON ({_ONE_A_LINE}): {problem}"
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
        if not field:
            reason = f"{reason} ({_ONE_A_LINE})"
        shown = value if isinstance(value, str) else "" if not field else repr(value)
        return RejectedRecord(self._file, number, field, shown, code, reason)


class _TooLongError(Exception):
    """Only the start of the line is there."""


_JSON_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _TooLongError)
