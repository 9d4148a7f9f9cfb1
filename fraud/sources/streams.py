"""Bytes of a file, decompressed as they come, cut into lines of bounded length."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

# The largest message that the topic allows is about a quarter of it: 50 attributes of 1,000 characters of 4 bytes.
RECORD_MAX_BYTES = 1_048_576
# Enough that calls cost nothing beside parsing, small enough to be forgotten in memory.
CHUNK_BYTES = 131_072
# What is kept of a line that is too long, for showing it.
_KEPT_BYTES = 400
TOO_LONG = f"is longer than {RECORD_MAX_BYTES:,} bytes"
# Large enough that the cost of a block vanishes in that of its records, small enough to stay in the processor's cache.
BLOCK_RECORDS = 1_024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CODECS = {".gz": "gzip", ".zst": "zstd"}


class ByteStream:
    """The bytes of `path`, decompressed according to its ending.

    `problem` is a sentence once the compressed data turned out to be cut or damaged; what could be decompressed before
    that is delivered first. Use as a context manager.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._codec = CODECS.get(path.suffix.lower())
        self._delivered = 0
        self._open()

    def _open(self) -> None:
        self._raw: BinaryIO = self.path.open("rb")
        self._stream: Any = self._raw
        if self._codec is not None:
            self._stream = pa.CompressedInputStream(pa.PythonFile(self._raw, mode="r"), self._codec)

    def __enter__(self) -> ByteStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        self._raw.close()

    @property
    def position(self) -> int:
        """How many bytes of the file itself, compressed ones if it is compressed, have been read."""
        return 0 if self._raw.closed else self._raw.tell()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end or after a problem."""
        if self.problem:
            return b""
        try:
            chunk: bytes = self._stream.read(size)
        except (OSError, pa.ArrowException) as error:
            if self._codec is None:
                raise
            chunk = self._salvage(size)
            self.problem = f"the {self._codec} data is cut or damaged here: {' '.join(str(error).split())}"
        self._delivered += len(chunk)
        return chunk

    def _salvage(self, size: int) -> bytes:
        """What lies between the last good read and the damage.

        The failed read has lost what it had decompressed, so the file is read again up to there and then byte by byte.
        """
        self.close()
        self._open()
        remaining = self._delivered
        while remaining:
            remaining -= len(self._stream.read(min(remaining, CHUNK_BYTES)))
        salvaged = bytearray()
        try:
            while len(salvaged) < size and (byte := self._stream.read(1)):
                salvaged += byte
        except (OSError, pa.ArrowException):
            pass
        return bytes(salvaged)


class Lines(NamedTuple):
    """Consecutive lines without their ends. `too_long` has the indices of those of which only the start is there."""

    first_number: int
    texts: list[bytes]
    too_long: frozenset[int]


class LineReader:
    """Cuts a stream into lines; holds at most a chunk and a line of the greatest length.

    After the last line, `cut_line` is the number of the line at which a damaged stream ended, 0 otherwise. That line is
    not delivered: its end is missing, and a number cut short is still a number.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._waiting: list[bytes] = []
        self._taken = 0
        self._rest = b""
        self._next_number = 1
        self._too_long: set[int] = set()
        self._skipping = False
        self._at_start = True
        self._ended = False
        self.cut_line = 0

    def take(self, count: int) -> Lines:
        """Up to `count` next lines, none at the end."""
        while self._taken >= len(self._waiting) and not self._ended:
            self._fill()
        texts = self._waiting[self._taken : self._taken + count]
        first = self._next_number
        self._taken += len(texts)
        self._next_number += len(texts)
        too_long: frozenset[int] = frozenset()
        if self._too_long:
            too_long = frozenset(number - first for number in self._too_long if number < self._next_number)
            self._too_long = {number for number in self._too_long if number >= self._next_number}
        return Lines(first, texts, too_long)

    def _fill(self) -> None:
        """Read one chunk; called when no line is waiting."""
        chunk = self._stream.read(CHUNK_BYTES)
        if self._at_start:
            self._at_start = False
            chunk = chunk.removeprefix(_BYTE_ORDER_MARK)
        self._taken = 0
        if not chunk:
            self._waiting = self._last_line()
            self._ended = True
            return
        if self._skipping:
            _, end, chunk = chunk.partition(b"\n")
            if not end:
                self._waiting = []
                return
            # The line's kept start stands for all of it.
            self._skipping = False
            chunk = b"\n" + chunk
        self._waiting = (self._rest + chunk).split(b"\n")
        self._rest = self._waiting.pop()
        # A chunk is shorter than the greatest length, so only the line that began before it can be longer.
        if self._waiting and len(self._waiting[0]) > RECORD_MAX_BYTES:
            self._too_long.add(self._next_number)
            self._waiting[0] = self._waiting[0][:_KEPT_BYTES]
        if len(self._rest) > RECORD_MAX_BYTES:
            self._too_long.add(self._next_number + len(self._waiting))
            self._rest = self._rest[:_KEPT_BYTES]
            self._skipping = True

    def _last_line(self) -> list[bytes]:
        if self._stream.problem:
            self._too_long.discard(self._next_number)
            self.cut_line = self._next_number
            return []
        return [self._rest] if self._rest else []


def shown_line(line: bytes) -> str:
    """The start of a line that could not be read, as text."""
    return line[:_KEPT_BYTES].decode(errors="replace")
