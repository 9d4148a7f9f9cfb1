"""Entity windows made anew from history, while the service runs.

A new generation is built beside the current one and swapped in, shard by shard:

1. `begin`: each shard notes which offsets it has counted. Up to these cut-offs an event comes from history; every
   later one comes from a worker. From here on workers' calls change both generations; for an entity whose history is
   still to come they wait in its place.
2. History is read, sorted by entity on disk, folded by `EntityState` itself, and written; what waited is counted
   on top.
3. What still waits belongs to entities without history. Then each shard swaps, once nothing waits in it.
4. The old generation is dropped.

Nothing is lost or doubled: an event is in history before a worker tells Redis, and the cut-offs are taken by the same
single-threaded server that counts. A shard that was flushed has no offsets to note: there the caller's `acknowledged`
are the cut-offs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import msgspec

from fraud.features.compiled import name_hash
from fraud.features.entity_state import EntityState
from fraud.ports import EntityEvent, EntityStoreUnavailableError
from fraud.stores.entity_windows.generations import SHARDS, Control, Generation, encode_control, shard_of
from fraud.stores.entity_windows.library import DONE, Command, call
from fraud.stores.entity_windows.spool import EntityHistory, Spool
from fraud.stores.entity_windows.windows import ENTITIES_A_CALL, EntityWindows, View, identity_of, new_name

# A rebuilder that died must not let workers fill Redis for ever with what waits for it; one that lives may wait for
# DynamoDB for minutes.
LEASE_S = 600
_RENEWALS_A_LEASE = 10
# Bounds what is in memory while history is read: a few megabytes.
_ROWS_A_WRITE = 10_000
_CALLS_A_ROUND_TRIP = 16
# Waiting keys that are taken from a shard's set at a time.
_WAITING_A_CALL = ENTITIES_A_CALL
_SCANNED_A_CALL = 1_000
# What stands in the cut-offs for all sources that are not named there, and below all offsets.
_OTHERS = b"*"
_NOTHING = -1

_Item = TypeVar("_Item")


class RebuildError(Exception):
    """The rebuild was given up; the current generation stays. The message says why."""


class EntityMark(msgspec.Struct, frozen=True, gc=False):
    """A transaction that is held for fraud now, with its entities, `(kind, identifier)`."""

    entities: tuple[tuple[str, str], ...]
    transaction_id: str
    timestamp_ms: int


class RebuildReport(msgspec.Struct, frozen=True, gc=False):
    """What a rebuild did: entities written, events and marks that were folded, events that workers told themselves."""

    generation: str
    entities: int
    events: int
    marks: int
    left_to_workers: int
    dropped_keys: int


async def rebuild(
    windows: EntityWindows,
    history: Callable[[], AsyncIterator[tuple[str, EntityEvent]]],
    marks: Callable[[], AsyncIterator[EntityMark]],
    *,
    acknowledged: Mapping[str, int],
    directory: Path | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> RebuildReport:
    """Make a new generation of entity windows from history and swap it in.

    `history` yields `(source, event)` in any order, all that was durable when it was called; `marks` the known
    frauds. Both are called after the cut-offs are taken. `acknowledged` is the next offset to consume of every source
    that is still written to (0 if nothing of it was consumed), read after all workers noticed the loss if a shard was
    flushed: all below it is in history, all from it on is told by workers again. Sorted history goes to a file in
    `directory` (the system's temporary folder by default): about 100 bytes an event. `on_progress` is told how many
    events were read so far.

    Raises `RebuildError` if another rebuild took over or Redis lost its data meanwhile, and
    `EntityStoreUnavailableError`; the current generation stays then.
    """
    attempt = _Rebuild(windows, new_name(), on_progress)
    renewing = asyncio.create_task(attempt.keep_lease())
    try:
        await attempt.begin(acknowledged)
        with TemporaryDirectory(dir=directory, prefix="entity-windows-") as folder:
            spool = Spool(Path(folder) / "history.sqlite")
            try:
                await attempt.read(spool, history(), marks())
                await attempt.write(spool)
            finally:
                spool.close()
        await attempt.complete()
        await attempt.settle_and_swap()
    except BaseException:
        # What is left behind if this fails as well ends with the lease.
        with suppress(EntityStoreUnavailableError):
            await attempt.give_up()
        raise
    finally:
        renewing.cancel()
    return await attempt.drop_others()


class _Rebuild:
    def __init__(self, windows: EntityWindows, name: str, on_progress: Callable[[int], None]) -> None:
        self._windows = windows
        self._keys = windows.keys
        self._generation = Generation(name, windows.plan, complete=False)
        self._on_progress = on_progress
        self._views: dict[int, View] = {}
        self._others: set[str] = set()
        self._cut_offs: dict[int, dict[bytes, int]] = {}
        self._restored: list[dict[str, int]] = [{} for _ in range(SHARDS)]
        self._entities = self._events = self._marks = self._left = 0

    async def begin(self, acknowledged: Mapping[str, int]) -> None:
        """Note the cut-offs of each shard and let workers tell both generations."""
        known = [value for source, offset in acknowledged.items() for value in (source, offset - 1)]
        before = await self._windows.read_views(range(SHARDS))
        todo = set(range(SHARDS))
        while todo:
            commands = []
            shards = sorted(todo)
            for shard in shards:
                view = before.get(shard)
                current = None if view is None else view.control.current
                self._others |= _generations(view)
                offsets, cut_offs, _, lease = self._keys.building(shard, self._generation.name)
                names = [self._keys.control(shard), cut_offs, offsets, lease]
                if current is not None:
                    names.append(self._keys.offsets(shard, current.name))
                control = encode_control(Control(current=current, building=self._generation))
                stored = b"" if view is None else view.stored
                commands.append(call("begin", names, [stored, control, LEASE_S * 1000, *known]))
            answers = await self._windows.connection.ask(commands)
            todo = {shard for shard, answer in zip(shards, answers, strict=True) if answer != DONE}
            before = await self._windows.read_views(range(SHARDS))
        self._views = before
        self._check_views()
        await self._read_cut_offs()

    async def _read_cut_offs(self) -> None:
        names = [self._keys.building(shard, self._generation.name)[1] for shard in range(SHARDS)]
        answers = await self._windows.connection.ask([["HGETALL", name] for name in names])
        for shard, answer in enumerate(answers):
            pairs = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
            self._cut_offs[shard] = {source: int(offset) for source, offset in pairs.items()}

    async def keep_lease(self) -> None:
        """Renew the lease in every shard until cancelled. Its loss is found out by the next call."""
        names = [self._keys.building(shard, self._generation.name)[3] for shard in range(SHARDS)]
        while True:
            await asyncio.sleep(LEASE_S / _RENEWALS_A_LEASE)
            with suppress(EntityStoreUnavailableError):
                await self._windows.connection.ask([["PEXPIRE", name, LEASE_S * 1000] for name in names])

    async def read(
        self, spool: Spool, history: AsyncIterator[tuple[str, EntityEvent]], marks: AsyncIterator[EntityMark]
    ) -> None:
        """Take what is up to the cut-offs into the spool."""
        async for chunk in _chunks(history):
            taken = [(source, event) for source, event in chunk if self._is_history(source, event)]
            await asyncio.to_thread(spool.add_events, taken)
            self._events += len(taken)
            self._left += len(chunk) - len(taken)
            self._on_progress(self._events + self._left)
        async for marked in _chunks(marks):
            rows = [
                (kind, key, mark.timestamp_ms, identity_of(mark.transaction_id))
                for mark in marked
                for kind, key in mark.entities
            ]
            await asyncio.to_thread(spool.add_marks, rows)
            self._marks += len(rows)

    def _is_history(self, source: str, event: EntityEvent) -> bool:
        cut_offs = self._cut_offs[shard_of(event.kind, event.key)]
        return event.offset <= cut_offs.get(source.encode(), cut_offs.get(_OTHERS, _NOTHING))

    async def write(self, spool: Spool) -> None:
        """Fold every entity's history and put it into its place."""
        entities = spool.entities()
        while batch := await asyncio.to_thread(lambda: list(islice(entities, ENTITIES_A_CALL * _CALLS_A_ROUND_TRIP))):
            await self._restore([entity for entity in batch if entity.kind in self._windows.layouts])

    async def _restore(self, entities: Sequence[EntityHistory]) -> None:
        shards: dict[int, list[tuple[str, str, bytes, bytes]]] = {}
        for entity in entities:
            shard = shard_of(entity.kind, entity.key)
            name = self._keys.entity(shard, self._generation.name, entity.kind, entity.key)
            state = self._fold(entity)
            for source, offset in (state.absorbed_offsets or {}).items():
                self._restored[shard][source] = max(offset, self._restored[shard].get(source, _NOTHING))
            shards.setdefault(shard, []).append(
                (name, entity.kind, *self._windows.layouts[entity.kind].encode(state, entity.marks, _names(entity)))
            )
        await self._put(shards)
        self._entities += len(entities)

    def _fold(self, entity: EntityHistory) -> EntityState:
        plan = self._windows.layouts[entity.kind].plan
        offsets: dict[str, int] = {}
        state = EntityState.new(entity.key, plan)
        for event in entity.events:
            if state.newest_ms < event.timestamp_ms - self._windows.plan.forget_after_ms:
                state = EntityState.new(entity.key, plan)
            state.absorb(event.timestamp_ms, event.amount, event.user_id, event.card_id, event.first_time, plan)
            offsets[event.source] = event.offset
        state.drop_expired(plan)
        state.absorbed_offsets = offsets
        return state

    async def _put(self, shards: Mapping[int, Sequence[tuple[str, str, bytes, bytes]]]) -> None:
        commands: list[Command] = []
        for shard, values in shards.items():
            _, cut_offs, waiting, _ = self._keys.building(shard, self._generation.name)
            for start in range(0, len(values), ENTITIES_A_CALL):
                names = [self._keys.control(shard), cut_offs, waiting]
                arguments: list[str | bytes | int] = [self._views[shard].stored]
                for name, kind, head, past in values[start : start + ENTITIES_A_CALL]:
                    names += (name, self._keys.past(name))
                    arguments += (kind, head, past)
                commands.append(call("restore", names, arguments))
        await self._expect_done(commands)

    async def complete(self) -> None:
        """Tell every shard that no more history comes, and what came."""
        await self._exchange(msgspec.structs.replace(self._generation, complete=True))

    async def _exchange(self, building: Generation) -> None:
        commands = []
        for shard in range(SHARDS):
            control = Control(current=self._views[shard].control.current, building=building)
            names = [self._keys.control(shard), self._keys.offsets(shard, self._generation.name)]
            pairs = [value for pair in self._restored[shard].items() for value in pair]
            commands.append(call("exchange", names, [self._views[shard].stored, encode_control(control), *pairs]))
        await self._expect_done(commands)
        self._generation = building
        self._views = await self._windows.read_views(range(SHARDS))
        self._check_views()

    async def settle_and_swap(self) -> None:
        """Count what waits for entities without history; make the new generation current in each shard."""
        for shard in range(SHARDS):
            _, cut_offs, waiting, lease = self._keys.building(shard, self._generation.name)
            swapped = Control(current=msgspec.structs.replace(self._generation, complete=True))
            names = [self._keys.control(shard), waiting, cut_offs, lease]
            swap = call("swap", names, [self._views[shard].stored, encode_control(swapped)])
            while (answer := (await self._windows.connection.ask([swap]))[0]) == b"waiting":
                (found,) = await self._windows.connection.ask([["SRANDMEMBER", waiting, _WAITING_A_CALL]])
                values = [(name, self._keys.kind_of(name), b"", b"") for name in map(bytes.decode, found)]
                await self._put({shard: values})
            self._check_done([answer])

    async def give_up(self) -> None:
        """Let workers tell the current generation alone again."""
        commands = []
        for shard, view in (await self._windows.read_views(range(SHARDS))).items():
            building = view.control.building
            if building is not None and building.name == self._generation.name:
                control = self._keys.control(shard)
                unused = self._keys.offsets(shard, self._generation.name)
                if view.control.current is None:
                    commands.append(call("exchange", [control, unused], [view.stored, b""]))
                else:
                    remaining = encode_control(Control(current=view.control.current))
                    commands.append(call("exchange", [control, unused], [view.stored, remaining]))
        await self._windows.connection.ask(commands)
        await self._drop({self._generation.name})

    async def drop_others(self) -> RebuildReport:
        """Free what the new generation replaces."""
        dropped = await self._drop(self._others)
        return RebuildReport(self._generation.name, self._entities, self._events, self._marks, self._left, dropped)

    async def _drop(self, generations: Iterable[str]) -> int:
        client = await self._windows.connection.client()
        dropped = 0
        for generation in generations:
            shards: dict[str, list[bytes]] = {}
            async for name in client.scan_iter(self._keys.everything_of(generation), count=_SCANNED_A_CALL):
                shards.setdefault(name.split(b"}")[0].decode(), []).append(name)
                dropped += 1
                if not dropped % _SCANNED_A_CALL:
                    await self._unlink(shards)
            await self._unlink(shards)
        return dropped

    async def _unlink(self, shards: dict[str, list[bytes]]) -> None:
        if shards:
            await self._windows.connection.ask([["UNLINK", *names] for names in shards.values()])
            shards.clear()

    async def _expect_done(self, commands: Sequence[Command]) -> None:
        for chunk in _slices(commands, _CALLS_A_ROUND_TRIP * 2):
            self._check_done(await self._windows.connection.ask(chunk))

    @staticmethod
    def _check_done(answers: Sequence[object]) -> None:
        if any(answer != DONE for answer in answers):
            raise RebuildError(
                "another rebuild took over, this one paused for too long, or Redis was flushed meanwhile; start again"
            )

    def _check_views(self) -> None:
        for shard in range(SHARDS):
            view = self._views.get(shard)
            if view is None or view.control.building != self._generation:
                self._check_done([None])


def _names(entity: EntityHistory) -> dict[int, str]:
    """The names of customers and cards that the entity has met, by what its state knows them by."""
    names = {name_hash(event.user_id): event.user_id for event in entity.events}
    names.update((name_hash(event.card_id), event.card_id) for event in entity.events if event.card_id is not None)
    return names


def _generations(view: View | None) -> set[str]:
    if view is None:
        return set()
    both = (view.control.current, view.control.building)
    return {generation.name for generation in both if generation is not None}


def _slices(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def _chunks(items: AsyncIterator[_Item]) -> AsyncIterator[list[_Item]]:
    chunk: list[_Item] = []
    async for item in items:
        chunk.append(item)
        if len(chunk) == _ROWS_A_WRITE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
