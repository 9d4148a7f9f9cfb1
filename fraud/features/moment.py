"""One transaction against the state before it: what feature functions read."""

from __future__ import annotations

from bisect import bisect_right

from fraud.features.customer_state import CustomerState, card_presence
from fraud.features.entity_state import EntityState
from fraud.features.plan import StatePlan
from fraud.transaction import Transaction


class Moment:
    """A transaction, its customer and its entities as they were before it. One instance is filled again for each.

    `starts[i]` and `end` bound the customer's rows in window i of the plan: timestamp in (t - w, t], not counting the
    transaction itself. `entities[k]` is the state of kind k (None: the transaction names none), `cuts[k][s]` the cut
    places of its series s. `amount` is in base minor units, `minor_units` how many of them make one unit.
    """

    __slots__ = (
        "amount",
        "cuts",
        "end",
        "entities",
        "history",
        "minor_units",
        "presence",
        "profile",
        "starts",
        "timestamp_ms",
        "transaction",
    )

    transaction: Transaction
    timestamp_ms: int
    amount: int

    def __init__(self, base_exponent: int) -> None:
        self.minor_units = 10**base_exponent
        self.starts: list[int] = []
        self.cuts: list[list[list[int]]] = []

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
        self.presence = card_presence(transaction)
        timestamps = customer.history.timestamps_ms
        end = len(timestamps)
        if end and timestamps[-1] > timestamp_ms:
            end = bisect_right(timestamps, timestamp_ms)
        self.end = end
        self.starts = [
            bisect_right(timestamps, timestamp_ms - window, 0, end) for window in plan.customer_windows_ms
        ]
        self.entities = entities
        self.cuts = [
            [] if entity is None else entity.cut_places(timestamp_ms, entity_plan)
            for entity, entity_plan in zip(entities, plan.entities, strict=True)
        ]
