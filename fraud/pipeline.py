"""`process(batch)`: the one orchestration of the service, behind the stream, replay, backtests and training alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from fraud.admission import Admission
from fraud.deciding import Decider, DecisionBatch
from fraud.features.customer_state import NEW, SAME_AGAIN, CustomerState
from fraud.features.extraction import CustomerStates, EntityStates, Extraction
from fraud.features.fingerprints import Identity, identity_fingerprints, identity_fingerprints_of_each
from fraud.features.plan import ENTITY_KINDS
from fraud.features.profile_values import PROFILE_FIELDS, Profiles
from fraud.features.rotation import Rotation
from fraud.features.table import MISSING
from fraud.ports import (
    CustomerStore,
    EntityStore,
    EntityStoreUnavailableError,
    LabelFeed,
    Origin,
    StoredDecision,
    StoreUnavailableError,
)
from fraud.rule_inputs import GatheredBatch
from fraud.transaction import InvalidTransactionError, Transaction, TransactionMessage
from fraud.walk import Admitted, LiveBatch, Progress, Route, Walk, seen_before

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


class NoLabels:
    """The label feed of a pipeline that is told of labels in another way, or not at all."""

    next_due_ms = math.inf
    following: frozenset[int] = frozenset()

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
        self._route = self._route_reading(names)

    async def process(
        self, messages: Sequence[TransactionMessage], labels: LabelFeed, origins: Sequence[Origin] | None = None
    ) -> BatchResult:
        """Take one batch through, in its order. Nothing about a single message raises: it is refused by name.

        With `origins`, where each message came from, the result says what has to become durable. Raises
        `StoreUnavailableError`.
        """
        stage = self._timings.stage
        progress = Progress()
        with stage("validate"):
            admitted = self._admit(messages, progress)
        with stage("enrich"):
            customers = await self._load_customers([transaction.user_id for transaction in admitted.transactions])
            if origins is not None:
                progress.live = await self._live_batch(admitted, origins, customers)
            entities, degraded = await self._load_entities(admitted)
        with stage("features"):
            Walk(self._route, admitted, customers, entities, labels, progress).go()
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
        self._route = self._route_reading(decider.inputs.profile_names)

    def _route_reading(self, profile_names: Sequence[str]) -> Route:
        fields = [PROFILE_FIELDS[name] for name in profile_names]
        return Route(self._extraction, self._rotation, self._period.from_ms, self._period.to_ms, fields)

    async def _live_batch(self, admitted: Admitted, origins: Sequence[Origin], customers: CustomerStates) -> LiveBatch:
        live = LiveBatch(origins)
        passed = {
            position
            for position, transaction in zip(admitted.positions, admitted.transactions, strict=True)
            if self._customers.has_passed(transaction.user_id, origins[position])
        }
        known = [
            (position, transaction, identity)
            for position, transaction, identity in admitted.each()
            if position in passed or self._may_be_known(transaction, identity, customers.get(transaction.user_id))
        ]
        if not known:
            return live
        stored = await self._stored([transaction for _, transaction, _ in known])
        for (position, transaction, identity), decision in zip(known, stored, strict=True):
            customer = customers.get(transaction.user_id)
            seen = seen_before(transaction, identity, customer, self._extraction.plan, self._rotation)
            is_held = position in passed or seen == SAME_AGAIN
            if decision is None and position not in passed:
                if is_held:
                    raise StoreUnavailableError(f"history lacks {transaction.transaction_id}, which was absorbed")
            elif decision is None or not self._is_same(decision.transaction, transaction, identity):
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

    def _is_same(self, stored: Transaction, transaction: Transaction, identity: Identity) -> bool:
        """Whether history holds this very transaction, under whichever key."""
        known = identity_fingerprints(stored)
        if known == identity:
            return True
        return self._rotation is not None and known == identity_fingerprints(self._rotation.before(transaction))

    def _may_be_known(self, transaction: Transaction, identity: Identity, customer: CustomerState | None) -> bool:
        """Whether history may hold an event under this one's key: all that identities cannot exclude."""
        if customer is None:
            return False
        plan, timestamp_ms = self._extraction.plan, transaction.timestamp_ms
        if customer.standing_of(*identity, plan) != NEW:
            return True
        newest_ms = customer.newest_arrival_ms
        # A customer who is forgotten leaves no identities, and refunds may be newer than what is forgotten by.
        is_payment = transaction.event_type == "authorisation"
        return timestamp_ms < newest_ms - plan.duplicate_horizon_ms or (not is_payment and timestamp_ms <= newest_ms)

    async def _load_entities(self, admitted: Admitted) -> tuple[EntityStates, tuple[str, ...]]:
        # A generator: of states in memory nobody has to ask for any.
        named = (key for transaction in admitted.transactions for key in self._extraction.entity_keys(transaction))
        try:
            if self._rotation is None:
                return await self._entities.load(named), ()
            keys = list(named)
            states = await self._entities.load(self._rotation.entity_keys(keys))
        except EntityStoreUnavailableError:
            return {kind: {} for kind in ENTITY_KINDS}, (ENTITY_WINDOWS,)
        self._rotation.carry_entities(keys, states)
        return states, ()

    def _gather(self, progress: Progress, degraded: tuple[str, ...]) -> GatheredBatch:
        matrix = np.concatenate([np.empty((0, len(self._extraction.feature_set.names))), *progress.matrices])
        if degraded:
            matrix[:, self._extraction.entity_places] = MISSING
        return GatheredBatch(
            progress.transactions,
            matrix,
            Profiles.joined(self._route.profile_fields, progress.profiles),
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

    def _admit(self, messages: Sequence[TransactionMessage], progress: Progress) -> Admitted:
        if self._rotation is not None:
            self._rotation.former.clear()
        positions, transactions = [], []
        for position, outcome in enumerate(self._admission.admit_each(messages)):
            if isinstance(outcome, Transaction):
                positions.append(position)
                transactions.append(outcome)
            else:
                progress.refused.append((position, outcome))
        return Admitted(positions, transactions, identity_fingerprints_of_each(transactions))
