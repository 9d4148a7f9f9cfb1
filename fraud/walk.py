"""The walk of a batch through the states: what is new is read against the state before it and then absorbed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import inf

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from fraud.features.compiled import Integers, Reals
from fraud.features.customer_identities import IS_THERE, WAS_SILENT
from fraud.features.customer_state import (
    ID_REUSED,
    NEW,
    SAME_AGAIN,
    CustomerState,
    questions_about,
    remember_all,
)
from fraud.features.customer_words import EVENT_ADDRESS, EVENT_IS_PAYMENT, EVENT_TIMESTAMP_MS
from fraud.features.extraction import CustomerStates, EntityStates, Extraction
from fraud.features.facts import Facts
from fraud.features.fingerprints import Identity, fingerprint, identity_fingerprints
from fraud.features.passage import Mark, Passages
from fraud.features.plan import StatePlan
from fraud.features.profile_values import ProfileField, Profiles
from fraud.features.rotation import Rotation
from fraud.ports import EntityEvent, LabelFeed, Origin, StoredDecision
from fraud.transaction import InvalidTransactionError, Transaction

# Longer runs gain nothing; shorter ones, and those of batches with few customers, share less.
LONGEST_RUN = 64


@dataclass(frozen=True)
class Admitted:
    """The messages of a batch that were admitted: their positions, what they became, and the fingerprints of that.

    `identities` int64 [n, 2].
    """

    positions: list[int]
    transactions: list[Transaction]
    identities: NDArray[np.int64]

    def each(self) -> Iterator[tuple[int, Transaction, Identity]]:
        """Position, transaction and identity of each."""
        return zip(self.positions, self.transactions, map(tuple, self.identities.tolist()), strict=True)

    def before(self, to_ms: float) -> Admitted:
        """Those from before this time."""
        if to_ms == inf:
            return self
        rows = [row for row, transaction in enumerate(self.transactions) if transaction.timestamp_ms < to_ms]
        return Admitted(
            [self.positions[row] for row in rows], [self.transactions[row] for row in rows], self.identities[rows]
        )


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that enters its customer's history; `row` is its row in the decided batch, None if it is not decided."""

    position: int
    transaction: Transaction
    sequence: int
    late: bool
    first_time: bool
    row: int | None


@dataclass(frozen=True)
class LiveBatch:
    """What becomes durable of a batch: new events, and what their entities count, by source in order of offset.

    `stored` is what history already held, by position: the same transaction delivered or sent again. `repeated` are all
    that came again, also those whose first came in this batch. `reused` are positions whose identity history holds with
    other content; `new_contents` fingerprints of the contents of new events, by their key in history.
    """

    origins: Sequence[Origin]
    new_events: list[NewEvent] = field(default_factory=list)
    entity_events: dict[str, list[EntityEvent]] = field(default_factory=dict)
    stored: dict[int, StoredDecision] = field(default_factory=dict)
    repeated: list[tuple[int, Transaction]] = field(default_factory=list)
    reused: set[int] = field(default_factory=set)
    new_contents: dict[tuple[str, int, str], int] = field(default_factory=dict)


@dataclass
class Progress:
    """What the walk collects; the first five are of what is decided, `matrices` and `profiles` run by run."""

    positions: list[int] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    matrices: list[Reals] = field(default_factory=list)
    profiles: list[Profiles] = field(default_factory=list)
    late: list[bool] = field(default_factory=list)
    refused: list[tuple[int, InvalidTransactionError]] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    recorded: int = 0
    warmed: int = 0
    newest_ms: int = 0
    live: LiveBatch | None = None


@dataclass(frozen=True)
class Route:
    """What is the same for every batch. Events before `from_ms` are absorbed and not read, those at `to_ms` or later
    left out. `profile_fields` are read of each customer.
    """

    extraction: Extraction
    rotation: Rotation | None
    from_ms: float
    to_ms: float
    profile_fields: Sequence[ProfileField]


class Walk:
    """A batch of what was `admitted` on its way through `customers` and `entities`, which hold at least what it names.

    It goes in runs of different customers: all of a run are read before any of them is counted, in one go.
    """

    def __init__(
        self,
        route: Route,
        admitted: Admitted,
        customers: CustomerStates,
        entities: EntityStates,
        labels: LabelFeed,
        progress: Progress,
    ) -> None:
        self._route = route
        self._extraction = route.extraction
        self._plan = route.extraction.plan
        self._customers = customers
        self._entities = entities
        self._labels = labels
        self._progress = progress
        self._admitted = admitted.before(route.to_ms)
        self._facts = route.extraction.facts(self._admitted.transactions, self._admitted.identities)
        # Of the run in hand: what passes customers and entities, and which rows of the batch that is, which of it is
        # decided, what is new to history (with its number among the passages), and what labels changed just now.
        self._passages = self._no_passages()
        self._passing: list[int] = []
        self._decided: list[int] = []
        self._new: list[tuple[NewEvent, int | None]] = []
        self._due: Sequence[Mark] = ()

    def go(self) -> None:
        """Take the batch through, in its order."""
        events = self._facts.events
        self._progress.newest_ms = int(events[:, EVENT_TIMESTAMP_MS].max(initial=0))
        user_ids = [transaction.user_id for transaction in self._admitted.transactions]
        for start, end in _runs_of_different_customers(user_ids):
            self._arrive(start, user_ids[start:end], events[start:end])
            self._finish_run()

    def _no_passages(self) -> Passages:
        return Passages(origins=None if self._progress.live is None else [])

    def _finish_run(self) -> None:
        progress, passages = self._progress, self._passages
        first_times: list[bool] = []
        if len(passages):
            passed = self._extraction.pass_all(
                passages,
                self._entities,
                self._route.profile_fields,
                facts=self._facts_of_run(),
                wanted=bool(self._decided),
            )
            if len(self._decided) == len(passages):
                progress.matrices.append(passed.matrix)
                progress.profiles.append(passed.profiles)
            else:
                progress.matrices.append(passed.matrix[self._decided])
                progress.profiles.append(passed.profiles.at(self._decided))
            if progress.live is not None:
                first_times = passed.first_times.astype(np.bool_).tolist()
        self._extraction.mark(self._due, self._entities)
        if progress.live is not None:
            self._note_new(first_times, progress.live)
        self._passages, self._due = self._no_passages(), ()
        self._passing, self._decided, self._new = [], [], []

    def _facts_of_run(self) -> Facts | None:
        """What is known of the passages; nothing yet where some stand as history has them."""
        rows = self._passing
        if self._passages.repeated:
            return None
        # Nearly always one after the other.
        return self._facts.at(slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] == len(rows) - 1 else rows)

    def _note_new(self, first_times: Sequence[bool], live: LiveBatch) -> None:
        """Note what becomes durable, and what its entities count."""
        for event, number in self._new:
            first_time = number is not None and first_times[number]
            live.new_events.append(replace(event, first_time=first_time) if first_time else event)
        passages = self._passages
        for transaction, late, (source, offset), first_time in zip(
            passages.transactions, passages.late, passages.origins or (), first_times, strict=True
        ):
            if late:
                continue
            counted = entity_events(self._extraction, transaction, offset, first_time=first_time)
            if self._route.rotation is not None:
                counted = [event.with_former(self._route.rotation.former) for event in counted]
            live.entity_events.setdefault(source, []).extend(counted)

    def _arrive(self, first: int, user_ids: Sequence[str], events: Integers) -> None:
        """Refuse what was there before; of what is new, note what it changes. `first` is the run's first row."""
        labels, transactions, positions = self._labels, self._admitted.transactions, self._admitted.positions
        states = list(map(self._customers.get, user_ids))
        seen = self._look_up(first, states, events)
        new = [row for row, standing in enumerate(seen) if standing == NEW] if any(seen) else range(len(seen))
        customers = [state for row in new if (state := states[row]) is not None]
        late = remember_all(events[new] if any(seen) else events, customers, self._plan)
        if self._is_plain(seen, events):
            self._pass_all(first, customers, list(map(bool, late)))
            return
        arrived = iter(late)
        for row, standing, state in zip(count(first), seen, states, strict=False):
            transaction = transactions[row]
            if transaction.timestamp_ms >= labels.next_due_ms:
                self._due = [*self._due, *labels.due(transaction.timestamp_ms)]
            if standing != NEW or state is None:
                self._refuse_repetition(positions[row], transaction, standing)
            elif transaction.event_type == "authorisation":
                self._pass(row, transaction, state, late=bool(next(arrived)))
            else:
                next(arrived)
                self._record(row, transaction, state)

    def _is_plain(self, seen: Sequence[int], events: Integers) -> bool:
        """Whether a run is of new payments that are decided and not kept: nearly every run of a replay."""
        return (
            self._progress.live is None
            and not any(seen)
            and bool(events[:, EVENT_IS_PAYMENT].all())
            and int(events[:, EVENT_TIMESTAMP_MS].min()) >= self._route.from_ms
        )

    def _pass_all(self, first: int, customers: Sequence[CustomerState], late: Sequence[bool]) -> None:
        """As `_pass` for each event of a plain run."""
        progress, passages, labels = self._progress, self._passages, self._labels
        rows = slice(first, first + len(customers))
        transactions, positions = self._admitted.transactions[rows], self._admitted.positions[rows]
        for place, (position, transaction) in enumerate(zip(positions, transactions, strict=True)):
            if transaction.timestamp_ms >= labels.next_due_ms:
                passages.due.append((place, labels.due(transaction.timestamp_ms)))
            if position in labels.following and not late[place]:
                labels.absorbed(position, transaction)
        progress.positions += positions
        progress.transactions += transactions
        progress.late += late
        passages.transactions.extend(transactions)
        passages.customers.extend(customers)
        passages.late.extend(late)
        self._decided = list(range(len(customers)))
        self._passing = list(range(rows.start, rows.stop))

    def _look_up(self, first: int, states: list[CustomerState | None], events: Integers) -> list[int]:
        """Whether each of a run was seen before; states that are to be new ones are made."""
        admitted, live = self._admitted, self._progress.live
        seen = [NEW] * len(states)
        if live is not None:
            rows = range(first, first + len(states))
            contents = admitted.identities[first : first + len(states), 1].tolist()
            seen = [
                _seen_live(admitted.positions[row], admitted.transactions[row], content, live)
                for row, content in zip(rows, contents, strict=True)
            ]
        # Nearly all are new by their identifier alone, and of customers who are there.
        for row, question in enumerate(questions_about(events, states, self._plan)):
            if question == 0 or seen[row] != NEW:
                continue
            transaction = admitted.transactions[first + row]
            if question & IS_THERE:
                identifier, content = admitted.identities[first + row].tolist()
                seen[row] = seen_before(
                    transaction, (identifier, content), states[row], self._plan, self._route.rotation
                )
            if question & WAS_SILENT and seen[row] == NEW:
                state = self._extraction.customer(transaction.user_id, transaction.timestamp_ms, self._customers)
                states[row], events[row, EVENT_ADDRESS] = state, state.address
        return seen

    def _pass(self, row: int, transaction: Transaction, customer: CustomerState, *, late: bool) -> None:
        progress, position = self._progress, self._admitted.positions[row]
        decided_row = None
        if transaction.timestamp_ms >= self._route.from_ms:
            decided_row = len(progress.transactions)
            progress.positions.append(position)
            progress.transactions.append(transaction)
            progress.late.append(late)
            self._decided.append(len(self._passages))
        else:
            progress.warmed += 1
        if progress.live is not None:
            event = NewEvent(position, transaction, customer.sequence, late, first_time=False, row=decided_row)
            self._new.append((event, len(self._passages)))
            progress.live.new_contents[_history_key(transaction)] = int(self._admitted.identities[row, 1])
        self._passing.append(row)
        self._meet(position, transaction, customer, late=late)
        if not late and position in self._labels.following:
            self._labels.absorbed(position, transaction)

    def _meet(self, position: int, transaction: Transaction, customer: CustomerState | None, *, late: bool) -> None:
        passages = self._passages
        if self._due:
            passages.due.append((len(passages), self._due))
            self._due = ()
        if passages.origins is not None and self._progress.live is not None:
            origin = self._progress.live.origins[position]
            passages.origins.append((origin.source, origin.offset))
        passages.transactions.append(transaction)
        passages.customers.append(customer)
        passages.late.append(late)

    def _record(self, row: int, transaction: Transaction, customer: CustomerState) -> None:
        progress = self._progress
        if transaction.event_type == "reversal" and transaction.original_transaction_id is not None:
            customer.reverse(fingerprint(transaction.original_transaction_id), self._plan)
        progress.recorded += 1
        if progress.live is not None:
            position = self._admitted.positions[row]
            event = NewEvent(position, transaction, customer.sequence, late=False, first_time=False, row=None)
            self._new.append((event, None))
            progress.live.new_contents[_history_key(transaction)] = int(self._admitted.identities[row, 1])

    def _refuse_repetition(self, position: int, transaction: Transaction, seen: int) -> None:
        progress = self._progress
        if seen == ID_REUSED:
            error = InvalidTransactionError(
                "transaction_id_reused",
                "transaction_id",
                "was seen before with other content; only the first one counts",
                transaction.transaction_id,
            )
            progress.refused.append((position, error))
            return
        progress.duplicates.append(position)
        if progress.live is not None:
            progress.live.repeated.append((position, transaction))
            self._count_again(position, progress.live)

    def _count_again(self, position: int, live: LiveBatch) -> None:
        """A message delivered again after a crash: its entities may not have counted it yet. One sent again has."""
        stored = live.stored.get(position)
        if stored is None or stored.origin != live.origins[position] or stored.late:
            return
        if stored.transaction.event_type == "authorisation":
            # As it stands in history: its entities know it by the tokens that it had then.
            self._passages.repeated[len(self._passages)] = stored.first_time
            self._meet(position, stored.transaction, None, late=False)


def seen_before(
    transaction: Transaction,
    identities: Identity,
    customer: CustomerState | None,
    plan: StatePlan,
    rotation: Rotation | None,
) -> int:
    """By what is remembered of the customer: `NEW`, `SAME_AGAIN` or `ID_REUSED`; `identities` are its fingerprints."""
    if customer is None:
        return NEW
    seen = customer.standing_of(*identities, plan)
    if seen == ID_REUSED and rotation is not None:
        seen = customer.standing_of(*identity_fingerprints(rotation.before(transaction)), plan)
    # To one who is forgotten by then, an old name is a new one.
    return NEW if seen == ID_REUSED and customer.is_forgotten(transaction.timestamp_ms, plan) else seen


def entity_events(
    extraction: Extraction, transaction: Transaction, offset: int, *, first_time: bool
) -> list[EntityEvent]:
    """An authorisation, from this offset of its source, as each of its entities counts it."""
    return [
        EntityEvent(
            kind,
            key,
            offset,
            transaction.timestamp_ms,
            transaction.base_amount_minor,
            transaction.user_id,
            transaction.card_id,
            first_time,
        )
        for kind, key in extraction.entity_keys(transaction)
    ]


def _seen_live(position: int, transaction: Transaction, content: int, live: LiveBatch) -> int:
    """By what history holds, or will after this batch."""
    if position in live.stored:
        return SAME_AGAIN
    if position in live.reused:
        return ID_REUSED
    known = live.new_contents.get(_history_key(transaction))
    if known is None:
        return NEW
    return SAME_AGAIN if known == content else ID_REUSED


def _history_key(transaction: Transaction) -> tuple[str, int, str]:
    return transaction.user_id, transaction.timestamp_ms, transaction.transaction_id


def _runs_of_different_customers(user_ids: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where each run starts and where it ends."""
    start, present = 0, set[str]()
    for row, user_id in enumerate(user_ids):
        if user_id in present or row - start == LONGEST_RUN:
            yield start, row
            start, present = row, set()
        present.add(user_id)
    if present:
        yield start, len(user_ids)
