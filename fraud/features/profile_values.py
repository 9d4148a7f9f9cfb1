"""What a rule can read of a customer's profile, as it was before the transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Literal

import numpy as np

from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.customer_state import CustomerState
from fraud.features.customer_words import (
    COUNT,
    DETAILED_ROW,
    DEVICE,
    EVENT_ADDRESS,
    EVENT_TIMESTAMP_MS,
    FIRST_SEEN_MS,
    KNOWN,
    MAXIMUM,
    MERCHANT,
    ROW_WIDTH,
    TABLE_WORDS,
    TABLES_AT,
    TOTAL,
)
from fraud.features.run import Run
from fraud.features.table import DAY_MS
from fraud.features.wide_integers import ratio

ProfileValue = float | int | str | None


@dataclass(frozen=True)
class ProfileField:
    """A name under `profile.`; `detailed` ones exist only where the feature set keeps the customer's details.

    `column` is where `_read` puts a number; a text is not for compiled code. Counts are integers.
    """

    kind: Literal["number", "text"]
    meaning: str
    column: int = 0
    counts: bool = False
    detailed: bool = False


PROFILE_FIELDS = {
    "home_country": ProfileField("text", "The country of most transactions", detailed=True),
    "known_devices": ProfileField("number", "Devices used before", 0, counts=True, detailed=True),
    "known_merchants": ProfileField("number", "Merchants paid before", 1, counts=True, detailed=True),
    "maximum_amount": ProfileField("number", "The highest amount so far, in base currency", 2),
    "mean_amount": ProfileField("number", "The mean amount so far, in base currency", 3),
    "tenure_days": ProfileField("number", "Days since the customer was first seen", 4),
    "transaction_count": ProfileField("number", "Transactions since first seen", 5, counts=True),
}
_NUMBERS = 6


@compiled
def _read(run: Run, out: Reals) -> None:
    """The numbers of each customer, float64 [n, 6], not a number where there is none."""
    for number in range(len(run.events)):
        words = integers_at(run.events[number, EVENT_ADDRESS])
        count = words[COUNT]
        out[number, 0] = out[number, 1] = 0
        if words[ROW_WIDTH] == DETAILED_ROW:
            out[number, 0] = _known(words, DEVICE)
            out[number, 1] = _known(words, MERCHANT)
        out[number, 2] = ratio(words[MAXIMUM], run.minor_units) if count else nan
        out[number, 3] = words[TOTAL] / (count * run.minor_units) if count else nan
        since_first_ms = run.events[number, EVENT_TIMESTAMP_MS] - words[FIRST_SEEN_MS]
        out[number, 4] = max(0, since_first_ms) / DAY_MS if count else 0.0
        out[number, 5] = count


@compiled
def _known(words: Integers, table: int) -> int:
    return int(words[TABLES_AT + TABLE_WORDS * table + KNOWN])


def profile_rows(
    fields: Sequence[ProfileField], run: Run, customers: Sequence[CustomerState]
) -> list[list[ProfileValue]]:
    """The values of these fields for each transaction of a run; missing is None."""
    if not fields:
        return [[] for _ in customers]
    numbers = np.empty((len(customers), _NUMBERS))
    _read(run, numbers)
    columns: list[list[float]] = numbers.T.tolist()
    countries = [customer.home_country for customer in customers]
    read = [countries if field.kind == "text" else _values(field, columns[field.column]) for field in fields]
    return list(map(list, zip(*read, strict=True)))


def _values(field: ProfileField, numbers: list[float]) -> Sequence[ProfileValue]:
    if field.counts:
        return list(map(int, numbers))
    return [None if isnan(number) else number for number in numbers]
