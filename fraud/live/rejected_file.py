"""What a load refused, a line of JSON each."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from fraud.sources.records import RejectedRecord

_encode = msgspec.json.Encoder().encode


class RejectedFile:
    """Opened as a context; without a path it takes everything and keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            self._file = self._path.open("wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def record(self, record: RejectedRecord) -> None:
        """A record that the reader refused: where it stands and why, without its value."""
        about = {"file": record.file, "line": record.line, "field": record.field, "reason": record.reason}
        self._write(_encode(about))

    def dead_letter(self, value: bytes) -> None:
        """The dead letter that a worker would have published."""
        self._write(value)

    def _write(self, line: bytes) -> None:
        if self._file is not None:
            self._file.write(line + b"\n")
