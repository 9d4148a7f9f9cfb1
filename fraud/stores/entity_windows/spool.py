"""History on disk, sorted by entity: what does not fit into memory while entity windows are rebuilt."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path

import msgspec

from fraud.ports import EntityEvent

_SCHEMA = """
    CREATE TABLE events (kind TEXT, key TEXT, source TEXT, offset INTEGER, timestamp_ms INTEGER, amount INTEGER,
                         user_id TEXT, card_id TEXT, first_time INTEGER);
    CREATE TABLE marks (kind TEXT, key TEXT, timestamp_ms INTEGER, identity INTEGER);
"""
_EVENTS = "SELECT * FROM events ORDER BY kind, key, source, offset"
_MARKS = "SELECT * FROM marks ORDER BY kind, key, timestamp_ms, identity"
_NO_ROW = ("", "")


class SpooledEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as it comes back."""

    source: str
    offset: int
    timestamp_ms: int
    amount: int
    user_id: str
    card_id: str | None
    first_time: bool


class EntityHistory(msgspec.Struct, frozen=True, gc=False):
    """All that history knows of one entity: events in order, known frauds as timestamp, ms, and identity in order."""

    kind: str
    key: str
    events: list[SpooledEvent]
    marks: list[tuple[int, int]]


class Spool:
    """A file that takes events and marks in any order, and gives them back entity by entity.

    It is not safe against a crash: it holds nothing that could not be read again.
    """

    def __init__(self, file: Path) -> None:
        # Used by one thread at a time, not always the same.
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_SCHEMA)

    def add_events(self, events: Sequence[tuple[str, EntityEvent]]) -> None:
        """Take events with their sources; the same one again counts once."""
        self._add(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(event.kind, event.key, source, event.offset, event.timestamp_ms, event.amount),
                    *(event.user_id, event.card_id, event.first_time),
                )
                for source, event in events
            ],
        )

    def add_marks(self, marks: Sequence[tuple[str, str, int, int]]) -> None:
        """Take marks as kind, key, timestamp in ms, and identity; the same one again counts once."""
        self._add("INSERT INTO marks VALUES (?, ?, ?, ?)", marks)

    def _add(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(statement, rows)
        self._database.execute("COMMIT")

    def entities(self) -> Iterator[EntityHistory]:
        """Every entity with its history. An entity that has marks alone is left out."""
        entity = itemgetter(0, 1)
        marks = groupby(self._database.execute(_MARKS), key=entity)
        marked, marks_of = next(marks, (_NO_ROW, iter(())))
        for (kind, key), rows in groupby(self._database.execute(_EVENTS), key=entity):
            while marked < (kind, key) and marked != _NO_ROW:
                marked, marks_of = next(marks, (_NO_ROW, iter(())))
            frauds = sorted({row[2:4] for row in marks_of}) if marked == (kind, key) else []
            yield EntityHistory(kind, key, _in_order(rows), frauds)

    def close(self) -> None:
        """Give the file back."""
        self._database.close()


def _in_order(rows: Iterator[tuple[str, str, str, int, int, int, str, str | None, int]]) -> list[SpooledEvent]:
    """Events of one entity. Within a source they stand by offset; sources are merged by event time."""
    sources = [
        [next(same) for _, same in groupby(map(_event, of_source), key=attrgetter("offset"))]
        for _, of_source in groupby(rows, key=itemgetter(2))
    ]
    return list(merge(*sources, key=attrgetter("timestamp_ms")))


def _event(row: tuple[str, str, str, int, int, int, str, str | None, int]) -> SpooledEvent:
    _, _, source, offset, timestamp_ms, amount, user_id, card_id, first_time = row
    return SpooledEvent(source, offset, timestamp_ms, amount, user_id, card_id, bool(first_time))
