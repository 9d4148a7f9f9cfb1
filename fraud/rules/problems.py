"""What is wrong with a policy file, said to a person: where, what, and what to do."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

# What YAML counts as the end of a line; an excerpt that counted otherwise would show the wrong line.
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
# A line of an excerpt fits a terminal of 120 columns beside its line number.
_EXCERPT_CHARACTERS = 100
# Enough to see that a name is wrong everywhere; more would push the hint off the line.
_SHOWN_LINES = 8


@dataclass(frozen=True, order=True)
class Problem:
    """One reason why a policy is refused. `line` and `column` count from 1 (0: the file as a whole).

    `unknown_name` is the name that stands there, if the reason is that nothing is called that.
    """

    line: int
    column: int
    reason: str
    hint: str = ""
    excerpt: str = ""
    file_name: str = ""
    unknown_name: str = ""

    def __str__(self) -> str:
        place = f"{self.file_name}:{self.line}:{self.column}" if self.line else self.file_name
        lines = [f"{place}: {self.reason}"]
        if self.excerpt:
            lines.append(self.excerpt)
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class PolicyError(Exception):
    """A policy that is refused. `problems` has everything that was found, in the order of the file.

    An unknown name is one problem, wherever it stands.
    """

    def __init__(self, file_name: str, problems: Iterable[Problem]) -> None:
        self.file_name = file_name
        self.problems = _grouped(sorted(problems))
        count = len(self.problems)
        heading = f"{file_name} is refused: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n\n".join([heading, *map(str, self.problems)]))


def _grouped(problems: list[Problem]) -> list[Problem]:
    """The problems with every unknown name once, in its first place, where it says how often it comes."""
    lines: dict[str, list[int]] = {}
    for problem in problems:
        lines.setdefault(problem.unknown_name, []).append(problem.line)
    grouped = []
    for problem in problems:
        places = lines.get(problem.unknown_name, []) if problem.unknown_name else [problem.line]
        if len(places) > 1:
            grouped.append(replace(problem, reason=f"{problem.reason}, {_places(places)}"))
            places.clear()
        elif places:
            grouped.append(problem)
    return grouped


def _places(lines: list[int]) -> str:
    different = list(dict.fromkeys(lines))
    if len(different) == 1:
        return f"{len(lines)} times in this line"
    shown = ", ".join(map(str, different[:_SHOWN_LINES]))
    return f"{len(lines)} times, in lines {shown}{' ...' if len(different) > _SHOWN_LINES else ''}"


class Source:
    """The text of a policy file, to say where in it something stands."""

    def __init__(self, text: str, file_name: str) -> None:
        self.text = text
        self.file_name = file_name
        breaks = list(_LINE_BREAK.finditer(text))
        self._starts = [0, *(found.end() for found in breaks)]
        self._ends = [*(found.start() for found in breaks), len(text)]

    def line_of(self, index: int) -> int:
        """The line, from 1, of the character at `index`."""
        return bisect.bisect_right(self._starts, index)

    def problem(self, start: int, end: int, reason: str, hint: str = "", unknown_name: str = "") -> Problem:
        """A problem with the characters from `start` to `end` (exclusive) of the file."""
        line = self.line_of(start)
        column = start - self._starts[line - 1]
        excerpt = self._excerpt(line, column, end - start)
        return Problem(line, column + 1, reason, hint, excerpt, self.file_name, unknown_name)

    def _excerpt(self, line: int, column: int, length: int) -> str:
        text = self.text[self._starts[line - 1] : self._ends[line - 1]]
        first = max(0, column - _EXCERPT_CHARACTERS // 2) if len(text) > _EXCERPT_CHARACTERS else 0
        # An escape sequence in a file must not reach the reader's terminal, and a tab would move the caret.
        part = text[first : first + _EXCERPT_CHARACTERS]
        shown = "".join(character if character.isprintable() else " " for character in part)
        width = max(1, min(length, len(shown) - (column - first)))
        margin = " " * len(str(line))
        return f"  {line} | {shown.rstrip()}\n  {margin} | {' ' * (column - first)}{'^' * width}"
