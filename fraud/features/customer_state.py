"""What is remembered about one customer: exact sliding windows, a bounded profile, and the identities seen lately.

State absorbs transactions only, never scores, actions or labels, so features do not depend on policy. All sums are
integers: a state rebuilt from history equals the running one to the bit.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import chain
from math import nan
from operator import attrgetter
from sys import intern

import numpy as np

from fraud.features import customer_words as layout
from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.customer_absorbing import HOME, LEARNED_AT_ONCE, LEARNED_WIDTH, ROOM, ROWS, absorb
from fraud.features.customer_words import Table
from fraud.features.fingerprints import fingerprint
from fraud.features.plan import StatePlan
from fraud.features.presence import attempt_flags
from fraud.transaction import Transaction

# Growing by few places copies often, by many holds memory that stays empty: tables grow by a quarter, rows by an
# eighth, and at least by so many.
_NEW_PLACES = 4
_NEW_ROWS = 12
# What nearly every customer needs, by table.
_FIRST_PLACES = (4, 4, 1, 1, 2, 1, 0, 1)
_FIRST_ROWS = 8

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

    def remember(self, identifier: int, content: int, newest_ms: int, timestamp_ms: int, horizon_ms: int) -> None:
        """Add an event that arrives when the customer's newest event time is `newest_ms`.

        `timestamp_ms` is negative for what is not in the windows.
        """
        details = self._details
        if details:
            # A refund may be newer than what is absorbed; arrivals never go back.
            last_ms = details[_ARRIVAL - _WIDTH]
            newest_ms = max(newest_ms, last_ms)
            # In bulk, as with the rows of the history.
            sixteenth = len(self.identifiers) >> 4
            if details[_WIDTH * sixteenth + _ARRIVAL] < newest_ms - horizon_ms:
                expired = bisect_left(details[_ARRIVAL::_WIDTH], newest_ms - horizon_ms)
                del self.identifiers[:expired]
                del details[: _WIDTH * expired]
        self.identifiers.append(identifier)
        # Faster than extending by a tuple.
        details.fromlist([content, newest_ms, timestamp_ms])

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
    """Everything that is remembered about one customer.

    `words` is laid out by `fraud.features.customer_words`. It knows things by their hash: `names` has, for each table,
    the name at each place, and `home_country` the country of most payments; both stay empty unless the plan asks for
    details. `sequence` is how many events there ever were, those that are forgotten included.
    """

    __slots__ = ("home_country", "identities", "names", "sequence", "words")

    def __init__(self, plan: StatePlan, sequence: int = 0) -> None:
        self.sequence = sequence
        self.identities = RecentIdentities()
        self.words = array("q", _EMPTY_DETAILED if plan.detailed else _EMPTY_PLAIN)
        self.names: list[list[str]] = [[] for _ in Table] if plan.detailed else []
        self.home_country: str | None = None

    @property
    def newest_ms(self) -> int:
        """The newest event time absorbed, 0 for none."""
        return self.words[layout.NEWEST_MS]

    @property
    def first_seen_ms(self) -> int:
        """When the first event was that was absorbed, 0 for none."""
        return self.words[layout.FIRST_SEEN_MS]

    @property
    def address(self) -> int:
        """Where the words lie; another place after each growth."""
        return self.words.buffer_info()[0]

    def record(
        self,
        transaction: Transaction,
        identifier: int,
        content: int,
        plan: StatePlan,
    ) -> bool:
        """Take in an event that `identities` do not know yet; whether it comes too late for the windows.

        `identifier` and `content` are its fingerprints.
        """
        late = self.remember(identifier, content, transaction, plan)
        if transaction.event_type == "authorisation":
            if not late:
                absorb_all(*events_of([self], [transaction], [False]), [self], [transaction], plan)
        elif transaction.event_type == "reversal" and transaction.original_transaction_id is not None:
            self.reverse(fingerprint(transaction.original_transaction_id), plan)
        return late

    def is_forgotten(self, timestamp_ms: int, plan: StatePlan) -> bool:
        """Whether the customer was silent so long before `timestamp_ms` that it counts as new.

        Payments alone break the silence, but of a customer who never paid, refunds do.
        """
        newest_ms = self.newest_ms or self.identities.newest_arrival_ms
        return newest_ms != 0 and timestamp_ms - newest_ms > plan.forget_after_ms

    def grow(self, section: int) -> None:
        """Make room in a table or in the rows."""
        words = self.words
        if section == ROWS:
            rows = max(_NEW_ROWS, words[layout.ROW_COUNT] >> 3)
            words.extend([0] * (rows * words[layout.ROW_WIDTH]))
        else:
            directory = layout.TABLES_AT + layout.TABLE_WORDS * section
            is_last = section == len(Table) - 1
            end = words[layout.ROWS_AT] if is_last else words[directory + layout.TABLE_WORDS]
            new = layout.WIDTHS[section] * max(_NEW_PLACES, words[directory + layout.TAKEN] >> 2)
            words[end:end] = array("q", [0] * new)
            for later in range(section + 1, len(Table)):
                words[layout.TABLES_AT + layout.TABLE_WORDS * later] += new
            words[layout.ROWS_AT] += new
        words[layout.LENGTH] = len(words)

    def remember(self, identifier: int, content: int, transaction: Transaction, plan: StatePlan) -> bool:
        """Remember the identity of any event, absorbed or not; whether it comes too late to be absorbed."""
        self.sequence += 1
        timestamp_ms, newest_ms = transaction.timestamp_ms, self.words[layout.NEWEST_MS]
        late = timestamp_ms < newest_ms - plan.allowed_lateness_ms
        in_windows = transaction.event_type == "authorisation" and not late
        self.identities.remember(
            identifier,
            content,
            newest_ms if newest_ms > timestamp_ms else timestamp_ms,
            timestamp_ms if in_windows else -timestamp_ms,
            plan.duplicate_horizon_ms,
        )
        return late

    def reverse(self, original_identifier: int, plan: StatePlan) -> None:
        """A reversal: the original payment leaves the windows; the profile keeps it as an attempt."""
        original = self.identities.take_payment(original_identifier, plan.duplicate_horizon_ms)
        if original is not None:
            _take_out(self.address, *original)


@compiled
def _take_out(address: int, timestamp_ms: int, same_time_after: int) -> None:
    """Delete the row of this time that as many others of the same time stand behind, if it is still there."""
    words = integers_at(address)
    place = layout.rows_until(words, timestamp_ms, words[layout.ROW_COUNT]) - 1 - same_time_after
    if place >= 0 and words[layout.row_at(words, place)] == timestamp_ms:
        layout.delete_rows(words, place, place + 1)


def _empty_plain() -> array[int]:
    words = array("q", [0] * (layout.PLAIN_HEADER + _FIRST_ROWS * layout.PLAIN_ROW))
    words[layout.LENGTH] = len(words)
    words[layout.ROWS_AT] = layout.PLAIN_HEADER
    words[layout.ROW_WIDTH] = layout.PLAIN_ROW
    return words


def _empty_detailed() -> array[int]:
    words = array("q", [0] * layout.DETAILED_HEADER)
    words[layout.ROW_WIDTH] = layout.DETAILED_ROW
    words[layout.LAST_PRESENT_MS] = layout.NEVER_MS
    for table, places in zip(Table, _FIRST_PLACES, strict=True):
        words[layout.TABLES_AT + layout.TABLE_WORDS * table] = len(words)
        words.extend([0] * (places * layout.WIDTHS[table]))
    words[layout.ROWS_AT] = len(words)
    words.extend([0] * (_FIRST_ROWS * layout.DETAILED_ROW))
    words[layout.LENGTH] = len(words)
    return words


_EMPTY_PLAIN = _empty_plain()
_EMPTY_DETAILED = _empty_detailed()


_names_of = attrgetter(
    "merchant_id", "merchant_category", "country", "device_id", "ip_prefix", "card_id", "counterparty_id"
)


def absorb_all(
    events: Integers,
    positions: Reals,
    customers: Sequence[CustomerState],
    transactions: Sequence[Transaction],
    plan: StatePlan,
    shared: Callable[[Table, str], str] | None = None,
) -> None:
    """Count authorisations that are not late, each in its customer's state; the arrays as in `fraud.features.run.Run`.

    `shared` gives, for a merchant or device, an object of equal text to hold on to instead of the transaction's own,
    which saves memory where somebody else holds it anyway.
    """
    learned = np.empty((len(events) * LEARNED_AT_ONCE, LEARNED_WIDTH), np.int64)
    done, count, section = absorb(events, positions, 0, plan.customer_retention_ms, learned, 0)
    while section != ROOM:
        customers[done].grow(section)
        events[done, layout.EVENT_ADDRESS] = customers[done].address
        done, count, section = absorb(events, positions, done, plan.customer_retention_ms, learned, count)
    for number, table, place in learned[:count].tolist():
        _learn(customers[number], transactions[number], table, place, shared)


def events_of(
    customers: Sequence[CustomerState], transactions: Sequence[Transaction], late: Sequence[bool]
) -> tuple[Integers, Reals]:
    """`events` and `positions` of a `fraud.features.run.Run`, of one or more customers under one plan."""
    columns: list[Sequence[int]] = [
        [customer.words.buffer_info()[0] for customer in customers],
        [transaction.timestamp_ms for transaction in transactions],
        [transaction.base_amount_minor for transaction in transactions],
        late,
    ]
    places: list[float] = []
    if customers[0].names:
        columns.append(list(map(attempt_flags, transactions)))
        # In the order of the tables; as `name_hash` has it, without a call for each.
        columns += [
            [0 if name is None else hash(name) or 1 for name in names]
            for names in zip(*map(_names_of, transactions), strict=True)
        ]
        for transaction in transactions:
            latitude, longitude = transaction.latitude, transaction.longitude
            places += _NOWHERE if latitude is None or longitude is None else (latitude, longitude)
    words = array("q", list(chain.from_iterable(zip(*columns, strict=True))))
    events = np.frombuffer(words, np.int64).reshape(len(customers), -1)
    return events, np.frombuffer(array("d", places)).reshape(-1, 2)


_NOWHERE = (nan, nan)


# Where an object of equal text may stand already.
_SHARED = (Table.MERCHANT, Table.DEVICE)
# Categories and countries are few: one object stands for each of them everywhere.
_FEW = (Table.CATEGORY, Table.COUNTRY, Table.COUNTRY_COUNTS)


def _learn(
    customer: CustomerState,
    transaction: Transaction,
    table: int,
    place: int,
    shared: Callable[[Table, str], str] | None,
) -> None:
    """Note the name of what the transaction put at a place of a table."""
    names = _names_of(transaction)
    if table == HOME:
        customer.home_country = intern(names[Table.COUNTRY])
        return
    name = names[Table.COUNTRY if table == Table.COUNTRY_COUNTS else table]
    if table in _FEW:
        name = intern(name)
    elif shared is not None and table in _SHARED:
        name = shared(Table(table), name)
    known = customer.names[table]
    if place == len(known):
        known.append(name)
    else:
        known[place] = name
