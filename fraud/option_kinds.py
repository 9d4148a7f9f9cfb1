"""Kinds of option that several commands have."""

from __future__ import annotations

import math
from typing import Any

import click

# As far as a mapping draws label delays; a longer one is a slip of the keyboard, and in milliseconds it could overflow.
_MOST_DAYS = 3_660


class Days(click.FloatRange):
    """A number of days, not negative; at most ten years."""

    def __init__(self) -> None:
        super().__init__(min=0, max=_MOST_DAYS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Refuses what is no number, which is neither below nor above a limit."""
        days = float(super().convert(value, param, ctx))
        if math.isnan(days):
            self.fail(f"{value!r} is not a number of days", param, ctx)
        return days
