"""Conditions as one list of numpy operations over a batch: each different operation once, and only what is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from fraud.rules.values import Columns


@dataclass(frozen=True, eq=False)
class Column:
    """A named value of each row."""

    name: str


@dataclass(frozen=True, eq=False)
class Constant:
    """The same value for every row: a number, a text, a truth value, None or a set of these."""

    value: float | str | bool | frozenset[Any] | None


@dataclass(frozen=True, eq=False)
class Operation:
    """A function of whole arrays, element by element, so that a row's result does not depend on its neighbours."""

    function: Callable[..., Any]
    inputs: tuple[Step, ...]


Step: TypeAlias = Column | Constant | Operation


class Program:
    """Every step that `results` need, in an order in which it can be computed.

    Equal steps share a slot, across rules too, so the work is at most linear in the length of the policy: nothing in a
    condition can make it evaluate a part twice.
    """

    def __init__(self, results: Iterable[Step]) -> None:
        self._slots: dict[object, int] = {}
        self._slot_of_step: dict[int, int] = {}
        # Steps are known by identity while compiling, so none may be freed before the end.
        self._kept: list[Step] = []
        self._constants: list[tuple[int, Any]] = []
        self._columns: list[tuple[int, str]] = []
        self._operations: list[tuple[int, Callable[..., Any], tuple[int, ...]]] = []
        self._results = [self._slot(step) for step in results]
        self._kept.clear()
        self._slot_of_step.clear()
        self._initial: list[Any] = [None] * len(self._slots)
        for slot, value in self._constants:
            self._initial[slot] = value

    def _slot(self, step: Step) -> int:
        known = self._slot_of_step.get(id(step))
        if known is not None:
            return known
        key: object
        if isinstance(step, Operation):
            inputs = tuple(self._slot(entry) for entry in step.inputs)
            key = (step.function, inputs)
        elif isinstance(step, Column):
            key = step.name
        else:
            key = (type(step.value), step.value)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = len(self._slots)
            if isinstance(step, Operation):
                self._operations.append((slot, step.function, inputs))
            elif isinstance(step, Column):
                self._columns.append((slot, step.name))
            else:
                self._constants.append((slot, _constant_array(step.value)))
        self._slot_of_step[id(step)] = slot
        self._kept.append(step)
        return slot

    def run(self, columns: Columns) -> list[Any]:
        """The results in their order, each an array of shape [rows] or one value that holds for every row.

        Raises `KeyError` with the name of a column that is needed and not given.
        """
        slots = self._initial.copy()
        for slot, name in self._columns:
            slots[slot] = columns[name]
        # Division by zero and overflow are missing values here, not something to warn about.
        with np.errstate(all="ignore"):
            for slot, function, inputs in self._operations:
                slots[slot] = function(*[slots[entry] for entry in inputs])
        return [slots[slot] for slot in self._results]


def _constant_array(value: object) -> Any:
    """As numpy needs it: text must be an object, or numpy would compare arrays of characters."""
    if value is None or isinstance(value, str):
        return np.array(value, dtype=object)
    return value
