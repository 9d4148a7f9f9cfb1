"""Kinds of option that several commands have."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, date, datetime, time
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


class Moment(click.ParamType):
    """A day, which begins at midnight UTC, or an RFC 3339 time with its zone. Becomes UTC milliseconds."""

    name = "day or time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds since 1970. Refuses what `moment_ms` does."""
        if isinstance(value, int):
            return value
        try:
            return moment_ms(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def moment_ms(text: str) -> int:
    """UTC milliseconds of a day or time. Raises `ValueError` for what is neither, and for a time without zone."""
    from fraud.transaction import timestamp_to_ms

    # A day alone has no hour to be wrong about: days are counted in UTC.
    with suppress(ValueError):
        return timestamp_to_ms(datetime.combine(date.fromisoformat(text), time(tzinfo=UTC)))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is neither a day (2026-03-01) nor a time (2026-03-01T12:00:00Z)") from error
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: add Z for UTC")
    return timestamp_to_ms(moment)
