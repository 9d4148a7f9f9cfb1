"""What may be kept of a line that could not be read, to be shown: values of card and address are masked by their place.

Masking by form, in `shown_value`, finds card numbers and addresses; an identifier of another form only its place gives
away.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from fraud.sources.mapping import Mapping
from fraud.sources.records import WHOLLY_MASKED_FIELDS, wholly_masked
from fraud.sources.streams import shown_line


def secret_columns(mapping: Mapping) -> frozenset[str]:
    """The source columns that card and address are read from."""
    sources = (mapping.fields.get(name) for name in WHOLLY_MASKED_FIELDS)
    return frozenset(column.name for source in sources if source is not None for column in source.columns)


class JsonSnippets:
    """Snippets of lines that are not JSON, or not of the right form."""

    def __init__(self, columns: Collection[str]) -> None:
        names = "|".join(sorted(map(re.escape, {*columns, *WHOLLY_MASKED_FIELDS})))
        # What is broken may be the quotes; and a value that has parts has no end that could be trusted.
        self._member = re.compile(
            rf"""(?<![\w.-])(?P<name>["']?(?:{names})["']?\s*[:=]\s*)"""
            r"""(?:"(?P<double>(?:[^"\\]|\\.)*)|'(?P<single>(?:[^'\\]|\\.)*)|(?P<parts>[\[{].*)|(?P<plain>[^,}\]\s]+))""",
            re.IGNORECASE | re.DOTALL,
        )

    def of(self, line: bytes) -> str:
        """The start of `line`."""
        return self._member.sub(_masked_member, shown_line(line))


def _masked_member(member: re.Match[str]) -> str:
    group = next(name for name in ("double", "single", "parts", "plain") if member[name] is not None)
    start, end = (place - member.start() for place in member.span(group))
    text = member.group()
    masked = wholly_masked(text[start:end], is_whole=group != "parts")
    return text[:start] + masked + text[end:]


class CsvSnippets:
    """Snippets of lines that are not records under `header`."""

    def __init__(self, columns: Collection[str], header: Sequence[str], delimiter: str) -> None:
        places = [place for place, name in enumerate(header) if name in columns]
        self._first = min(places, default=None)
        self._width = len(header)
        self._delimiter = delimiter

    def of(self, line: bytes) -> str:
        """The start of `line`; from where card or address may stand first, nothing but delimiters."""
        text = shown_line(line)
        if self._first is None:
            return text
        cells = text.split(self._delimiter)
        # As many cells as there are too few may be missing before it; what is too many only moves it further back.
        missing = max(0, self._width - len(cells))
        clear = max(0, self._first - missing)
        return self._delimiter.join([*cells[:clear], *("*" * len(cell) for cell in cells[clear:])])
