"""The words of a condition. Everything that has no place in one is refused here, before Python's parser sees it."""

from __future__ import annotations

import json
import keyword
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

# A condition is read by people: what is longer belongs in two rules or in a list. The bounds also keep the parser's
# time and stack small whatever somebody writes.
MAXIMUM_CHARACTERS = 2_000
MAXIMUM_TOKENS = 600
MAXIMUM_NESTING = 30
MAXIMUM_TEXT_CHARACTERS = 200
# Whole numbers up to here are exact in float64 with room for a product, and no amount of money comes near.
MAXIMUM_NUMBER = 1e15

_OPENING = {")": "(", "]": "["}
KEYWORDS = frozenset({"and", "or", "not", "in", "is"})

_SYMBOLS = frozenset({"==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "(", ")", "[", "]", ","})
_REFUSED_SYMBOLS = {
    "=": "to compare, write ==",
    "&&": "write and",
    "&": "write and",
    "||": "write or",
    "|": "write or",
    "!": "write not",
    "~": "write not",
    "<>": "write !=",
    "**": "there are no powers; write the product",
    "#": "put the comment on a line of its own above the rule",
    "{": "a list is written in square brackets: [1, 2]",
}
_REFUSED_HINT = "the operators and functions are listed in docs/policies.md"
_LOOK_ALIKES = {
    "\u201c": 'write text in straight quotes: "EUR"',
    "\u201d": 'write text in straight quotes: "EUR"',
    "\u2018": "write text in straight quotes: 'EUR'",
    "\u2019": "write text in straight quotes: 'EUR'",
    "\u2264": "write <=",
    "\u2265": "write >=",
    "\u2260": "write !=",
    "\u2212": "write the minus sign of the keyboard: -",
    "\u00a0": "write a plain space",
}
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<number>(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_.]))
    |(?P<number_like>[0-9][A-Za-z0-9_.]*)
    |(?P<text>"[^"\r\n]*"|'[^'\r\n]*')
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
    |(?P<symbol>[=!<>]=|\*\*|//|:=|&&|\|\||<>|<<|>>|.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Fault:
    """What is wrong with the characters from `start` to `end` (exclusive) of a condition.

    `unknown_name` is the name that stands there, if it is wrong because nothing is called that.
    """

    start: int
    end: int
    reason: str
    hint: str = ""
    unknown_name: str = ""


class ConditionError(Exception):
    """A condition that is refused, with every fault that was found."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.reason for fault in faults))


@dataclass(frozen=True)
class Token:
    """A word of a condition: its kind, its characters as written and where they start."""

    kind: Literal["number", "text", "name", "symbol"]
    written: str
    start: int

    @property
    def end(self) -> int:
        """The position behind the last character."""
        return self.start + len(self.written)


def tokenise(text: str) -> list[Token]:
    """The tokens of a condition; raises `ConditionError` for what no condition may contain."""
    if len(text) > MAXIMUM_CHARACTERS:
        raise ConditionError(
            [
                Fault(
                    0,
                    1,
                    f"the condition has {len(text):,} characters, at most {MAXIMUM_CHARACTERS:,} are allowed",
                    "split it into several rules, or move values into a list under `lists`",
                )
            ]
        )
    tokens: list[Token] = []
    faults: list[Fault] = []
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind == "space":
            continue
        fault = _token_fault(str(kind), found[0], found.start(), tokens[-1] if tokens else None)
        if fault:
            faults.append(fault)
        if kind in {"number", "text", "name", "symbol"}:
            tokens.append(Token(kind, found[0], found.start()))  # type: ignore[arg-type]
    faults.extend(_nesting_faults(tokens))
    if not tokens:
        faults.append(Fault(0, 1, "the condition is empty", "write for example: amount > 100"))
    if len(tokens) > MAXIMUM_TOKENS:
        faults.append(Fault(0, 1, f"the condition has more than {MAXIMUM_TOKENS} words", "split it into several rules"))
    faults = faults or list(_order_faults(tokens))
    if faults:
        raise ConditionError(faults[:_MAXIMUM_FAULTS])
    return tokens


# The first few say what is wrong; a file that is no policy at all would fill the screen.
_MAXIMUM_FAULTS = 5


def canonical_text(tokens: list[Token]) -> str:
    """The condition in one way of writing: regular spaces, double quotes, shortest numbers."""
    parts: list[str] = []
    for previous, token in zip([None, *tokens], tokens, strict=False):
        is_call = (
            token.written == "("
            and previous is not None
            and previous.kind == "name"
            and previous.written not in KEYWORDS
        )
        if (
            previous
            and not is_call
            and previous.written not in _OPENING.values()
            and token.written not in {*_OPENING, ","}
        ):
            parts.append(" ")
        parts.append(_canonical_token(token))
    return "".join(parts)


def _canonical_token(token: Token) -> str:
    if token.kind == "number":
        number = float(token.written)
        return str(int(number)) if number == int(number) else repr(number)
    if token.kind == "text":
        return json.dumps(token.written[1:-1], ensure_ascii=False)
    return token.written


def _token_fault(kind: str, written: str, start: int, previous: Token | None) -> Fault | None:
    end = start + len(written)
    if kind == "number_like":
        return Fault(start, end, f"`{written[:20]}` is not a number", "numbers are written like 12 or 0.5 or 1e6")
    if kind == "number" and not float(written) <= MAXIMUM_NUMBER:
        return Fault(start, end, f"the number is larger than {MAXIMUM_NUMBER:.0e}", "check the unit")
    if kind == "text":
        return _text_fault(written, start, previous)
    if kind == "name" and written not in KEYWORDS:
        return _name_fault(written, start)
    if kind == "symbol" and written not in _SYMBOLS:
        return _symbol_fault(written, start)
    return None


def _name_fault(written: str, start: int) -> Fault | None:
    end = start + len(written)
    if written.lower() in KEYWORDS:
        return Fault(start, end, f"`{written}` is not known", f"write {written.lower()} in small letters")
    if keyword.iskeyword(written) and written not in {"True", "False", "None"}:
        hint = "write two rules, or use and / or" if written in {"if", "else"} else _REFUSED_HINT
        return Fault(start, end, f"`{written}` is not allowed in a condition", hint)
    return None


def _text_fault(written: str, start: int, previous: Token | None) -> Fault | None:
    end = start + len(written)
    if previous and previous.kind == "text" and not written.isspace():
        return Fault(start, end, "two texts stand side by side", "a comma or an operator is missing between them")
    if previous and previous.kind == "name" and previous.end == start and previous.written not in KEYWORDS:
        return Fault(
            previous.start, end, f"`{previous.written}` before a text is not allowed", "write the text in plain quotes"
        )
    if "\\" in written:
        return Fault(start, end, "a text cannot contain a backslash", "use the other kind of quotes to write a quote")
    if len(written) - 2 > MAXIMUM_TEXT_CHARACTERS:
        hint = "test for its beginning with starts_with"
        return Fault(start, end, f"the text is longer than {MAXIMUM_TEXT_CHARACTERS} characters", hint)
    return None


def _symbol_fault(written: str, start: int) -> Fault:
    end = start + len(written)
    if written in {'"', "'"}:
        return Fault(start, end, "the text that starts here has no closing quote", "close it on the same line")
    if written.isascii() and written.isprintable():
        hint = _REFUSED_SYMBOLS.get(written, _REFUSED_HINT)
        return Fault(start, end, f"`{written}` is not allowed in a condition", hint)
    name = unicodedata.name(written, "a control character")
    hint = _LOOK_ALIKES.get(
        written, "type it again with the plain letters a to z; other letters are for text in quotes"
    )
    return Fault(start, end, f"U+{ord(written):04X} ({name}) is not allowed outside of quotes", hint)


def _nesting_faults(tokens: list[Token]) -> Iterator[Fault]:
    """Brackets that do not match, and more of them inside each other than allowed."""
    opened: list[Token] = []
    for token in tokens:
        if token.kind != "symbol":
            continue
        if token.written in "([":
            opened.append(token)
            if len(opened) > MAXIMUM_NESTING:
                yield Fault(
                    token.start, token.end, f"more than {MAXIMUM_NESTING} brackets inside each other", "split the rule"
                )
                return
        elif token.written in _OPENING and (not opened or opened.pop().written != _OPENING[token.written]):
            yield Fault(token.start, token.end, f"`{token.written}` closes a bracket that is not open", "remove it")
            return
    for token in opened:
        yield Fault(token.start, token.end, f"`{token.written}` is not closed", "add the closing bracket")


def _order_faults(tokens: list[Token]) -> Iterator[Fault]:
    """The first place where a value stands instead of an operator, or the other way round."""
    wants_value, wants_in = True, False
    previous: Token | None = None
    for token in tokens:
        is_value = token.kind != "symbol" and token.written not in KEYWORDS
        before = previous.written if previous else ""
        reason = hint = ""
        if wants_in:
            reason, hint = (
                ("", "") if token.written == "in" else ("`not` stands between two values", "write not in, or !=")
            )
            wants_value, wants_in = True, False
        elif wants_value:
            is_prefix = token.written in {"-", "(", "[", "not"}
            if not (is_value or is_prefix or (before, token.written) in {("(", ")"), ("[", "]")}):
                reason, hint = f"a value is missing before `{token.written}`", "write what to compare"
            wants_value = is_prefix
        else:
            is_call = token.written == "(" and previous is not None and previous.kind == "name"
            if is_value or (token.written in {"(", "["} and not is_call):
                reason, hint = (
                    f"an operator is missing before `{token.written}`",
                    "join the two by and, or, == or the like",
                )
            wants_value = token.written not in {")", "]"}
            # `not in` is one operator, of which `not` comes where an operator is wanted; alone it cannot stand there.
            wants_in = token.written == "not"
        if reason:
            yield Fault(token.start, token.end, reason, hint)
            return
        previous = token
    if wants_value:
        yield Fault(tokens[-1].start, tokens[-1].end, f"a value is missing after `{tokens[-1].written}`", "complete it")
