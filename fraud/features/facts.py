"""What is known of events before they meet any state, in the form in which compiled code takes it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud.features.compiled import Integers, Reals
from fraud.features.customer_words import (
    EVENT_AMOUNT,
    EVENT_CONTENT,
    EVENT_CUSTOMER,
    EVENT_FLAGS,
    EVENT_IDENTIFIER,
    EVENT_IS_PAYMENT,
    EVENT_THINGS,
    EVENT_TIMESTAMP_MS,
    EVENT_WORDS,
    TABLE_FIELDS,
)
from fraud.features.plan import StatePlan
from fraud.features.presence import attempt_flags
from fraud.transaction import Transaction

_names_of = attrgetter(*TABLE_FIELDS, "user_id")
_NO_NAME = hash(None)


class Facts(NamedTuple):
    """Of n events: `events` int64 [n, columns], the columns named `EVENT_...` in `fraud.features.customer_words`.

    The address of the customer's words and whether the event is late are for others to fill in. `positions` float64
    [n, 2]: latitude and longitude, not a number where there is none. What the plan does not ask for means nothing.
    """

    events: Integers
    positions: Reals

    def at(self, rows: slice | list[int]) -> Facts:
        """Those of some events; of a slice the very same."""
        return Facts(self.events[rows], self.positions[rows])


def facts_of(
    transactions: Sequence[Transaction], plan: StatePlan, identities: NDArray[np.int64] | None = None
) -> Facts:
    """The facts of these events; without `identities`, int64 [n, 2], nobody can remember them."""
    count = len(transactions)
    events, positions = np.zeros((count, EVENT_WORDS), np.int64), np.empty((count, 2))
    events[:, EVENT_TIMESTAMP_MS] = [transaction.timestamp_ms for transaction in transactions]
    events[:, EVENT_AMOUNT] = [transaction.base_amount_minor for transaction in transactions]
    events[:, EVENT_IS_PAYMENT] = [transaction.event_type == "authorisation" for transaction in transactions]
    if identities is not None:
        events[:, EVENT_IDENTIFIER : EVENT_CONTENT + 1] = identities
    if plan.names_things:
        # As `name_hash` has it, without a call for each. Who has the hash of no name is as good as never.
        hashes = np.array(list(map(hash, chain.from_iterable(map(_names_of, transactions)))), np.int64)
        hashes[hashes == 0] = 1
        hashes[hashes == _NO_NAME] = 0
        events[:, EVENT_THINGS : EVENT_CUSTOMER + 1] = hashes.reshape(-1, len(TABLE_FIELDS) + 1)
    if plan.detailed:
        events[:, EVENT_FLAGS] = list(map(attempt_flags, transactions))
        # Missing is not a number.
        positions[:, 0] = np.array([transaction.latitude for transaction in transactions], np.float64)
        positions[:, 1] = np.array([transaction.longitude for transaction in transactions], np.float64)
    return Facts(events, positions)
