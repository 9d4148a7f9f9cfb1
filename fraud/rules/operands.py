"""What operators mean for a batch.

A truth value is a pair of masks, the rows where it is true and the rows where it is false; a row in neither is
unknown. So Kleene's three-valued logic (Introduction to Metamathematics, 1952, section 64) needs no third value:
`not` swaps the masks, `and` is true where both are and false where either is. Comparisons with NaN are false both ways,
which is just what unknown asks for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fraud.rules.program import Column, Constant, Operation, Step
from fraud.rules.values import Kind

NUMBER, TEXT, BOOLEAN = Kind.NUMBER, Kind.TEXT, Kind.BOOLEAN
LIST_OF_NUMBERS, LIST_OF_TEXTS, EMPTY_LIST = "list of numbers", "list of texts", "empty list"


@dataclass(frozen=True)
class Value:
    """A number or a text of each row."""

    type: str
    step: Step


@dataclass(frozen=True)
class Truth:
    """A truth value of each row: the masks of the rows where it is true and where it is false; unknown is neither."""

    true: Step
    false: Step
    type: str = BOOLEAN


@dataclass(frozen=True)
class Choices:
    """The values of a list. An empty one fits numbers and texts."""

    type: str
    values: frozenset[float] | frozenset[str]


Operand: TypeAlias = Value | Truth | Choices


def column(name: str, kind: Kind) -> Value | Truth:
    """The operand for a named value."""
    step = Column(name)
    if kind is BOOLEAN:
        return Truth(Operation(np.equal, (step, Constant(1.0))), Operation(np.equal, (step, Constant(0.0))))
    return Value(kind, step)


def literal(value: float | str | bool) -> Value | Truth:
    """The operand for a value that is written in the condition."""
    if isinstance(value, bool):
        return Truth(Constant(value), Constant(not value))
    return Value(TEXT, Constant(value)) if isinstance(value, str) else Value(NUMBER, Constant(float(value)))


_EVERYWHERE = Constant(value=True)


def _operation(function: Callable[..., Any]) -> Callable[..., Step]:
    return lambda *inputs: Operation(function, inputs)


_both = _operation(np.logical_and)
_either = _operation(np.logical_or)
_neither = _operation(np.logical_not)
_is_nan = _operation(np.isnan)
_same_object = _operation(np.equal)


def all_true(*operands: Truth) -> Truth:
    """True where all are, false where one is."""
    return functools.reduce(lambda a, b: Truth(_both(a.true, b.true), _either(a.false, b.false)), operands)


def any_true(*operands: Truth) -> Truth:
    """True where one is, false where all are."""
    return functools.reduce(lambda a, b: Truth(_either(a.true, b.true), _both(a.false, b.false)), operands)


def negation(operand: Truth) -> Truth:
    """True where the operand is false, and false where it is true."""
    return Truth(operand.false, operand.true)


def is_missing(operand: Value | Truth) -> Truth:
    """True where there is no value, false everywhere else."""
    if isinstance(operand, Truth):
        known = _either(operand.true, operand.false)
        return Truth(_neither(known), known)
    missing = _missing(operand)
    return Truth(missing, _neither(missing))


def _missing(value: Value) -> Step:
    return _is_nan(value.step) if value.type == NUMBER else _same_object(value.step, Constant(None))


def _known(value: Value) -> Step:
    return _EVERYWHERE if isinstance(value.step, Constant) else _neither(_missing(value))


def _all_of(*steps: Step) -> Step:
    """The rows in every mask, leaving out masks that hold for all rows."""
    needed = [step for step in steps if step is not _EVERYWHERE]
    return functools.reduce(_both, needed) if needed else _EVERYWHERE


def comparison(holds: Callable[..., Any], fails: Callable[..., Any]) -> Callable[[Value, Value], Truth]:
    """A comparison of numbers. `holds` and `fails` are opposites that are both false for NaN."""
    return lambda a, b: Truth(Operation(holds, (a.step, b.step)), Operation(fails, (a.step, b.step)))


def numbers_differ(a: Any, b: Any) -> Any:
    """Where two arrays of numbers have different values, neither of them missing."""
    # `a != b` is true for NaN, where the answer is unknown.
    return np.less(a, b) | np.greater(a, b)


def texts_equal(a: Value, b: Value) -> Truth:
    """Whether two texts are the same."""
    # A missing text equals another missing one in numpy: one of them must be known. A literal always is.
    known = (_known(a), _known(b))
    guard = () if _EVERYWHERE in known else (known[0],)
    return Truth(
        _all_of(Operation(np.equal, (a.step, b.step)), *guard),
        _all_of(Operation(np.not_equal, (a.step, b.step)), *known),
    )


def truths_equal(a: Truth, b: Truth) -> Truth:
    """Whether two truth values are the same."""
    return Truth(
        _either(_both(a.true, b.true), _both(a.false, b.false)),
        _either(_both(a.true, b.false), _both(a.false, b.true)),
    )


def negated(build: Callable[..., Truth]) -> Callable[..., Truth]:
    """The opposite of what `build` gives."""
    return lambda *operands: negation(build(*operands))


def is_in(value: Value, choices: Choices) -> Truth:
    """Whether the value is one of the choices."""
    contained = Operation(_contained, (value.step, Constant(choices.values)))
    return Truth(contained, _all_of(_neither(contained), _known(value)))


def _contained(values: Any, choices: frozenset[Any]) -> NDArray[np.bool_]:
    entries = np.asarray(values)
    if not choices:
        return np.zeros(entries.shape, dtype=np.bool_)
    found = np.fromiter(map(choices.__contains__, entries.ravel().tolist()), np.bool_, entries.size)
    return found.reshape(entries.shape)


def arithmetic(function: Callable[..., Any]) -> Callable[..., Value]:
    """Arithmetic on numbers; what is missing, divided by zero or beyond float64 is missing."""
    finite = _finite_function(function)
    return lambda *operands: Value(NUMBER, Operation(finite, tuple(operand.step for operand in operands)))


@functools.cache
def _finite_function(function: Callable[..., Any]) -> Callable[..., Any]:
    def finite(*operands: Any) -> Any:
        result = function(*operands)
        return np.where(np.isinf(result), np.nan, result)

    return finite


def of_numbers(function: Callable[..., Any]) -> Callable[..., Value]:
    """A function of numbers that cannot leave their range, and is missing where one of them is."""

    def build(*operands: Value) -> Value:
        steps = [operand.step for operand in operands]
        if len(steps) == 1:
            return Value(NUMBER, Operation(function, (steps[0],)))
        return Value(NUMBER, functools.reduce(lambda a, b: Operation(function, (a, b)), steps))

    return build


def text_of_text(function: Callable[[str], str]) -> Callable[[Value], Value]:
    """A function from text to text, missing where the text is."""
    vectorised = np.frompyfunc(lambda text: None if text is None else function(text), 1, 1)

    def apply(texts: Any) -> Any:
        return np.asarray(vectorised(texts), dtype=object)

    return lambda text: Value(TEXT, Operation(apply, (text.step,)))


def texts_satisfy(function: Callable[[str, str], bool]) -> Callable[[Value, Value], Truth]:
    """A test of two texts, unknown where one of them is missing."""
    vectorised = np.frompyfunc(lambda a, b: a is not None and b is not None and function(a, b), 2, 1)

    def apply(a: Any, b: Any) -> Any:
        return np.asarray(vectorised(a, b), dtype=np.bool_)

    def build(a: Value, b: Value) -> Truth:
        holds = Operation(apply, (a.step, b.step))
        return Truth(holds, _all_of(_neither(holds), _known(a), _known(b)))

    return build


def value_if_missing(value: Value, other: Value) -> Value:
    """The value, or the other one where it is missing."""
    return Value(value.type, Operation(np.where, (_missing(value), other.step, value.step)))


def truth_if_missing(truth: Truth, other: Truth) -> Truth:
    """The truth value, or the other one where it is unknown."""
    unknown = _neither(_either(truth.true, truth.false))
    return Truth(_either(truth.true, _both(unknown, other.true)), _either(truth.false, _both(unknown, other.false)))
