"""What is remembered about one customer: exact sliding windows, a bounded profile, and the identities seen lately.

State absorbs transactions only, never scores, actions or labels, so features do not depend on policy. All sums are
integers: a state rebuilt from history equals the running one to the bit.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from fraud.features.details import CustomerDetails
from fraud.features.fingerprints import fingerprint
from fraud.features.plan import StatePlan
from fraud.features.profile import CustomerProfile
from fraud.transaction import Transaction

# What fits in 4 bytes: with cents nearly 43 million.
_NARROW_MAXIMUM = (1 << 32) - 1


class CustomerHistory:
    """Authorisations of the longest window, sorted by timestamp, arrival order within a timestamp.

    Packed arrays, aligned: `timestamps_ms` and `amounts` (base minor units), these in 4 bytes each while they fit.
    """

    __slots__ = ("amounts", "timestamps_ms")

    def __init__(self) -> None:
        self.timestamps_ms = array("q")
        self.amounts = array("I")

    def insert(self, timestamp_ms: int, amount: int) -> int:
        """Add a row in its place, which is returned."""
        if amount > _NARROW_MAXIMUM and self.amounts.typecode == "I":
            self.amounts = array("q", self.amounts)
        timestamps = self.timestamps_ms
        place = len(timestamps)
        if not place or timestamp_ms >= timestamps[-1]:
            timestamps.append(timestamp_ms)
            self.amounts.append(amount)
        else:
            place = bisect_right(timestamps, timestamp_ms)
            timestamps.insert(place, timestamp_ms)
            self.amounts.insert(place, amount)
        return place

    def delete(self, start: int, end: int) -> None:
        """Forget the rows from `start` to `end` (exclusive)."""
        del self.timestamps_ms[start:end]
        del self.amounts[start:end]


NEW, SAME_AGAIN, ID_REUSED = range(3)
# The columns of what is remembered of an identity besides its identifier.
_CONTENT, _ARRIVAL, _TIMESTAMP = range(3)
_WIDTH = 3


class RecentIdentities:
    """The identities of a customer's transactions within the duplicate horizon, in order of arrival.

    Identifiers and contents are kept as fingerprints (`fraud.features.fingerprints`). Of each event: its identifier,
    its content, the customer's newest event time at arrival (which never goes back), and its own timestamp, negative
    for what is not in the windows: refunds, reversals, late and reversed payments. What is not among `identifiers` is
    new; what is may be too old to count.
    """

    __slots__ = ("_details", "identifiers")

    def __init__(self) -> None:
        self.identifiers = array("q")
        self._details = array("q")

    @property
    def newest_arrival_ms(self) -> int:
        """The customer's newest event time at the last arrival, 0 before the first."""
        return self._details[_ARRIVAL - _WIDTH] if self._details else 0

    def check(self, identifier: int, content: int, horizon_ms: int) -> int:
        """`NEW`, `SAME_AGAIN`, or `ID_REUSED` for the same identifier with other content."""
        if identifier not in self.identifiers:
            return NEW
        place = self._place(identifier, horizon_ms)
        if place is None:
            return NEW
        return SAME_AGAIN if self._details[_WIDTH * place + _CONTENT] == content else ID_REUSED

    def _place(self, identifier: int, horizon_ms: int) -> int | None:
        """Where the identifier stands, if within the horizon: what is older is dropped in bulk, so it may linger."""
        arrivals_ms = self._details[_ARRIVAL::_WIDTH]
        for place, known in enumerate(self.identifiers):
            if known == identifier and arrivals_ms[place] >= arrivals_ms[-1] - horizon_ms:
                return place
        return None

    def take_payment(self, identifier: int, horizon_ms: int) -> tuple[int, int] | None:
        """Timestamp of a payment in the windows, and how many of the same time arrived after it.

        From now on it counts as out of the windows. None when there is no such payment.
        """
        place = self._place(identifier, horizon_ms)
        if place is None:
            return None
        timestamps_ms = self._details[_TIMESTAMP::_WIDTH]
        timestamp_ms = timestamps_ms[place]
        if timestamp_ms < 0:
            return None
        self._details[_WIDTH * place + _TIMESTAMP] = -timestamp_ms
        return timestamp_ms, timestamps_ms[place + 1 :].count(timestamp_ms)

    def remember(
        self, identifier: int, content: int, newest_ms: int, timestamp_ms: int, *, in_windows: bool, horizon_ms: int
    ) -> None:
        """Add an event that arrives when the customer's newest event time is `newest_ms`."""
        details = self._details
        if details:
            # A refund may be newer than what is absorbed; arrivals never go back.
            newest_ms = max(newest_ms, details[_ARRIVAL - _WIDTH])
            # In bulk, as with the rows of the history.
            sixteenth = len(self.identifiers) >> 4
            if details[_WIDTH * sixteenth + _ARRIVAL] < newest_ms - horizon_ms:
                expired = bisect_left(details[_ARRIVAL::_WIDTH], newest_ms - horizon_ms)
                del self.identifiers[:expired]
                del details[: _WIDTH * expired]
        self.identifiers.append(identifier)
        details.extend((content, newest_ms, timestamp_ms if in_windows else -timestamp_ms))

    def columns(self) -> tuple[array[int], array[int], array[int], array[int]]:
        """Copies of identifiers, contents, arrivals and timestamps, in order of arrival."""
        details = self._details
        return self.identifiers[:], details[_CONTENT::_WIDTH], details[_ARRIVAL::_WIDTH], details[_TIMESTAMP::_WIDTH]

    @classmethod
    def of_columns(
        cls,
        identifiers: Sequence[int],
        contents: Sequence[int],
        arrivals_ms: Sequence[int],
        timestamps_ms: Sequence[int],
    ) -> RecentIdentities:
        """The identities whose `columns` these are."""
        identities = cls()
        identities.identifiers.extend(identifiers)
        for row in zip(contents, arrivals_ms, timestamps_ms, strict=True):
            identities._details.extend(row)
        return identities


class CustomerState:
    """Everything that is remembered about one customer; `details` are None unless the plan asks for them.

    `newest_ms` is the newest event time absorbed (0 for none), `sequence` how many events there ever were, those that
    are forgotten included.
    """

    __slots__ = ("details", "history", "identities", "newest_ms", "profile", "sequence")

    def __init__(self, plan: StatePlan, sequence: int = 0) -> None:
        self.sequence = sequence
        self.history = CustomerHistory()
        self.profile = CustomerProfile()
        self.details = CustomerDetails() if plan.detailed else None
        self.identities = RecentIdentities()
        self.newest_ms = 0
        self.sequence = sequence

    def record(
        self,
        transaction: Transaction,
        identifier: int,
        content: int,
        plan: StatePlan,
        merchant: str | None = None,
        device: str | None = None,
    ) -> bool:
        """Take in an event that `identities` do not know yet; whether it comes too late for the windows.

        `identifier` and `content` are its fingerprints. `merchant` and `device` are objects of equal text to hold on to
        instead of the transaction's own, which saves memory where somebody else holds them anyway.
        """
        late = self.remember(identifier, content, transaction, plan)
        if transaction.event_type == "authorisation":
            if not late:
                self.absorb(transaction, merchant or transaction.merchant_id, device or transaction.device_id, plan)
        elif transaction.event_type == "reversal" and transaction.original_transaction_id is not None:
            self.reverse(fingerprint(transaction.original_transaction_id), plan)
        return late

    def is_forgotten(self, timestamp_ms: int, plan: StatePlan) -> bool:
        """Whether the customer was silent so long before `timestamp_ms` that it counts as new.

        Payments alone break the silence, but of a customer who never paid, refunds do.
        """
        newest_ms = self.newest_ms or self.identities.newest_arrival_ms
        return newest_ms != 0 and timestamp_ms - newest_ms > plan.forget_after_ms

    def absorb(self, transaction: Transaction, merchant: str | None, device: str | None, plan: StatePlan) -> None:
        """Add an authorisation to windows and profile; `merchant` and `device` as in `record`."""
        timestamp_ms, amount = transaction.timestamp_ms, transaction.base_amount_minor
        history, profile, details = self.history, self.profile, self.details
        place = history.insert(timestamp_ms, amount)
        is_first = profile.transaction_count == 0
        profile.absorb(timestamp_ms, amount)
        if details is not None:
            details.absorb(transaction, place, merchant, device, profile.day_of(timestamp_ms), is_first)
        self.newest_ms = max(self.newest_ms, timestamp_ms)
        # In bulk: shifting every column for each expired row would cost more than holding a few rows longer.
        timestamps = history.timestamps_ms
        if timestamps[len(timestamps) >> 4] <= self.newest_ms - plan.customer_retention_ms:
            self.drop_expired(plan)

    def drop_expired(self, plan: StatePlan) -> None:
        """Forget rows that no window of an event in time reaches."""
        expired = bisect_right(self.history.timestamps_ms, self.newest_ms - plan.customer_retention_ms)
        if expired:
            self._delete(0, expired)

    def _delete(self, start: int, end: int) -> None:
        self.history.delete(start, end)
        if self.details is not None:
            self.details.delete(start, end)

    def remember(self, identifier: int, content: int, transaction: Transaction, plan: StatePlan) -> bool:
        """Remember the identity of any event, absorbed or not; whether it comes too late to be absorbed."""
        self.sequence += 1
        timestamp_ms, newest_ms = transaction.timestamp_ms, self.newest_ms
        late = timestamp_ms < newest_ms - plan.allowed_lateness_ms
        self.identities.remember(
            identifier,
            content,
            newest_ms if newest_ms > timestamp_ms else timestamp_ms,
            timestamp_ms,
            in_windows=transaction.event_type == "authorisation" and not late,
            horizon_ms=plan.duplicate_horizon_ms,
        )
        return late

    def reverse(self, original_identifier: int, plan: StatePlan) -> None:
        """A reversal: the original payment leaves the windows; the profile keeps it as an attempt."""
        original = self.identities.take_payment(original_identifier, plan.duplicate_horizon_ms)
        if original is None:
            return
        timestamp_ms, same_time_after = original
        timestamps = self.history.timestamps_ms
        place = bisect_right(timestamps, timestamp_ms) - 1 - same_time_after
        # It may have left the windows already.
        if place >= bisect_left(timestamps, timestamp_ms):
            self._delete(place, place + 1)
