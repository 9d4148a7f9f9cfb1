"""Column mappings: which column of somebody's file is which field of a transaction, from small YAML files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from importlib import resources
from pathlib import Path
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from fraud.sources.document import Node, parse_document, suggestion
from fraud.sources.records import MappingError
from fraud.sources.targets import target_conversion
from fraud.sources.values import Refusal
from fraud.transaction import LABEL_SOURCES, LabelSource, TransactionMessage

AttributeKind = Literal["number", "text", "boolean"]
ATTRIBUTE_TYPES: tuple[AttributeKind, ...] = ("number", "text", "boolean")
TARGETS = TransactionMessage.__struct_fields__
REQUIRED_TARGETS = ("transaction_id", "user_id", "timestamp", "amount", "currency")
FIELD_TARGETS = tuple(target for target in TARGETS if target != "timestamp")
# Targets that hold text without a fixed set of values: what prefix and joined columns make sense for.
NUMBER_TARGETS = ("amount", "latitude", "longitude")
TIME_FORMATS = ("iso", "unix_seconds", "unix_ms", "hours_since")
_DISTRIBUTIONS = {
    "constant": ("days",),
    "uniform": ("minimum_days", "maximum_days"),
    "lognormal": ("median_days", "sigma"),
}


@dataclass(frozen=True, slots=True)
class ColumnName:
    """A source column, and the place in the mapping that names it."""

    name: str
    node: Node


@dataclass(frozen=True, slots=True)
class FieldSource:
    """Where one field's text comes from: columns (joined by `separator`), a constant, or the row's number.

    For the amount: `minor_units` in place of major ones; `decimals` to round to (half to even), for sources whose
    amounts carry the noise of binary arithmetic; `zero_accepted` where account verifications are recorded as payments
    of nothing.
    """

    columns: tuple[ColumnName, ...] = ()
    separator: str = ""
    constant: str | None = None
    row_number: bool = False
    prefix: str = ""
    values: tuple[tuple[str, str | None], ...] = ()
    minor_units: bool = False
    decimals: int | None = None
    zero_accepted: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class TimeSource:
    """A time column. `pattern` is set for a strptime format; `start` is aware and set for `hours_since`."""

    column: ColumnName
    format: str
    pattern: str | None = None
    zone: tzinfo | None = None
    start: datetime | None = None


@dataclass(frozen=True, slots=True)
class AttributeSource:
    """A column that becomes a typed attribute of the transaction."""

    column: ColumnName
    kind: AttributeKind
    optional: bool


@dataclass(frozen=True, slots=True)
class Delay:
    """A distribution of the days between a transaction and its fraud label; `parameters` in the order of its keys."""

    distribution: str
    parameters: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DelaySource:
    """Delays drawn for each transaction id: `default`, or by the label's source."""

    seed: str
    default: Delay | None
    by_source: tuple[tuple[LabelSource, Delay], ...] = ()


@dataclass(frozen=True, slots=True)
class LabelSourceColumns:
    """The label column and what belongs to it. A constant source is `source_constant`."""

    column: ColumnName
    optional: bool
    fraud_values: tuple[str, ...]
    legitimate_values: tuple[str, ...]
    source: FieldSource | None
    known_at: TimeSource | None
    delay: DelaySource | None
    scenario: FieldSource | None


@dataclass(frozen=True, slots=True)
class Mapping:
    """A column mapping. `content_hash` is over its meaning, not its comments or layout."""

    name: str
    description: str
    fields: dict[str, FieldSource]
    time: TimeSource
    attributes: dict[str, AttributeSource]
    label: LabelSourceColumns | None
    delimiter: str
    topic_messages: bool
    content_hash: str

    @property
    def accepts_zero_amounts(self) -> bool:
        """Whether payments of nothing count as transactions."""
        return self.fields["amount"].zero_accepted

    @property
    def attribute_kinds(self) -> dict[str, AttributeKind]:
        """The type of each attribute that this mapping declares, by name."""
        return {name: source.kind for name, source in self.attributes.items()}


def mapping_names() -> list[str]:
    """The names of the mappings that ship."""
    folder = resources.files("fraud.sources") / "mappings"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_mapping(name_or_path: str | Path) -> Mapping:
    """A shipped mapping by name, or one of your own from a `.yaml` file.

    Raises `MappingError`: one line with the place and what to do.
    """
    text = str(name_or_path)
    names = mapping_names()
    if text in names:
        resource = resources.files("fraud.sources") / "mappings" / f"{text}.yaml"
        return parse_mapping(resource.read_text(encoding="utf-8"), f"{text}.yaml")
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        known = ", ".join(names)
        raise MappingError(
            f"no mapping {text!r}{suggestion(text, names) or '.'} Shipped: {known}; or name a .yaml file"
        )
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise MappingError(f"{path}: cannot read the mapping: {reason}. Shipped: {', '.join(names)}") from error
    return parse_mapping(content, str(path))


def parse_mapping(text: str, origin: str) -> Mapping:
    """As `load_mapping`, from YAML text; `origin` is the file name for messages."""
    root = parse_document(text, origin)
    keys = root.keys(
        ("mapping", "description", "topic_messages", "delimiter", "fields", "time", "attributes", "label"),
        required=("mapping", "fields", "time"),
    )
    fields = _fields(keys["fields"])
    delimiter = keys["delimiter"].text() if "delimiter" in keys else ","
    if len(delimiter) != 1 or delimiter in '"\n\r':
        keys["delimiter"].fail("must be one character, such as ';' or a tab written as \"\\t\"")
    mapping = Mapping(
        name=keys["mapping"].text(),
        description=keys["description"].text() if "description" in keys else "",
        fields=fields,
        time=_time(keys["time"]),
        attributes=_attributes(keys["attributes"]) if "attributes" in keys else {},
        label=_label(keys["label"]) if "label" in keys else None,
        delimiter=delimiter,
        topic_messages="topic_messages" in keys and keys["topic_messages"].flag(),
        content_hash=hashlib.sha256(msgspec.json.encode(root.content(), order="deterministic")).hexdigest(),
    )
    if mapping.topic_messages:
        _check_topic_form(mapping, keys["topic_messages"])
    return mapping


def _fields(node: Node) -> dict[str, FieldSource]:
    entries = node.pairs()
    for target, child in entries.items():
        if target == "timestamp":
            child.fail("the timestamp has a section of its own: `time: {column: NAME, format: iso}`")
        if target not in FIELD_TARGETS:
            hint = suggestion(target, FIELD_TARGETS) or "."
            child.fail(f"unknown field {target!r}{hint} Possible: {', '.join(FIELD_TARGETS)}")
    missing = [target for target in REQUIRED_TARGETS if target not in entries and target != "timestamp"]
    if missing:
        has = f"the mapping has: {', '.join(entries)}" if entries else "the mapping has no field"
        node.fail(
            f"missing: {', '.join(missing)}; each needs a column, a constant or (for an id) row_number: true; {has}"
        )
    return {target: _field(target, child) for target, child in entries.items()}


def _field(target: str, node: Node) -> FieldSource:
    if not node.is_pairs:
        return FieldSource(columns=(ColumnName(node.text(), node),))
    keys = node.keys(
        (
            "column",
            "columns",
            "separator",
            "constant",
            "row_number",
            "prefix",
            "values",
            "unit",
            "decimals",
            "zero",
            "optional",
        )
    )
    named = [name for name in ("column", "columns", "constant", "row_number") if name in keys]
    if len(named) != 1:
        node.fail(f"{target} needs exactly one of column, columns, constant and row_number")
    if target in NUMBER_TARGETS and {"columns", "prefix", "row_number"} & keys.keys():
        node.fail(f"{target} is a number: columns, prefix and row_number are for text")
    for name in ("unit", "decimals", "zero"):
        if name in keys and target != "amount":
            keys[name].fail(f"{name} is for the amount only")
    if "constant" in keys:
        _check_constant(target, keys["constant"])
    optional = "optional" in keys and keys["optional"].flag()
    if optional and target in REQUIRED_TARGETS:
        keys["optional"].fail(f"{target} is required, it can't be optional")
    return FieldSource(
        columns=_columns(keys),
        separator=keys["separator"].raw_text() if "separator" in keys else " ",
        constant=keys["constant"].text() if "constant" in keys else None,
        row_number="row_number" in keys and keys["row_number"].flag(),
        prefix=keys["prefix"].raw_text() if "prefix" in keys else "",
        values=_translation(keys["values"]) if "values" in keys else (),
        minor_units="unit" in keys and keys["unit"].one_of(("major", "minor")) == "minor",
        decimals=int(keys["decimals"].one_of(("0", "1", "2", "3", "4"))) if "decimals" in keys else None,
        zero_accepted="zero" in keys and keys["zero"].one_of(("refused", "accepted")) == "accepted",
        optional=optional,
    )


def _check_constant(target: str, node: Node) -> None:
    try:
        target_conversion(target)[1].value(node.text())
    except Refusal as refusal:
        node.fail(f"{target} {refusal.reason}, not {node.text()!r}")


def _columns(keys: dict[str, Node]) -> tuple[ColumnName, ...]:
    if "columns" in keys:
        return tuple(ColumnName(item.text(), item) for item in keys["columns"].items())
    return (ColumnName(keys["column"].text(), keys["column"]),) if "column" in keys else ()


def _translation(node: Node) -> tuple[tuple[str, str | None], ...]:
    return tuple((value, child.text_or_null()) for value, child in node.pairs().items())


def _time(node: Node) -> TimeSource:
    keys = node.keys(("column", "format", "zone", "start"), required=("column", "format"))
    time_format = keys["format"].text()
    if time_format not in TIME_FORMATS and "%" not in time_format:
        hint = suggestion(time_format, TIME_FORMATS) or "."
        known = ", ".join(TIME_FORMATS)
        keys["format"].fail(f"unknown format {time_format!r}{hint} Possible: {known}, a pattern such as %d/%m/%Y %H:%M")
    if ("start" in keys) != (time_format == "hours_since"):
        node.fail("hours_since needs a start, and only hours_since takes one: `start: 2026-01-01T00:00:00Z`")
    return TimeSource(
        column=ColumnName(keys["column"].text(), keys["column"]),
        format=time_format,
        pattern=time_format if time_format not in TIME_FORMATS else None,
        zone=_zone(keys["zone"]) if "zone" in keys else None,
        start=_start(keys["start"]) if "start" in keys else None,
    )


def _zone(node: Node) -> tzinfo:
    name = node.text()
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        node.fail(f"unknown time zone {name!r}: use UTC or a name of the IANA database such as Europe/Berlin")


def _start(node: Node) -> datetime:
    try:
        start = datetime.fromisoformat(node.text())
    except ValueError:
        node.fail(f"{node.text()!r} is not a time such as 2026-01-01T00:00:00Z")
    if start.tzinfo is None:
        node.fail("must name its zone: 2026-01-01T00:00:00Z")
    return start


def _attributes(node: Node) -> dict[str, AttributeSource]:
    attributes: dict[str, AttributeSource] = {}
    for name, child in node.pairs().items():
        if not name.isidentifier() or not name.isascii():
            child.fail(f"attribute {name!r} must be letters, digits and underscores, so that a rule can name it")
        keys = child.keys(("column", "type", "optional"), required=("column", "type"))
        kind = keys["type"].one_of(ATTRIBUTE_TYPES)
        attributes[name] = AttributeSource(
            column=ColumnName(keys["column"].text(), keys["column"]),
            kind=next(known for known in ATTRIBUTE_TYPES if known == kind),
            optional="optional" in keys and keys["optional"].flag(),
        )
    return attributes


def _label(node: Node) -> LabelSourceColumns:
    keys = node.keys(
        ("column", "optional", "fraud_values", "legitimate_values", "source", "known_at", "delay", "scenario"),
        required=("column", "fraud_values", "legitimate_values"),
    )
    if "known_at" in keys and "delay" in keys:
        keys["delay"].fail("known_at is a column and delay is drawn: only one of them")
    fraud_values = tuple(item.text() for item in keys["fraud_values"].items())
    legitimate_values = tuple(item.text() for item in keys["legitimate_values"].items())
    both = sorted({*fraud_values} & {*legitimate_values})
    if both:
        keys["legitimate_values"].fail(f"{', '.join(both)} can't mean fraud and legitimate")
    return LabelSourceColumns(
        column=ColumnName(keys["column"].text(), keys["column"]),
        optional="optional" in keys and keys["optional"].flag(),
        fraud_values=fraud_values,
        legitimate_values=legitimate_values,
        source=_label_source(keys["source"]) if "source" in keys else None,
        known_at=_time(keys["known_at"]) if "known_at" in keys else None,
        delay=_delay_source(keys["delay"]) if "delay" in keys else None,
        scenario=_label_text(keys["scenario"]) if "scenario" in keys else None,
    )


def _label_source(node: Node) -> FieldSource:
    return _label_text(node) if node.is_pairs else FieldSource(constant=node.one_of(LABEL_SOURCES))


def _label_text(node: Node) -> FieldSource:
    if not node.is_pairs:
        return FieldSource(columns=(ColumnName(node.text(), node),))
    keys = node.keys(("column", "values", "optional"), required=("column",))
    return FieldSource(
        columns=_columns(keys),
        values=_translation(keys["values"]) if "values" in keys else (),
        optional="optional" in keys and keys["optional"].flag(),
    )


def _delay_source(node: Node) -> DelaySource:
    every_parameter = [name for names in _DISTRIBUTIONS.values() for name in names]
    keys = node.keys(("seed", "by_source", "distribution", *every_parameter), required=("seed",))
    by_source: list[tuple[LabelSource, Delay]] = []
    if "by_source" in keys:
        entries = keys["by_source"].keys(LABEL_SOURCES)
        by_source = [(source, _delay(entries[source])) for source in get_args(LabelSource) if source in entries]
    if "distribution" not in keys and not by_source:
        node.fail("needs a distribution, or by_source with one for each source")
    default = _delay(node, ("seed", "by_source")) if "distribution" in keys else None
    return DelaySource(keys["seed"].text(), default, tuple(by_source))


def _delay(node: Node, beside: tuple[str, ...] = ()) -> Delay:
    distribution = node.pairs().get("distribution", node)
    if distribution is node:
        node.fail(f"missing: distribution, one of {', '.join(_DISTRIBUTIONS)}")
    chosen = distribution.one_of(_DISTRIBUTIONS)
    names = _DISTRIBUTIONS[chosen]
    keys = node.keys((*beside, "distribution", *names), required=names)
    parameters = tuple(keys[name].number(0.0) for name in names)
    if chosen == "uniform" and parameters[0] > parameters[1]:
        node.fail("minimum_days must not be above maximum_days")
    return Delay(chosen, parameters)


def _check_topic_form(mapping: Mapping, node: Node) -> None:
    plain = all(
        source == FieldSource(columns=source.columns, separator=source.separator, optional=source.optional)
        and [column.name for column in source.columns] == [target]
        for target, source in mapping.fields.items()
    )
    if not plain or mapping.time.column.name != "timestamp" or mapping.time.format != "iso" or mapping.attributes:
        node.fail("topic_messages is for files with the topic's own field names, unchanged")
