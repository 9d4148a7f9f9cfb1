"""A mapping compiled against the columns of one file: blocks of columns in, records out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np

from fraud.money import CURRENCY_EXPONENTS
from fraud.sources import values
from fraud.sources.document import suggestion
from fraud.sources.labels import LabelAssembly, label_values
from fraud.sources.mapping import (
    REQUIRED_TARGETS,
    TARGETS,
    ColumnName,
    FieldSource,
    LabelSourceColumns,
    Mapping,
    TimeSource,
)
from fraud.sources.records import GroundTruth, Record, RejectedRecord, SourceRecord
from fraud.sources.targets import Kind, target_conversion
from fraud.sources.values import Conversion
from fraud.transaction import (
    ATTRIBUTE_MAX_LENGTH,
    EPOCH,
    LABEL_SOURCES,
    TransactionMessage,
)


class Table(Protocol):
    """A block of rows of one file, column by column."""

    @property
    def lines(self) -> Sequence[int]:
        """The line of each row, ascending."""

    @property
    def header_lines(self) -> int:
        """What to take off a line to get the number of the row."""

    def column(self, name: str, kind: Kind) -> Sequence[Any]:
        """The values of a source column, one for each row; None, empty text and NaN are missing."""


class _Refused(NamedTuple):
    field: str
    value: str
    code: str
    reason: str


Refusals = dict[int, _Refused]
# More names than this are not read by anybody; a file of features has over a hundred.
_SHOWN_COLUMNS = 30
# What separates columns in files that are called CSV and have no commas.
_DELIMITERS = (";", "\t", "|")


class _Column(NamedTuple):
    """One field of the record, with the columns it is made from."""

    field: str
    names: tuple[str, ...]
    kind: Kind
    conversion: Conversion
    required: bool = False
    row_number: bool = False

    def read(self, table: Table, refusals: Refusals) -> list[Any]:
        """The converted values; what can't be converted is entered into `refusals` by row, unless the row has one."""
        source = self._raw_values(table)
        try:
            converted = self.conversion.block(source)
        except values.BLOCK_ERRORS:
            converted = self._one_by_one(source, refusals)
        if self.required and None in converted:
            refused = _Refused(self.field, "", "missing_field", self._located("is missing or empty"))
            for row, value in enumerate(converted):
                if value is None:
                    refusals.setdefault(row, refused)
        return converted

    def _raw_values(self, table: Table) -> Sequence[Any]:
        if self.row_number:
            return [str(line - table.header_lines) for line in table.lines]
        if len(self.names) == 1:
            return table.column(self.names[0], self.kind)
        return list(zip(*(table.column(name, self.kind) for name in self.names), strict=True))

    def _one_by_one(self, source: Iterable[Any], refusals: Refusals) -> list[Any]:
        convert = self.conversion.value
        converted: list[Any] = []
        for row, value in enumerate(source):
            try:
                converted.append(convert(value))
            except values.Refusal as refusal:
                shown = (value if isinstance(value, str) else repr(value))[:_REFUSED_KEPT_CHARACTERS]
                refusals.setdefault(row, _Refused(self.field, shown, refusal.code, self._located(refusal.reason)))
                converted.append(None)
        return converted

    def _located(self, reason: str) -> str:
        if self.row_number or self.names == (self.field,):
            return reason
        return f"{reason} (column {', '.join(self.names)})"


def check_needed_columns(mapping: Mapping, file: str, present: Sequence[str]) -> None:
    """Raise `MappingError` if `present` lacks a column of a field that no record can be without."""
    needed = [mapping.time.column]
    needed += [
        column for field in REQUIRED_TARGETS if field in mapping.fields for column in mapping.fields[field].columns
    ]
    for column in needed:
        if column.name not in present:
            _not_there(column, file, present)


def _not_there(column: ColumnName, file: str, present: Sequence[str]) -> NoReturn:
    hint = suggestion(column.name, present) or _delimiter_hint(present) or "."
    columns = ", ".join(map(repr, present[:_SHOWN_COLUMNS]))
    if len(present) > _SHOWN_COLUMNS:
        columns += f" and {len(present) - _SHOWN_COLUMNS} more"
    column.node.fail(f"column {column.name!r} is not in {file}{hint} It has: {columns}")


class Assembly:
    """Makes records from tables of one file.

    Raises `MappingError` if the mapping names a column that `present` lacks. `present` is None where rows have their
    own columns (JSON lines): there every column may be missing in some rows.
    """

    def __init__(self, mapping: Mapping, file: str, present: Sequence[str] | None) -> None:
        self._file = file
        self._present = present
        self._minor_units = mapping.fields["amount"].minor_units
        self._decimals = mapping.fields["amount"].decimals
        self._attributes = [
            _Column(f"attributes.{name}", (source.column.name,), *_ATTRIBUTES[source.kind])
            for name, source in mapping.attributes.items()
            if self._has(source.column, optional=source.optional)
        ]
        self._arguments = self._fields(mapping)
        label = mapping.label
        self._label = None
        if label is not None and self._has(label.column, optional=label.optional):
            self._label = LabelAssembly(label)
            self._label_columns = self._columns_of_label(label)

    def build(self, table: Table) -> list[Record]:
        """The records of `table`, accepted or refused, in its order."""
        refusals: Refusals = {}
        arguments = [
            column.read(table, refusals) if isinstance(column, _Column) else column for column in self._arguments
        ]
        if self._attributes:
            arguments[-1] = self._read_attributes(table, arguments[-1], refusals)
        if self._minor_units:
            arguments[_AMOUNT] = list(map(_major_amount, arguments[_AMOUNT], arguments[_CURRENCY]))
        if self._decimals is not None:
            arguments[_AMOUNT] = _rounded_amounts(arguments[_AMOUNT], self._decimals)
        label_columns: list[Iterable[Any]] = []
        if self._label is not None:
            label_columns = [
                itertools.repeat(None, len(table.lines)) if column is None else column.read(table, refusals)
                for column in self._label_columns
            ]
        lines: Iterable[int] = table.lines
        if refusals:
            kept = [row not in refusals for row in range(len(table.lines))]
            lines = itertools.compress(lines, kept)
            arguments = [_kept(argument, kept) for argument in arguments]
            label_columns = [_kept(column, kept) for column in label_columns]
        messages = list(map(TransactionMessage, *arguments))
        labels: Iterable[GroundTruth | None] = itertools.repeat(None)
        if self._label is not None:
            labels = self._label.build(messages, *label_columns)
        records: list[Record] = list(map(SourceRecord, messages, labels, itertools.repeat(self._file), lines))
        if not refusals:
            return records
        records += [RejectedRecord(self._file, table.lines[row], *refused) for row, refused in refusals.items()]
        return sorted(records, key=_line_of)

    def _has(self, column: ColumnName, *, optional: bool) -> bool:
        if self._present is None or column.name in self._present:
            if self._present is not None and list(self._present).count(column.name) > 1:
                column.node.fail(f"column {column.name!r} is there more than once in {self._file}")
            return True
        if not optional:
            _not_there(column, self._file, self._present)
        return False

    def _fields(self, mapping: Mapping) -> list[Any]:
        """One entry for each argument of `TransactionMessage`, up to the last that the mapping gives."""
        arguments: list[Any] = [itertools.repeat(None) for _ in TARGETS]
        arguments[_EVENT_TYPE] = itertools.repeat("authorisation")
        last = _EVENT_TYPE
        for index, target in enumerate(TARGETS):
            if target == "timestamp":
                arguments[index] = self._time(target, mapping.time)
            elif target in mapping.fields and self._has_all(mapping.fields[target]):
                arguments[index] = _field(target, mapping.fields[target])
                last = max(last, index)
        if self._attributes:
            return arguments
        return arguments[: last + 1]

    def _has_all(self, source: FieldSource, *, optional: bool = False) -> bool:
        present = [self._has(column, optional=optional or source.optional) for column in source.columns]
        return all(present)

    def _time(self, field: str, source: TimeSource, *, required: bool = True) -> _Column:
        self._has(source.column, optional=False)
        kind: Kind = "utc_time" if source.zone is UTC else "time"
        return _Column(field, (source.column.name,), kind, _moment(source), required=required)

    def _read_attributes(self, table: Table, objects: Any, refusals: Refusals) -> list[dict[str, Any]]:
        names = [column.field.removeprefix("attributes.") for column in self._attributes]
        columns = [column.read(table, refusals) for column in self._attributes]
        rows = [
            {name: value for name, value in zip(names, row, strict=True) if value is not None}
            for row in zip(*columns, strict=True)
        ]
        if isinstance(objects, list):
            return [{**(given or {}), **row} for given, row in zip(objects, rows, strict=True)]
        return rows

    def _columns_of_label(self, label: LabelSourceColumns) -> list[_Column | None]:
        columns: list[_Column | None] = [
            _Column("label", (label.column.name,), "text", label_values(label)), None, None, None
        ]  # fmt: skip
        optional = label.optional
        if label.source is not None and label.source.columns and self._has_all(label.source, optional=optional):
            allowed = values.choice(LABEL_SOURCES, "invalid_label", f"must be one of {', '.join(LABEL_SOURCES)}")
            columns[1] = _text_column("label_source", label.source, allowed)
        known_at = label.known_at
        if known_at is not None and self._has(known_at.column, optional=optional):
            columns[2] = self._time("label_known_at", known_at, required=False)
        if label.scenario is not None and self._has_all(label.scenario, optional=optional):
            columns[3] = _text_column("scenario", label.scenario, values.text())
        return columns


# Refused values are gathered; a thousand of 10 MB must not be. Far more than is ever shown.
_REFUSED_KEPT_CHARACTERS = 1_000
# So that a double holds every integer up to the amount with four decimals; larger ones are no payments.
_LARGEST_AMOUNT = 1e11
_AMOUNT, _CURRENCY, _EVENT_TYPE = (TARGETS.index(name) for name in ("amount", "currency", "event_type"))
_ATTRIBUTES: dict[str, tuple[Kind, Conversion]] = {
    "text": ("text", values.text(ATTRIBUTE_MAX_LENGTH)),
    "number": ("number", values.number()),
    "boolean": ("boolean", values.boolean()),
}


def _line_of(record: Record) -> int:
    return record.line


def _kept(column: Iterable[Any], kept: list[bool]) -> Iterable[Any]:
    return list(itertools.compress(column, kept)) if isinstance(column, list) else column


def _field(target: str, source: FieldSource) -> Any:
    """A column to read, or a repeated constant."""
    kind, conversion = target_conversion(target)
    if source.constant is not None:
        return itertools.repeat(conversion.value(source.constant))
    return _text_column(target, source, conversion, kind)


def _text_column(field: str, source: FieldSource, conversion: Conversion, kind: Kind = "text") -> _Column:
    if field == "event_type":
        conversion = _with_default(conversion, "authorisation")
    if source.prefix:
        conversion = values.with_prefix(source.prefix, conversion)
    if source.values:
        conversion = values.translated(dict(source.values), conversion)
        kind = "text"
    if len(source.columns) > 1:
        conversion = values.joined(source.separator, conversion)
    names = tuple(column.name for column in source.columns)
    return _Column(field, names, kind, conversion, field in REQUIRED_TARGETS, source.row_number)


def _with_default(conversion: Conversion, default: str) -> Conversion:
    return Conversion(
        lambda items: [default if item is None else item for item in conversion.block(items)],
        lambda item: conversion.value(item) or default,
    )


def _moment(source: TimeSource) -> Conversion:
    elapsed: dict[str, tuple[datetime, timedelta, str]] = {
        "unix_seconds": (EPOCH, timedelta(seconds=1), "seconds since 1970"),
        "unix_ms": (EPOCH, timedelta(milliseconds=1), "milliseconds since 1970"),
        "hours_since": (source.start or EPOCH, timedelta(hours=1), "hours since the start that the mapping gives"),
    }
    if source.format in elapsed:
        return values.elapsed_moment(*elapsed[source.format])
    return values.iso_moment(source.zone, source.pattern)


def _rounded_amounts(amounts: Iterable[Any], decimals: int) -> list[Any]:
    rounded = list(amounts)
    places: Sequence[int] = range(len(rounded))
    if set(map(type, rounded)) == {float}:
        # Nearly all have so few decimals already: the double nearest to a decimal is what rounding to it yields.
        numbers, scale = np.array(rounded), 10.0**decimals
        scaled = np.rint(np.clip(numbers, -_LARGEST_AMOUNT, _LARGEST_AMOUNT) * scale)
        places = np.flatnonzero(scaled / scale != numbers).tolist()
    for place in places:
        rounded[place] = _rounded_amount(rounded[place], decimals)
    return rounded


def _rounded_amount(amount: Any, decimals: int) -> Any:
    """Half to even; what isn't a finite number stays as it is, for the core to refuse by name."""
    if isinstance(amount, float):
        return round(amount, decimals)
    try:
        return format(round(Decimal(amount), decimals), "f")
    except (InvalidOperation, TypeError, ValueError, OverflowError):
        return amount


def _major_amount(minor: Any, currency: Any) -> Any:
    """Exact major units; what isn't a number or a known currency stays as it is, for the core to refuse by name."""
    exponent = CURRENCY_EXPONENTS.get(currency)
    text = str(minor)
    # An exponent would be written out: 1e999999 as a million digits.
    if minor is None or exponent is None or "e" in text or "E" in text:
        return minor
    try:
        return format(Decimal(text).scaleb(-exponent), "f")
    except (InvalidOperation, ValueError):
        return minor


def _delimiter_hint(columns: Sequence[str]) -> str:
    """What to do if the header looks like many columns that were taken for one."""
    found = [delimiter for delimiter in _DELIMITERS if len(columns) == 1 and delimiter in columns[0]]
    if not found:
        return ""
    written = '"\\t"' if found[0] == "\t" else f'"{found[0]}"'
    return f"; if its columns are separated otherwise, write into a mapping of your own: delimiter: {written}."
