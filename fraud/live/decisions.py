"""A batch of messages becomes decisions: decoded, decided, made durable, and ready to be published."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fraud.deciding import Decider
from fraud.live.backlog import EntityBacklog
from fraud.live.dead_letter import DeadLetterBox, MessagePlace
from fraud.live.measures import Measures
from fraud.live.outgoing import Outgoing, decided_messages, repeated_messages, sealed
from fraud.live.shadow import ShadowModels
from fraud.live.wire import decode_transaction
from fraud.pipeline import BatchResult, NoLabels, Pipeline, StageTimings
from fraud.ports import CustomerStore, EntityEvent, HistoryRecord, Origin, StoredDecision, StoreUnavailableError
from fraud.transaction import InvalidTransactionError, TransactionMessage, timestamp_to_ms
from fraud.walk import LiveBatch

# Doubling from the first to the last pause: short hiccups cost little, a long outage is asked about twice a second.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.02, 0.5

# Returns when the brokers have all of it.
Publish = Callable[[Sequence[Outgoing]], Awaitable[None]]

_log = logging.getLogger(__name__)


class Arrival(NamedTuple):
    """A message as it came."""

    place: MessagePlace
    value: bytes | None


class ReadArrival(NamedTuple):
    """A message that could be read."""

    place: MessagePlace
    value: bytes | None
    message: TransactionMessage


@dataclass(frozen=True)
class DecisionLimits:
    """Against the broker's clock, in milliseconds: how far ahead an event may be, and how old an alert's event may be
    before the alert is stale. `secret_fields` are masked in dead letters besides card and address.
    """

    future_tolerance_ms: int
    stale_alert_ms: int
    secret_fields: tuple[str, ...] = ()


class DecisionService:
    """Takes batches from any number of partitions, one batch at a time; its `timings` are those of the pipeline.

    `random` (uniform in [0, 1)) and `sleep` spread attempts when a store is away.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        customers: CustomerStore,
        entities: EntityBacklog,
        box: DeadLetterBox,
        limits: DecisionLimits,
        measures: Measures,
        timings: StageTimings,
        *,
        random: Callable[[], float],
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self.pipeline = pipeline
        self._customers = customers
        self._entities = entities
        self._box = box
        self._limits = limits
        self._measures = measures
        self._timings = timings
        self._random = random
        self._sleep = sleep
        self._one_at_a_time = asyncio.Lock()
        # Replaced as a whole by whoever follows the file that names them.
        self.shadows = ShadowModels()

    async def handle(self, arrivals: Sequence[Arrival], publish: Publish) -> None:
        """Decide, make durable, and `publish` what came of it; then the caller acknowledges.

        Waits as long as a store is away. Nothing about a message raises: what cannot be processed even alone becomes a
        dead letter.
        """
        refused: list[Outgoing] = []
        readable = []
        for arrival in arrivals:
            try:
                message = decode_transaction(arrival.value)
                self._check_clock(message, arrival.place)
            except InvalidTransactionError as error:
                refused.append(self._dead_letter(arrival, error))
            else:
                readable.append(ReadArrival(*arrival, message))
        if refused:
            await publish(refused)
        # A batch that is cancelled takes some steps to end, and then forgets its customers: not those of the next one.
        async with self._one_at_a_time:
            await self._process(readable, publish)

    async def decide_by(self, decider: Decider) -> None:
        """Decide by this one from the next batch on; returns when no batch is in hand that was begun before."""
        async with self._one_at_a_time:
            self.pipeline.decide_by(decider)

    def _check_clock(self, message: TransactionMessage, place: MessagePlace) -> None:
        ahead_ms = timestamp_to_ms(message.timestamp) - place.ingested_ms
        if ahead_ms > self._limits.future_tolerance_ms:
            raise InvalidTransactionError(
                "timestamp_in_future",
                "timestamp",
                f"is {ahead_ms / 60_000:,.1f} minutes ahead of the broker's clock, "
                f"{self._limits.future_tolerance_ms / 60_000:g} are tolerated: check clock and zone of the sender",
                message.timestamp.isoformat(),
            )

    def _dead_letter(self, arrival: Arrival | ReadArrival, error: InvalidTransactionError) -> Outgoing:
        self._measures.refused(arrival.place.topic, error.code)
        return sealed(self._box, error, arrival.place, arrival.value, self._limits.secret_fields)

    async def _process(self, arrivals: Sequence[ReadArrival], publish: Publish) -> None:
        """Process as one batch; when that fails for a reason that lies in it, as two halves."""
        pause_s = _FIRST_PAUSE_S
        while arrivals:
            try:
                outgoing, events = await self._attempt(arrivals)
            except StoreUnavailableError as error:
                self._customers.abandon()
                self._measures.retried("transactions")
                _log.warning("%d transactions wait for a store: %s", len(arrivals), error)
                await self._sleep(pause_s * (0.5 + self._random()))
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)
            except Exception as error:  # noqa: BLE001 nothing may stop the stream
                self._customers.abandon()
                await self._isolate(arrivals, error, publish)
                return
            except BaseException:
                # Cancelled: whoever goes on with these customers must not take them for what history says.
                self._customers.abandon()
                raise
            else:
                # Both are made sure of again after a crash, in whatever order; the next batch sees what is counted.
                await asyncio.gather(self._count(events), publish(outgoing))
                return

    async def _count(self, events: Mapping[str, Sequence[EntityEvent]]) -> None:
        with self._timings.stage("entities"):
            await self._entities.commit(events)

    async def _isolate(self, arrivals: Sequence[ReadArrival], error: Exception, publish: Publish) -> None:
        half = len(arrivals) // 2
        if half:
            await self._process(arrivals[:half], publish)
            await self._process(arrivals[half:], publish)
            return
        (arrival,) = arrivals
        place = arrival.place
        about = {
            "transaction_id": arrival.message.transaction_id,
            "place": f"{place.topic}/{place.partition}/{place.offset}",
        }
        _log.error("a transaction cannot be processed", exc_info=error, extra=about)
        reason = f"cannot be processed ({type(error).__name__}); the log of the worker says more"
        await publish([self._dead_letter(arrival, InvalidTransactionError("processing_failed", "", reason))])

    async def _attempt(
        self, arrivals: Sequence[ReadArrival]
    ) -> tuple[list[Outgoing], Mapping[str, Sequence[EntityEvent]]]:
        """Decide and write history: what is to be published and counted then."""
        origins = [Origin(one.place.source, one.place.offset, one.place.ingested_ms) for one in arrivals]
        result = await self.pipeline.process([one.message for one in arrivals], NoLabels(), origins)
        live = result.live
        assert live is not None  # noqa: S101 origins were given
        with self._timings.stage("history"):
            lost = await self._commit(result, live)
        places = [arrival.place for arrival in arrivals]
        self._measures.batch(result)
        stale_ms = self._limits.stale_alert_ms
        outgoing = decided_messages(result, places, lost, stale_ms)
        outgoing += repeated_messages(result, live, places, lost, stale_ms)
        outgoing += [self._dead_letter(arrivals[position], error) for position, error in result.refused]
        return outgoing, live.entity_events

    async def _commit(self, result: BatchResult, live: LiveBatch) -> dict[int, StoredDecision]:
        """Write history; returns what it held before of new events, by position."""
        decided = result.decided
        shadow_scores = self.shadows.score(result.gathered.matrix)
        records = []
        for event in live.new_events:
            canonical, content_hash, shadow_of_row = b"", "", None
            if decided is not None and event.row is not None:
                canonical, content_hash = decided.canonical[event.row], decided.hashes[event.row]
                shadow_of_row = {name: scores[event.row] for name, scores in shadow_scores.items()}
            origin = live.origins[event.position]
            stored = StoredDecision(event.transaction, origin, canonical, content_hash, event.late, event.first_time)
            records.append(HistoryRecord(event.sequence, stored, shadow_of_row))
        lost = await self._customers.commit(records)
        for place, stored in lost.items():
            origin = live.origins[live.new_events[place].position]
            if stored.origin != origin:
                # Another message brought this transaction, and its entities have counted that one.
                events = live.entity_events.get(origin.source, [])
                events[:] = [event for event in events if event.offset != origin.offset]
        return {live.new_events[place].position: stored for place, stored in lost.items()}
