"""The table of features in text, for people."""

from __future__ import annotations

from fraud.features import FEATURE_SETS, feature_set
from fraud.features.table import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Feature

_UNITS = ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s"))


def duration_text(milliseconds: int) -> str:
    """A duration in the largest unit that divides it: 7d, 10m; empty for zero."""
    for unit, letter in _UNITS:
        if milliseconds and milliseconds % unit == 0:
            return f"{milliseconds // unit}{letter}"
    return ""


def feature_table_text() -> str:
    """Every feature of every set: name, type, whose, window, delay, hop, meaning, when missing."""
    lines = []
    for name in FEATURE_SETS:
        chosen = feature_set(name)
        lines.append(f"{name}: {len(chosen.names)} features, schema {chosen.schema_hash[:12]}")
        cells = [_cells(row) for row in chosen.rows]
        header = ("name", "type", "whose", "aggregation", "window", "delay", "hop")
        widths = [max(len(row[place]) for row in (header, *cells)) for place in range(len(header))]
        lines.append(_line((*header, "meaning"), widths))
        lines.extend(_line(row, widths) for row in cells)
        lines.append("")
    return "\n".join(lines)


def _cells(row: Feature) -> tuple[str, ...]:
    meaning = f"{row.meaning}; missing {row.missing}" if row.missing else row.meaning
    windows = (duration_text(row.window_ms), duration_text(row.delay_ms), duration_text(row.hop_ms))
    return (row.name, row.kind, row.entity, row.aggregation, *windows, meaning)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join(["", *padded, cells[-1]]).rstrip()
