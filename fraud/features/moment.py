"""One transaction against the state before it: what feature functions read."""

from __future__ import annotations

from bisect import bisect_right

from fraud.features.customer_state import CustomerHistory, CustomerState
from fraud.features.details import CustomerDetails
from fraud.features.entity_state import EntityState
from fraud.features.plan import StatePlan
from fraud.features.profile import CustomerProfile
from fraud.transaction import Transaction


class Moment:
    """A transaction, its customer and its entities as they were before it. One instance is filled again for each.

    `starts[i]` and `end` bound the customer's rows in window i of the plan: timestamp in (t - w, t], not counting the
    transaction itself. `entities[k]` is the state of kind k (None: the transaction names none). `amount` is in base
    minor units, `minor_units` how many of them make one unit. `details` are there only under a plan that asks for them.
    """

    __slots__ = (
        "amount",
        "details",
        "end",
        "entities",
        "history",
        "minor_units",
        "profile",
        "starts",
        "timestamp_ms",
        "transaction",
    )

    transaction: Transaction
    timestamp_ms: int
    amount: int
    end: int
    history: CustomerHistory
    profile: CustomerProfile
    details: CustomerDetails
    entities: list[EntityState | None]

    def __init__(self, base_exponent: int) -> None:
        self.minor_units = 10**base_exponent
        self.starts: list[int] = []

    def fill(
        self, transaction: Transaction, customer: CustomerState, entities: list[EntityState | None], plan: StatePlan
    ) -> None:
        """Look at `transaction`. `entities` is in the order of `plan.entities`."""
        timestamp_ms = transaction.timestamp_ms
        self.transaction = transaction
        self.timestamp_ms = timestamp_ms
        self.amount = transaction.base_amount_minor
        self.history = customer.history
        self.profile = customer.profile
        if customer.details is not None:
            self.details = customer.details
        timestamps = customer.history.timestamps_ms
        end = len(timestamps)
        if end and timestamps[-1] > timestamp_ms:
            end = bisect_right(timestamps, timestamp_ms)
        self.end = end
        if end:
            # Shorter windows start at or after longer ones do.
            start, starts = end, []
            for window in plan.customer_windows_ms:
                start = bisect_right(timestamps, timestamp_ms - window, 0, start)
                starts.append(start)
            self.starts = starts
        else:
            self.starts = [0] * len(plan.customer_windows_ms)
        self.entities = entities
