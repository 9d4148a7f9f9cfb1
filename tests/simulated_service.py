"""The whole live service in one process on stores in memory: workers, their group, the log, and faults by seed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from payments import DEFAULT_POLICY, artefacts
from simulated_log import DECISION_LIMITS, TOPIC_ID, Log
from simulated_ports import Chance, Faults, FaultyTables, FaultyWindows, Turns

from fraud.bootstrap import Artefacts, build_pipeline, state_limits
from fraud.features.plan import StatePlan
from fraud.live.backlog import EntityBacklog
from fraud.live.dead_letter import DeadLetterBox
from fraud.live.decisions import Arrival, DecisionService
from fraud.live.measures import Measures
from fraud.live.outgoing import Outgoing
from fraud.live.partition_queues import PartitionQueues, in_order
from fraud.pipeline import Period, StageTimings
from fraud.ports import EntityStoreUnavailableError
from fraud.stores.customers import CachedCustomers, CustomerCache
from fraud.stores.memory_tables import MemoryEntityWindows, MemoryTables

FEATURE_SET = "default"
BOX_KEY, BOX_KEY_ID = "a key for tests", "k1"
# A turn is one step of one worker: a small log takes some hundreds. What takes so many does not end.
_TURNS_AT_MOST = 60_000
_OUTAGE_TURNS = 60
# A short log shall have customers who are loaded from a snapshot and the events after it.
_EVENTS_BETWEEN_SNAPSHOTS = 3
# Nothing is read of it, and it takes longer to make than a run.
_MEASURES = Measures()


class StuckError(AssertionError):
    """A run that does not come to its end once faults have ended."""


@dataclass(frozen=True)
class Parts:
    """What a worker is made of; a test plants a bug by putting another class in a place."""

    worker: Callable[[World, int], SimulatedWorker]
    customers: type[CachedCustomers] = CachedCustomers
    backlog: type[EntityBacklog] = EntityBacklog
    service: type[DecisionService] = DecisionService
    tables: type[FaultyTables] = FaultyTables
    windows: type[MemoryEntityWindows] = MemoryEntityWindows
    queues: type[PartitionQueues[Any]] = PartitionQueues
    history: type[MemoryTables] = MemoryTables


@dataclass
class Broker:
    """The log, what was acknowledged of it, who owns which partition, and what was published."""

    partitions: list[list[Arrival]]
    acknowledged: list[int] = field(init=False)
    owners: dict[int, object] = field(default_factory=dict)
    generation: int = 0
    published: list[Outgoing] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.acknowledged = [0] * len(self.partitions)

    @property
    def is_done(self) -> bool:
        return self.acknowledged == [len(arrivals) for arrivals in self.partitions]

    def acknowledge(self, owner: object, generation: int, partition: int, offset: int) -> None:
        """The group refuses who is not the owner now. Nobody acknowledges less than before."""
        if generation == self.generation and self.owners.get(partition) is owner:
            self.acknowledged[partition] = max(self.acknowledged[partition], offset)


class SimulatedWorker:
    """Fetches, decides, publishes, acknowledges, as the worker of the service does.

    `generation` and `assigned` are what it believes of its group. Events that were fetched before `epoch` are void.
    """

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        turns, chance, faults = world.turns, world.chance, world.faults
        self._tables = world.parts.tables(world.tables, turns, chance, faults, self)
        windows = FaultyWindows(world.windows, turns, chance, faults, self, lambda: world.windows_away)
        self.customers = CustomerCache(world.cached_customers)
        self.backlog = world.parts.backlog(windows, sleep=self._sleep)
        self.services = [self._service() for _ in range(world.lanes)]
        self.generation = -1
        self.assigned: frozenset[int] = frozenset()
        self._lanes = [asyncio.Lock() for _ in self.services]
        self._busy = 0
        self._queues: PartitionQueues[tuple[int, Arrival]] = world.parts.queues(
            world.batch_size, world.lanes, worth_another=1
        )
        self._epoch = 0
        self._positions: dict[int, int] = {}
        self._doubtful: set[int] = set()
        self._held: dict[int, deque[int]] = {}

    def _service(self) -> DecisionService:
        world, parts, random = self.world, self.world.parts, self.world.chance.random
        timings = StageTimings(lambda: 0.0)
        customers = parts.customers(
            self._tables, world.plan, self.customers, events_between_snapshots=_EVENTS_BETWEEN_SNAPSHOTS
        )
        pipeline = build_pipeline(
            world.log.settings, world.artefacts, customers, self.backlog, timings=timings, period=Period()
        )
        box = DeadLetterBox(BOX_KEY, BOX_KEY_ID, random.randbytes)
        return parts.service(
            pipeline,
            customers,
            self.backlog,
            box,
            DECISION_LIMITS,
            _MEASURES,
            timings,
            random=random.random,
            sleep=self._sleep,
        )

    @property
    def is_idle(self) -> bool:
        """Whether it is in the middle of nothing."""
        return not self._busy

    async def _sleep(self, _seconds: float) -> None:
        await self.world.turns.wait(self)

    def learn(self) -> None:
        """The group has a new generation: partitions not held without a break are forgotten before their next batch."""
        broker = self.world.broker
        if self.generation == broker.generation:
            return
        assigned = frozenset(partition for partition, owner in broker.owners.items() if owner is self)
        kept = self.assigned & assigned if self.generation == broker.generation - 1 else frozenset()
        for partition in (self.assigned | assigned) - kept:
            if self._queues.is_in_hand(partition):
                self._doubtful.add(partition)
            else:
                self.forget(partition)
        self.generation, self.assigned = broker.generation, assigned
        self.fetch_again()

    def fetch_again(self) -> None:
        """Go on from what was acknowledged: what was fetched and not handled is lost."""
        self._epoch += 1
        self._positions = {partition: self.world.broker.acknowledged[partition] for partition in self.assigned}

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for lane, service in zip(self._lanes, self.services, strict=True):
                group.create_task(self._work(lane, service))

    async def _work(self, lane: asyncio.Lock, service: DecisionService) -> None:
        while True:
            await self.world.turns.wait(self)
            self._fetch()
            await self.world.turns.wait(self)
            # What was cancelled in this lane may still be ending.
            async with lane:
                batch = self._queues.take()
                if not (batch or any(self._held.values())):
                    continue
                self._busy += 1
                try:
                    await self._handle(service, batch)
                    await self.acknowledge()
                finally:
                    self._busy -= 1

    def _fetch(self) -> None:
        most = self.world.chance.random.randrange(1, self.world.batch_size + 1)
        for partition in sorted(self.assigned):
            start = self._positions[partition]
            some = self.world.broker.partitions[partition][start : start + most]
            self._positions[partition] += len(some)
            for arrival in some:
                self._queues.add(partition, (self._epoch, arrival))

    async def _handle(self, service: DecisionService, batch: dict[int, list[tuple[int, Arrival]]]) -> None:
        try:
            await self.take(service, [arrival for epoch, arrival in in_order(batch) if epoch == self._epoch])
        finally:
            self._queues.give_back(batch)
            for partition in self._doubtful.intersection(batch):
                self.forget(partition)
            self._doubtful.difference_update(batch)

    async def take(self, service: DecisionService, arrivals: Sequence[Arrival]) -> None:
        """Decide and publish one batch."""
        if not arrivals:
            return
        await service.handle(arrivals, self.publish)
        self.finish(arrivals)

    def finish(self, arrivals: Sequence[Arrival]) -> None:
        """From now on these can be acknowledged."""
        for arrival in arrivals:
            self._held.setdefault(arrival.place.partition, deque()).append(arrival.place.offset)

    def forget(self, partition: int) -> None:
        """Drop what is held of a partition that was somebody else's meanwhile."""
        source = f"{TOPIC_ID}:{partition}"
        self.customers.discard_source(source)
        self.backlog.drop(source)
        self._held.pop(partition, None)

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Until the broker has it all; the order across partitions and topics is anybody's guess."""
        chance = self.world.chance
        for message in outgoing:
            if chance.random.random() < 0.3:
                await self.world.turns.wait(self)
            while True:
                fails = chance.strikes(self.world.faults.publishing_fails)
                if not fails or chance.random.random() < 0.5:
                    self.world.broker.published.append(message)
                if not fails:
                    break
                await self.world.turns.wait(self)

    def first_pending_offset(self, partition: int) -> int | None:
        """What must be delivered again if this worker ends now."""
        return self.backlog.first_waiting_offset(f"{TOPIC_ID}:{partition}")

    async def acknowledge(self) -> None:
        """In order, what need not be delivered again; a request that was sent may arrive when others own it."""
        if self._held:
            with suppress(EntityStoreUnavailableError):
                await self.backlog.catch_up()
        for partition, held in list(self._held.items()):
            pending = self.first_pending_offset(partition)
            last = None
            while held and (pending is None or held[0] < pending):
                last = held.popleft()
            if last is not None:
                generation = self.generation
                await self.world.turns.wait(self)
                self.world.broker.acknowledge(self, generation, partition, last + 1)


@dataclass
class Outcome:
    """What a run has left behind."""

    published: list[Outgoing]
    tables: MemoryTables
    windows: MemoryEntityWindows
    faults: int


SOUND = Parts(SimulatedWorker)


class World:
    """One run: a log, shared stores, workers, and what befalls them."""

    def __init__(
        self,
        log: Log,
        random: Random,
        faults: Faults,
        *,
        workers: int,
        faults_at_most: int,
        batch_size: int,
        cached_customers: int,
        lanes: int,
        parts: Parts = SOUND,
    ) -> None:
        self.log = log
        self.faults = faults
        self.parts = parts
        self.batch_size = batch_size
        self.cached_customers = cached_customers
        self.lanes = lanes
        self.artefacts: Artefacts = artefacts(log.settings, FEATURE_SET, DEFAULT_POLICY)
        self.plan: StatePlan = self.artefacts.feature_set.plan(state_limits(log.settings))
        self.chance = Chance(random, faults_at_most)
        self.turns = Turns(random)
        self.tables = parts.history()
        self.windows = parts.windows(self.plan)
        self.broker = Broker(log.partitions)
        self.outage_turns = 0
        self._faults_at_most = faults_at_most
        self._tasks: dict[SimulatedWorker, asyncio.Task[None]] = {}
        self._number_of_workers = workers

    @property
    def windows_away(self) -> bool:
        return self.outage_turns > 0

    async def run(self) -> Outcome:
        """Until everything is acknowledged and nobody is in the middle of anything."""
        for _ in range(self._number_of_workers):
            self._start_worker()
        self._rebalance()
        for worker in self._tasks:
            worker.learn()
        try:
            for _ in range(_TURNS_AT_MOST):
                if self._is_over():
                    faults = self._faults_at_most - self.chance.faults_left
                    return Outcome(self.broker.published, self.tables, self.windows, faults)
                self._befall()
                await self.turns.take()
                for task in self._tasks.values():
                    if task.done() and not task.cancelled():
                        task.result()
        finally:
            await self._end(list(self._tasks))
        raise StuckError(f"not over after {_TURNS_AT_MOST} turns: {self.broker.acknowledged} acknowledged")

    def _is_over(self) -> bool:
        if not self.broker.is_done or self.turns.paused or self.turns.effects_waiting:
            return False
        return all(worker.is_idle for worker in self._tasks)

    def _befall(self) -> None:
        chance, faults, random = self.chance, self.faults, self.chance.random
        self.outage_turns -= self.outage_turns > 0
        able = [worker for worker in self._tasks if worker not in self.turns.paused]
        if able and chance.strikes(faults.crashes):
            self._crash(random.choice(able))
        elif able and chance.strikes(faults.pauses):
            self.turns.paused.add(random.choice(able))
            self.turns.later(self._rebalance_now)
        elif able and chance.strikes(faults.cancellations):
            self._cancel(random.choice(able))
        elif chance.strikes(faults.rebalances):
            self._rebalance()
        elif chance.strikes(faults.windows_away):
            self.outage_turns = random.randrange(1, _OUTAGE_TURNS)
        # A pause ends at some time, and at the latest when nothing else happens any more.
        if self.turns.paused and (not chance.faults_left or random.random() < 0.02):
            self._resume(random.choice(sorted(self.turns.paused, key=_number_of)))

    def _start_worker(self) -> SimulatedWorker:
        worker = self.parts.worker(self, len(self._tasks) + self.broker.generation)
        self._tasks[worker] = asyncio.create_task(worker.run())
        return worker

    def _crash(self, worker: SimulatedWorker) -> None:
        self._tasks.pop(worker).cancel()
        self._start_worker()
        self.turns.later(self._rebalance_now)

    def _cancel(self, worker: SimulatedWorker) -> None:
        """As when an agent is started anew in the same process."""
        self._tasks[worker].cancel()
        worker.fetch_again()
        self._tasks[worker] = asyncio.create_task(worker.run())

    def _resume(self, worker: object) -> None:
        self.turns.paused.discard(worker)
        self.turns.later(self._rebalance_now)

    async def _rebalance_now(self) -> None:
        self._rebalance()

    def _rebalance(self) -> None:
        """Give every partition to somebody who is there; they come to know one after the other."""
        there = [worker for worker in self._tasks if worker not in self.turns.paused]
        self.broker.generation += 1
        self.broker.owners = {
            partition: self.chance.random.choice(there) for partition in range(len(self.log.partitions)) if there
        }
        for worker in there:
            self.turns.later(partial(self._tell, worker))

    async def _tell(self, worker: SimulatedWorker) -> None:
        if worker not in self.turns.paused:
            worker.learn()

    async def _end(self, workers: list[SimulatedWorker]) -> None:
        for worker in workers:
            self._tasks[worker].cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def _number_of(worker: object) -> int:
    assert isinstance(worker, SimulatedWorker)
    return worker.number
