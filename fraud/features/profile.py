"""A customer's running amounts."""

from __future__ import annotations

DAY_MS = 86_400_000


class CustomerProfile:
    """Running amounts since the customer was first seen, in base minor units.

    All of them exclude the transaction being decided.
    """

    __slots__ = ("amount_maximum", "amount_squares", "amount_sum", "first_seen_ms", "transaction_count")

    def __init__(self) -> None:
        self.transaction_count = 0
        self.amount_sum = 0
        self.amount_squares = 0
        self.amount_maximum = 0
        self.first_seen_ms = 0

    def day_of(self, timestamp_ms: int) -> int:
        """Whole days since the customer was first seen; 0 for an event from before that."""
        return max(0, (timestamp_ms - self.first_seen_ms) // DAY_MS)

    def absorb(self, timestamp_ms: int, amount: int) -> None:
        """Add an authorisation."""
        if self.transaction_count == 0:
            # By arrival: the days on which things were first seen are counted from here and must not shift.
            self.first_seen_ms = timestamp_ms
        self.transaction_count += 1
        self.amount_sum += amount
        self.amount_squares += amount * amount
        self.amount_maximum = max(self.amount_maximum, amount)
