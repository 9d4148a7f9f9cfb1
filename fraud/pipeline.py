"""`process(batch)`: the one orchestration of the service, behind the stream, replay, backtests and training alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from fraud.admission import Admission
from fraud.deciding import Decider, DecisionBatch
from fraud.features.customer_state import ID_REUSED, NEW, SAME_AGAIN, CustomerState
from fraud.features.entity_state import EntityState
from fraud.features.extraction import CustomerStates, EntityStates, Extraction
from fraud.features.fingerprints import fingerprint, identity_fingerprints
from fraud.features.plan import ENTITY_KINDS
from fraud.features.profile_values import PROFILE_FIELDS
from fraud.features.rotation import Rotation
from fraud.features.table import MISSING, Value
from fraud.ports import (
    CustomerStore,
    EntityEvent,
    EntityStore,
    EntityStoreUnavailableError,
    LabelFeed,
    Origin,
    StoredDecision,
    StoreUnavailableError,
)
from fraud.rule_inputs import GatheredBatch
from fraud.transaction import InvalidTransactionError, Transaction, TransactionMessage

STAGES = ("validate", "enrich", "features", "score", "rules", "decide")


class StageTimings:
    """Seconds spent in each stage, by the clock that the shell hands in."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time until leaving to `name`."""
        started = self._clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - started

    def take(self) -> dict[str, float]:
        """The seconds since they were taken last."""
        seconds, self.seconds = self.seconds, dict.fromkeys(STAGES, 0.0)
        return seconds


@dataclass(frozen=True)
class Period:
    """Event times to decide, UTC milliseconds: what is earlier warms the state, what is at `to_ms` or later is left
    out.
    """

    from_ms: float = -math.inf
    to_ms: float = math.inf


@dataclass(frozen=True)
class NewEvent:
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


@dataclass(frozen=True)
class BatchResult:
    """What became of each message of a batch; positions count within the batch.

    `positions[i]` is the message of `gathered.transactions[i]`; `decided` is None for a pipeline without a decider.
    `live` is what a durable store must learn, None where messages have no origin.
    """

    positions: list[int]
    gathered: GatheredBatch
    decided: DecisionBatch | None
    refused: list[tuple[int, InvalidTransactionError]]
    duplicates: list[int]
    recorded: int
    warmed: int
    newest_ms: int
    live: LiveBatch | None


@dataclass
class _Progress:
    """What the walk through a batch collects."""

    positions: list[int] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    rows: list[list[Value]] = field(default_factory=list)
    profiles: list[list[float | int | str | None]] = field(default_factory=list)
    late: list[bool] = field(default_factory=list)
    refused: list[tuple[int, InvalidTransactionError]] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    recorded: int = 0
    warmed: int = 0
    newest_ms: int = 0
    live: LiveBatch | None = None


class NoLabels:
    """The label feed of a pipeline that is told of labels in another way, or not at all."""

    next_due_ms = math.inf

    def due(self, _timestamp_ms: int) -> list[tuple[Transaction, bool]]:
        """None."""
        return []

    def absorbed(self, _position: int, _transaction: Transaction) -> None:
        """Nothing follows."""


# What a decision without entity windows names itself by.
ENTITY_WINDOWS = "entity_windows"


class Pipeline:
    """Takes batches of messages through validate, enrich, features, score, rules and decide.

    Without a `decider` it stops after the features, and reads `profile_names` of the profile: the training sets and
    `fraud features` are made so. `rotation` is given while something is remembered under tokens of a key before.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        extraction: Extraction,
        customers: CustomerStore,
        entities: EntityStore,
        decider: Decider | None,
        timings: StageTimings,
        period: Period,
        rotation: Rotation | None = None,
        profile_names: Sequence[str] = (),
    ) -> None:
        self._admission = admission
        self._extraction = extraction
        self._customers = customers
        self._entities = entities
        self._decider = decider
        self._timings = timings
        self._period = period
        self._rotation = rotation
        names = profile_names if decider is None else decider.inputs.profile_names
        self._profile_reads = [PROFILE_FIELDS[name].read for name in names]

    async def process(
        self, messages: Sequence[TransactionMessage], labels: LabelFeed, origins: Sequence[Origin] | None = None
    ) -> BatchResult:
        """Take one batch through, in its order. Nothing about a single message raises: it is refused by name.

        With `origins`, where each message came from, the result says what has to become durable. Raises
        `StoreUnavailableError`.
        """
        stage = self._timings.stage
        progress = _Progress()
        with stage("validate"):
            admitted = self._admit(messages, progress)
        with stage("enrich"):
            customers = await self._load_customers([transaction.user_id for _, transaction in admitted])
            if origins is not None:
                progress.live = await self._live_batch(admitted, origins, customers)
            entities, degraded = await self._load_entities(admitted)
        with stage("features"):
            for position, transaction in admitted:
                self._advance(position, transaction, customers, entities, labels, progress)
            gathered = self._gather(progress, degraded)
        decided = None if self._decider is None else self._decide(self._decider, gathered)
        return BatchResult(
            progress.positions,
            gathered,
            decided,
            progress.refused,
            progress.duplicates,
            progress.recorded,
            progress.warmed,
            progress.newest_ms,
            progress.live,
        )

    def decide_by(self, decider: Decider) -> None:
        """Decide by this one from the next batch on. It must read the same feature set."""
        self._decider = decider
        self._profile_reads = [PROFILE_FIELDS[name].read for name in decider.inputs.profile_names]

    async def _live_batch(
        self, admitted: list[tuple[int, Transaction]], origins: Sequence[Origin], customers: CustomerStates
    ) -> LiveBatch:
        live = LiveBatch(origins)
        passed = {
            position
            for position, transaction in admitted
            if self._customers.has_passed(transaction.user_id, origins[position])
        }
        known = [
            (position, transaction)
            for position, transaction in admitted
            if position in passed or self._may_be_known(transaction, customers.get(transaction.user_id))
        ]
        if not known:
            return live
        stored = await self._stored([transaction for _, transaction in known])
        for (position, transaction), decision in zip(known, stored, strict=True):
            contents = identity_fingerprints(transaction)
            is_held = position in passed or self._seen(transaction, *contents, customers) == SAME_AGAIN
            if decision is None and position not in passed:
                if is_held:
                    raise StoreUnavailableError(f"history lacks {transaction.transaction_id}, which was absorbed")
            elif decision is None or not self._is_same(decision.transaction, transaction, contents):
                # What passed and does not stand in history was refused then, when more identities were remembered.
                live.reused.add(position)
            elif is_held or decision.origin != origins[position]:
                live.stored[position] = decision
            # Else a batch that did not finish wrote it, behind others that are still missing: it is to be absorbed.
        return live

    async def _load_customers(self, user_ids: list[str]) -> CustomerStates:
        if self._rotation is None:
            return await self._customers.load(user_ids)
        customers = await self._customers.load(self._rotation.customer_ids(user_ids))
        self._customers.checkpoint(self._rotation.carry_customers(user_ids, customers))
        return customers

    async def _stored(self, transactions: list[Transaction]) -> Sequence[StoredDecision | None]:
        stored = await self._customers.stored(transactions)
        if self._rotation is None or None not in stored:
            return stored
        before = await self._customers.stored([self._rotation.before(transaction) for transaction in transactions])
        return [decision or former for decision, former in zip(stored, before, strict=True)]

    def _is_same(self, stored: Transaction, transaction: Transaction, contents: tuple[int, int]) -> bool:
        """Whether history holds this very transaction, under whichever key."""
        known = identity_fingerprints(stored)
        if known == contents:
            return True
        return self._rotation is not None and known == identity_fingerprints(self._rotation.before(transaction))

    def _may_be_known(self, transaction: Transaction, customer: CustomerState | None) -> bool:
        """Whether history may hold an event under this one's key: all that identities cannot exclude."""
        if customer is None:
            return False
        identities, timestamp_ms = customer.identities, transaction.timestamp_ms
        horizon_ms = self._extraction.plan.duplicate_horizon_ms
        if identities.check(*identity_fingerprints(transaction), horizon_ms) != NEW:
            return True
        newest_ms = identities.newest_arrival_ms
        # A customer who is forgotten leaves no identities, and refunds may be newer than what is forgotten by.
        is_payment = transaction.event_type == "authorisation"
        return timestamp_ms < newest_ms - horizon_ms or (not is_payment and timestamp_ms <= newest_ms)

    async def _load_entities(self, admitted: list[tuple[int, Transaction]]) -> tuple[EntityStates, tuple[str, ...]]:
        # A generator: of states in memory nobody has to ask for any.
        named = (key for _, transaction in admitted for key in self._extraction.entity_keys(transaction))
        try:
            if self._rotation is None:
                return await self._entities.load(named), ()
            keys = list(named)
            states = await self._entities.load(self._rotation.entity_keys(keys))
        except EntityStoreUnavailableError:
            return {kind: {} for kind in ENTITY_KINDS}, (ENTITY_WINDOWS,)
        self._rotation.carry_entities(keys, states)
        return states, ()

    def _gather(self, progress: _Progress, degraded: tuple[str, ...]) -> GatheredBatch:
        names = self._extraction.feature_set.names
        if degraded:
            for row in progress.rows:
                for place in self._extraction.entity_places:
                    row[place] = MISSING
        return GatheredBatch(
            progress.transactions,
            progress.rows,
            np.array(progress.rows, dtype=np.float64).reshape(-1, len(names)),
            progress.profiles,
            np.array(progress.late, dtype=np.bool_),
            degraded,
        )

    def _decide(self, decider: Decider, gathered: GatheredBatch) -> DecisionBatch:
        stage = self._timings.stage
        with stage("score"):
            scores = decider.score(gathered)
        with stage("rules"):
            evaluation = decider.evaluate(gathered, scores)
        with stage("decide"):
            return decider.decide(gathered, scores, evaluation)

    def _admit(self, messages: Sequence[TransactionMessage], progress: _Progress) -> list[tuple[int, Transaction]]:
        admit = self._admission.admit
        if self._rotation is not None:
            self._rotation.former.clear()
        admitted = []
        for position, message in enumerate(messages):
            try:
                admitted.append((position, admit(message)))
            except InvalidTransactionError as error:
                progress.refused.append((position, error))
        return admitted

    def _advance(
        self,
        position: int,
        transaction: Transaction,
        customers: CustomerStates,
        entities: EntityStates,
        labels: LabelFeed,
        progress: _Progress,
    ) -> None:
        timestamp_ms = transaction.timestamp_ms
        if timestamp_ms >= self._period.to_ms:
            return
        extraction = self._extraction
        plan = extraction.plan
        progress.newest_ms = max(progress.newest_ms, timestamp_ms)
        if timestamp_ms >= labels.next_due_ms:
            for changed, is_fraud in labels.due(timestamp_ms):
                extraction.mark(changed, is_fraud, entities)
        identifier, content = identity_fingerprints(transaction)
        seen = None if progress.live is None else self._seen_live(position, transaction, content, progress.live)
        if seen is None:
            seen = self._seen(transaction, identifier, content, customers)
        if seen != NEW:
            self._refuse_repetition(position, transaction, seen, entities, progress)
            return
        customer = extraction.customer(transaction.user_id, timestamp_ms, customers)
        customer.remember(identifier, content, transaction, plan)
        if progress.live is not None:
            progress.live.new_contents[_history_key(transaction)] = content
        if transaction.event_type != "authorisation":
            self._record(position, transaction, customer, progress)
            return
        late = customer.is_late(timestamp_ms, plan)
        states = extraction.entities(transaction, entities, late)
        row = None
        if timestamp_ms >= self._period.from_ms:
            row = len(progress.rows)
            moment = extraction.moment(transaction, customer, states)
            progress.rows.append(extraction.values(moment))
            progress.profiles.append([read(moment) for read in self._profile_reads])
            progress.positions.append(position)
            progress.transactions.append(transaction)
            progress.late.append(late)
        else:
            progress.warmed += 1
        first_time = extraction.is_first_time(transaction, customer)
        if progress.live is not None:
            event = NewEvent(position, transaction, customer.sequence, late, first_time, row)
            progress.live.new_events.append(event)
        if not late:
            self._absorb(position, transaction, customer, states, first_time, progress.live)
            labels.absorbed(position, transaction)

    def _record(self, position: int, transaction: Transaction, customer: CustomerState, progress: _Progress) -> None:
        if transaction.event_type == "reversal" and transaction.original_transaction_id is not None:
            customer.reverse(fingerprint(transaction.original_transaction_id), self._extraction.plan)
        progress.recorded += 1
        if progress.live is not None:
            event = NewEvent(position, transaction, customer.sequence, late=False, first_time=False, row=None)
            progress.live.new_events.append(event)

    def _seen(self, transaction: Transaction, identifier: int, content: int, customers: CustomerStates) -> int:
        """By what is remembered of the customer: `NEW`, `SAME_AGAIN` or `ID_REUSED`."""
        plan = self._extraction.plan
        customer = customers.get(transaction.user_id)
        if customer is None:
            return NEW
        seen = customer.identities.check(identifier, content, plan.duplicate_horizon_ms)
        if seen == ID_REUSED and self._rotation is not None:
            before = identity_fingerprints(self._rotation.before(transaction))
            seen = customer.identities.check(*before, plan.duplicate_horizon_ms)
        # To one who is forgotten by then, an old name is a new one.
        return NEW if seen == ID_REUSED and customer.is_forgotten(transaction.timestamp_ms, plan) else seen

    @staticmethod
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

    def _absorb(
        self,
        position: int,
        transaction: Transaction,
        customer: CustomerState,
        states: list[EntityState | None],
        first_time: bool,
        live: LiveBatch | None,
    ) -> None:
        extraction = self._extraction
        if live is None:
            extraction.absorb(transaction, customer, states, first_time)
            return
        extraction.absorb_customer(transaction, customer, states)
        self._count(position, transaction, states, first_time, live)

    def _count_again(self, position: int, transaction: Transaction, entities: EntityStates, live: LiveBatch) -> None:
        """A message delivered again after a crash: its entities may not have counted it yet. One sent again has."""
        stored = live.stored.get(position)
        if stored is None or stored.origin != live.origins[position] or stored.late:
            return
        if transaction.event_type == "authorisation":
            # As it stands in history: its entities know it by the tokens that it had then.
            states = self._extraction.entities(stored.transaction, entities)
            self._count(position, stored.transaction, states, stored.first_time, live)

    def _count(
        self,
        position: int,
        transaction: Transaction,
        states: list[EntityState | None],
        first_time: bool,
        live: LiveBatch,
    ) -> None:
        origin = live.origins[position]
        self._extraction.absorb_entities(transaction, states, first_time, origin.source, origin.offset)
        events = live.entity_events.setdefault(origin.source, [])
        counted = entity_events(self._extraction, transaction, origin, first_time=first_time)
        if self._rotation is not None:
            counted = [event.with_former(self._rotation.former) for event in counted]
        events += counted

    def _refuse_repetition(
        self, position: int, transaction: Transaction, seen: int, entities: EntityStates, progress: _Progress
    ) -> None:
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
            self._count_again(position, transaction, entities, progress.live)


def _history_key(transaction: Transaction) -> tuple[str, int, str]:
    return transaction.user_id, transaction.timestamp_ms, transaction.transaction_id


def entity_events(
    extraction: Extraction, transaction: Transaction, origin: Origin, *, first_time: bool
) -> list[EntityEvent]:
    """An authorisation as each of its entities counts it."""
    return [
        EntityEvent(
            kind,
            key,
            origin.offset,
            transaction.timestamp_ms,
            transaction.base_amount_minor,
            transaction.user_id,
            transaction.card_id,
            first_time,
        )
        for kind, key in extraction.entity_keys(transaction)
    ]
