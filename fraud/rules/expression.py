"""From the text of a condition to checked operands: Python's parser reads it, only what is listed here gets through."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from fraud.rules.operands import (
    BOOLEAN,
    EMPTY_LIST,
    LIST_OF_NUMBERS,
    LIST_OF_TEXTS,
    NUMBER,
    TEXT,
    Choices,
    Operand,
    Truth,
    Value,
    column,
    literal,
)
from fraud.rules.operators import FUNCTIONS, OPERATORS, Operator
from fraud.rules.tokens import KEYWORDS, ConditionError, Fault, canonical_text, tokenise
from fraud.rules.values import Names

# Several times what the longest rule of a real policy needs; it keeps compiling and evaluating small.
MAXIMUM_NODES = 400
MAXIMUM_DEPTH = 60
MAXIMUM_CHOICES = 200

# Names that mean something in every condition, so that nothing else can be called that.
RESERVED = KEYWORDS | {"missing", "true", "false"} | set(FUNCTIONS)

_UNWANTED = {
    ast.Lambda: "a function of its own",
    ast.IfExp: "`if ... else`",
    ast.ListComp: "a loop",
    ast.SetComp: "a loop",
    ast.DictComp: "a loop",
    ast.GeneratorExp: "a loop",
    ast.Subscript: "looking up by index",
    ast.Tuple: "a comma here",
    ast.List: "a list here",
    ast.Starred: "a star before a value",
    ast.Await: "`await`",
    ast.Yield: "`yield`",
    ast.JoinedStr: "a text with a prefix",
    ast.NamedExpr: "an assignment",
}
_UNWANTED_HINTS = {
    ast.IfExp: "write two rules, or use and / or",
    ast.Tuple: "a list is written in square brackets",
    ast.List: "a list stands behind `in` or `not in`",
}
# Below this share of equal letters a suggestion is more often wrong than right (`condition` for `action`).
_LIKENESS = 0.7
# As many as fit a line of a terminal.
_SHOWN_NAMES = 6
_NO_VALUE = frozenset({"none", "null", "nan", "nil", "na", "missing"})


@dataclass(frozen=True)
class Condition:
    """A checked condition: its canonical text, its truth value for a batch and the names that it reads, sorted."""

    text: str
    truth: Truth
    reads: tuple[str, ...]


def compile_condition(text: str, names: Names, lists: Mapping[str, Choices]) -> Condition:
    """Check the condition `text` over `names` and the policy's named `lists`.

    Raises `ConditionError` with every fault that was found, its position in characters of `text`.
    """
    tokens = tokenise(text)
    tree = _parse(text)
    if sum(1 for _ in ast.walk(tree)) > MAXIMUM_NODES:
        raise ConditionError([Fault(0, 1, "the condition has too many parts", "split it into several rules")])
    checker = _Checker(text, names, lists)
    operand = checker.operand(tree.body, 0)
    if isinstance(operand, Value):
        checker.fault(
            tree.body,
            f"a condition is true or false, and this is a {operand.type}",
            "compare it, for example: amount > 100",
        )
    if checker.faults or not isinstance(operand, Truth):
        raise ConditionError(checker.faults)
    return Condition(canonical_text(tokens), operand, tuple(sorted(checker.reads)))


def _parse(text: str) -> ast.Expression:
    # The parser wants one line; the tokens have made sure that no text runs over a line's end.
    flat = text.replace("\r", " ").replace("\n", " ").replace("\t", " ")
    indent = len(flat) - len(flat.lstrip())
    try:
        return ast.parse(flat.lstrip(), mode="eval")
    except SyntaxError as error:
        start = min(max((error.offset or 1) - 1 + indent, 0), max(len(flat.rstrip()) - 1, 0))
        raise ConditionError(
            [
                Fault(
                    start,
                    start + 1,
                    "the condition cannot be understood from here on",
                    "an operator or a value is missing",
                )
            ]
        ) from None
    except (RecursionError, MemoryError):
        raise ConditionError([_too_deep(0, len(text))]) from None


def _too_deep(start: int, end: int) -> Fault:
    return Fault(start, end, "the condition is nested too deeply", "split it into several rules")


class _Checker:
    """Turns a syntax tree into operands, and notes every fault on the way; a part with a fault has no operand."""

    def __init__(self, text: str, names: Names, lists: Mapping[str, Choices]) -> None:
        self.faults: list[Fault] = []
        self.reads: set[str] = set()
        self._names = names
        self._lists = lists
        self._indent = len(text) - len(text.lstrip(" \t\r\n"))
        self._encoded = text.lstrip(" \t\r\n").encode()

    def fault(self, node: ast.expr, reason: str, hint: str = "", unknown_name: str = "") -> None:
        """Note that `node` is refused."""
        start = self._position(node.col_offset)
        end = self._position(node.end_col_offset or node.col_offset + 1)
        self.faults.append(Fault(start, end, reason, hint, unknown_name))

    def _position(self, byte_offset: int) -> int:
        # The syntax tree counts bytes of UTF-8.
        return self._indent + len(self._encoded[:byte_offset].decode())

    def operand(self, node: ast.expr, depth: int) -> Value | Truth | None:
        """The operand for `node`, None if it has a fault."""
        if depth > MAXIMUM_DEPTH:
            self.faults.append(_too_deep(self._position(node.col_offset), self._position(node.col_offset) + 1))
            return None
        if isinstance(node, ast.Name | ast.Attribute | ast.Constant):
            return self._constant(node) if isinstance(node, ast.Constant) else self._named(node)
        if isinstance(node, ast.Compare):
            return self._compared(node, depth)
        if isinstance(node, ast.Call):
            return self._called(node, depth)
        if isinstance(node, ast.BoolOp | ast.UnaryOp | ast.BinOp) and type(node.op) in OPERATORS:
            return self._applied(OPERATORS[type(node.op)], node, _parts(node), depth)
        what = _UNWANTED.get(type(node), "this")
        hint = _UNWANTED_HINTS.get(type(node), "the operators and functions are listed in docs/policies.md")
        self.fault(node, f"{what} is not allowed in a condition", hint)
        return None

    def _named(self, node: ast.Name | ast.Attribute) -> Value | Truth | None:
        name = ast.unparse(node) if _is_dotted(node) else ""
        if not name:
            self.fault(node, "a dot is only allowed in names", "for example: profile.mean_amount")
        elif name in self._names:
            self.reads.add(name)
            return column(name, self._names[name])
        elif name.lower() in {"true", "false"}:
            return literal(name.lower() == "true")
        else:
            self.fault(node, *self._unknown(name))
        return None

    def _unknown(self, name: str) -> tuple[str, str, str]:
        """Why `name` is not a value, what may have been meant, and the name if nothing at all is called that."""
        if name in self._lists:
            return f"`{name}` is a list, not a value", f"write for example: merchant_id in {name}", ""
        if name in FUNCTIONS:
            return f"`{name}` is a function", f"write {FUNCTIONS[name].form}", ""
        if name.lower() in _NO_VALUE:
            return f"`{name}` is not a value", "to test for a missing value write: x is missing", ""
        return f"unknown name `{name}`", suggestion(name, self._names) or self._names_hint(name), name

    def _names_hint(self, name: str) -> str:
        group = name.partition(".")[0] + "."
        members = sorted(known for known in self._names if known.startswith(group))
        if members:
            return f"the names of this kind are {', '.join(members[:_SHOWN_NAMES])}"
        if group == "attributes.":
            return "attributes are declared by the column mapping, with their type"
        return f'if it is a text, write it in quotes: "{name}"'

    def _constant(self, node: ast.Constant) -> Value | Truth | None:
        if isinstance(node.value, bool | int | float | str):
            return literal(node.value)
        self.fault(node, *self._unknown(str(node.value)))
        return None

    def _called(self, node: ast.Call, depth: int) -> Value | Truth | None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS:
            known = f"the functions are {', '.join(FUNCTIONS)}"
            self.fault(
                node.func,
                f"unknown function `{name}`" if name else "this cannot be called",
                suggestion(name, FUNCTIONS) or known,
            )
            return None
        if node.keywords:
            self.fault(node, f"`{name}` takes its values in order, without names", f"write {FUNCTIONS[name].form}")
            return None
        return self._applied(FUNCTIONS[name], node, node.args, depth)

    def _compared(self, node: ast.Compare, depth: int) -> Value | Truth | None:
        operators = [OPERATORS[type(operator)] for operator in node.ops]
        if len(operators) > 1 and not all(operator.chains for operator in operators):
            self.fault(node, "only == != < <= > >= can be chained", "join the parts with and")
            return None
        nodes = [node.left, *node.comparators]
        if type(node.ops[0]) in {ast.Is, ast.IsNot}:
            if not (isinstance(nodes[1], ast.Name) and nodes[1].id == "missing"):
                self.fault(nodes[1], "`is` tests for a missing value only", "write `x is missing`, or compare with ==")
                return None
            return self._applied(operators[0], node, nodes[:1], depth)
        operands: list[Operand | None] = [self.operand(nodes[0], depth + 1)]
        for operator, right in zip(node.ops, nodes[1:], strict=True):
            is_membership = isinstance(operator, ast.In | ast.NotIn)
            operands.append(self._choices(right) if is_membership else self.operand(right, depth + 1))
        parts = [
            self._built(operator, node, nodes[place : place + 2], operands[place : place + 2])
            for place, operator in enumerate(operators)
        ]
        whole = [part for part in parts if isinstance(part, Truth)]
        return OPERATORS[ast.And].overloads[0].build(*whole) if len(whole) == len(parts) else None

    def _applied(self, operator: Operator, node: ast.expr, parts: list[ast.expr], depth: int) -> Value | Truth | None:
        return self._built(operator, node, parts, [self.operand(part, depth + 1) for part in parts])

    def _built(
        self, operator: Operator, node: ast.expr, nodes: list[ast.expr], operands: list[Operand | None]
    ) -> Value | Truth | None:
        """The operator applied to operands of types that it accepts."""
        known = [operand for operand in operands if operand is not None]
        if len(known) < len(operands):
            return None
        types = tuple(str(operand.type) for operand in known)
        for overload in operator.overloads:
            if overload.accepts(types):
                return overload.build(*known)
        accepted = 0
        while accepted < len(types) and _fits(operator, types[: accepted + 1]):
            accepted += 1
        reason, hint = _type_fault(operator, types)
        self.fault(nodes[accepted] if accepted < len(types) else node, reason, hint)
        return None

    def _choices(self, node: ast.expr) -> Choices | None:
        """The list at the right of `in`: written there, or one of the policy's."""
        if isinstance(node, ast.Name):
            if node.id in self._lists:
                return self._lists[node.id]
            self.fault(
                node, f"unknown list `{node.id}`", suggestion(node.id, self._lists) or _list_hint(node.id, self._names)
            )
            return None
        if not isinstance(node, ast.List):
            self.fault(node, "a list is expected here", 'write for example: country in ["FR", "DE"]')
            return None
        if not node.elts or len(node.elts) > MAXIMUM_CHOICES:
            size = "is empty" if not node.elts else f"has more than {MAXIMUM_CHOICES} entries"
            self.fault(node, f"the list {size}", "name it under `lists` of the policy")
            return None
        values = [_literal_value(entry) for entry in node.elts]
        for entry, value in zip(node.elts, values, strict=True):
            if value is None or isinstance(value, str) != isinstance(values[0], str):
                reason = (
                    "only numbers and texts can stand in a list"
                    if value is None
                    else "numbers and texts stand in one list"
                )
                self.fault(entry, reason, "texts are written in quotes")
                return None
        return choices_of([value for value in values if value is not None])


def _parts(node: ast.BoolOp | ast.UnaryOp | ast.BinOp) -> list[ast.expr]:
    if isinstance(node, ast.BoolOp):
        return node.values
    return [node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right]


def _is_dotted(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_dotted(node.value))


def _literal_value(node: ast.expr) -> float | str | None:
    """The number or text that is written here, None if it is something else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal_value(node.operand) if isinstance(node.operand, ast.Constant) else None
        return -value if isinstance(value, float) else None
    if not isinstance(node, ast.Constant) or isinstance(node.value, bool):
        return None
    if isinstance(node.value, int | float):
        return float(node.value)
    return node.value if isinstance(node.value, str) else None


def choices_of(values: list[float | str]) -> Choices:
    """The list of `values`, all numbers or all texts."""
    texts = frozenset(value for value in values if isinstance(value, str))
    if texts:
        return Choices(LIST_OF_TEXTS, texts)
    numbers = frozenset(value for value in values if not isinstance(value, str))
    return Choices(LIST_OF_NUMBERS if numbers else EMPTY_LIST, numbers)


def suggestion(name: str, known: Mapping[str, object] | frozenset[str]) -> str:
    """A hint with the known name that is most like `name`, empty if none is."""
    small = {entry.lower(): entry for entry in sorted(known)}
    # Most mistakes are in the last part: of `profile.mean_amout` only that is compared where the first part is right.
    close = difflib.get_close_matches(name.lower(), small, n=1, cutoff=_LIKENESS)
    if not close and name:
        close = [entry for entry in small if entry.rpartition(".")[2] == name.lower()][:1]
    return f"did you mean `{small[close[0]]}`?" if close else ""


def _list_hint(name: str, names: Names) -> str:
    if name in names:
        return f"`{name}` is a {names[name]}; a list is written in square brackets or named under `lists`"
    return "name it under `lists` of the policy, or write the values in square brackets"


def _fits(operator: Operator, types: tuple[str, ...]) -> bool:
    return any(overload.accepts(types, partly=True) for overload in operator.overloads)


def _type_fault(operator: Operator, given: tuple[str, ...]) -> tuple[str, str]:
    """Why no overload takes the `given` types, and what to do."""
    accepted = " or ".join(_listed(overload.takes, repeats=overload.repeats) for overload in operator.overloads)
    reason = f"`{operator.form}` takes {accepted}, not {_listed(given)}"
    if operator.syntax is ast.Call:
        return reason, f"for example: {operator.example}"
    if set(given) == {NUMBER, TEXT}:
        return reason, "text is written in quotes, a number without"
    if set(given) == {NUMBER, BOOLEAN} and operator.chains:
        return reason, "a true-or-false value needs no comparison: write `x` or `not x`"
    if BOOLEAN in operator.overloads[0].takes:
        return reason, "compare it first, for example: amount > 100"
    if {NUMBER, LIST_OF_TEXTS} == set(given) or {TEXT, LIST_OF_NUMBERS} == set(given):
        return reason, "texts are written in quotes in the list too"
    return reason, f"for example: {operator.example}"


def _listed(types: tuple[str, ...], *, repeats: bool = False) -> str:
    return f"({', '.join(types)}{', ...' if repeats else ''})"
