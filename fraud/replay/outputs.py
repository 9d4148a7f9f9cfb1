"""Files that appear under their names only when they are whole."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from fraud.sources.records import RejectedRecord, shown_value

# Rows of a Parquet row group: whatever the batch size, so that the same rows give the same bytes. A reader holds one
# group in memory; at 120 columns this one takes about 15 MB.
ROW_GROUP_ROWS = 16_384
_PARTIAL = ".partial"
# Only writing fails like this, and the libraries that write do not say where.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


class OutputError(Exception):
    """A folder or file that cannot be written: one line for people."""


class OutputFolder:
    """Collects files as `NAME.partial`; `publish` gives all of them their names, leaving the context without it
    removes them. `OutputError` for a folder that cannot be written and for a file that is one of the `inputs`.

    `may_hold` names every file that a run may write here. What a run that was killed left of them is removed at the
    start, what an earlier one wrote and this one does not is removed by `publish`: it would seem to be from this.
    """

    def __init__(self, folder: Path, inputs: Sequence[Path] = (), may_hold: Collection[str] = ()) -> None:
        self._folder = folder
        self._inputs = inputs
        self._may_hold = may_hold
        self._names: list[str] = []

    def __enter__(self) -> OutputFolder:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            probe = self._folder / f"write-test{_PARTIAL}"
            probe.touch()
            probe.unlink()
            for name in self._may_hold:
                self._remove(f"{name}{_PARTIAL}")
        except FileExistsError as error:
            raise OutputError(f"{self._folder}: is a file; --out needs a folder here") from error
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot write here: {error.strerror or error}") from error
        return self

    def path(self, name: str) -> Path:
        """Where to write the file that will be called `name`."""
        final = self._folder / name
        if final.is_dir():
            raise OutputError(f"{final}: is a folder; a file is to be written there")
        if final.exists() and any(final.samefile(path) for path in self._inputs):
            raise OutputError(f"{final}: is an input and would be overwritten; choose another --out")
        self._names.append(name)
        return self._folder / f"{name}{_PARTIAL}"

    def publish(self) -> list[Path]:
        """Give every file its name, replacing those of an earlier run; returns their paths."""
        for name in set(self._may_hold) - set(self._names):
            self._remove(name)
        final = []
        for name in self._names:
            (self._folder / f"{name}{_PARTIAL}").replace(self._folder / name)
            final.append(self._folder / name)
        self._names.clear()
        return final

    def _remove(self, name: str) -> None:
        file = self._folder / name
        if file.is_file() and not any(file.samefile(path) for path in self._inputs):
            file.unlink()

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        for name in self._names:
            with contextlib.suppress(OSError):
                (self._folder / f"{name}{_PARTIAL}").unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            reason = os.strerror(error.errno)
            raise OutputError(f"{self._folder}: cannot write on: {reason}; nothing was kept") from error


class ParquetOutput:
    """A Parquet file whose row groups do not depend on how the rows arrive."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        texts = [field.name for field in schema if not pa.types.is_floating(field.type)]
        # Dictionaries pay off for text; trying them on hundreds of float columns costs more than all the rest of
        # writing.
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", compression_level=1, use_dictionary=texts)
        self._tables: list[pa.Table] = []
        self._rows = 0

    def write(self, columns: list[Any]) -> None:
        """Add rows, given as one array for each field of the schema."""
        table = pa.Table.from_arrays(columns, schema=self._schema)
        self._tables.append(table)
        self._rows += table.num_rows
        if self._rows >= ROW_GROUP_ROWS:
            self._flush(whole_groups_only=True)

    def close(self) -> None:
        """Write what is left; the file is complete."""
        self._flush(whole_groups_only=False)
        self._writer.close()

    def _flush(self, *, whole_groups_only: bool) -> None:
        table = pa.concat_tables(self._tables).combine_chunks() if self._tables else self._schema.empty_table()
        start = 0
        while table.num_rows - start >= ROW_GROUP_ROWS:
            self._writer.write_table(table.slice(start, ROW_GROUP_ROWS), row_group_size=ROW_GROUP_ROWS)
            start += ROW_GROUP_ROWS
        rest = table.slice(start)
        if not whole_groups_only and rest.num_rows:
            self._writer.write_table(rest, row_group_size=ROW_GROUP_ROWS)
            rest = rest.slice(rest.num_rows)
        self._tables = [rest] if rest.num_rows else []
        self._rows = rest.num_rows


class LinesOutput:
    """A file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb")

    def write(self, line: bytes) -> None:
        """Add one line."""
        self._file.write(line)
        self._file.write(b"\n")

    def close(self) -> None:
        """The file is complete."""
        self._file.close()


class RejectedOutput:
    """`rejected.jsonl`, and how often each reason came, with its first example.

    `secret_fields` are not shown in clear, besides card and address.
    """

    def __init__(self, path: Path, secret_fields: Collection[str] = ()) -> None:
        self._lines = LinesOutput(path)
        self._secret_fields = secret_fields
        self.reasons: dict[str, tuple[int, str]] = {}

    @property
    def count(self) -> int:
        """How many records were refused."""
        return sum(count for count, _ in self.reasons.values())

    def write(self, record: RejectedRecord) -> None:
        """Add one record; its value is shortened and masked here."""
        value = shown_value(record.value, record.field, self._secret_fields)
        shown = {
            "code": record.code,
            "field": record.field,
            "file": record.file,
            "line": record.line,
            "reason": record.reason,
            "value": value,
        }
        self._lines.write(msgspec.json.encode(shown))
        count, example = self.reasons.get(record.code, (0, ""))
        if not count:
            place = f"{record.file}:{record.line}: " if record.line else f"{record.file}: "
            subject = [record.field, repr(value) if value else ""] if record.field else []
            example = place + " ".join(filter(None, [*subject, record.reason]))
        self.reasons[record.code] = (count + 1, example)

    def close(self) -> None:
        """The file is complete."""
        self._lines.close()
