"""The language of conditions: one table of operators and one of functions.

An entry is all there is to an operator: how it is written, what it takes and gives, what the manual says, and
what it means for a batch, built from the parts in `operands`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fraud.rules.operands import (
    BOOLEAN,
    EMPTY_LIST,
    LIST_OF_NUMBERS,
    LIST_OF_TEXTS,
    NUMBER,
    TEXT,
    Truth,
    Value,
    all_true,
    any_true,
    arithmetic,
    comparison,
    is_in,
    is_missing,
    negated,
    negation,
    numbers_differ,
    of_numbers,
    text_of_text,
    texts_equal,
    texts_satisfy,
    truth_if_missing,
    truths_equal,
    value_if_missing,
)
from fraud.rules.values import Kind


@dataclass(frozen=True)
class Overload:
    """One combination of types that an operator accepts. `repeats`: the last one may stand any number of times."""

    takes: tuple[str, ...]
    build: Callable[..., Value | Truth]
    repeats: bool = False

    def accepts(self, types: tuple[str, ...], *, partly: bool = False) -> bool:
        """Whether operands of these types fit; `partly`: whether they could be the first ones of such."""
        takes = self.takes
        if self.repeats and len(types) > len(takes):
            takes += (takes[-1],) * (len(types) - len(takes))
        if len(types) > len(takes) or (len(types) < len(takes) and not partly):
            return False
        return all(
            given == wanted or (given == EMPTY_LIST and wanted in {LIST_OF_NUMBERS, LIST_OF_TEXTS})
            for given, wanted in zip(types, takes, strict=False)
        )


@dataclass(frozen=True)
class Operator:
    """An operator or a function: how it is written, its manual entry, the types it takes, its node of the tree."""

    name: str
    form: str
    meaning: str
    example: str
    overloads: tuple[Overload, ...]
    syntax: type[ast.AST] = ast.Call
    chains: bool = False


_ORDERED = (NUMBER, NUMBER)
_EQUALITY = (
    Overload((NUMBER, NUMBER), comparison(np.equal, numbers_differ)),
    Overload((TEXT, TEXT), texts_equal),
    Overload((BOOLEAN, BOOLEAN), truths_equal),
)
_MEMBERSHIP = (Overload((NUMBER, LIST_OF_NUMBERS), is_in), Overload((TEXT, LIST_OF_TEXTS), is_in))
_MISSING = tuple(Overload((kind,), is_missing) for kind in Kind)


def _negated_all(overloads: tuple[Overload, ...]) -> tuple[Overload, ...]:
    return tuple(Overload(entry.takes, negated(entry.build)) for entry in overloads)  # type: ignore[arg-type]


OPERATORS: dict[type[ast.AST], Operator] = {
    entry.syntax: entry
    for entry in (
        Operator(
            "and",
            "a and b",
            "true if both are true; false if one is false, even if the other is unknown",
            "amount > 500 and device_is_new",
            (Overload((BOOLEAN, BOOLEAN), all_true, repeats=True),),
            ast.And,
        ),
        Operator(
            "or",
            "a or b",
            "true if one is true, even if the other is unknown; false if both are false",
            "amount > 5000 or score > 0.9",
            (Overload((BOOLEAN, BOOLEAN), any_true, repeats=True),),
            ast.Or,
        ),
        Operator(
            "not",
            "not a",
            "true if false, false if true; unknown stays unknown",
            "not is_recurring",
            (Overload((BOOLEAN,), negation),),
            ast.Not,
        ),
        Operator(
            "==",
            "x == y",
            "equal: two numbers, two texts or two truth values",
            'currency == "EUR"',
            _EQUALITY,
            ast.Eq,
            chains=True,
        ),
        Operator(
            "!=",
            "x != y",
            "not equal; unknown, not true, if one of them is missing",
            'country != "FR"',
            _negated_all(_EQUALITY),
            ast.NotEq,
            chains=True,
        ),
        Operator(
            "<",
            "x < y",
            "less; comparisons can be chained",
            "0 < amount < 10",
            (Overload(_ORDERED, comparison(np.less, np.greater_equal)),),
            ast.Lt,
            chains=True,
        ),
        Operator(
            "<=",
            "x <= y",
            "less or equal",
            "hour_of_day <= 5",
            (Overload(_ORDERED, comparison(np.less_equal, np.greater)),),
            ast.LtE,
            chains=True,
        ),
        Operator(
            ">",
            "x > y",
            "greater",
            "amount > 1000",
            (Overload(_ORDERED, comparison(np.greater, np.less_equal)),),
            ast.Gt,
            chains=True,
        ),
        Operator(
            ">=",
            "x >= y",
            "greater or equal",
            "score >= 0.5",
            (Overload(_ORDERED, comparison(np.greater_equal, np.less)),),
            ast.GtE,
            chains=True,
        ),
        Operator(
            "in",
            "x in list",
            "one of the values of a list, written in square brackets or named under `lists`",
            'merchant_category in ["6051", "7995"]',
            _MEMBERSHIP,
            ast.In,
        ),
        Operator(
            "not in",
            "x not in list",
            "none of the values of a list; unknown, not true, if x is missing",
            'channel not in ["branch", "atm"]',
            _negated_all(_MEMBERSHIP),
            ast.NotIn,
        ),
        Operator(
            "is missing",
            "x is missing",
            "true if there is no value, false if there is one; never unknown",
            "device_id is missing",
            _MISSING,
            ast.Is,
        ),
        Operator(
            "is not missing",
            "x is not missing",
            "true if there is a value",
            "profile.mean_amount is not missing",
            _negated_all(_MISSING),
            ast.IsNot,
        ),
        Operator(
            "+",
            "x + y",
            "sum of two numbers",
            "amount + customer_sum_1h > 2000",
            (Overload((NUMBER, NUMBER), arithmetic(np.add)),),
            ast.Add,
        ),
        Operator(
            "-",
            "x - y",
            "difference of two numbers",
            "amount - profile.mean_amount > 500",
            (Overload((NUMBER, NUMBER), arithmetic(np.subtract)),),
            ast.Sub,
        ),
        Operator(
            "*",
            "x * y",
            "product of two numbers",
            "amount > 5 * profile.mean_amount",
            (Overload((NUMBER, NUMBER), arithmetic(np.multiply)),),
            ast.Mult,
        ),
        Operator(
            "/",
            "x / y",
            "quotient of two numbers; missing if y is zero",
            "amount / profile.mean_amount > 5",
            (Overload((NUMBER, NUMBER), arithmetic(np.divide)),),
            ast.Div,
        ),
        Operator(
            "- (sign)",
            "-x",
            "the number with the other sign",
            "longitude < -20",
            (Overload((NUMBER,), of_numbers(np.negative)),),
            ast.USub,
        ),
    )
}

FUNCTIONS: dict[str, Operator] = {
    entry.name: entry
    for entry in (
        Operator(
            "abs",
            "abs(x)",
            "the number without its sign",
            "abs(amount_deviation) > 4",
            (Overload((NUMBER,), of_numbers(np.abs)),),
        ),
        Operator(
            "min",
            "min(x, y, ...)",
            "the smallest of two or more numbers; missing if one is missing",
            "min(amount, 100) < profile.mean_amount",
            (Overload((NUMBER, NUMBER), of_numbers(np.minimum), repeats=True),),
        ),
        Operator(
            "max",
            "max(x, y, ...)",
            "the largest of two or more numbers; missing if one is missing",
            "amount > 3 * max(profile.mean_amount, 20)",
            (Overload((NUMBER, NUMBER), of_numbers(np.maximum), repeats=True),),
        ),
        Operator(
            "round",
            "round(x)",
            "the nearest whole number, halves to the even one",
            "amount == round(amount)",
            (Overload((NUMBER,), of_numbers(np.rint)),),
        ),
        Operator(
            "floor",
            "floor(x)",
            "the largest whole number that is not above x",
            "amount / 100 == floor(amount / 100)",
            (Overload((NUMBER,), of_numbers(np.floor)),),
        ),
        Operator(
            "lower",
            "lower(x)",
            "the text in small letters",
            'lower(city) == "london"',
            (Overload((TEXT,), text_of_text(str.lower)),),
        ),
        Operator(
            "starts_with",
            "starts_with(x, y)",
            "whether the text x begins with the text y",
            'starts_with(card_prefix, "4")',
            (Overload((TEXT, TEXT), texts_satisfy(str.startswith)),),
        ),
        Operator(
            "ends_with",
            "ends_with(x, y)",
            "whether the text x ends with the text y",
            'ends_with(merchant_id, "-test")',
            (Overload((TEXT, TEXT), texts_satisfy(str.endswith)),),
        ),
        Operator(
            "contains",
            "contains(x, y)",
            "whether the text y stands anywhere in the text x",
            'contains(lower(city), "airport")',
            (Overload((TEXT, TEXT), texts_satisfy(str.__contains__)),),
        ),
        Operator(
            "if_missing",
            "if_missing(x, y)",
            "x, or y if x is missing; both of one type",
            "if_missing(profile.tenure_days, 0) < 30",
            (
                Overload((NUMBER, NUMBER), value_if_missing),
                Overload((TEXT, TEXT), value_if_missing),
                Overload((BOOLEAN, BOOLEAN), truth_if_missing),
            ),
        ),
    )
}


def reference() -> str:
    """The tables of operators and functions as they stand in the manual, in Markdown."""
    tables = []
    for entries in (OPERATORS.values(), FUNCTIONS.values()):
        rows = [f"| `{entry.form}` | {entry.meaning} | `{entry.example}` |" for entry in entries]
        tables.append("\n".join(["| written | meaning | example |", "|---|---|---|", *rows]))
    return "\n\n".join(tables)
