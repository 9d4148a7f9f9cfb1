"""CSV: blocks of lines in, records out. One bad line costs one record."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fraud.sources.assembly import Assembly
from fraud.sources.mapping import Mapping
from fraud.sources.records import Record, RejectedRecord
from fraud.sources.snippets import CsvSnippets, secret_columns
from fraud.sources.streams import BLOCK_RECORDS, RECORD_MAX_BYTES, TOO_LONG, ByteStream, LineReader, Lines
from fraud.sources.targets import Kind

# A quoted field may contain line ends; an unterminated quote swallows lines until this many, and they are read again.
RECORD_MAX_LINES = 64


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


def csv_header(stream: ByteStream, delimiter: str) -> list[str] | None:
    """The column names in the first line of a CSV file, None if there is no readable one."""
    first = LineReader(stream).take(1)
    if not first.texts or first.too_long:
        return None
    try:
        return next(csv.reader([first.texts[0].decode()], strict=True, delimiter=delimiter), None) or None
    except (UnicodeDecodeError, csv.Error):
        return None


class CsvRows:
    """The records of a CSV file whose header is `header`."""

    def __init__(self, mapping: Mapping, file: str, header: list[str]) -> None:
        self._assembly = Assembly(mapping, file, header)
        self._file = file
        self._snippets = CsvSnippets(secret_columns(mapping), header, mapping.delimiter)
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
                value = self._snippets.of(texts[index])
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
            return _Broken("record_too_long", TOO_LONG)
        try:
            row = next(csv.reader(decoded(), strict=True, delimiter=self._delimiter), [])
        except UnicodeDecodeError:
            return _UNTERMINATED if used else _Broken("wrong_encoding", "is not UTF-8 text")
        except csv.Error as error:
            is_open = used > 1 or "end of data" in str(error)
            return _UNTERMINATED if is_open else _Broken("broken_csv", f"is not a CSV record: {error}")
        if row and len(row) != self._width:
            return _Broken("wrong_column_count", f"has {len(row)} columns where the header has {self._width}")
        return row, used


class _Broken:
    """Why a line is not a record."""

    def __init__(self, code: str, reason: str) -> None:
        self.because = (code, reason)


_UNTERMINATED = _Broken("unterminated_quote", "opens a quote that is not closed within the record")
