"""The table of features in text, for people."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from fraud.features import FEATURE_SETS, feature_set
from fraud.features.table import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Feature

# What a terminal shows without breaking a line.
_WIDTH = 80
_INDENT = " " * 6
_UNITS = ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s"))


def duration_text(milliseconds: int) -> str:
    """A duration in the largest unit that divides it: 7d, 10m; empty for zero."""
    for unit, letter in _UNITS:
        if milliseconds and milliseconds % unit == 0:
            return f"{milliseconds // unit}{letter}"
    return ""


def feature_table_text(names: Sequence[str] = FEATURE_SETS) -> str:
    """Every feature of these sets, its name, whose it is, type, aggregation and windows, and its meaning under it.

    No line has more than 80 characters. Raises `UnknownFeatureSetError`.
    """
    lines = []
    for name in names:
        chosen = feature_set(name)
        lines.append(f"{name}: {len(chosen.names)} features, schema {chosen.schema_hash[:12]}")
        for row in chosen.rows:
            lines += wrap(f"{row.name}  {_kind(row)}", _WIDTH, initial_indent="  ", subsequent_indent=_INDENT)
            meaning = f"{row.meaning}; missing {row.missing}" if row.missing else row.meaning
            lines += wrap(meaning, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
        lines.append("")
    return "\n".join(lines)


def _kind(row: Feature) -> str:
    windows = (
        ("window", row.window_ms),
        ("baseline", row.baseline_window_ms),
        ("delay", row.delay_ms),
        ("hop", row.hop_ms),
    )
    declared = [f"{word} {duration_text(milliseconds)}" for word, milliseconds in windows if milliseconds]
    return ", ".join(filter(None, (row.entity, row.kind, row.aggregation, *declared)))
