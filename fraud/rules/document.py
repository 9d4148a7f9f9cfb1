"""A YAML file as nodes with positions: one document, no aliases, tags or repeated keys, of bounded size and depth."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import yaml

from fraud.rules.expression import suggestion
from fraud.rules.problems import PolicyError, Problem, Source

# Room for ten thousand list entries. YAML is read at about 100 KB a second, so even a file of this size takes seconds.
MAXIMUM_BYTES = 512 * 1024
# A file with more is another kind of file, or one mistake repeated.
_MAXIMUM_PROBLEMS = 100
# A policy needs four levels; the composer is recursive, so depth has to end somewhere.
MAXIMUM_DEPTH = 10

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")
)
_COLLECTION_TAGS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


class _RefusedNodeError(Exception):
    """Something that YAML allows and a policy does not."""

    def __init__(self, start: int, end: int, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.start, self.end, self.reason, self.hint = start, end, reason, hint


class _Composer(yaml.SafeLoader):
    """PyYAML's composer, without what could make a small file large."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        start, end = event.start_mark.index, event.end_mark.index
        if self.check_event(yaml.AliasEvent):
            raise _RefusedNodeError(
                start, end, "aliases (`*name`) are not allowed", "write the value out, or name a list under `lists`"
            )
        if self.depth >= MAXIMUM_DEPTH:
            raise _RefusedNodeError(
                start, end, "the file is nested too deeply", "a policy has no more than four levels"
            )
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_text(path: Path) -> str:
    """The text of a policy file; raises `PolicyError` where it cannot be read, is too large or is not UTF-8."""
    name = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        hint = "check the path" if isinstance(error, FileNotFoundError) else ""
        reason = f"cannot be read: {error.strerror or error}"
        raise PolicyError(name, [Problem(0, 0, reason, hint, file_name=name)]) from None
    if len(content) > MAXIMUM_BYTES:
        raise PolicyError(name, [_too_large(name)])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        characters = before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace").lstrip("\ufeff")
        reason = f"the byte 0x{content[error.start]:02x} is not UTF-8"
        problem = Problem(line, len(characters) + 1, reason, "save the file as UTF-8", file_name=name)
        raise PolicyError(name, [problem]) from None


def _too_large(file_name: str) -> Problem:
    reason = f"the file is larger than {MAXIMUM_BYTES // 1024} KiB"
    return Problem(0, 0, reason, "split the policy, or shorten its lists", file_name=file_name)


def compose(source: Source) -> yaml.Node:
    """The root node of the one document in `source`; raises `PolicyError` for anything else."""

    def refused(start: int, end: int, reason: str, hint: str = "") -> PolicyError:
        return PolicyError(source.file_name, [source.problem(start, end, reason, hint)])

    if len(source.text) > MAXIMUM_BYTES:
        raise PolicyError(source.file_name, [_too_large(source.file_name)])
    try:
        documents = list(yaml.compose_all(source.text, Loader=_Composer))
    except _RefusedNodeError as error:
        raise refused(error.start, error.end, error.reason, error.hint) from None
    except yaml.reader.ReaderError as error:
        reason = f"the character U+{ord(source.text[error.position]):04X} is not allowed in YAML"
        raise refused(error.position, error.position + 1, reason, "delete it") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = f"this is not YAML: {error.problem or error.context or 'it cannot be read'}"
        index = mark.index if mark else 0
        raise refused(index, index + 1, reason, _yaml_hint(str(error.problem))) from None
    if not documents or documents[0] is None or not _has_content(documents[0]):
        raise refused(0, 1, "the file is empty", "a policy starts with: policy: NAME")
    if len(documents) > 1:
        start = documents[1].start_mark.index
        raise refused(
            start, start + 1, "the file has more than one document", "remove the line `---`; one policy a file"
        )
    root: yaml.Node = documents[0]
    return root


def _has_content(node: yaml.Node) -> bool:
    return not (isinstance(node, yaml.ScalarNode) and node.value == "")


def _yaml_hint(reason: str) -> str:
    if "\\t" in reason:
        return "indent with spaces, not with tabs"
    if "mapping values" in reason:
        return "a text with `: ` in it is written in quotes; otherwise check the indentation"
    return "check the indentation and the quotes of this line and the one before it"


@dataclass(frozen=True)
class Scalar:
    """A scalar: its text, whether it is a number, and where each of its characters stands in the file."""

    node: yaml.ScalarNode
    text: str
    is_quoted: bool

    @property
    def number(self) -> float | None:
        """The number that is written here, None if it is something else."""
        return float(self.text) if not self.is_quoted and _NUMBER.fullmatch(self.text) else None


class Reader:
    """Takes nodes apart and notes everything that is not as it should be in `problems`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def problem(self, node: yaml.Node, reason: str, hint: str = "") -> None:
        """Note a problem with the first line of `node`."""
        start, end = node.start_mark.index, node.end_mark.index
        self.problem_at(start, min(end, start + 1) if _is_collection(node) else end, reason, hint)

    def problem_at(self, start: int, end: int, reason: str, hint: str, unknown_name: str = "") -> None:
        """Note a problem with the characters from `start` to `end` of the file.

        Raises `PolicyError` when there are so many that nobody reads them, and looking further only costs time.
        """
        self.problems.append(self.source.problem(start, end, reason, hint, unknown_name))
        if len(self.problems) >= _MAXIMUM_PROBLEMS:
            raise PolicyError(self.source.file_name, self.problems)

    def mapping(
        self, node: yaml.Node, what: str, required: Collection[str], optional: Collection[str]
    ) -> dict[str, yaml.Node]:
        """The entries of a mapping with known keys; those that are unknown, repeated or not there become problems."""
        known = [*required, *optional]
        entries: dict[str, yaml.Node] = {}
        for key, (key_node, value) in self.entries(node, what).items():
            if key in known:
                entries[key] = value
            else:
                hint = suggestion(key, frozenset(known)) or f"the keys of {what} are {', '.join(known)}"
                self.problem(key_node, f"unknown key `{key}` in {what}", hint)
        if isinstance(node, yaml.MappingNode) and node.tag in _COLLECTION_TAGS:
            for key in required:
                if key not in entries:
                    self.problem(node, f"`{key}` is missing in {what}", f"add a line `{key}: ...`")
        return entries

    def entries(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key and value node of every entry of a mapping, by key."""
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        if not isinstance(node, yaml.MappingNode) or node.tag not in _COLLECTION_TAGS:
            self.problem(node, f"{what} must have lines of the form `key: value`", "check the indentation")
            return found
        for key_node, value in node.value:
            key = self.scalar(key_node, "a key")
            if key is None:
                continue
            if key.text in found:
                line = self.source.line_of(found[key.text][0].start_mark.index)
                self.problem(
                    key_node, f"`{key.text}` stands twice in {what}, first in line {line}", "remove one of them"
                )
                continue
            found[key.text] = (key_node, value)
        return found

    def items(self, node: yaml.Node | None, what: str) -> list[yaml.Node]:
        """The entries of a sequence; a missing one is empty."""
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode) or node.tag not in _COLLECTION_TAGS:
            self.problem(node, f"{what} must be a list", "start each entry with `- `, or write [] for none")
            return []
        return list(node.value)

    def scalar(self, node: yaml.Node, what: str) -> Scalar | None:
        """A text or a number as written: `NO` is the country, not a truth value as YAML 1.1 has it."""
        if not isinstance(node, yaml.ScalarNode):
            self.problem(
                node,
                f"{what} must be one value, not a list or a mapping",
                "a text that starts with [ or { needs quotes",
            )
            return None
        if node.tag not in _PLAIN_TAGS:
            self.problem(
                node,
                f"tags such as `{node.tag}` are not allowed",
                "to negate a condition write not; put other texts in quotes",
            )
            return None
        is_quoted = node.style is not None
        if not node.value.strip() or (not is_quoted and node.value.lower() in {"null", "~"}):
            self.problem(node, f"{what} is empty", "write a value, or remove the line")
            return None
        return Scalar(node, node.value, is_quoted)

    def number(self, node: yaml.Node, what: str) -> float | None:
        """A finite number."""
        scalar = self.scalar(node, what)
        if scalar is None:
            return None
        if scalar.number is None:
            self.problem(node, f"{what} must be a number", "numbers are written like 3 or 0.25, without quotes")
        return scalar.number

    def list_entry(self, node: yaml.Node, what: str) -> float | str | None:
        """A number or a text of a named list; what YAML takes for something else has to be quoted."""
        scalar = self.scalar(node, what)
        if scalar is None or scalar.is_quoted:
            return scalar.text if scalar else None
        if scalar.number is not None:
            return scalar.number
        looks_numeric = node.tag.endswith((":int", ":float"))
        if looks_numeric or scalar.text.lower() in {"true", "false"}:
            self.problem(
                node,
                f"`{scalar.text}` in {what} is neither a plain number nor a text",
                f'if it is a text, write "{scalar.text}"',
            )
            return None
        return scalar.text


def _is_collection(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode)


def character_positions(node: yaml.ScalarNode, text: str) -> list[int]:
    """For each character of the node's value, and for its end, the index in the file's `text` where it is written.

    Folding, indentation and escapes stand between the two. White space aside, value and source have the same characters
    in the same order, so they can be walked side by side.
    """
    index, end = node.start_mark.index, node.end_mark.index
    if node.style in {"|", ">"}:
        index = min(text.find("\n", index) + 1 or end, end)
    elif node.style in {'"', "'"}:
        index, end = index + 1, end - 1
    positions = []
    for character in node.value:
        if not character.isspace():
            index = _next_written(text, index, end, node.style)
        positions.append(min(index, end))
        if index < end:
            index += _written_length(text, index, character, node.style)
    positions.append(min(index, end))
    return positions


def _next_written(text: str, index: int, end: int, style: str | None) -> int:
    """The next position that is not white space, nor a line end that is escaped in double quotes."""
    while index < end:
        if text[index].isspace():
            index += 1
        elif style == '"' and text[index] == "\\" and text[index + 1] in "\r\n":
            index += 2
        else:
            break
    return index


_ESCAPE_DIGITS = {"x": 2, "u": 4, "U": 8}


def _written_length(text: str, index: int, character: str, style: str | None) -> int:
    """How many characters of the file at `index` stand for one of the value."""
    written = text[index]
    if style == '"' and written == "\\":
        return 2 + _ESCAPE_DIGITS.get(text[index + 1], 0)
    if style == "'" and written == "'":
        return 2
    return 1 if written.isspace() or not character.isspace() else 0
