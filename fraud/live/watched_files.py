"""Files that somebody else changes while a worker runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

# A change is loaded when two looks in a row found the same files: one that is still being copied is not refused.
LOOK_INTERVAL_S = 1.0


class FileStamp(NamedTuple):
    """What changes with a file's content; a file that is not there has -1 everywhere."""

    path: str
    device: int
    inode: int
    size_bytes: int
    modified_ns: int


Stamps = tuple[FileStamp, ...]


def stamps_of(files: Iterable[Path]) -> Stamps:
    """The stamp of each file, links followed."""
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> FileStamp:
    try:
        status = file.stat()
    except OSError:
        return FileStamp(str(file), -1, -1, -1, -1)
    return FileStamp(str(file), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class WatchedFiles:
    """Says when files have changed and stand still again; the first answer of that kind comes at the second look."""

    def __init__(self, files: Callable[[], Iterable[Path]]) -> None:
        self._files = files
        self._last: Stamps | None = None
        self._taken: Stamps | None = None

    def changed(self) -> bool:
        """Look once; true once for each change."""
        stamps = stamps_of(self._files())
        settled = stamps == self._last and stamps != self._taken
        self._last = stamps
        if settled:
            self._taken = stamps
        return settled
