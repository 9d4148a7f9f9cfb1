"""The types that a rule can read, and the actions that it can ask for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray


class Kind(StrEnum):
    """The type of a named value, and with it the array that carries a batch of them.

    number: float64, NaN is missing. text: object array of str, None is missing. boolean: float64 of 1.0 and 0.0, NaN is
    missing. Arrays have shape [rows]. Numbers are finite.
    """

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"


Names: TypeAlias = Mapping[str, Kind]
Columns: TypeAlias = Mapping[str, NDArray[Any]]
Mask: TypeAlias = NDArray[np.bool_]

Action = Literal["allow", "challenge", "review", "block"]
# In order of severity, the codes of `fraud.decision`: rules stand below decisions and cannot import them.
ACTIONS: tuple[Action, ...] = ("allow", "challenge", "review", "block")
ALLOW, CHALLENGE, REVIEW, BLOCK = range(4)

SCORE = "score"
