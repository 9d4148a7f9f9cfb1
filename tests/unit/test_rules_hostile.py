"""Conditions that try to run code, to loop or to fill memory, or that only look right: refused, with a place."""

from __future__ import annotations

import pytest

from fraud.rules.expression import compile_condition
from fraud.rules.policy import PolicyError, parse_policy
from fraud.rules.tokens import ConditionError
from fraud.rules.values import Kind

NAMES = {"amount": Kind.NUMBER, "city": Kind.TEXT, "device_is_new": Kind.BOOLEAN, "profile.mean_amount": Kind.NUMBER}

HOSTILE = [
    ("9**9**9 > amount", 1, "`**` is not allowed"),
    ('"a"*10**9 == city', 6, "`**` is not allowed"),
    ('"a"*1000000000 == city', 0, "takes (number, number), not (text, number)"),
    ('city + city == "x"', 0, "takes (number, number), not (text, text)"),
    ("amount << 10 > 1", 7, "`<<` is not allowed"),
    ("amount % 0 == 1", 7, "`%` is not allowed"),
    ("[[1], [2]] == amount", 0, "a list here is not allowed"),
    ("amount in [[1], [2]]", 11, "only numbers and texts can stand in a list"),
    ("amount in [amount]", 11, "only numbers and texts can stand in a list"),
    ("amount in []", 10, "the list is empty"),
    ("amount in [true]", 11, "only numbers and texts can stand in a list"),
    ("lambda: 1", 0, "`lambda` is not allowed"),
    ("[x for x in [1, 2]] == amount", 3, "`for` is not allowed"),
    ("{1, 2} == amount", 0, "`{` is not allowed"),
    ("amount.__class__ == 1", 0, "unknown name `amount.__class__`"),
    ("profile.mean_amount.__class__ == 1", 0, "unknown name `profile.mean_amount.__class__`"),
    ("().__class__ == 1", 2, "`.` is not allowed"),
    ("(1).real == 1", 3, "`.` is not allowed"),
    ("__import__('os')", 0, "unknown function `__import__`"),
    ("exec('1')", 0, "unknown function `exec`"),
    ("abs(1)(2) == 1", 6, "an operator is missing before `(`"),
    ("(abs)(2) == 1", 5, "an operator is missing before `(`"),
    ("profile.mean_amount(1) == 1", 0, "this cannot be called"),
    ("abs(*[1]) == 1", 4, "a value is missing before `*`"),
    ("abs(x=1) == 1", 5, "`=` is not allowed"),
    ("amount[0] == 1", 6, "an operator is missing before `[`"),
    ('f"{amount}" == city', 0, "`f` before a text is not allowed"),
    ('b"x" == city', 0, "`b` before a text is not allowed"),
    ('"""x""" == city', 2, "two texts stand side by side"),
    ('city == "a\\x41"', 8, "a text cannot contain a backslash"),
    ('city in ["a" "b"]', 13, "two texts stand side by side"),
    ("(amount := 3) > 1", 8, "`:=` is not allowed"),
    ("amount if device_is_new else 1", 7, "`if` is not allowed"),
    ("await amount", 0, "`await` is not allowed"),
    ("yield", 0, "`yield` is not allowed"),
    ("import os", 0, "`import` is not allowed"),
    ("amount > 1; amount > 2", 10, "`;` is not allowed"),
    ("amount > 1 # always", 11, "`#` is not allowed"),
    ("amount > 1) or (amount > 2", 10, "`)` closes a bracket that is not open"),
    ("(amount > 1]", 11, "`]` closes a bracket that is not open"),
    ("(" * 10_000 + "amount" + ")" * 10_000, 0, "the condition has 20,006 characters"),
    ("(" * 900 + "amount > 1" + ")" * 900, 30, "more than 30 brackets inside each other"),
    ("[" * 900, 30, "more than 30 brackets inside each other"),
    ("not " * 450 + "device_is_new", 0, "the condition has too many parts"),
    ("-" * 590 + "amount > 1", 0, "the condition has too many parts"),
    ("not " * 100 + "device_is_new", 244, "the condition is nested too deeply"),
    ("amount+" * 900 + "1 > 2", 0, "the condition has 6,305 characters"),
    ("1+" * 500 + "1 > 2", 0, "more than 600 words"),
    ("amount in [" + "1," * 250 + "1]", 10, "the list has more than 200 entries"),
    (f"amount > {'9' * 400}", 9, "the number is larger than 1e+15"),
    ("amount > 1e400", 9, "the number is larger than 1e+15"),
    ("amount > 9e15", 9, "the number is larger than 1e+15"),
    ("amount > 0xFF", 9, "`0xFF` is not a number"),
    ("amount > 1_000", 9, "`1_000` is not a number"),
    ("amount > 1j", 9, "`1j` is not a number"),
    ("amount > 007", 9, "`007` is not a number"),
    (f'city == "{"a" * 201}"', 8, "the text is longer than 200 characters"),
    ("\u0430mount > 1", 0, "U+0430 (CYRILLIC SMALL LETTER A)"),
    ("\uff41mount > 1", 0, "U+FF41 (FULLWIDTH LATIN SMALL LETTER A)"),
    ("amount \u2265 1", 7, "U+2265 (GREATER-THAN OR EQUAL TO)"),
    ("city == \u201cx\u201d", 8, "U+201C (LEFT DOUBLE QUOTATION MARK)"),
    ("amount\u200b > 1", 6, "U+200B (ZERO WIDTH SPACE)"),
    ("amount\u00a0> 1", 6, "U+00A0 (NO-BREAK SPACE)"),
    ("amount > \u0661", 9, "U+0661 (ARABIC-INDIC DIGIT ONE)"),
    ("amount > 1\x00", 10, "U+0000"),
    ("amount > 1\x1b[31m", 10, "U+001B"),
    ("", 0, "the condition is empty"),
    (" \n ", 0, "the condition is empty"),
    ('city == "open', 8, "has no closing quote"),
    ("amount >", 7, "a value is missing after `>`"),
    ("> 1", 0, "a value is missing before `>`"),
    ("amount 1", 7, "an operator is missing before `1`"),
    ("amount not 1", 11, "`not` stands between two values"),
    ("amount > 1, amount > 2", 0, "a comma here is not allowed"),
    ("amount AND city", 7, "`AND` is not known"),
    ("amount", 0, "a condition is true or false, and this is a number"),
    ("None", 0, "`None` is not a value"),
    ("amount == nan", 10, "`nan` is not a value"),
    ("amount is None", 10, "`is` tests for a missing value only"),
    ("amount is missing is missing", 0, "can be chained"),
    ("1 < amount in [2]", 0, "can be chained"),
    ("missing", 0, "`missing` is not a value"),
    ("min(amount) > 1", 0, "takes (number, number, ...), not (number)"),
    ("abs(1, 2) > 1", 7, "takes (number), not (number, number)"),
    ("city in (1, 2)", 8, "a list is expected here"),
    ('city in "paris"', 8, "a list is expected here"),
]


@pytest.mark.parametrize(("condition", "place", "reason"), HOSTILE, ids=[entry[0][:30] for entry in HOSTILE])
def test_what_is_no_condition_is_refused_with_place_reason_and_hint(condition: str, place: int, reason: str) -> None:
    with pytest.raises(ConditionError) as refused:
        compile_condition(condition, NAMES, {})
    first = refused.value.faults[0]
    assert reason in first.reason
    assert first.start == place
    assert all(fault.hint and fault.end > fault.start for fault in refused.value.faults)


def test_all_faults_of_a_condition_are_told_together() -> None:
    with pytest.raises(ConditionError) as refused:
        compile_condition('amont > 1 and city > 2 or lower(amount) == "x"', NAMES, {})
    assert [fault.start for fault in refused.value.faults] == [0, 14, 32]


HOSTILE_FILES = [
    ("", "the file is empty", 1),
    ("# nothing\n", "the file is empty", 1),
    ("a: &a [x]\nb: [*a, *a]\n", "aliases (`*name`) are not allowed", 2),
    ("policy: a\n---\npolicy: b\n", "more than one document", 3),
    ("[" * 5000, "nested too deeply", 1),
    ("a:\n" + "".join(" " * depth + "- \n" for depth in range(1, 12)), "nested too deeply", 11),
    ("policy: !!python/object/apply:os.system [ls]\nversion: 1\n", "`policy` must be one value", 1),
    ("policy: !!python/name:os.system x\nversion: 1\n", "tags such as", 1),
    ("!!python/object:os.x\npolicy: a\nversion: 1\n", "must have lines of the form", 1),
    ("policy: a\n\tversion: 1\n", "this is not YAML", 2),
    ("policy: a: b\n", "this is not YAML", 1),
    ("policy: 'a\n", "this is not YAML", 2),
    ("policy: a\nversion: \x07\n", "U+0007 is not allowed in YAML", 2),
    ("just a text", "must have lines of the form", 1),
    ("- policy\n", "must have lines of the form", 1),
    ("policy: a\nversion: 1\npolicy: b\n", "`policy` stands twice in the policy, first in line 1", 3),
    ("policy: a\nversion: 1\n<<: {rules: []}\n", "unknown key `<<`", 3),
    ("policy: a\nversion: 1\n? [x]\n: 1\n", "a key must be one value", 3),
    ("policy: a\n", "`version` is missing in the policy", 1),
    ("policy: a\nversion:\n", "`version` is empty", 2),
    ("policy: a\nversion: 1\nrules: {}\n", "`rules` must be a list", 3),
    ("policy: a\nversion: 1\nrules: [x]\n", "the rule must have lines of the form", 3),
    ("policy: " + "a" * 600_000, "larger than 512 KiB", 0),
]


@pytest.mark.parametrize(("text", "reason", "line"), HOSTILE_FILES, ids=[entry[1] for entry in HOSTILE_FILES])
def test_what_is_no_policy_file_is_refused_with_its_line(text: str, reason: str, line: int) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_policy(text, "hostile.yaml", NAMES)
    first = refused.value.problems[0]
    assert reason in first.reason
    assert first.line == line
    assert first.hint
    assert str(refused.value).startswith("hostile.yaml is refused")
