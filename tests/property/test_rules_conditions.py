"""Compiled conditions against a slow, obvious interpreter of one row, and against any text that people may write."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud.rules.expression import compile_condition
from fraud.rules.policy import PolicyError, parse_policy
from fraud.rules.problems import Problem
from fraud.rules.program import Program
from fraud.rules.tokens import ConditionError, Fault
from fraud.rules.values import Kind

NAMES = {
    "x": Kind.NUMBER,
    "y": Kind.NUMBER,
    "t": Kind.TEXT,
    "profile.u": Kind.TEXT,
    "a": Kind.BOOLEAN,
    "b": Kind.BOOLEAN,
}
NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 2.5, 3.5, 1e-3, 7.0, 1e15])
TEXTS = st.sampled_from(["", "a", "A", "ab", "ba", "caf\u00e9", "it's"])
ROWS = st.fixed_dictionaries(
    {
        name: st.none() | {Kind.NUMBER: NUMBERS, Kind.TEXT: TEXTS, Kind.BOOLEAN: st.booleans()}[kind]
        for name, kind in NAMES.items()
    }
)

# A generated expression is a tuple: an operator's name and its operands.
number_leaves = st.sampled_from([("name", "x"), ("name", "y")]) | NUMBERS.map(lambda value: ("literal", abs(value)))
text_leaves = st.sampled_from([("name", "t"), ("name", "profile.u")]) | TEXTS.map(lambda value: ("literal", value))
numbers = st.recursive(
    number_leaves,
    lambda inner: (
        st.tuples(st.sampled_from(["+", "-", "*", "/", "min", "max", "if_missing"]), inner, inner)
        | st.tuples(st.sampled_from(["negative", "abs", "round", "floor"]), inner)
    ),
    max_leaves=4,
)
texts = st.recursive(
    text_leaves,
    lambda inner: st.tuples(st.just("lower"), inner) | st.tuples(st.just("if_missing"), inner, inner),
    max_leaves=3,
)
comparisons = (
    st.tuples(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), numbers, numbers)
    | st.tuples(st.just("chain"), numbers, numbers, numbers)
    | st.tuples(st.sampled_from(["==", "!=", "starts_with", "ends_with", "contains"]), texts, texts)
    | st.tuples(st.sampled_from(["in", "not in"]), numbers, st.lists(NUMBERS, min_size=1, max_size=3))
    | st.tuples(st.sampled_from(["in", "not in"]), texts, st.lists(TEXTS, min_size=1, max_size=3))
    | st.tuples(st.sampled_from(["is missing", "is not missing"]), numbers | texts)
)
conditions = st.recursive(
    st.sampled_from([("name", "a"), ("name", "b"), ("literal", True), ("literal", False)]) | comparisons,
    lambda inner: (
        st.tuples(st.sampled_from(["and", "or", "==", "!=", "if_missing"]), inner, inner)
        | st.tuples(st.sampled_from(["not", "is missing", "is not missing"]), inner)
    ),
    max_leaves=8,
)
FUNCTIONS = {"min", "max", "if_missing", "abs", "round", "floor", "lower", "starts_with", "ends_with", "contains"}


def written(tree: tuple[Any, ...]) -> str:
    name, *operands = tree
    if name == "name":
        return str(operands[0])
    if name == "literal":
        return literal(operands[0])
    if name in {"in", "not in"}:
        return f"({written(operands[0])} {name} [{', '.join(map(literal, operands[1]))}])"
    parts = [written(operand) for operand in operands]
    if name == "chain":
        return f"({parts[0]} < {parts[1]} <= {parts[2]})"
    if name in FUNCTIONS:
        return f"{name}({', '.join(parts)})"
    if name in {"is missing", "is not missing"}:
        return f"({parts[0]} {name})"
    prefix = {"negative": "-", "not": "not "}.get(name)
    return f"({prefix}{parts[0]})" if prefix else f"({parts[0]} {name} {parts[1]})"


def literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def interpreted(tree: tuple[Any, ...], row: dict[str, Any]) -> Any:
    """The value of one row, None if it is missing or unknown: the manual, word for word."""
    name, *operands = tree
    if name == "name":
        return row[operands[0]]
    if name == "literal":
        return operands[0]
    if name == "chain":
        low, middle, high = operands
        return interpreted(("and", ("<", low, middle), ("<=", middle, high)), row)
    values = [interpreted(operand, row) for operand in (operands[:1] if name in {"in", "not in"} else operands)]
    if name == "is missing":
        return values[0] is None
    if name == "is not missing":
        return values[0] is not None
    if name == "if_missing":
        return values[1] if values[0] is None else values[0]
    if name == "and":
        return False if False in values else None if None in values else True
    if name == "or":
        return True if True in values else None if None in values else False
    if None in values:
        return None
    if name in {"in", "not in"}:
        return (values[0] in operands[1]) == (name == "in")
    return applied(name, *values)


def applied(name: str, value: Any, other: Any = None) -> Any:
    """An operator on values that are there."""
    if name in {"+", "-", "*", "/"}:
        return arithmetic(name, value, other)
    if name == "lower":
        return value.lower()
    meaning = {
        "==": lambda: value == other,
        "!=": lambda: value != other,
        "<": lambda: value < other,
        "<=": lambda: value <= other,
        ">": lambda: value > other,
        ">=": lambda: value >= other,
        "not": lambda: not value,
        "negative": lambda: -value,
        "abs": lambda: abs(value),
        "round": lambda: float(round(value)),
        "floor": lambda: float(math.floor(value)),
        "min": lambda: min(value, other),
        "max": lambda: max(value, other),
        "starts_with": lambda: value[: len(other)] == other,
        "ends_with": lambda: other == "" or value[-len(other) :] == other,
        "contains": lambda: other in value,
    }
    return meaning[name]()


def arithmetic(name: str, value: float, other: float) -> float | None:
    if name == "/" and other == 0:
        return None
    result = {"+": value + other, "-": value - other, "*": value * other, "/": value / other if other else 0}[name]
    return result if math.isfinite(result) else None


def columns_of(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    columns = {}
    for name, kind in NAMES.items():
        if kind is Kind.TEXT:
            columns[name] = np.empty(len(rows), dtype=object)
            columns[name][:] = [row[name] for row in rows]
        else:
            columns[name] = np.array([np.nan if row[name] is None else float(row[name]) for row in rows])
    return columns


def outcomes(condition: str, rows: list[dict[str, Any]]) -> list[bool | None]:
    truth = compile_condition(condition, NAMES, {}).truth
    true, false = (
        np.broadcast_to(mask, len(rows)).tolist() for mask in Program([truth.true, truth.false]).run(columns_of(rows))
    )
    assert not any(both for both in map(all, zip(true, false, strict=True)))
    return [True if yes else False if no else None for yes, no in zip(true, false, strict=True)]


@settings(max_examples=300, deadline=None)
@given(conditions, st.lists(ROWS, min_size=1, max_size=12))
def test_a_batch_is_evaluated_as_its_rows_one_by_one(tree: tuple[Any, ...], rows: list[dict[str, Any]]) -> None:
    condition = written(tree)
    expected = [interpreted(tree, row) for row in rows]
    assert outcomes(condition, rows) == expected
    assert [outcomes(condition, [row])[0] for row in rows] == expected


@settings(max_examples=150, deadline=None)
@given(conditions)
def test_the_canonical_text_means_the_same_and_is_its_own_canonical_text(tree: tuple[Any, ...]) -> None:
    compiled = compile_condition(written(tree), NAMES, {})
    again = compile_condition(compiled.text, NAMES, {})
    assert again.text == compiled.text
    assert again.reads == compiled.reads
    assert len(Program([again.truth.true])._operations) == len(Program([compiled.truth.true])._operations)


WORDS = st.sampled_from(
    [
        *("x", "t", "a", "profile.u", "x.y", "abs", "min", "lower", "__class__", "True", "None", "missing"),
        *("and", "or", "not", "in", "is", "lambda", "for", "if", "1", "0.5", "9e99", '"v"', "'", '"', "\\", " "),
        *("(", ")", "[", "]", "{", "}", ",", ".", ":", ";", "#", "@", "&", "|", "~", "!", "%"),
        *("+", "-", "*", "/", "<", "<=", "=", "==", "!=", "**", ":="),
        *("\n", "\t", "\u0430", "\u00e9", "\u2028"),
    ]
)
STYLES = st.sampled_from(["{}", "'{}'", '"{}"', "|\n      {}", ">-\n      {}"])


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=60))
def test_any_text_is_a_condition_or_is_refused_with_places_inside_it(text: str) -> None:
    faults: list[Fault] | None = None
    try:
        compile_condition(text, NAMES, {})
    except ConditionError as error:
        faults = error.faults
    assert faults != []
    for fault in faults or []:
        assert 0 <= fault.start < fault.end <= max(len(text), 1)
        assert fault.reason
        assert fault.hint


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=15).map(" ".join) | st.text(max_size=60), STYLES)
def test_any_file_is_a_policy_or_is_refused_with_places_inside_it(text: str, style: str) -> None:
    condition = style.format(text)
    file = (
        f"policy: p\nversion: 1\nrules:\n  - id: r\n    description: d\n    condition: {condition}\n"
        "    action: allow\n    reason_code: R\n"
    )
    problems: list[Problem] = []
    try:
        parse_policy(file, "p.yaml", NAMES)
    except PolicyError as error:
        problems = error.problems
    for problem in problems:
        assert problem.reason
        assert problem.hint
        assert 1 <= problem.line <= len(file.splitlines()) + 1
        assert problem.column >= 1
