"""What a rule can read of a customer's profile, as it was before the transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import isnan, nan
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
from fraud.features.table import DAY_MS, FeatureKind, typed
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


class Profiles(NamedTuple):
    """The values of profile fields of n transactions.

    `numbers` float64 [n, fields], not a number for what is missing and for texts; `texts` those of the one field that
    is a text, empty where nobody asks for it.
    """

    fields: tuple[ProfileField, ...]
    numbers: Reals
    texts: Sequence[str | None]

    @staticmethod
    def missing(fields: Sequence[ProfileField], count: int) -> Profiles:
        """Nothing is known of any of these."""
        texts = [None] * count if _has_text(fields) else []
        return Profiles(tuple(fields), np.full((count, len(fields)), nan), texts)

    @staticmethod
    def of_rows(fields: Sequence[ProfileField], rows: Sequence[Sequence[ProfileValue]]) -> Profiles:
        """From the values of each transaction in turn; missing is None."""
        profiles = Profiles.missing(fields, len(rows))
        texts = list(profiles.texts)
        for number, row in enumerate(rows):
            for place, (field, value) in enumerate(zip(fields, row, strict=True)):
                if field.kind == "text":
                    texts[number] = None if value is None else str(value)
                elif value is not None:
                    profiles.numbers[number, place] = value
        return profiles._replace(texts=texts)

    @staticmethod
    def joined(fields: Sequence[ProfileField], parts: Sequence[Profiles]) -> Profiles:
        """All of them, one after the other."""
        numbers = np.concatenate([np.empty((0, len(fields))), *(part.numbers for part in parts)])
        return Profiles(tuple(fields), numbers, list(chain.from_iterable(part.texts for part in parts)))

    def at(self, rows: Sequence[int]) -> Profiles:
        """Those of some transactions."""
        return self._replace(numbers=self.numbers[rows], texts=[self.texts[row] for row in rows] if self.texts else [])

    def values(self, rows: NDArray[np.intp], place: int) -> list[ProfileValue]:
        """The values of one field in some rows, missing is None."""
        field = self.fields[place]
        if field.kind == "text":
            return [self.texts[row] for row in rows.tolist()]
        kind: FeatureKind = "integer" if field.counts else "number"
        return [None if isnan(number) else typed(kind, number) for number in self.numbers[rows, place].tolist()]


def _has_text(fields: Sequence[ProfileField]) -> bool:
    return any(field.kind == "text" for field in fields)


def read_profiles(fields: Sequence[ProfileField], run: Run, customers: Sequence[CustomerState]) -> Profiles:
    """The values of these fields for each transaction of a run."""
    profiles = Profiles.missing(fields, len(customers))
    if fields:
        numbers = np.empty((len(customers), _NUMBERS))
        _read(run, numbers)
        for place, field in enumerate(fields):
            if field.kind == "number":
                profiles.numbers[:, place] = numbers[:, field.column]
    if not _has_text(fields):
        return profiles
    return profiles._replace(texts=[customer.home_country for customer in customers])
