"""Transaction files as one stream of records, in the order of the files and of their rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fraud.sources.csv_rows import CsvRows, csv_header
from fraud.sources.json_rows import JsonRows
from fraud.sources.mapping import Mapping
from fraud.sources.parquet_rows import ParquetRows, parquet_columns
from fraud.sources.records import Record, RejectedRecord, SourceError
from fraud.sources.streams import BLOCK_RECORDS, CODECS, ByteStream, LineReader

_FORMATS = {
    ".csv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_KNOWN_ENDINGS = "csv, jsonl, ndjson, json (one object a line), each also with .gz or .zst, and parquet, pq"


class TransactionFiles:
    """Files to read through one mapping.

    Everything that makes a file unreadable as a whole is found on construction, before the first record: `SourceError`
    for a missing file, a folder, no permission or an unknown ending, `MappingError` for a column that is not there.
    """

    def __init__(self, paths: Sequence[Path], mapping: Mapping) -> None:
        self._mapping = mapping
        self._bytes_before = 0
        self._position: Callable[[], int] = int
        sizes = [_checked_size(path) for path in paths]
        self._readers = [self._prepare(path) for path in paths]
        self._files = list(zip(paths, sizes, strict=True))
        self.paths = list(paths)
        self.total_bytes = sum(sizes)

    @property
    def bytes_read(self) -> int:
        """How far reading has come, in bytes of the files as they lie on the disk."""
        return min(self._bytes_before + self._position(), self.total_bytes)

    def blocks(self) -> Iterator[list[Record]]:
        """Blocks of records, none of them empty, in file order. Bad input is a `RejectedRecord`, never an exception."""
        self._bytes_before = 0
        for (_, size), reader in zip(self._files, self._readers, strict=True):
            yield from filter(None, reader())
            self._position = int
            self._bytes_before += size

    def _prepare(self, path: Path) -> Callable[[], Iterator[list[Record]]]:
        if _format(path) == "parquet":
            columns = parquet_columns(path)
            if columns is None:
                return lambda: self._not_parquet(path)
            # Compiled here for its checks, and once more for each reading.
            ParquetRows(self._mapping, path, columns)
            return lambda: self._parquet(path, columns)
        if _format(path) == "json":
            rows = JsonRows(self._mapping, str(path))
            with ByteStream(path) as stream:
                rows.check_columns(LineReader(stream))
            return lambda: self._lines(path, rows.blocks)
        with ByteStream(path) as stream:
            header = csv_header(stream, self._mapping.delimiter)
        if header is None:
            return lambda: self._no_header(path)
        csv_rows = CsvRows(self._mapping, str(path), header)
        return lambda: self._lines(path, csv_rows.blocks)

    def _lines(self, path: Path, blocks: Callable[[LineReader], Iterator[list[Record]]]) -> Iterator[list[Record]]:
        with ByteStream(path) as stream:
            self._position = lambda: stream.position
            reader = LineReader(stream)
            empty = True
            for block in blocks(reader):
                empty = empty and not block
                yield block
            if stream.problem:
                yield [RejectedRecord(str(path), reader.cut_line, "", "", "damaged_file", stream.problem)]
            elif empty and _format(path) == "json":
                yield [_empty_file(path)]

    def _no_header(self, path: Path) -> Iterator[list[Record]]:
        with ByteStream(path) as stream:
            reader = LineReader(stream)
            has_content = any(map(bytes.strip, reader.take(BLOCK_RECORDS).texts))
            if stream.problem:
                yield [RejectedRecord(str(path), reader.cut_line, "", "", "damaged_file", stream.problem)]
            elif has_content:
                reason = "the first line is not a CSV header in UTF-8; the whole file is refused"
                yield [RejectedRecord(str(path), 1, "", "", "unreadable_header", reason)]
            else:
                yield [_empty_file(path)]

    def _parquet(self, path: Path, columns: list[str]) -> Iterator[list[Record]]:
        size = path.stat().st_size
        rows = ParquetRows(self._mapping, path, columns)
        self._position = lambda: int(size * rows.share_read)
        yield from rows.blocks()
        if rows.problem:
            line = rows.rows_read + 1
            reason = f"the Parquet data is damaged from this row on: {rows.problem}"
            yield [RejectedRecord(str(path), line, "", "", "damaged_file", reason)]

    def _not_parquet(self, path: Path) -> Iterator[list[Record]]:
        if path.stat().st_size == 0:
            yield [_empty_file(path)]
        else:
            reason = "is not a whole Parquet file: it is cut, or something else under that ending"
            yield [RejectedRecord(str(path), 0, "", "", "damaged_file", reason)]


def read_blocks(paths: Sequence[Path], mapping: Mapping) -> Iterator[list[Record]]:
    """Blocks of records of `paths`, in order; raises `SourceError` before the first, see `TransactionFiles`."""
    return TransactionFiles(paths, mapping).blocks()


def read_records(paths: Sequence[Path], mapping: Mapping) -> Iterator[Record]:
    """As `read_blocks`, one record at a time."""
    return itertools.chain.from_iterable(read_blocks(paths, mapping))


def _empty_file(path: Path) -> RejectedRecord:
    return RejectedRecord(str(path), 0, "", "", "empty_file", "the file is empty")


def _format(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in CODECS:
        inner = _FORMATS.get(suffixes[-2]) if len(suffixes) > 1 else None
        return inner if inner != "parquet" else None
    return _FORMATS.get(suffixes[-1]) if suffixes else None


def _checked_size(path: Path) -> int:
    try:
        if str(path) == "-":
            raise SourceError("standard input cannot be read: write the data to a file, whose ending says what it is")
        if path.is_dir():
            raise SourceError(f"{path}: is a folder; name the files in it")
        if not path.exists():
            raise SourceError(f"{path}: no such file")
        if not path.is_file():
            raise SourceError(f"{path}: is not a regular file; write the data to a file first")
        if _format(path) is None:
            raise SourceError(f"{path}: unknown kind of file; known endings: {_KNOWN_ENDINGS}")
        with path.open("rb"):
            return path.stat().st_size
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
