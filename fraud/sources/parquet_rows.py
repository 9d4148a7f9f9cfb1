"""Parquet: batches of rows in, records out. Memory is bounded by a batch and the pages it lies in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fraud.sources.assembly import Assembly
from fraud.sources.mapping import Mapping
from fraud.sources.records import Record
from fraud.sources.streams import BLOCK_RECORDS
from fraud.sources.targets import Kind

# Types whose text is what a person would have written into a CSV file.
_TYPES_WITH_TEXT = (pa.types.is_integer, pa.types.is_decimal, pa.types.is_boolean)
# Without a buffer the reader holds the compressed column chunks of a whole row group.
_BUFFER_BYTES = 262_144


def parquet_columns(path: Path) -> list[str] | None:
    """The column names of a Parquet file, None if it isn't one or is cut."""
    try:
        with pq.ParquetFile(path) as file:
            return list(file.schema_arrow.names)
    except (OSError, pa.ArrowException):
        return None


class ParquetRows:
    """The records of a Parquet file that has the columns `present`."""

    def __init__(self, mapping: Mapping, path: Path, present: list[str]) -> None:
        self._path = path
        self._assembly = Assembly(mapping, str(path), present)
        self._wanted = [name for name in present if name in _named_columns(mapping)]
        self.problem = ""
        self.rows_read = 0
        self.share_read = 0.0

    def blocks(self) -> Iterator[list[Record]]:
        """Blocks of records in file order; ends early, with `problem` set, where the file is damaged."""
        try:
            with pq.ParquetFile(self._path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
                total = file.metadata.num_rows
                for batch in file.iter_batches(BLOCK_RECORDS, columns=self._wanted, use_threads=False):
                    if not batch.num_rows:
                        continue
                    first = self.rows_read + 1
                    self.rows_read += batch.num_rows
                    self.share_read = self.rows_read / max(total, 1)
                    yield self._assembly.build(_ArrowTable(batch, range(first, self.rows_read + 1)))
        except (OSError, pa.ArrowException) as error:
            self.problem = " ".join(str(error).split())


class _ArrowTable:
    """A record batch, as columns of Python values."""

    def __init__(self, batch: pa.RecordBatch, lines: Sequence[int]) -> None:
        self._batch = batch
        self.lines = lines
        self.header_lines = 0

    def column(self, name: str, kind: Kind) -> Sequence[Any]:
        """See `Table`."""
        array = self._batch.column(self._batch.schema.get_field_index(name))
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        try:
            return _python_values(array, kind)
        except (UnicodeDecodeError, pa.ArrowInvalid):
            return [_decoded(value) for value in array.cast(pa.binary()).to_pylist()]


def _python_values(array: pa.Array, kind: Kind) -> list[Any]:
    kind_of_array = array.type
    types = pa.types
    if types.is_floating(kind_of_array):
        return _floats(array, kind)
    if kind in {"time", "utc_time"} and (types.is_timestamp(kind_of_array) or types.is_date(kind_of_array)):
        return _moments(array, naive_is_utc=kind == "utc_time")
    if kind in {"text", "amount"} and any(is_type(kind_of_array) for is_type in _TYPES_WITH_TEXT):
        return list(array.cast(pa.string()).to_pylist())
    if types.is_decimal(kind_of_array):
        return list(array.cast(pa.float64()).to_pylist())
    if types.is_temporal(kind_of_array) or types.is_binary(kind_of_array) or types.is_large_binary(kind_of_array):
        array = array.cast(pa.string())
    return list(array.to_pylist())


def _floats(array: pa.Array, kind: Kind) -> list[Any]:
    if kind == "amount":
        # The shortest text of a single-precision 12.34; as a double it would be 12.34000015.
        return list(array.to_pylist() if pa.types.is_float64(array.type) else array.cast(pa.string()).to_pylist())
    array = array.cast(pa.float64())
    if array.null_count:
        return list(array.to_pylist())
    return list(array.to_numpy().tolist())


def _moments(array: pa.Array, *, naive_is_utc: bool) -> list[Any]:
    """Aware datetimes for an array whose type has a zone, or whose times are in UTC; naive ones otherwise."""
    has_zone = naive_is_utc or (pa.types.is_timestamp(array.type) and array.type.tz is not None)
    microseconds = array.cast(pa.timestamp("us", "UTC" if has_zone else None), safe=False).cast(pa.int64())
    moments: list[Any]
    try:
        seconds = pc.divide(microseconds.cast(pa.float64(), safe=False), 1e6).to_pylist()
        moments = list(map(datetime.fromtimestamp, seconds, repeat(UTC)))
    except (TypeError, ValueError, OverflowError, OSError):
        moments = [None if value is None else _moment(value / 1e6) for value in microseconds.to_pylist()]
    if has_zone:
        return moments
    return [moment.replace(tzinfo=None) if isinstance(moment, datetime) else moment for moment in moments]


def _moment(second: float) -> Any:
    try:
        return datetime.fromtimestamp(second, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{second:.0f} seconds since 1970"


def _decoded(value: bytes | None) -> Any:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _named_columns(mapping: Mapping) -> set[str]:
    names = {column.name for source in mapping.fields.values() for column in source.columns}
    names |= {source.column.name for source in mapping.attributes.values()}
    names.add(mapping.time.column.name)
    label = mapping.label
    if label is not None:
        names.add(label.column.name)
        names |= {column.name for source in (label.source, label.scenario) if source for column in source.columns}
        if label.known_at is not None:
            names.add(label.known_at.column.name)
    return names
