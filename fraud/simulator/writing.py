"""Writes a simulation to a file, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from fraud.simulator.events import AUTHORISATION
from fraud.simulator.formats import FORMATS
from fraud.simulator.native import NativeTables
from fraud.simulator.options import SCENARIOS, InvalidOptionError, SimulationOptions
from fraud.simulator.simulation import DayOfTransactions, Simulation

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
# Fixed, so that the rows of a Parquet file lie in the same groups on every machine; large enough to compress well.
ROWS_PER_GROUP = 100_000


@dataclass
class SimulationSummary:
    """What was simulated. Money is in euros; `scenarios` maps each scenario to its number of transactions."""

    rows: int = 0
    authorisations: int = 0
    frauds: int = 0
    amount_euro: float = 0.0
    fraud_amount_euro: float = 0.0
    scenarios: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SCENARIOS, 0))

    @property
    def fraud_rate(self) -> float:
        """Share of fraud in the authorisations, 0 where there are none."""
        return self.frauds / self.authorisations if self.authorisations else 0.0

    def add(self, day: DayOfTransactions) -> None:
        """Count a day in."""
        events = day.events
        authorised = events["event_type"] == AUTHORISATION
        fraud = events["scenario"] > 0
        self.rows += len(events)
        self.authorisations += int(authorised.sum())
        self.frauds += int(fraud.sum())
        self.amount_euro += float(events["amount_euro"][authorised].sum())
        self.fraud_amount_euro += float(events["amount_euro"][fraud].sum())
        counts = np.bincount(events["scenario"], minlength=len(SCENARIOS) + 1)
        for name, count in zip(SCENARIOS, counts[1:], strict=True):
            self.scenarios[name] += int(count)


def simulate(options: SimulationOptions) -> Iterator[pa.Table]:
    """The transactions of each day as a table of `native.NATIVE_SCHEMA`, in time order."""
    simulation = Simulation(options)
    tables = NativeTables(simulation)
    for day in simulation.days():
        yield tables.table(day)


def write_simulation(
    options: SimulationOptions,
    path: Path,
    *,
    file_format: str = "native",
    progress: Callable[[int], None] | None = None,
) -> SimulationSummary:
    """Write a simulation to `path` in a format of `formats.FORMATS`.

    The ending says which kind of file: .csv, .jsonl or .parquet, the first two also with .gz or .zst. `progress` is
    called with the number of rows after each day. The file appears under its name when it is complete. Raises
    `InvalidOptionError` for an unknown ending or format, OSError as it comes.
    """
    if file_format not in FORMATS:
        raise InvalidOptionError(f"format: no format is called {file_format!r}; there are {', '.join(FORMATS)}")
    suffix, compression = file_kind(path)
    simulation = Simulation(options)
    render = FORMATS[file_format](simulation)
    summary = SimulationSummary()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with _SINKS[suffix](temporary, compression) as sink:
            for day in simulation.days():
                sink.write(render(day))
                summary.add(day)
                if progress is not None:
                    progress(len(day.events))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return summary


def file_kind(path: Path) -> tuple[str, str | None]:
    """The ending that says the kind of file, and the compression or None. Raises `InvalidOptionError` for any other."""
    compression = COMPRESSIONS.get(path.suffix)
    suffix = Path(path.stem).suffix if compression else path.suffix
    if suffix not in _SINKS or (compression and suffix == ".parquet"):
        raise InvalidOptionError(
            f"out: the ending says the kind of file, so {path.name!r} must end in .csv, .jsonl or .parquet; "
            "the first two may have .gz or .zst after it"
        )
    return suffix, compression


class Sink(Protocol):
    """A file that tables are written to."""

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, table: pa.Table) -> None:
        """Append the rows."""


class _ParquetSink:
    """One row group for every so many rows, zstd inside."""

    def __init__(self, path: Path, compression: str | None) -> None:
        self._path = path
        self._writer: Any = None
        self._pending: list[pa.Table] = []

    def __enter__(self) -> _ParquetSink:
        return self

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pyarrow.parquet.ParquetWriter(self._path, table.schema, compression="zstd")
        self._pending.append(table)
        if sum(map(len, self._pending)) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables(self._pending).combine_chunks()
        self._writer.write_table(table, row_group_size=ROWS_PER_GROUP)
        self._pending = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            if self._pending and error is None:
                self._flush()
            self._writer.close()


class _TextSink:
    """CSV or JSON lines. Arrow's gzip stream writes no time and no name, so equal content is equal bytes."""

    def __init__(self, path: Path, compression: str | None) -> None:
        self._path, self._compression = path, compression
        self._first = True

    def __enter__(self) -> _TextSink:
        self._stream = pa.output_stream(self._path, compression=self._compression)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


class _CsvSink(_TextSink):
    def write(self, table: pa.Table) -> None:
        if self._first:
            self._stream.write((",".join(table.column_names) + "\n").encode())
        for part in _parts(table):
            self._stream.write(csv_lines(part))
        self._first = False


class _JsonSink(_TextSink):
    def write(self, table: pa.Table) -> None:
        for part in _parts(table):
            self._stream.write(json_lines(part))


_SINKS: dict[str, Callable[[Path, str | None], Any]] = {".csv": _CsvSink, ".jsonl": _JsonSink, ".parquet": _ParquetSink}


def json_lines(table: pa.Table) -> bytes:
    """One object per row, without the fields that are missing. No text of the simulator needs an escape."""
    parts = []
    for position, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        start = "{" if position == 0 else ","
        bare = pa.types.is_boolean(column.type) or pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        quote = "" if bare else '"'
        text = column.combine_chunks().cast(pa.string())
        fragment = pc.binary_join_element_wise(f'{start}"{name}":{quote}', text, quote, "")
        parts.append(pc.fill_null(fragment, start if position == 0 else ""))
    return _joined(pc.binary_join_element_wise(*parts, "}\n", ""))


def csv_lines(table: pa.Table) -> bytes:
    """One line per row, empty where a value is missing, in quotes only what holds a comma."""
    parts = []
    for column in table.columns:
        text = column.combine_chunks().cast(pa.string())
        if pa.types.is_string(column.type):
            text = pc.if_else(pc.match_substring(text, ","), pc.binary_join_element_wise('"', text, '"', ""), text)
        parts.append(pc.fill_null(text, ""))
    return _joined(pc.binary_join_element_wise(pc.binary_join_element_wise(*parts, ","), "\n", ""))


def _parts(table: pa.Table) -> Iterator[pa.Table]:
    # Arrow's strings end at 2 GB, which the text of a day of millions of customers would pass.
    for start in range(0, len(table), ROWS_PER_GROUP):
        yield table.slice(start, ROWS_PER_GROUP)


def _joined(rows: pa.Array) -> bytes:
    """All the rows one after the other."""
    together = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows), "")
    return bytes(together.cast(pa.binary())[0].as_buffer())
