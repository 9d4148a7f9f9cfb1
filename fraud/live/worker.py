"""A worker: every part of the live service, built from settings and held together from start to stop."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from os import urandom
from typing import Any, NamedTuple

import uvloop
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from prometheus_client import disable_created_metrics

from fraud.bootstrap import Artefacts, build_pipeline, decider_of, state_limits, token_maker
from fraud.features.extraction import Extraction
from fraud.live.backlog import EntityBacklog
from fraud.live.collection import keep_collections_short
from fraud.live.dead_letter import DeadLetterBox
from fraud.live.decisions import Arrival, DecisionLimits, DecisionService
from fraud.live.dynamodb_client import NOBODY, dynamodb_client
from fraud.live.health import HealthServer
from fraud.live.kafka import Connection, Publisher, connection
from fraud.live.labels import LabelService
from fraud.live.liveness import Liveness
from fraud.live.measures import Measures
from fraud.live.outgoing import ALERTS, DEAD_LETTERS, DECISIONS, Outgoing
from fraud.live.probes import PROBE_INTERVAL_S, ConsumerLag, Probes
from fraud.live.redis_windows import entity_windows
from fraud.live.reload import Reloader
from fraud.live.shadow import ShadowModels, ShadowReloader
from fraud.live.stream import Handler, Subscription, create_app, run_app
from fraud.live.topic_ids import TopicChangedError, TopicLayout, check_unchanged, topic_layouts
from fraud.pipeline import Period, StageTimings
from fraud.ports import EntityStoreUnavailableError, StoreUnavailableError
from fraud.settings import Settings
from fraud.stores.customers import CachedCustomers, CustomerCache
from fraud.stores.dynamodb import DynamoCustomerTables
from fraud.stores.dynamodb_labels import DynamoLabels
from fraud.stores.entity_windows.windows import EntityWindows
from fraud.typical import typical_decision

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
# A label that came before its transaction is counted within about a minute; each look is a query of what waits.
_LONGEST_PAUSE_BETWEEN_LOOKS_S = 60.0
# What is decided in between may be under a wrong name of its place; asking costs a small request.
_PAUSE_BETWEEN_LOOKS_AT_TOPICS_S = 2.0
# What fails at once each time would else fill the log.
_PAUSE_AFTER_A_FAILURE_S = 5.0
# Faust fetches in a thread of its own. With Python's five milliseconds each of the two waits so long for the other at
# every answer of a server, several times a batch.
_SWITCH_INTERVAL_S = 0.001
# A short wait is looked at this often before it ends.
_LOOKS_A_WAIT = 4

_log = logging.getLogger(__name__)


class Lane(NamedTuple):
    """Where batches are decided one after the other, beside those of the other lanes."""

    service: DecisionService
    timings: StageTimings


class Worker:
    """The parts of one worker. `start` connects them; `stop` lets go of everything in the opposite order."""

    def __init__(self, settings: Settings, artefacts: Artefacts) -> None:
        self.settings = settings
        self.artefacts = artefacts
        self.measures = Measures()
        self.measures.drift.watch(artefacts.model)
        self.connection: Connection = connection(settings)
        self.topic_ids: dict[str, str] = {}
        self.backlog: EntityBacklog
        self.customers = CustomerCache(settings.cached_customers)
        self.lanes: list[Lane] = []
        self.labels: LabelService
        # Set by whoever knows the group: topics and partitions that are this worker's now.
        self.assigned: Callable[[], Iterable[tuple[str, int]]] = tuple
        self.consumers: Sequence[Subscription] = ()
        # Set by whoever runs the worker: ends it with an error, nothing more acknowledged.
        self.crash: Callable[[BaseException], Awaitable[None]]
        self._publisher: Publisher
        self._probes: Probes
        self._lag: ConsumerLag
        self._liveness = Liveness(math.ceil(settings.stall_minutes * 60 / PROBE_INTERVAL_S))
        self._failures_seen = 0
        self._resources = AsyncExitStack()

    async def open_stores(self, redis_deadline_ms: float) -> tuple[DynamoCustomerTables, EntityWindows]:
        """Connect to DynamoDB and Redis, and make the services that use them."""
        settings, artefacts = self.settings, self.artefacts
        plan = artefacts.feature_set.plan(state_limits(settings))
        client = await self._resources.enter_async_context(dynamodb_client(settings))
        tables = DynamoCustomerTables(
            client,
            settings.table_prefix,
            typical_decision=await typical_decision(settings, artefacts),
            retention_days=settings.history_retention_days,
        )
        await tables.start()
        windows = entity_windows(settings, plan, deadline_ms=redis_deadline_ms)
        self._resources.push_async_callback(windows.close)
        self.backlog = EntityBacklog(windows)
        box = DeadLetterBox(settings.dead_letter_key, settings.dead_letter_key_id, urandom)
        spread = random.SystemRandom().random
        limits = DecisionLimits(
            round(settings.future_tolerance_minutes * MINUTE_MS),
            round(settings.stale_alert_minutes * MINUTE_MS),
            settings.tokenised_fields,
        )
        for _ in range(settings.batches_at_once):
            timings = StageTimings(time.perf_counter)
            customers = CachedCustomers(tables, plan, self.customers)
            pipeline = build_pipeline(settings, artefacts, customers, self.backlog, timings=timings, period=Period())
            service = DecisionService(
                pipeline, customers, self.backlog, box, limits, self.measures, timings, random=spread
            )
            self.lanes.append(Lane(service, timings))
        tokeniser = token_maker(settings) if "user_id" in settings.tokenised_fields else None
        self.labels = LabelService(
            DynamoLabels(client, settings.table_prefix),
            tables,
            self.backlog,
            Extraction(artefacts.feature_set, plan, artefacts.rates.base_exponent),
            box,
            self.measures,
            wait_ms=round(settings.label_wait_hours * HOUR_MS),
            tokeniser=tokeniser,
            secret_fields=settings.tokenised_fields,
            random=spread,
        )
        return tables, windows

    async def start(self) -> None:
        """Connect to DynamoDB, Redis and Kafka. Raises what their clients raise when they are not there."""
        settings = self.settings
        tables, windows = await self.open_stores(settings.redis_deadline_ms)
        spread = random.SystemRandom().random
        producer = self.connection.producer()
        await producer.start()
        self._resources.push_async_callback(producer.stop)
        topics = {
            DECISIONS: settings.decisions_topic,
            ALERTS: settings.alerts_topic,
            DEAD_LETTERS: settings.dead_letter_topic,
        }
        self._publisher = Publisher(
            producer, topics, now_ms=_now_ms, random=spread, retried=lambda: self.measures.retried("publication")
        )
        layouts = await topic_layouts(producer.client, [settings.transactions_topic, settings.labels_topic])
        self.topic_ids.update({name: layout.topic_id for name, layout in layouts.items()})
        self._go_on_with(partial(self._watch_topics, producer.client, layouts))
        await self._watch(tables, windows)
        health = HealthServer(
            self.measures.registry,
            unready=self._unready,
            unhealthy=lambda: self._liveness.problem,
            refresh=self._refresh,
        )
        await health.start(settings.metrics_host, settings.metrics_port)
        self._resources.push_async_callback(health.stop)
        self._go_on_with(partial(self._look_at_waiting_labels, spread))
        self._follow_files()
        self._go_on_with(self.backlog.keep_catching_up)
        self._go_on_with(keep_collections_short)

    def _go_on_with(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do this beside everything else until the worker stops. Should it fail, that is told and it begins again."""
        self._resources.push_async_callback(_cancelled, asyncio.create_task(again_and_again(work)))

    async def _watch_topics(self, client: AIOKafkaClient, layouts: Mapping[str, TopicLayout]) -> None:
        while True:
            await asyncio.sleep(_PAUSE_BETWEEN_LOOKS_AT_TOPICS_S)
            try:
                check_unchanged(layouts, await topic_layouts(client, list(layouts)))
            except KafkaError as error:
                _log.debug("topics are looked at later: %s", error)
            except TopicChangedError as error:
                _log.critical("the worker stops: %s", error)
                await self.crash(error)
                return

    async def _watch(self, tables: DynamoCustomerTables, windows: EntityWindows) -> None:
        observer = self.connection.observer(self.settings.consumer_group)
        await observer.start()
        self._resources.push_async_callback(observer.stop)
        lag = self._lag = ConsumerLag(observer, self.measures)
        self._probes = Probes(
            {
                "DynamoDB": lambda: tables.read_snapshots((NOBODY,)),
                "Redis": windows.check,
                "Kafka": lambda: lag.measure(self.assigned()),
            },
            self.measures,
            asyncio.sleep,
        )
        await self._probes.look()
        self._go_on_with(partial(self._probes.watch, lambda: self._liveness.look(self._standing())))

    def _follow_files(self) -> None:
        settings, artefacts = self.settings, self.artefacts
        reloader = Reloader(settings, artefacts, self._activate, self.measures.artefacts)
        shadows = ShadowReloader(settings, artefacts.feature_set, self._shadow, self.measures.artefacts)
        self._go_on_with(reloader.watch)
        self._go_on_with(shadows.watch)

    async def _activate(self, artefacts: Artefacts) -> None:
        decider = decider_of(artefacts)
        for lane in self.lanes:
            await lane.service.decide_by(decider)
        self.measures.drift.watch(artefacts.model)

    def _shadow(self, shadows: ShadowModels) -> None:
        for lane in self.lanes:
            lane.service.shadows = shadows

    async def _look_at_waiting_labels(self, spread: Callable[[], float]) -> None:
        wait_s = self.settings.label_wait_hours * 3_600
        pause_s = min(_LONGEST_PAUSE_BETWEEN_LOOKS_S, wait_s / _LOOKS_A_WAIT)
        while True:
            # Not all workers at once.
            await asyncio.sleep(pause_s * (0.5 + spread()))
            try:
                await self.labels.look_again(_now_ms(), self.settings.labels_topic, self._publish)
            except (StoreUnavailableError, EntityStoreUnavailableError) as error:
                _log.warning("labels that wait are looked at later: %s", error)

    def _unready(self) -> str:
        if self._probes.problem:
            return self._probes.problem
        if not self.assigned():
            return "no partition is assigned to this worker: it has not joined yet, or others have them all"
        if len(self.backlog):
            return f"entity windows are {len(self.backlog)} events behind"
        return ""

    def _standing(self) -> dict[str, Hashable]:
        """What has to move, and where it is, but for what waits for a server."""
        minutes = f"for {self.settings.stall_minutes:g} minutes"
        standing: dict[str, Hashable] = {
            f"no agent consumes {consumer.topic} {minutes}": None
            for consumer in self.consumers
            if not consumer.is_running
        }
        failures = self.measures.failed_attempts + self.backlog.failures
        waits_for_a_server = bool(self._probes.problem) or failures != self._failures_seen
        self._failures_seen = failures
        if waits_for_a_server:
            return standing
        for consumer in self.consumers:
            if consumer.oldest_batch_in_hand is not None:
                standing[f"the same batch of {consumer.topic} is in hand {minutes}"] = consumer.oldest_batch_in_hand
        for (topic, partition), offset in self._lag.unanswered.items():
            standing[f"messages come on {topic}/{partition}, none is acknowledged {minutes}"] = offset
        return standing

    def _refresh(self) -> None:
        self.measures.backlog.set(len(self.backlog))

    def first_pending_offset(self, source: str) -> int | None:
        """The first transaction of a partition that entity windows have not counted."""
        return self.backlog.first_waiting_offset(source)

    async def stop(self) -> None:
        """Let go of everything."""
        await self._resources.aclose()

    async def decide(self, lane_number: int, arrivals: Sequence[Arrival]) -> None:
        """Decide a batch of transactions and publish what came of it."""
        lane = self.lanes[lane_number]
        await lane.service.handle(arrivals, partial(self._publish_decided, lane.timings))
        self.measures.answered([arrival.place.ingested_ms for arrival in arrivals], _now_ms(), lane.timings.take())
        self.measures.looked_up(self.customers.hits, self.customers.misses)

    async def _publish_decided(self, timings: StageTimings, outgoing: Sequence[Outgoing]) -> None:
        with timings.stage("publication"):
            await self._publish(outgoing)

    async def learn(self, arrivals: Sequence[Arrival]) -> None:
        """Learn a batch of labels and publish the dead letters among them."""
        await self._publish(await self.labels.handle(arrivals))

    async def _publish(self, outgoing: Sequence[Outgoing]) -> None:
        await self._publisher.publish(outgoing)
        self.measures.published(outgoing)

    def forget(self, source: str) -> None:
        """The partition was somebody else's meanwhile: drop what is held of its customers."""
        self.customers.discard_source(source)
        self.backlog.drop(source)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def again_and_again(work: Callable[[], Awaitable[None]], sleep: Callable[[float], Any] = asyncio.sleep) -> None:
    """Do `work` until it returns; when it fails, that is logged and it begins again after a pause."""
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 what is done beside deciding must not end unseen, nor end deciding
            _log.error("what is done beside deciding has failed and begins again", exc_info=error)
            await sleep(_PAUSE_AFTER_A_FAILURE_S)
        else:
            return


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def run_worker(settings: Settings, artefacts: Artefacts) -> None:
    """Run until a signal or a failure stops it, then exit the process."""
    # When each series began helps nobody, and doubles their number.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    worker = Worker(settings, artefacts)
    handlers = [
        Handler(
            settings.transactions_topic,
            settings.batch_size,
            [partial(worker.decide, lane) for lane in range(settings.batches_at_once)],
            worker.first_pending_offset,
            worker.forget,
        ),
        Handler(settings.labels_topic, settings.batch_size, [worker.learn], lambda _source: None, lambda _source: None),
    ]
    app = create_app(
        worker.connection,
        settings.consumer_group,
        handlers,
        worker.topic_ids,
        prepare=worker.start,
        finish=worker.stop,
        session_timeout_s=settings.session_timeout_seconds,
    )
    worker.assigned, worker.crash, worker.consumers = app.assignment_now, app.crash, app.subscriptions
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    run_app(app, loop)
