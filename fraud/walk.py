"""The walk of a batch through the states: what is new is read against the state before it and then absorbed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from fraud.features.compiled import Reals
from fraud.features.customer_state import ID_REUSED, NEW, SAME_AGAIN, CustomerState
from fraud.features.customer_words import NEWEST_MS
from fraud.features.extraction import CustomerStates, EntityStates, Extraction
from fraud.features.fingerprints import fingerprint, identity_fingerprints
from fraud.features.passage import Mark, Passage
from fraud.features.plan import StatePlan
from fraud.features.profile_values import ProfileField, ProfileValue
from fraud.features.rotation import Rotation
from fraud.ports import EntityEvent, LabelFeed, Origin, StoredDecision
from fraud.transaction import InvalidTransactionError, Transaction

# Longer runs gain nothing; shorter ones, and those of batches with few customers, share less.
LONGEST_RUN = 64

# An admitted message: its position in the batch, what it became, and the fingerprints of that.
Admitted = tuple[int, Transaction, tuple[int, int]]


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
    """What the walk collects; the first five are of what is decided, `matrices` the feature values run by run."""

    positions: list[int] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    matrices: list[Reals] = field(default_factory=list)
    profiles: list[list[ProfileValue]] = field(default_factory=list)
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
    """One batch on its way through `customers` and `entities`, which hold at least what it names.

    It goes in runs of different customers: all of a run are read before any of them is counted, in one go.
    """

    def __init__(
        self, route: Route, customers: CustomerStates, entities: EntityStates, labels: LabelFeed, progress: Progress
    ) -> None:
        self._route = route
        self._extraction = route.extraction
        self._plan = route.extraction.plan
        self._customers = customers
        self._entities = entities
        self._labels = labels
        self._progress = progress
        # Of the run in hand: what passes customers and entities, which of that is decided, what is new to history
        # (with its number among the passages), and what labels changed just now.
        self._passages: list[Passage] = []
        self._decided: list[int] = []
        self._new: list[tuple[NewEvent, int | None]] = []
        self._due: Sequence[Mark] = ()

    def go(self, admitted: Sequence[Admitted]) -> None:
        """Take the batch through, in its order."""
        arriving = [one for one in admitted if one[1].timestamp_ms < self._route.to_ms]
        self._progress.newest_ms = max((transaction.timestamp_ms for _, transaction, _ in arriving), default=0)
        for run in _runs_of_different_customers(arriving):
            self._arrive(run)
            self._finish_run()

    def _finish_run(self) -> None:
        progress, passages = self._progress, self._passages
        first_times: list[bool] = []
        if passages:
            passed = self._extraction.pass_all(
                passages, self._entities, self._route.profile_fields, wanted=bool(self._decided)
            )
            first_times = passed.first_times
            if len(self._decided) == len(passages):
                progress.matrices.append(passed.matrix)
                progress.profiles += passed.profiles
            else:
                progress.matrices.append(passed.matrix[self._decided])
                progress.profiles += [passed.profiles[number] for number in self._decided]
        self._extraction.mark(self._due, self._entities)
        if progress.live is not None:
            self._note_new(first_times, progress.live)
        self._passages, self._decided, self._new, self._due = [], [], [], ()

    def _note_new(self, first_times: Sequence[bool], live: LiveBatch) -> None:
        """Note what becomes durable, and what its entities count."""
        for event, number in self._new:
            first_time = number is not None and first_times[number]
            live.new_events.append(replace(event, first_time=first_time) if first_time else event)
        for passage, first_time in zip(self._passages, first_times, strict=True):
            if passage.late:
                continue
            counted = entity_events(self._extraction, passage.transaction, passage.offset, first_time=first_time)
            if self._route.rotation is not None:
                counted = [event.with_former(self._route.rotation.former) for event in counted]
            live.entity_events.setdefault(passage.source, []).extend(counted)

    def _arrive(self, run: Sequence[Admitted]) -> None:
        """Refuse what was there before; of what is new, note what it changes."""
        customers, labels, live, plan = self._customers, self._labels, self._progress.live, self._plan
        for position, transaction, identity in run:
            timestamp_ms = transaction.timestamp_ms
            if timestamp_ms >= labels.next_due_ms:
                self._due = [*self._due, *labels.due(timestamp_ms)]
            customer = customers.get(transaction.user_id)
            # Nearly all are new by their identifier alone.
            if live is not None or (customer is not None and identity[0] in customer.identities.identifiers):
                seen = self._seen(position, transaction, identity, customer)
                if seen != NEW:
                    self._refuse_repetition(position, transaction, seen)
                    continue
            if customer is None or timestamp_ms - customer.words[NEWEST_MS] > plan.forget_after_ms:
                customer = self._extraction.customer(transaction.user_id, timestamp_ms, customers)
            late = customer.remember(*identity, transaction, plan)
            if live is not None:
                live.new_contents[_history_key(transaction)] = identity[1]
            if transaction.event_type == "authorisation":
                self._pass(position, transaction, customer, late=late)
            else:
                self._record(position, transaction, customer)

    def _seen(
        self, position: int, transaction: Transaction, identity: tuple[int, int], customer: CustomerState | None
    ) -> int:
        live = self._progress.live
        seen = None if live is None else _seen_live(position, transaction, identity[1], live)
        return seen_before(transaction, identity, customer, self._plan, self._route.rotation) if seen is None else seen

    def _pass(self, position: int, transaction: Transaction, customer: CustomerState, *, late: bool) -> None:
        progress = self._progress
        row = None
        if transaction.timestamp_ms >= self._route.from_ms:
            row = len(progress.transactions)
            progress.positions.append(position)
            progress.transactions.append(transaction)
            progress.late.append(late)
            self._decided.append(len(self._passages))
        else:
            progress.warmed += 1
        if progress.live is not None:
            event = NewEvent(position, transaction, customer.sequence, late, first_time=False, row=row)
            self._new.append((event, len(self._passages)))
        self._meet(position, transaction, customer, late=late)
        if not late:
            self._labels.absorbed(position, transaction)

    def _meet(
        self,
        position: int,
        transaction: Transaction,
        customer: CustomerState | None,
        *,
        late: bool = False,
        first_time: bool = False,
    ) -> None:
        source, offset = "", 0
        if self._progress.live is not None:
            origin = self._progress.live.origins[position]
            source, offset = origin.source, origin.offset
        self._passages.append(Passage(transaction, customer, late, first_time, self._due, source, offset))
        self._due = ()

    def _record(self, position: int, transaction: Transaction, customer: CustomerState) -> None:
        progress = self._progress
        if transaction.event_type == "reversal" and transaction.original_transaction_id is not None:
            customer.reverse(fingerprint(transaction.original_transaction_id), self._plan)
        progress.recorded += 1
        if progress.live is not None:
            event = NewEvent(position, transaction, customer.sequence, late=False, first_time=False, row=None)
            self._new.append((event, None))

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
            self._meet(position, stored.transaction, None, first_time=stored.first_time)


def seen_before(
    transaction: Transaction,
    identities: tuple[int, int],
    customer: CustomerState | None,
    plan: StatePlan,
    rotation: Rotation | None,
) -> int:
    """By what is remembered of the customer: `NEW`, `SAME_AGAIN` or `ID_REUSED`; `identities` are its fingerprints."""
    if customer is None:
        return NEW
    seen = customer.identities.check(*identities, plan.duplicate_horizon_ms)
    if seen == ID_REUSED and rotation is not None:
        before = identity_fingerprints(rotation.before(transaction))
        seen = customer.identities.check(*before, plan.duplicate_horizon_ms)
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


def _seen_live(position: int, transaction: Transaction, content: int, live: LiveBatch) -> int | None:
    """By what history holds, or will after this batch; None if that is nothing."""
    if position in live.stored:
        return SAME_AGAIN
    if position in live.reused:
        return ID_REUSED
    known = live.new_contents.get(_history_key(transaction))
    if known is None:
        return None
    return SAME_AGAIN if known == content else ID_REUSED


def _history_key(transaction: Transaction) -> tuple[str, int, str]:
    return transaction.user_id, transaction.timestamp_ms, transaction.transaction_id


def _runs_of_different_customers(admitted: Sequence[Admitted]) -> Iterator[list[Admitted]]:
    run: list[Admitted] = []
    present: set[str] = set()
    for one in admitted:
        user_id = one[1].user_id
        if user_id in present or len(run) == LONGEST_RUN:
            yield run
            run, present = [], set()
        present.add(user_id)
        run.append(one)
    if run:
        yield run
