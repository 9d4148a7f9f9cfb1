"""What is remembered about one customer: exact sliding windows, a bounded profile, and the identities seen lately.

State absorbs transactions only, never scores, actions or labels, so features do not depend on policy. All sums are
integers: a state rebuilt from history equals the running one to the bit.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from sys import intern

from fraud.features.fingerprints import fingerprint
from fraud.features.plan import StatePlan
from fraud.features.profile import CustomerProfile, DetailedProfile
from fraud.transaction import Transaction

UNKNOWN_PRESENCE, CARD_PRESENT, CARD_NOT_PRESENT = range(3)
_PRESENT_ENTRY_MODES = frozenset(("chip", "contactless", "magstripe"))
_PRESENT_CHANNELS = frozenset(("pos", "atm"))
_REMOTE_CHANNELS = frozenset(("online", "app", "phone", "mail"))


def card_presence(transaction: Transaction) -> int:
    """Whether the card was at the terminal: by entry mode (ISO 8583 field 22), else by channel, else unknown."""
    entry_mode = transaction.entry_mode
    if entry_mode is not None:
        return CARD_PRESENT if entry_mode in _PRESENT_ENTRY_MODES else CARD_NOT_PRESENT
    if transaction.channel in _PRESENT_CHANNELS:
        return CARD_PRESENT
    return CARD_NOT_PRESENT if transaction.channel in _REMOTE_CHANNELS else UNKNOWN_PRESENCE


def shared(text: str | None) -> str | None:
    """The one string object that stands for this text everywhere: categories and countries are few."""
    return None if text is None else intern(text)


class CustomerHistory:
    """Authorisations of the longest window, sorted by timestamp, arrival order within a timestamp.

    Columns are packed arrays: `timestamps_ms`, `cumulative_amounts` (base minor units; a window's sum is a difference
    of two, hence exact and independent of its length) and those optional columns that the plan asks for, all aligned.
    """

    __slots__ = (
        "amounts",
        "base_amount",
        "categories",
        "countries",
        "cumulative_amounts",
        "declined",
        "detailed",
        "devices",
        "merchants",
        "presences",
        "timestamps_ms",
    )

    def __init__(self, detailed: bool) -> None:
        self.timestamps_ms = array("q")
        self.cumulative_amounts = array("q")
        # The cumulative amount before the first row still held.
        self.base_amount = 0
        self.detailed = detailed
        if detailed:
            self.amounts = array("q")
            self.merchants: list[str | None] = []
            self.categories: list[str | None] = []
            self.countries: list[str | None] = []
            self.devices: list[str | None] = []
            self.declined = bytearray()
            self.presences = bytearray()

    def amount_sum(self, start: int, end: int) -> int:
        """Sum of amounts of rows `start` to `end` (exclusive), in base minor units."""
        if start >= end:
            return 0
        cumulative = self.cumulative_amounts
        return cumulative[end - 1] - (cumulative[start - 1] if start else self.base_amount)

    def insert(self, transaction: Transaction, merchant: str | None, device: str | None, presence: int) -> None:
        """Add a row in its place; `merchant` and `device` are the shared string objects of these identifiers."""
        timestamps = self.timestamps_ms
        timestamp_ms, amount = transaction.timestamp_ms, transaction.base_amount_minor
        if timestamps and timestamp_ms < timestamps[-1]:
            self._insert_in_between(transaction, merchant, device, presence)
            return
        cumulative = self.cumulative_amounts
        timestamps.append(timestamp_ms)
        cumulative.append((cumulative[-1] if cumulative else self.base_amount) + amount)
        if self.detailed:
            self.amounts.append(amount)
            self.merchants.append(merchant)
            self.categories.append(shared(transaction.merchant_category))
            self.countries.append(shared(transaction.country))
            self.devices.append(device)
            self.declined.append(transaction.auth_result == "declined")
            self.presences.append(presence)

    def _insert_in_between(
        self, transaction: Transaction, merchant: str | None, device: str | None, presence: int
    ) -> None:
        amount, cumulative = transaction.base_amount_minor, self.cumulative_amounts
        place = bisect_right(self.timestamps_ms, transaction.timestamp_ms)
        self.timestamps_ms.insert(place, transaction.timestamp_ms)
        cumulative.insert(place, cumulative[place - 1] if place else self.base_amount)
        for later in range(place, len(cumulative)):
            cumulative[later] += amount
        if self.detailed:
            self.amounts.insert(place, amount)
            self.merchants.insert(place, merchant)
            self.categories.insert(place, shared(transaction.merchant_category))
            self.countries.insert(place, shared(transaction.country))
            self.devices.insert(place, device)
            self.declined.insert(place, transaction.auth_result == "declined")
            self.presences.insert(place, presence)

    def remove(self, timestamp_ms: int, same_time_after: int) -> None:
        """Take the row of this time that `same_time_after` such rows follow out again (a reversed payment).

        Nothing happens when it is not held.
        """
        place = bisect_right(self.timestamps_ms, timestamp_ms) - 1 - same_time_after
        if place >= bisect_left(self.timestamps_ms, timestamp_ms):
            amount, cumulative = self.amount_sum(place, place + 1), self.cumulative_amounts
            for later in range(place, len(cumulative)):
                cumulative[later] -= amount
            self._delete(place, place + 1)

    def drop_before(self, timestamp_ms: int) -> None:
        """Forget rows at or before `timestamp_ms`."""
        expired = bisect_right(self.timestamps_ms, timestamp_ms)
        if expired:
            self.base_amount = self.cumulative_amounts[expired - 1]
            self._delete(0, expired)

    def _delete(self, start: int, end: int) -> None:
        del self.timestamps_ms[start:end]
        del self.cumulative_amounts[start:end]
        if self.detailed:
            del self.amounts[start:end]
            del self.merchants[start:end]
            del self.categories[start:end]
            del self.countries[start:end]
            del self.devices[start:end]
            del self.declined[start:end]
            del self.presences[start:end]


NEW, SAME_AGAIN, ID_REUSED = range(3)
# The columns of what is remembered of an identity besides its identifier.
_CONTENT, _ARRIVAL, _TIMESTAMP = range(3)
_WIDTH = 3


class RecentIdentities:
    """The identities of a customer's transactions within the duplicate horizon, in order of arrival.

    Identifiers and contents are kept as fingerprints (`fraud.features.fingerprints`). Of each event: its identifier,
    its content, the customer's newest event time at arrival (which never goes back), and its own timestamp, negative
    for what is not in the windows: refunds, reversals, late and reversed payments.
    """

    __slots__ = ("_details", "_identifiers")

    def __init__(self) -> None:
        self._identifiers = array("q")
        self._details = array("q")

    @property
    def newest_arrival_ms(self) -> int:
        """The customer's newest event time at the last arrival, 0 before the first."""
        return self._details[_ARRIVAL - _WIDTH] if self._details else 0

    def check(self, identifier: int, content: int, horizon_ms: int) -> int:
        """`NEW`, `SAME_AGAIN`, or `ID_REUSED` for the same identifier with other content."""
        if identifier not in self._identifiers:
            return NEW
        place = self._place(identifier, horizon_ms)
        if place is None:
            return NEW
        return SAME_AGAIN if self._details[_WIDTH * place + _CONTENT] == content else ID_REUSED

    def _place(self, identifier: int, horizon_ms: int) -> int | None:
        """Where the identifier stands, if within the horizon: what is older is dropped in bulk, so it may linger."""
        arrivals_ms = self._details[_ARRIVAL::_WIDTH]
        for place, known in enumerate(self._identifiers):
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
            eighth = len(self._identifiers) >> 3
            if details[_WIDTH * eighth + _ARRIVAL] < newest_ms - horizon_ms:
                expired = bisect_left(details[_ARRIVAL::_WIDTH], newest_ms - horizon_ms)
                del self._identifiers[:expired]
                del details[: _WIDTH * expired]
        self._identifiers.append(identifier)
        details.extend((content, newest_ms, timestamp_ms if in_windows else -timestamp_ms))

    def columns(self) -> tuple[array[int], array[int], array[int], array[int]]:
        """Copies of identifiers, contents, arrivals and timestamps, in order of arrival."""
        details = self._details
        return self._identifiers[:], details[_CONTENT::_WIDTH], details[_ARRIVAL::_WIDTH], details[_TIMESTAMP::_WIDTH]

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
        identities._identifiers.extend(identifiers)
        for row in zip(contents, arrivals_ms, timestamps_ms, strict=True):
            identities._details.extend(row)
        return identities


class CustomerState:
    """Everything that is remembered about one customer.

    `newest_ms` is the newest event time absorbed (0 for none), `sequence` how many events there ever were, those that
    are forgotten included.
    """

    __slots__ = ("history", "identities", "newest_ms", "profile", "sequence")

    def __init__(self, plan: StatePlan, sequence: int = 0) -> None:
        self.sequence = sequence
        self.history = CustomerHistory(plan.detailed)
        self.profile: DetailedProfile
        # Without details the set has no feature that would read them.
        self.profile = DetailedProfile() if plan.detailed else CustomerProfile()  # type: ignore[assignment]
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
        late = self.is_late(transaction.timestamp_ms, plan)
        self.remember(identifier, content, transaction, plan)
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

    def is_late(self, timestamp_ms: int, plan: StatePlan) -> bool:
        """Whether an event of this time comes too late to be absorbed."""
        return timestamp_ms < self.newest_ms - plan.allowed_lateness_ms

    def absorb(self, transaction: Transaction, merchant: str | None, device: str | None, plan: StatePlan) -> None:
        """Add an authorisation to windows and profile; arguments as in `CustomerHistory.insert`."""
        presence = card_presence(transaction)
        self.history.insert(transaction, merchant, device, presence)
        self.profile.absorb(transaction, merchant, device, presence == CARD_PRESENT)
        self.newest_ms = max(self.newest_ms, transaction.timestamp_ms)
        # In bulk: shifting every column for each expired row would cost more than holding a few rows longer.
        timestamps = self.history.timestamps_ms
        if timestamps[len(timestamps) >> 3] <= self.newest_ms - plan.customer_retention_ms:
            self.drop_expired(plan)

    def drop_expired(self, plan: StatePlan) -> None:
        """Forget rows that no window of an event in time reaches."""
        self.history.drop_before(self.newest_ms - plan.customer_retention_ms)

    def remember(self, identifier: int, content: int, transaction: Transaction, plan: StatePlan) -> None:
        """Remember the identity of any event, absorbed or not."""
        self.sequence += 1
        timestamp_ms = transaction.timestamp_ms
        in_windows = transaction.event_type == "authorisation" and not self.is_late(timestamp_ms, plan)
        self.identities.remember(
            identifier,
            content,
            max(self.newest_ms, timestamp_ms),
            timestamp_ms,
            in_windows=in_windows,
            horizon_ms=plan.duplicate_horizon_ms,
        )

    def reverse(self, original_identifier: int, plan: StatePlan) -> None:
        """A reversal: the original payment leaves the windows; the profile keeps it as an attempt."""
        original = self.identities.take_payment(original_identifier, plan.duplicate_horizon_ms)
        if original is not None:
            self.history.remove(*original)
