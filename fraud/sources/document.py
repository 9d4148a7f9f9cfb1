"""A YAML file as nodes that know their line and column, every scalar as the text that was written.

Text as written, because YAML's own types lose what a mapping is about: `NO` (Norway) would be false and `0042` be 34.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NoReturn

import yaml

from fraud.sources.records import MappingError

# The largest shipped mapping has 2 KB. Anything near this is not a mapping.
DOCUMENT_MAX_CHARACTERS = 100_000
_NULL_TAG = "tag:yaml.org,2002:null"


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `known`, or nothing."""
    known = list(known)
    lowered = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f"; did you mean {lowered[near[0]]!r}?" if near else ""


class Node:
    """One node of the file `origin`; the accessors raise `MappingError` with file, line and column."""

    def __init__(self, origin: str, node: yaml.Node) -> None:
        self.origin = origin
        self._node = node
        self.line: int = node.start_mark.line + 1
        self.column: int = node.start_mark.column + 1

    def fail(self, message: str) -> NoReturn:
        """Raise `MappingError` at this node."""
        raise MappingError(f"{self.origin}:{self.line}:{self.column}: {message}")

    @property
    def is_pairs(self) -> bool:
        """Whether this is a mapping of names to nodes."""
        return isinstance(self._node, yaml.MappingNode)

    def text(self) -> str:
        """The text as written, quotes removed; refuses lists, mappings, null and empty text."""
        if not isinstance(self._node, yaml.ScalarNode) or self._node.tag == _NULL_TAG or self._node.value == "":
            self.fail("a text is needed here")
        return str(self._node.value)

    def text_or_null(self) -> str | None:
        """As `text`, with None for null."""
        return None if self._node.tag == _NULL_TAG else self.text()

    def raw_text(self) -> str:
        """As `text`, but it may be empty."""
        return "" if isinstance(self._node, yaml.ScalarNode) and self._node.value == "" else self.text()

    def one_of(self, allowed: Iterable[str]) -> str:
        """The text, if it is one of `allowed`."""
        allowed = list(allowed)
        chosen = self.text()
        if chosen not in allowed:
            self.fail(f"must be one of {', '.join(allowed)}, not {chosen!r}{suggestion(chosen, allowed)}")
        return chosen

    def flag(self) -> bool:
        """True or false."""
        return self.one_of(("true", "false")) == "true"

    def number(self, lowest: float) -> float:
        """A number of at least `lowest`."""
        try:
            value = float(self.text())
        except ValueError:
            self.fail(f"must be a number, not {self.text()!r}")
        if not lowest <= value < float("inf"):
            self.fail(f"must be a number of at least {lowest:g}")
        return value

    def items(self) -> list[Node]:
        """The nodes of a list that is not empty."""
        if not isinstance(self._node, yaml.SequenceNode) or not self._node.value:
            self.fail("a list is needed here, such as [a, b]")
        return [Node(self.origin, child) for child in self._node.value]

    def pairs(self) -> dict[str, Node]:
        """The nodes by name; refuses a name that is there twice."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fail("`name: value` entries are needed here")
        entries: dict[str, Node] = {}
        for key, child in self._node.value:
            name_node = Node(self.origin, key)
            name = name_node.text()
            if name in entries:
                name_node.fail(f"{name!r} is there twice")
            entries[name] = Node(self.origin, child)
            # An error about a name is an error at the name, also where its value is on a later line.
            entries[name].line, entries[name].column = name_node.line, name_node.column
        return entries

    def keys(self, allowed: Iterable[str], required: Iterable[str] = ()) -> dict[str, Node]:
        """As `pairs`, with names from `allowed` only and all of `required`."""
        allowed = list(allowed)
        entries = self.pairs()
        for name, child in entries.items():
            if name not in allowed:
                child.fail(f"unknown key {name!r}{suggestion(name, allowed) or '.'} Possible: {', '.join(allowed)}")
        missing = [name for name in required if name not in entries]
        if missing:
            self.fail(f"missing: {', '.join(missing)}")
        return entries

    def content(self) -> Any:
        """The whole subtree as dicts, lists and texts, for hashing."""
        if isinstance(self._node, yaml.MappingNode):
            return {name: child.content() for name, child in self.pairs().items()}
        if isinstance(self._node, yaml.SequenceNode):
            return [Node(self.origin, child).content() for child in self._node.value]
        return None if self._node.tag == _NULL_TAG else self._node.value


def parse_document(text: str, origin: str) -> Node:
    """The root node of YAML `text`; raises `MappingError` with the place for anything that is not plain YAML."""
    if len(text) > DOCUMENT_MAX_CHARACTERS:
        raise MappingError(f"{origin}: has more than {DOCUMENT_MAX_CHARACTERS} characters, this is not a mapping")
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            # A few aliases can stand for more nodes than there is memory.
            if isinstance(token, yaml.AliasToken):
                mark = token.start_mark
                raise MappingError(f"{origin}:{mark.line + 1}:{mark.column + 1}: aliases (*name) are not allowed")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise MappingError(f"{origin}{where}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise MappingError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from error
    if root is None:
        raise MappingError(f"{origin}: is empty")
    return Node(origin, root)
