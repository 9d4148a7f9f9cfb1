"""What is remembered about one customer: exact sliding windows, a bounded profile, and the identities seen lately.

State absorbs transactions only, never scores, actions or labels, so features do not depend on policy. All sums are
integers: a state rebuilt from history equals the running one to the bit.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from sys import intern

import numpy as np

from fraud.features import customer_words as layout
from fraud.features.compiled import Integers
from fraud.features.customer_absorbing import HOME, IDENTITIES, LEARNED_AT_ONCE, LEARNED_WIDTH, ROOM, ROWS, absorb
from fraud.features.customer_identities import (
    IDENTITY_WORDS,
    content_of,
    look_up,
    newest_arrival_at,
    remember,
    take_out,
)
from fraud.features.customer_words import Table
from fraud.features.facts import Facts, facts_of
from fraud.features.fingerprints import fingerprint
from fraud.features.plan import StatePlan
from fraud.transaction import Transaction

# Growing by few places copies often, by many holds memory that stays empty: tables grow by a quarter, rows by an
# eighth, and at least by so many.
_NEW_PLACES = 4
_NEW_ROWS = 16
_NEW_IDENTITIES = 8
# What nearly every customer needs, by table.
_FIRST_PLACES = (8, 5, 2, 2, 4, 1, 1, 2)
_FIRST_ROWS = 8

NEW, SAME_AGAIN, ID_REUSED = range(3)


class CustomerState:
    """Everything that is remembered about one customer.

    `words` is laid out by `fraud.features.customer_words`. It knows things by their hash: `names` has, for each table,
    the name at each place, and `home_country` the country of most payments; both stay empty unless the plan asks for
    details.
    """

    __slots__ = ("home_country", "names", "words")

    def __init__(self, plan: StatePlan, sequence: int = 0) -> None:
        self.words = array("q", _EMPTY_DETAILED if plan.detailed else _EMPTY_PLAIN)
        self.words[layout.SEQUENCE] = sequence
        self.names: list[list[str]] = [[] for _ in Table] if plan.detailed else []
        self.home_country: str | None = None

    @property
    def sequence(self) -> int:
        """How many events there ever were, those that are forgotten included."""
        return self.words[layout.SEQUENCE]

    @property
    def newest_ms(self) -> int:
        """The newest event time absorbed, 0 for none."""
        return self.words[layout.NEWEST_MS]

    @property
    def first_seen_ms(self) -> int:
        """When the first event was that was absorbed, 0 for none."""
        return self.words[layout.FIRST_SEEN_MS]

    @property
    def newest_arrival_ms(self) -> int:
        """The newest event time at the last arrival, 0 before the first."""
        return newest_arrival_at(self.address)

    @property
    def address(self) -> int:
        """Where the words lie; another place after each growth."""
        return self.words.buffer_info()[0]

    def record(self, transaction: Transaction, identifier: int, content: int, plan: StatePlan) -> bool:
        """Take in an event that is new; whether it comes too late for the windows.

        `identifier` and `content` are its fingerprints.
        """
        facts = facts_of([transaction], plan, np.array([[identifier, content]], np.int64))
        facts.events[:, layout.EVENT_ADDRESS] = self.address
        [late] = remember_all(facts.events, [self], plan)
        if transaction.event_type == "authorisation":
            facts.events[:, layout.EVENT_ADDRESS] = self.address
            absorb_all(facts, [self], [transaction], plan)
        elif transaction.event_type == "reversal" and transaction.original_transaction_id is not None:
            self.reverse(fingerprint(transaction.original_transaction_id), plan)
        return bool(late)

    def standing_of(self, identifier: int, content: int, plan: StatePlan) -> int:
        """`NEW`, `SAME_AGAIN`, or `ID_REUSED` for the same identifier with other content."""
        is_there, known = content_of(self.address, identifier, plan.duplicate_horizon_ms)
        if not is_there:
            return NEW
        return SAME_AGAIN if known == content else ID_REUSED

    def identity_words(self) -> array[int]:
        """A copy of the words of the identities, in order of arrival."""
        start = self.words[layout.IDENTITIES_AT]
        return self.words[start : start + self.words[layout.IDENTITY_COUNT] * IDENTITY_WORDS]

    def put_identities(self, identities: array[int]) -> None:
        """Let these, as `identity_words` has them, be those that are remembered; what stood behind the rows goes."""
        words = self.words
        del words[words[layout.IDENTITIES_AT] :]
        words.extend(identities)
        words[layout.IDENTITY_COUNT] = len(identities) // IDENTITY_WORDS
        words[layout.LENGTH] = len(words)

    def is_forgotten(self, timestamp_ms: int, plan: StatePlan) -> bool:
        """Whether the customer was silent so long before `timestamp_ms` that it counts as new.

        Payments alone break the silence, but of a customer who never paid, refunds do.
        """
        newest_ms = self.newest_ms or self.newest_arrival_ms
        return newest_ms != 0 and timestamp_ms - newest_ms > plan.forget_after_ms

    def grow(self, section: int) -> None:
        """Make room in a table, in the rows or for identities."""
        words = self.words
        if section == IDENTITIES:
            identities = max(_NEW_IDENTITIES, words[layout.IDENTITY_COUNT] >> 3)
            words.extend([0] * (identities * IDENTITY_WORDS))
        elif section == ROWS:
            rows = max(_NEW_ROWS, words[layout.ROW_COUNT] >> 3)
            self._insert(words[layout.IDENTITIES_AT], rows * words[layout.ROW_WIDTH])
        else:
            directory = layout.TABLES_AT + layout.TABLE_WORDS * section
            is_last = section == len(Table) - 1
            end = words[layout.ROWS_AT] if is_last else words[directory + layout.TABLE_WORDS]
            new = layout.WIDTHS[section] * max(_NEW_PLACES, words[directory + layout.TAKEN] >> 2)
            self._insert(end, new)
            for later in range(section + 1, len(Table)):
                words[layout.TABLES_AT + layout.TABLE_WORDS * later] += new
            words[layout.ROWS_AT] += new
        words[layout.LENGTH] = len(words)

    def _insert(self, end: int, new: int) -> None:
        self.words[end:end] = array("q", bytes(new * self.words.itemsize))
        self.words[layout.IDENTITIES_AT] += new

    def reverse(self, original_identifier: int, plan: StatePlan) -> None:
        """A reversal: the original payment leaves the windows; the profile keeps it as an attempt."""
        take_out(self.address, original_identifier, plan.duplicate_horizon_ms)


def _empty_plain() -> array[int]:
    words = array("q", [0] * layout.PLAIN_HEADER)
    words[layout.ROW_WIDTH] = layout.PLAIN_ROW
    _add_rows_and_identities(words)
    return words


def _empty_detailed() -> array[int]:
    words = array("q", [0] * layout.DETAILED_HEADER)
    words[layout.ROW_WIDTH] = layout.DETAILED_ROW
    words[layout.LAST_PRESENT_MS] = layout.NEVER_MS
    for table, places in zip(Table, _FIRST_PLACES, strict=True):
        words[layout.TABLES_AT + layout.TABLE_WORDS * table] = len(words)
        words.extend([0] * (places * layout.WIDTHS[table]))
    _add_rows_and_identities(words)
    return words


def _add_rows_and_identities(words: array[int]) -> None:
    words[layout.ROWS_AT] = len(words)
    words.extend([0] * (_FIRST_ROWS * words[layout.ROW_WIDTH]))
    words[layout.IDENTITIES_AT] = len(words)
    words.extend([0] * (_NEW_IDENTITIES * IDENTITY_WORDS))
    words[layout.LENGTH] = len(words)


_EMPTY_PLAIN = _empty_plain()
_EMPTY_DETAILED = _empty_detailed()


def _nobody() -> array[int]:
    words = _empty_plain()
    words[layout.NEWEST_MS] = layout.NEVER_MS
    return words


# The state of who is not there yet, to look at only.
_NOBODY = _nobody()


def questions_about(events: Integers, customers: Sequence[CustomerState | None], plan: StatePlan) -> list[int]:
    """What is to be asked before each of these, of different customers, is remembered: bits of IS_THERE, WAS_SILENT.

    Who is not there yet was silent. Nothing if there is nothing to be asked about anyone. The events, as in
    `fraud.features.facts`, know their customers from now on.
    """
    events[:, layout.EVENT_ADDRESS] = [
        _NOBODY.buffer_info()[0] if customer is None else customer.words.buffer_info()[0] for customer in customers
    ]
    questions = np.empty(len(events), np.int64)
    return questions.tolist() if look_up(events, plan.forget_after_ms, questions) else []


def remember_all(events: Integers, customers: Sequence[CustomerState], plan: StatePlan) -> list[int]:
    """Remember events that know these different customers, absorbed or not; 1 for each that comes too late, else 0."""
    limits_ms = plan.allowed_lateness_ms, plan.duplicate_horizon_ms
    done = remember(events, 0, *limits_ms)
    while done < len(events):
        customers[done].grow(IDENTITIES)
        events[done, layout.EVENT_ADDRESS] = customers[done].address
        done = remember(events, done, *limits_ms)
    late: list[int] = events[:, layout.EVENT_LATE].tolist()
    return late


def absorb_all(
    facts: Facts,
    customers: Sequence[CustomerState],
    transactions: Sequence[Transaction],
    plan: StatePlan,
    shared: Callable[[int, str], str] | None = None,
) -> None:
    """Count authorisations that are not late, each in its customer's state, which `facts` know.

    `shared` gives, for a merchant or device, an object of equal text to hold on to instead of the transaction's own,
    which saves memory where somebody else holds it anyway.
    """
    events, positions = facts
    learned = np.empty((len(events) * LEARNED_AT_ONCE, LEARNED_WIDTH), np.int64)
    done, count, section = absorb(events, positions, 0, plan.customer_retention_ms, learned, 0)
    while section != ROOM:
        customers[done].grow(section)
        events[done, layout.EVENT_ADDRESS] = customers[done].address
        done, count, section = absorb(events, positions, done, plan.customer_retention_ms, learned, count)
    for number, table, place in learned[:count].tolist():
        _learn(customers[number], transactions[number], table, place, shared)


# Where an object of equal text may stand already.
_SHARED = (Table.MERCHANT, Table.DEVICE)
# Categories and countries are few: one object stands for each of them everywhere.
_FEW = (Table.CATEGORY, Table.COUNTRY, Table.COUNTRY_COUNTS)


def _learn(
    customer: CustomerState,
    transaction: Transaction,
    table: int,
    place: int,
    shared: Callable[[int, str], str] | None,
) -> None:
    """Note the name of what the transaction put at a place of a table."""
    names_it = Table.COUNTRY if table in {HOME, Table.COUNTRY_COUNTS} else table
    name = getattr(transaction, layout.TABLE_FIELDS[names_it])
    if table == HOME:
        customer.home_country = intern(name)
        return
    if table in _FEW:
        name = intern(name)
    elif shared is not None and table in _SHARED:
        name = shared(table, name)
    known = customer.names[table]
    if place == len(known):
        known.append(name)
    else:
        known[place] = name
