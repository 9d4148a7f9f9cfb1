"""Every operator and function: what it gives for known and missing values, what it takes, where the manual has it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from fraud.rules.expression import compile_condition
from fraud.rules.operands import Choices
from fraud.rules.operators import FUNCTIONS, OPERATORS, reference
from fraud.rules.program import Program
from fraud.rules.tokens import ConditionError
from fraud.rules.values import Kind

NAMES = {"x": Kind.NUMBER, "y": Kind.NUMBER, "t": Kind.TEXT, "u": Kind.TEXT, "a": Kind.BOOLEAN, "b": Kind.BOOLEAN}
MANUAL = Path(__file__).parents[2] / "docs" / "policies.md"


def column(kind: Kind, values: list[object]) -> np.ndarray:
    if kind is Kind.TEXT:
        return np.array([*values, None], dtype=object)[:-1]
    return np.array([np.nan if value is None else float(value) for value in values])


def outcome(condition: str, **row: object) -> bool | None:
    """What the condition is for one row: true, false or None for unknown."""
    compiled = compile_condition(condition, NAMES, {})
    columns = {name: column(NAMES[name], [row.get(name)]) for name in NAMES}
    true, false = (bool(np.all(mask)) for mask in Program([compiled.truth.true, compiled.truth.false]).run(columns))
    assert not (true and false)
    return True if true else False if false else None


KLEENE_AND = {
    (True, True): True,
    (True, False): False,
    (True, None): None,
    (False, False): False,
    (False, None): False,
    (None, None): None,
}


@pytest.mark.parametrize(("a", "b"), list(itertools.product([True, False, None], repeat=2)))
def test_truth_tables_are_those_of_kleene(a: bool | None, b: bool | None) -> None:
    def opposite(value: bool | None) -> bool | None:
        return None if value is None else not value

    both = KLEENE_AND.get((a, b), KLEENE_AND.get((b, a)))
    assert outcome("a and b", a=a, b=b) is both
    assert outcome("not (a and b)", a=a, b=b) is opposite(both)
    either = opposite(KLEENE_AND.get((opposite(a), opposite(b)), KLEENE_AND.get((opposite(b), opposite(a)))))
    assert outcome("a or b", a=a, b=b) is either
    assert outcome("not a", a=a) is opposite(a)
    assert outcome("a == b", a=a, b=b) is (None if a is None or b is None else a == b)
    assert outcome("a != b", a=a, b=b) is (None if a is None or b is None else a != b)
    assert outcome("if_missing(a, b)", a=a, b=b) is (b if a is None else a)


@pytest.mark.parametrize(
    ("condition", "less", "equal", "greater"),
    [
        ("x < y", True, False, False),
        ("x <= y", True, True, False),
        ("x > y", False, False, True),
        ("x >= y", False, True, True),
        ("x == y", False, True, False),
        ("x != y", True, False, True),
    ],
)
def test_a_comparison_of_numbers_is_unknown_where_one_is_missing(
    condition: str, less: bool, equal: bool, greater: bool
) -> None:
    assert outcome(condition, x=1, y=2) is less
    assert outcome(condition, x=2, y=2) is equal
    assert outcome(condition, x=3, y=2) is greater
    for row in ({"x": 1}, {"y": 1}, {}):
        assert outcome(condition, **row) is None
        assert outcome(f"not ({condition})", **row) is None


@pytest.mark.parametrize(
    ("condition", "row", "expected"),
    [
        ("1 < x <= 3", {"x": 3}, True),
        ("1 < x <= 3", {"x": 4}, False),
        ("1 < x < y", {"x": 0}, False),
        ("1 < x < y", {"x": 2}, None),
        ('t == "EUR"', {"t": "EUR"}, True),
        ('t == "EUR"', {"t": "USD"}, False),
        ('t == "EUR"', {}, None),
        ('"EUR" == t', {}, None),
        ("t == u", {}, None),
        ("t == u", {"t": "v"}, None),
        ("t == u", {"u": "v"}, None),
        ("t == u", {"t": "v", "u": "v"}, True),
        ('t != "EUR"', {"t": "USD"}, True),
        ('t != "EUR"', {"t": "EUR"}, False),
        ('t != "EUR"', {}, None),
        ("t != u", {}, None),
        ('t in ["a", "b"]', {"t": "b"}, True),
        ('t in ["a", "b"]', {"t": "c"}, False),
        ('t in ["a", "b"]', {}, None),
        ('t not in ["a", "b"]', {"t": "c"}, True),
        ('t not in ["a", "b"]', {"t": "a"}, False),
        ('t not in ["a", "b"]', {}, None),
        ("x in [1, -2, 0.5]", {"x": -2}, True),
        ("x in [1, -2, 0.5]", {"x": 3}, False),
        ("x in [1, -2, 0.5]", {}, None),
        ("x not in [1]", {}, None),
        ("x is missing", {}, True),
        ("x is missing", {"x": 0}, False),
        ("x is not missing", {"x": 0}, True),
        ("x is not missing", {}, False),
        ("t is missing", {}, True),
        ("t is missing", {"t": ""}, False),
        ("a is missing", {}, True),
        ("a is not missing", {"a": False}, True),
        ("not x is missing", {"x": 1}, True),
        ("(x > 1) is missing", {}, True),
        ("(x > 1) is missing", {"x": 0}, False),
        ("x + y == 5", {"x": 2, "y": 3}, True),
        ("x + y == 5", {"x": 2}, None),
        ("x - y == -1", {"x": 2, "y": 3}, True),
        ("x * y == 6", {"x": 2, "y": 3}, True),
        ("x / y == 1.5", {"x": 3, "y": 2}, True),
        ("x / y > 0", {"x": 3, "y": 0}, None),
        ("x / y is missing", {"x": 0, "y": 0}, True),
        ("x / y is missing", {"x": -1, "y": 0}, True),
        ("1 / 0 is missing", {}, True),
        ("x * x * x * x is missing", {"x": 1e100}, True),
        ("-x == 3", {"x": -3}, True),
        ("x + y * 2 == 8", {"x": 2, "y": 3}, True),
        ("abs(x) == 3", {"x": -3}, True),
        ("abs(x) == 3", {}, None),
        ("min(x, y, 4) == 2", {"x": 2, "y": 3}, True),
        ("min(x, y) == 2", {"x": 2}, None),
        ("max(x, y, 4) == 4", {"x": 2, "y": 3}, True),
        ("max(x, y) > 0", {"y": 2}, None),
        ("round(x) == 2", {"x": 2.5}, True),
        ("round(x) == 4", {"x": 3.5}, True),
        ("floor(x) == -3", {"x": -2.5}, True),
        ('lower(t) == "paris"', {"t": "PaRIS"}, True),
        ('lower(t) == "paris"', {}, None),
        ('starts_with(t, "41")', {"t": "4123"}, True),
        ('starts_with(t, "41")', {"t": "5123"}, False),
        ('starts_with(t, "41")', {}, None),
        ('not starts_with(t, "41")', {}, None),
        ("starts_with(t, u)", {"t": "ab"}, None),
        ('ends_with(t, "b")', {"t": "ab"}, True),
        ('ends_with(t, "b")', {"t": "ba"}, False),
        ('contains(t, "or")', {"t": "airport"}, True),
        ('contains(t, "or")', {}, None),
        ("if_missing(x, 7) == 7", {}, True),
        ("if_missing(x, 7) == 7", {"x": 1}, False),
        ("if_missing(x, y) == 7", {}, None),
        ('if_missing(t, "none") == "none"', {}, True),
        ('if_missing(t, "none") == "none"', {"t": "a"}, False),
        ("if_missing(a, false)", {}, False),
        ("if_missing(x > 1, true)", {}, True),
        ("true", {}, True),
        ("False", {}, False),
        ("not TRUE", {}, False),
        ("true or x > 1", {}, True),
        ("1 < 2", {}, True),
        ('"a" == "b"', {}, False),
        ('lower("A") == "a"', {}, True),
        ('"a" in ["a"]', {}, True),
        ('"x" is missing', {}, False),
    ],
)
def test_operators_and_functions_on_known_and_missing_values(
    condition: str, row: dict[str, object], expected: bool | None
) -> None:
    assert outcome(condition, **row) is expected


def test_every_operator_and_function_has_its_row_in_the_manual() -> None:
    manual = MANUAL.read_text(encoding="utf-8")
    for entry in [*OPERATORS.values(), *FUNCTIONS.values()]:
        assert f"| `{entry.form}` | {entry.meaning} | `{entry.example}` |" in manual
    for table in reference().split("\n\n"):
        assert table in manual


@pytest.mark.parametrize("entry", [*OPERATORS.values(), *FUNCTIONS.values()], ids=lambda entry: entry.name)
def test_every_operator_refuses_types_that_it_does_not_take(entry: object) -> None:
    values = {"number": "x", "text": "t", "boolean": "a", "list of numbers": "[1]", "list of texts": '["v"]'}
    arity = len(entry.overloads[0].takes)
    forms = {1: ["x"], 2: ["x", "y"]}
    accepted = {overload.takes for overload in entry.overloads}
    for types in itertools.product(values, repeat=arity):
        form = entry.form.replace("(x, y, ...)", "(x, y)")
        slots = ["a", "b"][:arity] if "boolean" in entry.overloads[0].takes and len(accepted) == 1 else forms[arity]
        words = form.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").replace("-x", "- x").split()
        slots = [*slots[:1], "list"] if "list" in words else slots
        text = " ".join(values[types[slots.index(word)]] if word in slots else word for word in words)
        wholes = (text, f"({text}) == 1", f'({text}) == "v"')
        assert any(map(is_accepted, wholes)) == (types in accepted), text


def is_accepted(condition: str) -> bool:
    try:
        compile_condition(condition, NAMES, {})
    except ConditionError:
        return False
    return True


def test_a_named_list_can_be_empty_and_then_holds_nothing() -> None:
    lists = {"nobody": Choices("empty list", frozenset())}
    for condition, column_name in (("t in nobody", "t"), ("x in nobody", "x")):
        compiled = compile_condition(condition, NAMES, lists)
        columns = {column_name: column(NAMES[column_name], ["1", None])}
        true, false = Program([compiled.truth.true, compiled.truth.false]).run(columns)
        assert true.tolist() == [False, False]
        assert false.tolist() == [True, False]


def test_equal_parts_of_conditions_are_computed_once() -> None:
    one = compile_condition("x + y > 3 and t is missing", NAMES, {})
    two = compile_condition("t is missing or x + y > 3", NAMES, {})
    program = Program([one.truth.true, two.truth.true])
    assert len(program._operations) == 5  # sum, comparison, missing, and, or


def test_a_deep_equality_of_truth_values_stays_linear() -> None:
    condition = "a"
    for _ in range(25):
        condition = f"({condition} == b)"
    compiled = compile_condition(condition, NAMES, {})
    program = Program([compiled.truth.true])
    assert len(program._operations) < 400
    columns = {"a": np.array([1.0, np.nan]), "b": np.array([0.0, 1.0])}
    assert program.run(columns)[0].tolist() == [False, False]
