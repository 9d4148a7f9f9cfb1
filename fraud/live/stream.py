"""The Faust app: batches of events to their handlers, then acknowledgement."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import faust
from faust.exceptions import ConsumerNotStarted
from faust.types import TP, EventT

from fraud.live.dead_letter import MessagePlace
from fraud.live.decisions import Arrival
from fraud.live.fetching import FetchingTransport
from fraud.live.kafka import Connection
from fraud.live.partition_queues import PartitionQueues, in_order

# Faust's own acknowledgement cycle; what was published after the last one is delivered again after a crash.
_COMMIT_INTERVAL_S = 1.0
# Kafka recommends three at least, so that two may be lost. More, because by its next heartbeat a worker learns that
# another has died and that it is to take over.
_HEARTBEATS_A_SESSION = 10
# Events waiting in Faust's buffer, beyond which fetching pauses.
_BUFFER_EVENTS = 16_384
# Full batches for each lane that are sorted by partition; the rest waits in Faust's buffer. With fewer, a partition
# with much to do would keep others from being seen.
_BATCHES_WAITING = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Handler:
    """What to do with the events of a topic.

    Each of `handles` is a lane: it makes one batch after the other durable and public, beside the other lanes, whose
    batches are of other partitions. `first_pending_offset` is the first offset of a source that must be delivered
    again if this process ends now, None if there is none. `forget` drops what is held of a source that was somebody
    else's meanwhile; it is called when no batch is of that source.
    """

    topic: str
    batch_size: int
    handles: Sequence[Callable[[Sequence[Arrival]], Awaitable[None]]]
    first_pending_offset: Callable[[str], int | None]
    forget: Callable[[str], None]


class Subscription:
    """One topic's way through an agent: drops what is not ours, hands over batches, acknowledges.

    An agent that iterates over its stream handles each event by itself, through processors and sensors that cost more
    than deciding does; `take` and `noack_take` wait for their time-out before they yield what is there. This reads the
    channel's queue.
    """

    def __init__(self, app: WorkerApp, handler: Handler, topic_id: Callable[[str], str]) -> None:
        self._app = app
        self._handler = handler
        self._topic_id = topic_id
        self._queues: PartitionQueues[EventT[Any]] = PartitionQueues(handler.batch_size, len(handler.handles))
        # Wakes all who wait for events, or for partitions or room that others give back.
        self._changed = asyncio.Event()
        self._held: dict[int, deque[EventT[Any]]] = {}
        self._doubtful: set[int] = set()
        self._stopping = False
        self._lanes = [asyncio.Lock() for _ in handler.handles]
        self._agents = 0
        self._batches = 0
        self._in_hand: dict[int, int] = {}
        self._arriving: Any = None

    @property
    def topic(self) -> str:
        """Where the batches come from."""
        return self._handler.topic

    @property
    def oldest_batch_in_hand(self) -> int | None:
        """The number of the batch that was begun before all others that are in hand; None between batches."""
        return min(self._in_hand.values(), default=None)

    @property
    def has_room(self) -> bool:
        """Whether Faust's buffer takes another event at once."""
        return self._arriving is not None and not self._arriving.full()

    @property
    def is_running(self) -> bool:
        """Whether an agent waits for batches, or has one. An agent may end without a word."""
        return self._agents > 0

    def doubt(self, partitions: set[TP]) -> None:
        """These partitions may have been somebody else's: forget them before their next batch."""
        topic = self._handler.topic
        for partition in (tp.partition for tp in partitions if tp.topic == topic):
            if self._queues.is_in_hand(partition):
                self._doubtful.add(partition)
            else:
                self._forget(partition)

    def _forget(self, partition: int) -> None:
        self._handler.forget(self._source(partition))
        self._held.pop(partition, None)

    def _source(self, partition: int) -> str:
        return f"{self._topic_id(self._handler.topic)}:{partition}"

    async def run(self, channel: Any) -> None:
        """Take batches until cancelled. What can't be retried ends the process, with nothing acknowledged."""
        # A former agent may still be ending.
        self._agents += 1
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._take_batches(lane)) for lane in range(len(self._lanes))]
                await self._listen(channel)
                for task, lane in zip(tasks, self._lanes, strict=True):
                    async with lane:
                        task.cancel()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            cause = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
            _log.critical("the worker stops: a batch of %s failed", self._handler.topic, exc_info=cause)
            await self._app.crash(cause)
            raise
        finally:
            self._agents -= 1

    async def finish(self) -> None:
        """Let the batches in hand end; take no more."""
        self._stopping = True
        for lane in self._lanes:
            async with lane:
                self.acknowledge()

    async def _listen(self, channel: Any) -> None:
        """Let events wait in their partitions' queues; returns when the agent stops."""
        arriving = self._arriving = aiter(channel).queue
        queues, room = self._queues, _BATCHES_WAITING * len(self._lanes) * self._handler.batch_size
        while True:
            try:
                event = await arriving.get()
            except StopAsyncIteration:
                # How Faust tells an agent that it stops.
                return
            queues.add(event.message.partition, event)
            while len(queues) < room and not arriving.empty():
                event = arriving.get_nowait()
                queues.add(event.message.partition, event)
            self._changed.set()
            while len(queues) >= room:
                await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _take_batches(self, lane: int) -> None:
        while True:
            async with self._lanes[lane]:
                if self._stopping:
                    return
                batch = self._queues.take()
                if batch:
                    await self._hold(lane, batch)
            if not batch:
                await self._change()

    async def _hold(self, lane: int, batch: Mapping[int, Sequence[EventT[Any]]]) -> None:
        self._batches += 1
        self._in_hand[lane] = self._batches
        try:
            await self._take(lane, in_order(batch))
        finally:
            del self._in_hand[lane]
            self._queues.give_back(batch)
            for partition in self._doubtful.intersection(batch):
                self._forget(partition)
            self._doubtful.difference_update(batch)
            self._changed.set()

    async def _take(self, lane: int, events: Sequence[EventT[Any]]) -> None:
        generation = self._app.consumer_generation_id
        assigned = self._app.assignment_now()
        current = [
            event for event in events if event.message.generation_id == generation and event.message.tp in assigned
        ]
        if current:
            await self._handler.handles[lane]([self._arrival(event) for event in current])
            for event in current:
                self._held.setdefault(event.message.partition, deque()).append(event)
        self.acknowledge()

    def acknowledge(self) -> None:
        """Acknowledge, in order, what need not be delivered again."""
        for partition, held in self._held.items():
            pending = self._handler.first_pending_offset(self._source(partition))
            while held and (pending is None or held[0].message.offset < pending):
                event = held.popleft()
                event.message.ack(self._app.consumer)

    def _arrival(self, event: EventT[Any]) -> Arrival:
        message = event.message
        place = MessagePlace(
            message.topic,
            self._topic_id(message.topic),
            message.partition,
            message.offset,
            round(message.timestamp * 1_000),
            message.key,
        )
        return Arrival(place, message.value)


class WorkerApp(faust.App):
    """A Faust app that knows which partitions it has held without a break.

    `prepare` and `finish` are called before it starts and when it stops, in its event loop.
    """

    prepare: Callable[[], Awaitable[None]]
    finish: Callable[[], Awaitable[None]]
    subscriptions: Sequence[Subscription] = ()
    _held_before: frozenset[TP] = frozenset()
    _generation_before = -1

    async def on_start(self) -> None:
        """Have everything ready before the first partition is assigned."""
        await self.prepare()
        await super().on_start()

    async def on_stop(self) -> None:
        """Finish the batches in hand and acknowledge them, leave the group, let go of everything."""
        for subscription in self.subscriptions:
            await subscription.finish()
        await self.consumer.commit()
        await super().on_stop()
        await self.finish()

    def _new_transport(self) -> FetchingTransport:
        return FetchingTransport(self.conf.broker_consumer, self)

    def has_room(self) -> bool:
        """Whether a message can be handed over to any agent without waiting."""
        return self.flow_control.is_active() and all(subscription.has_room for subscription in self.subscriptions)

    def _create_directories(self) -> None:
        """Faust would make folders for tables. There are none, and a worker that is killed could not remove them."""

    def assignment_now(self) -> set[TP]:
        """The partitions that are this worker's now; none before it has joined the group."""
        try:
            return set(self.consumer.assignment())
        except ConsumerNotStarted:
            return set()

    def interrupted(self, assigned: set[TP]) -> set[TP]:
        """Of all partitions known, those not held from the last generation of the group to this one."""
        generation = self.consumer_generation_id
        kept = self._held_before & assigned if generation == self._generation_before + 1 else frozenset()
        doubtful = (self._held_before | assigned) - kept
        self._held_before, self._generation_before = frozenset(assigned), generation
        return set(doubtful)


def create_app(
    connection: Connection,
    group: str,
    handlers: Sequence[Handler],
    topic_ids: Mapping[str, str],
    *,
    prepare: Callable[[], Awaitable[None]],
    finish: Callable[[], Awaitable[None]],
    session_timeout_s: float,
) -> WorkerApp:
    """The app with an agent for each handler. `topic_ids` is read anew for every batch: its owner keeps it current."""
    app = WorkerApp(
        group,
        broker=[f"kafka://{server}" for server in connection.bootstrap_servers.split(",")],
        broker_credentials=_credentials(connection),
        broker_commit_interval=_COMMIT_INTERVAL_S,
        broker_session_timeout=session_timeout_s,
        broker_heartbeat_interval=session_timeout_s / _HEARTBEATS_A_SESSION,
        stream_buffer_maxsize=_BUFFER_EVENTS,
        topic_allow_declare=False,
        topic_disable_leader=True,
        autodiscover=False,
        web_enabled=False,
        store="memory://",
        worker_redirect_stdouts=False,
    )
    app.prepare, app.finish = prepare, finish
    subscriptions = app.subscriptions = [Subscription(app, handler, topic_ids.__getitem__) for handler in handlers]
    for handler, subscription in zip(handlers, subscriptions, strict=True):
        topic = app.topic(handler.topic, key_serializer="raw", value_serializer="raw", allow_empty=True)
        app.agent(topic, name=f"fraud.{handler.topic}")(subscription_agent(subscription))

    async def on_assigned(_sender: Any, assigned: Any, *, signal: Any) -> None:
        del signal
        doubtful = app.interrupted(assigned)
        for subscription in subscriptions:
            subscription.doubt(doubtful)

    async def acknowledge_what_waited() -> None:
        for subscription in subscriptions:
            subscription.acknowledge()

    # Faust holds signal handlers weakly unless they are connected so.
    subscribers: Any = app.on_partitions_assigned
    subscribers.connect(on_assigned, weak=False)
    app.timer(_COMMIT_INTERVAL_S)(acknowledge_what_waited)
    return app


def subscription_agent(subscription: Subscription) -> Callable[[Any], Awaitable[None]]:
    """The agent function of one subscription."""

    async def agent(stream: Any) -> None:
        await subscription.run(stream.channel)

    return agent


def _credentials(connection: Connection) -> Any:
    if connection.security_protocol == "PLAINTEXT":
        return None
    if connection.security_protocol == "SSL":
        return faust.SSLCredentials(connection.ssl_context)
    return faust.SASLCredentials(
        username=connection.sasl_username,
        password=connection.sasl_password,
        ssl_context=connection.ssl_context,
        mechanism=connection.sasl_mechanism,
    )


def run_app(app: WorkerApp, loop: asyncio.AbstractEventLoop) -> None:
    """Run the app until a signal stops it; ends the process."""
    worker = faust.Worker(app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False)
    # It would show the terminal's cursor again, in the middle of the log.
    worker.spinner = None
    worker.execute_from_commandline()
