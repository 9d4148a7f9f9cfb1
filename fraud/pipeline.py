"""`process(batch)`: the one orchestration of the service, behind the stream, replay, backtests and training alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec
import numpy as np

from fraud.admission import Admission
from fraud.deciding import Decider, DecisionBatch
from fraud.features.customer_state import ID_REUSED, NEW
from fraud.features.extraction import CustomerStates, EntityStates, Extraction
from fraud.features.profile_values import PROFILE_FIELDS
from fraud.features.table import Value
from fraud.ports import CustomerStore, EntityStore, LabelFeed
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
    """

    positions: list[int]
    gathered: GatheredBatch
    decided: DecisionBatch | None
    refused: list[tuple[int, InvalidTransactionError]]
    duplicates: list[int]
    recorded: int
    warmed: int
    newest_ms: int


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


# Attributes in any order are the same content.
_CONTENT = msgspec.msgpack.Encoder(order="deterministic")


class Pipeline:
    """Takes batches of messages through validate, enrich, features, score, rules and decide.

    Without a `decider` it stops after the features: the training sets and `fraud features` are made so.
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
    ) -> None:
        self._admission = admission
        self._extraction = extraction
        self._customers = customers
        self._entities = entities
        self._decider = decider
        self._timings = timings
        self._period = period
        names = () if decider is None else decider.inputs.profile_names
        self._profile_reads = [PROFILE_FIELDS[name].read for name in names]

    async def process(self, messages: Sequence[TransactionMessage], labels: LabelFeed) -> BatchResult:
        """Take one batch through, in its order. Nothing about a single message raises: it is refused by name."""
        stage = self._timings.stage
        progress = _Progress()
        with stage("validate"):
            admitted = self._admit(messages, progress)
        with stage("enrich"):
            customers = await self._customers.load(transaction.user_id for _, transaction in admitted)
            entities = await self._entities.load(
                key for _, transaction in admitted for key in self._extraction.entity_keys(transaction)
            )
        with stage("features"):
            for position, transaction in admitted:
                self._advance(position, transaction, customers, entities, labels, progress)
            gathered = GatheredBatch(
                progress.transactions,
                progress.rows,
                np.array(progress.rows, dtype=np.float64).reshape(-1, len(self._extraction.feature_set.names)),
                progress.profiles,
                np.array(progress.late, dtype=np.bool_),
            )
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
        customer = extraction.customer(transaction.user_id, timestamp_ms, customers)
        # Process-local hashes: they are compared with others of this process and never leave it.
        identifier, content = hash(transaction.transaction_id), hash(_CONTENT.encode(transaction))
        seen = customer.identities.check(identifier, content, plan.duplicate_horizon_ms)
        if seen != NEW:
            self._refuse_repetition(position, transaction, seen, progress)
            return
        customer.remember(identifier, content, transaction, plan)
        if transaction.event_type != "authorisation":
            if transaction.event_type == "reversal" and transaction.original_transaction_id is not None:
                customer.reverse(hash(transaction.original_transaction_id), plan)
            progress.recorded += 1
            return
        late = customer.is_late(timestamp_ms, plan)
        states = extraction.entities(transaction, entities)
        if timestamp_ms >= self._period.from_ms:
            moment = extraction.moment(transaction, customer, states)
            progress.rows.append(extraction.values(moment))
            progress.profiles.append([read(moment) for read in self._profile_reads])
            progress.positions.append(position)
            progress.transactions.append(transaction)
            progress.late.append(late)
        else:
            progress.warmed += 1
        if not late:
            extraction.absorb(transaction, customer, states)
            labels.absorbed(position, transaction)

    @staticmethod
    def _refuse_repetition(position: int, transaction: Transaction, seen: int, progress: _Progress) -> None:
        if seen == ID_REUSED:
            error = InvalidTransactionError(
                "transaction_id_reused",
                "transaction_id",
                "was seen before with other content; only the first one counts",
                transaction.transaction_id,
            )
            progress.refused.append((position, error))
        else:
            progress.duplicates.append(position)
