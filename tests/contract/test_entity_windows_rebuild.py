"""Entity windows rebuilt from history while workers go on: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any

import msgspec
import pytest
from entity_events import PLAN, PLANS, SourceEvent, all_keys, generate, mark_of, normal_form
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_server import RedisServer

from fraud.features.plan import StatePlan
from fraud.ports import EntityEvent, EntityStoreUnavailableError
from fraud.stores.entity_windows.rebuild import EntityMark, RebuildError, RebuildReport, rebuild
from fraud.stores.entity_windows.windows import EntityWindows
from fraud.stores.memory_tables import MemoryEntityWindows

PATIENT_MS = 60_000.0
NUMBERS = count()


class Scene:
    """A history that grows, a worker that tells Redis of it in order, and what memory made of the same events."""

    def __init__(self, url: str, events: Sequence[SourceEvent], random: Random) -> None:
        self.url = url
        self.prefix = f"rebuild{next(NUMBERS)}:"
        self.worker = self.windows()
        self.rebuilder = self.windows()
        self.random = random
        self.to_come = list(events)
        self.keys = all_keys(self.to_come)
        self.history: list[SourceEvent] = []
        # Durable, and Redis does not know it yet.
        self.untold: list[SourceEvent] = []
        self.frauds: dict[str, EntityMark] = {}
        self.memory = MemoryEntityWindows(PLAN)

    def windows(self, plan: StatePlan = PLAN) -> EntityWindows:
        return EntityWindows(self.url, plan, prefix=self.prefix, deadline_ms=PATIENT_MS)

    async def go_on(self, events: int) -> None:
        """The worker takes some more: history first, then Redis, perhaps with a later batch, perhaps twice."""
        batch, self.to_come = self.to_come[:events], self.to_come[events:]
        self.history += batch
        self.untold += batch
        if self.random.random() < 0.7 and await self.tell() and self.random.random() < 0.5:
            await self.judge(self.random.choice(self.history)[1])

    async def tell(self) -> bool:
        """Tell Redis what it does not know yet; False if it is away."""
        told, self.untold = self.untold, []
        again = [] if self.random.random() < 0.7 else self.history[-self.random.choice((1, 9)) :]
        try:
            await commit(self.worker, told)
            await commit(self.worker, again)
        except EntityStoreUnavailableError:
            self.untold = told
            return False
        await commit(self.memory, told)
        return True

    async def judge(self, event: EntityEvent) -> None:
        """A label: durable first, then known to Redis; where Redis has nothing the rebuild will bring it."""
        mark = mark_of(event, self.random.random() < 0.8)
        self.frauds.pop(mark.transaction_id, None)
        if mark.is_fraud:
            self.frauds[mark.transaction_id] = EntityMark(mark.keys, mark.transaction_id, mark.timestamp_ms)
        with suppress(EntityStoreUnavailableError):
            await self.worker.mark(mark.keys, mark.transaction_id, mark.timestamp_ms, mark.is_fraud)
        await self.memory.mark(mark.keys, mark.transaction_id, mark.timestamp_ms, mark.is_fraud)

    async def read_history(self) -> AsyncIterator[SourceEvent]:
        """As the scan of a table reads it: in no order, while the worker goes on, with some of what that writes."""
        entries = list(self.history)
        self.random.shuffle(entries)
        for place, entry in enumerate(entries):
            yield entry
            if place % 7 == 0:
                await self.go_on(self.random.choice((0, 1, 5)))
        for entry in self.history[len(entries) :]:
            if self.random.random() < 0.5:
                yield entry

    async def read_marks(self) -> AsyncIterator[EntityMark]:
        """The labels' table, while the worker goes on."""
        for mark in list(self.frauds.values()):
            yield mark
            await self.go_on(1)

    async def rebuild(self, directory: Any = None) -> RebuildReport:
        """With the offsets that the worker acknowledged to Kafka."""
        return await rebuild(
            self.rebuilder,
            self.read_history,
            self.read_marks,
            acknowledged=self.acknowledged(),
            directory=directory,
        )

    def acknowledged(self) -> dict[str, int]:
        """The next offset of each source: what Redis was told is acknowledged."""
        offsets = {source: 0 for source, _ in (*self.to_come, *self.history)}
        for source, event in self.history[: len(self.history) - len(self.untold)]:
            offsets[source] = event.offset + 1
        return offsets

    async def flush(self) -> None:
        """Redis loses all that it has under this prefix."""
        client = await self.worker.connection.client()
        for name in [name async for name in client.scan_iter(f"{self.prefix}*")]:
            await client.unlink(name)

    async def names(self) -> list[str]:
        client = await self.worker.connection.client()
        return [name.decode() async for name in client.scan_iter(f"{self.prefix}*")]

    async def assert_exact(self) -> None:
        """The worker ends its work; what it loads then, and what a new one loads, is what memory has."""
        await self.go_on(len(self.to_come))
        assert await self.tell()
        expected = normal(await self.memory.load(self.keys))
        assert normal(await self.worker.load(self.keys)) == expected
        newcomer = self.windows()
        assert normal(await newcomer.load(self.keys)) == expected
        await newcomer.close()


async def commit(store: Any, events: Sequence[SourceEvent]) -> None:
    """All sources in one call, as a batch of several partitions."""
    sources = sorted({source for source, _ in events})
    await store.commit({source: [event for of, event in events if of == source] for source in sources})


def normal(states: Any) -> dict[str, Any]:
    return {kind: {key: normal_form(state) for key, state in states[kind].items()} for kind in PLANS}


def play(url: str, events: Sequence[SourceEvent], act: Callable[[Scene], Awaitable[Any]], seed: int = 1) -> Any:
    async def played() -> Any:
        scene = Scene(url, events, Random(seed))
        try:
            assert await scene.worker.initialise()
            return await act(scene)
        finally:
            await scene.worker.close()
            await scene.rebuilder.close()

    return asyncio.run(played())


def separate_sources(random: Random, size: int, sources: int = 3, keys: int = 2) -> list[SourceEvent]:
    """Events of several sources, each with entities of its own: every reader sees those in the same order."""
    events = []
    for number in range(sources):
        for _, event in generate(random, size, keys=keys, sources=1, calm=random.choice((0.6, 0.95))):
            events.append((f"topic:{number}", msgspec.structs.replace(event, key=f"{event.key} of {number}")))
    return sorted(events, key=lambda entry: entry[1].offset)


@settings(max_examples=40)
@given(
    random=st.randoms(use_true_random=False),
    size=st.sampled_from((2, 30, 150)),
    keys=st.integers(1, 4),
    before=st.sampled_from((0.0, 0.3, 0.9)),
    flushed=st.booleans(),
)
def test_a_rebuild_under_load_loses_and_doubles_nothing(
    redis_server: RedisServer, random: Random, size: int, keys: int, before: float, flushed: bool
) -> None:
    events = separate_sources(random, size, keys=keys)

    async def act(scene: Scene) -> None:
        while len(scene.history) < before * len(events):
            await scene.go_on(9)
        if flushed:
            await scene.flush()
            await scene.go_on(3)
        await scene.rebuild()
        await scene.assert_exact()

    play(redis_server.url, events, act, random.randrange(1 << 30))


def test_entities_that_sources_share_keep_every_event(redis_server: RedisServer) -> None:
    events = generate(Random(5), 400, keys=2, sources=4, calm=1.0)

    async def act(scene: Scene) -> None:
        await scene.go_on(150)
        await scene.rebuild()
        await scene.go_on(len(events))
        await scene.tell()
        found, expected = await scene.worker.load(scene.keys), await scene.memory.load(scene.keys)
        for kind, key in scene.keys:
            # Everything but the order of last sight: among sources it is that of arrival, which history does not know.
            one, other = normal_form(found[kind][key]), normal_form(expected[kind][key])
            assert (one[:2], one[4:]) == (other[:2], other[4:])

    play(redis_server.url, events, act)


def test_one_rebuild_after_another_is_exact(redis_server: RedisServer) -> None:
    async def act(scene: Scene) -> None:
        for flushed in (False, True, False, False, True):
            await scene.go_on(40)
            if flushed:
                await scene.flush()
            await scene.rebuild()
        await scene.assert_exact()

    play(redis_server.url, separate_sources(Random(6), 150), act)


def test_nothing_but_the_new_generation_is_left(redis_server: RedisServer, tmp_path: Any) -> None:
    async def act(scene: Scene) -> None:
        await scene.go_on(200)
        report = await scene.rebuild(tmp_path)
        assert report.dropped_keys > 0
        names = await scene.names()
        others = [name for name in names if report.generation not in name and not name.endswith(":generation")]
        assert others == []
        assert not any(word in name for name in names for word in (":.waiting", ":.lease", ":.cut-offs"))
        assert list(tmp_path.iterdir()) == []

    play(redis_server.url, separate_sources(Random(7), 100), act)


def test_entities_that_only_appear_during_a_rebuild_are_there_after_it(redis_server: RedisServer) -> None:
    first, second = separate_sources(Random(8), 12, sources=1), separate_sources(Random(9), 12, sources=2)
    later = [entry for entry in second if entry[0] == "topic:1"]

    async def act(scene: Scene) -> None:
        await scene.go_on(len(first))
        report = await scene.rebuild()
        assert report.entities == len(all_keys(first))
        await scene.assert_exact()

    play(redis_server.url, [*first, *later], act)


def test_an_empty_history_makes_empty_entity_windows(redis_server: RedisServer) -> None:
    async def act(scene: Scene) -> None:
        await scene.flush()
        report = await scene.rebuild()
        assert (report.entities, report.events, report.marks) == (0, 0, 0)
        await scene.assert_exact()

    play(redis_server.url, separate_sources(Random(10), 9), act)


def test_a_rebuild_that_fails_leaves_everything_as_it_was(redis_server: RedisServer) -> None:
    async def act(scene: Scene) -> None:
        await scene.go_on(60)
        whole_history = scene.read_history

        async def broken_history() -> AsyncIterator[SourceEvent]:
            async for number, entry in numbered(whole_history()):
                yield entry
                if number == 20:
                    raise OSError("the table is gone")

        scene.read_history = broken_history  # type: ignore[method-assign]
        with pytest.raises(OSError, match="the table is gone"):
            await scene.rebuild()
        assert not [name for name in await scene.names() if ":." in name and not name.endswith(".offsets")]
        await scene.go_on(20)
        scene.read_history = whole_history  # type: ignore[method-assign]
        await scene.rebuild()
        await scene.assert_exact()

    play(redis_server.url, separate_sources(Random(11), 60), act)


async def numbered(entries: AsyncIterator[SourceEvent]) -> AsyncIterator[tuple[int, SourceEvent]]:
    number = 0
    async for entry in entries:
        yield number, entry
        number += 1


def test_a_second_rebuild_takes_over(redis_server: RedisServer) -> None:
    async def act(scene: Scene) -> None:
        await scene.go_on(60)
        other = scene.windows()
        plain_history = scene.read_history

        async def interrupted_history() -> AsyncIterator[SourceEvent]:
            async for entry in plain_history():
                yield entry
            await rebuild(other, plain_history, scene.read_marks, acknowledged=scene.acknowledged())

        scene.read_history = interrupted_history  # type: ignore[method-assign]
        with pytest.raises(RebuildError, match="another rebuild took over"):
            await scene.rebuild()
        await other.close()
        await scene.assert_exact()

    play(redis_server.url, separate_sources(Random(12), 60), act)


@pytest.mark.parametrize("flushed", [False, True])
def test_a_rebuild_without_its_lease_is_given_up(redis_server: RedisServer, flushed: bool) -> None:
    async def act(scene: Scene) -> None:
        await scene.go_on(60)
        await scene.tell()
        if flushed:
            await scene.flush()
        plain_history = scene.read_history

        async def paused_history() -> AsyncIterator[SourceEvent]:
            async for entry in plain_history():
                yield entry
            client = await scene.worker.connection.client()
            for name in await scene.names():
                if name.endswith(":.lease"):
                    await client.unlink(name)
            scene.untold += [scene.to_come.pop(0)]
            scene.history += scene.untold[-1:]
            # A flushed shard without a rebuild takes nothing; the worker keeps it and tells it again.
            assert await scene.tell() == (not flushed)

        scene.read_history = paused_history  # type: ignore[method-assign]
        with pytest.raises(RebuildError):
            await scene.rebuild()
        scene.read_history = plain_history  # type: ignore[method-assign]
        if flushed:
            with pytest.raises(EntityStoreUnavailableError):
                await scene.worker.load(scene.keys)
            await scene.rebuild()
        await scene.assert_exact()

    play(redis_server.url, separate_sources(Random(13), 60), act)


def test_a_flush_during_a_rebuild_ends_it(redis_server: RedisServer) -> None:
    async def act(scene: Scene) -> None:
        await scene.go_on(60)
        plain_history = scene.read_history

        async def flushed_history() -> AsyncIterator[SourceEvent]:
            async for entry in plain_history():
                yield entry
            await scene.flush()

        scene.read_history = flushed_history  # type: ignore[method-assign]
        with pytest.raises(RebuildError, match="flushed meanwhile"):
            await scene.rebuild()
        with pytest.raises(EntityStoreUnavailableError):
            await scene.worker.load(scene.keys)
        scene.read_history = plain_history  # type: ignore[method-assign]
        await scene.rebuild()
        await scene.assert_exact()

    play(redis_server.url, separate_sources(Random(14), 60), act)


def test_a_rebuild_moves_to_another_feature_set_while_old_workers_go_on(redis_server: RedisServer) -> None:
    with_customers = replace(PLAN.entities[0], counts_customers=True)
    wider = replace(PLAN, entities=(with_customers, *PLAN.entities[1:]))

    async def act(scene: Scene) -> None:
        await scene.go_on(60)
        new_worker = scene.windows(wider)
        with pytest.raises(EntityStoreUnavailableError, match="another feature set"):
            await new_worker.load(scene.keys)
        await rebuild(new_worker, scene.read_history, scene.read_marks, acknowledged={})
        # An old worker still counts, but must not read what it does not understand.
        await scene.go_on(30)
        await scene.tell()
        with pytest.raises(EntityStoreUnavailableError, match="another feature set"):
            await scene.worker.load(scene.keys)
        expected = MemoryEntityWindows(wider)
        await commit(expected, scene.history)
        found, known = await new_worker.load(scene.keys), await expected.load(scene.keys)
        for key in known["card"]:
            assert list(found["card"][key].customers) == list(known["card"][key].customers)
            assert found["card"][key].counts[-1] > 0
        await new_worker.close()

    play(redis_server.url, separate_sources(Random(15), 60), act)
