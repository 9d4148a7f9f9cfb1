"""One transaction against the state before it: what feature functions read."""

from __future__ import annotations

from bisect import bisect_right

from fraud.features.customer_state import CustomerState
from fraud.features.details import CustomerDetails
from fraud.features.plan import StatePlan
from fraud.transaction import Transaction


class Moment:
    """A transaction and its customer as it was before it.

    `starts[i]` and `end` bound the customer's rows in window i of the plan: timestamp in (t - w, t], not counting the
    transaction itself. `amount` is in base minor units, `minor_units` how many of them make one unit. `details` are
    there only under a plan that asks for them.
    """

    __slots__ = (
        "amount",
        "details",
        "end",
        "history",
        "minor_units",
        "profile",
        "starts",
        "timestamp_ms",
        "transaction",
    )

    details: CustomerDetails

    def __init__(self, transaction: Transaction, customer: CustomerState, plan: StatePlan, minor_units: int) -> None:
        timestamp_ms = transaction.timestamp_ms
        self.transaction = transaction
        self.timestamp_ms = timestamp_ms
        self.amount = transaction.base_amount_minor
        self.minor_units = minor_units
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
                before_ms = timestamp_ms - window
                if start and timestamps[start - 1] > before_ms:
                    start = bisect_right(timestamps, before_ms, 0, start - 1)
                starts.append(start)
            self.starts = starts
        else:
            self.starts = [0] * len(plan.customer_windows_ms)
