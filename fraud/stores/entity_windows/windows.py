"""`EntityStore` on Redis."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from fraud.certificates import TlsFiles
from fraud.features.extraction import EntityStates
from fraud.features.plan import ENTITY_KINDS, StatePlan
from fraud.ports import EntityEvent, EntityStoreUnavailableError
from fraud.stores.entity_windows.connection import Connection
from fraud.stores.entity_windows.generations import (
    FORMAT,
    SHARDS,
    Control,
    Generation,
    Keys,
    decode_control,
    encode_control,
    plan_record,
    shard_of,
)
from fraud.stores.entity_windows.layout import EntityLayout, Head, PastRows, decode_head
from fraud.stores.entity_windows.library import DONE, Command, call
from fraud.stores.entity_windows.pasts import CACHED_ROWS, Pasts

# Entities that one call changes: enough that a call's own cost hardly counts, and one to two milliseconds for which
# nobody else is served.
ENTITIES_A_CALL = 64
# A generation changes twice in a rebuild, a past once in a day of a busy entity: who meets more changes than this in
# one call has met a fault.
_ATTEMPTS = 5
# 48 bits, exact as a number of Lua: among a thousand frauds of one millisecond at one entity, two share an identity
# with a chance of 10^-9.
_IDENTITY_BYTES = 6
_LOW_BITS = 32
_LOW_MASK = (1 << _LOW_BITS) - 1
_FLUSHED = "Redis has no entity windows: they were flushed or never initialised; rebuild them from history"
_OTHER_VERSION = "entity windows in Redis were written by another version of the service; rebuild them"
_pack = msgspec.msgpack.Encoder().encode

EntityKey = tuple[str, str]


class View(NamedTuple):
    """A shard's control record as stored, and read."""

    stored: bytes
    control: Control


class EntityWindows:
    """Entity windows that all workers share. Every method raises `EntityStoreUnavailableError`.

    `load` answers within `deadline_ms` or not at all; the rest within seconds. Loaded states are copies. Up to
    `cached_rows` rows of busy entities are held between loads. `tls` has the files for a server with TLS.
    """

    def __init__(
        self,
        url: str,
        plan: StatePlan,
        *,
        prefix: str,
        deadline_ms: float,
        tls: TlsFiles | None = None,
        cached_rows: int = CACHED_ROWS,
    ) -> None:
        self.keys = Keys(prefix)
        self.plan = plan_record(plan)
        self.layouts = {entity.kind: EntityLayout(entity) for entity in plan.entities}
        self.connection = Connection(url, tls)
        self._deadline_s = deadline_ms / 1000
        self._views: dict[int, View] = {}
        self._pasts = Pasts(cached_rows)

    async def load(self, keys: Iterable[EntityKey]) -> EntityStates:
        """Copies of the states of those of these entities that there are, by kind."""
        states: EntityStates = {kind: {} for kind in ENTITY_KINDS}
        wanted = _by_shard(dict.fromkeys(keys))
        for _ in range(_ATTEMPTS):
            if not wanted:
                return states
            heads, again = await self._heads(wanted)
            wanted = _by_shard([*again, *await self._compose(heads, states)])
        raise EntityStoreUnavailableError("entity windows change faster than they can be read")

    async def commit(self, events: Mapping[str, Sequence[EntityEvent]]) -> None:
        """Count `events` by source, whose offsets ascend; what was counted before is not counted again."""
        of_entities: dict[EntityKey, list[object]] = {}
        for source, of_source in events.items():
            for entity, values in _flat_events(of_source).items():
                of_entities.setdefault(entity, []).extend((source, values))
        await self._change("absorb", (), {entity: _pack(values) for entity, values in of_entities.items()})

    async def mark(self, keys: Iterable[EntityKey], transaction_id: str, timestamp_ms: int, is_fraud: bool) -> None:
        """Hold a transaction of this time for fraud, or no longer, with each of its entities; twice is once.

        A mark may come before its transaction is counted. It is for transactions that are counted at some time.
        """
        kinds = {(kind, key): kind.encode() for kind, key in keys}
        await self._change("mark", [identity_of(transaction_id), timestamp_ms, int(is_fraud)], kinds)

    async def applied(self, source: str) -> int | None:
        """The offset that `set_applied` was last told; None if it was never, or Redis has lost it."""
        (answer,) = await self.connection.ask([["HGET", self.keys.applied(), source]])
        return None if answer is None else int(answer)

    async def set_applied(self, source: str, offset: int) -> None:
        """Note that all events of `source` up to `offset` are counted. It never goes back."""
        await self.connection.ask([call("applied", [self.keys.applied()], [source, offset])])

    async def initialise(self) -> bool:
        """Declare that history is empty, for a new service; False if entity windows are there already.

        Raises `EntityStoreUnavailableError` also where only a part of them is there: the rest was flushed.
        """
        views = await self.read_views(range(SHARDS))
        if len(views) == SHARDS:
            return False
        if views:
            raise EntityStoreUnavailableError(
                f"{SHARDS - len(views)} of {SHARDS} shards lost their entity windows; rebuild them from history"
            )
        control = encode_control(Control(current=Generation(new_name(), self.plan)))
        offsets = self.keys.offsets(0, "")
        commands = [call("exchange", [self.keys.control(shard), offsets], [b"", control]) for shard in range(SHARDS)]
        answers = await self.connection.ask(commands)
        return all(answer == DONE for answer in answers)

    async def close(self) -> None:
        """End all connections."""
        await self.connection.close()

    async def read_views(self, shards: Iterable[int], deadline_s: float | None = None) -> dict[int, View]:
        """The control records of `shards` as they are now, those that there are."""
        asked = list(shards)
        answers = await self.connection.ask([["GET", self.keys.control(shard)] for shard in asked], deadline_s)
        for shard, answer in zip(asked, answers, strict=True):
            self._learn(shard, answer)
        return {shard: self._views[shard] for shard in asked if shard in self._views}

    async def check(self) -> None:
        """Raise `EntityStoreUnavailableError` unless every shard answers and can be read."""
        views = await self.read_views(range(SHARDS))
        for shard in range(SHARDS):
            self._readable(views.get(shard))

    def _learn(self, shard: int, stored: bytes | None) -> View | None:
        known = self._views.get(shard)
        if stored is None:
            self._views.pop(shard, None)
            return None
        if known is None or known.stored != stored:
            known = self._views[shard] = View(stored, decode_control(stored))
        return known

    def _trouble(self, view: View | None) -> str:
        """Why nothing can be read by `view`; empty if it can."""
        if view is None:
            return _FLUSHED
        if view.control.format != FORMAT:
            return _OTHER_VERSION
        current = view.control.current
        if current is None:
            return "entity windows are being rebuilt"
        if current.plan != self.plan:
            return "entity windows in Redis are of another feature set; rebuild them"
        return ""

    def _readable(self, view: View | None) -> str:
        """The name of the generation to read."""
        trouble = self._trouble(view)
        if view is None or view.control.current is None or trouble:
            raise EntityStoreUnavailableError(trouble)
        return view.control.current.name

    async def _heads(
        self, wanted: Mapping[int, Sequence[EntityKey]]
    ) -> tuple[list[tuple[EntityKey, str, Head]], list[EntityKey]]:
        """Heads with the names of their keys, and what has to be asked for again under another generation."""
        # Trouble may have ended since it was seen.
        unknown = [shard for shard in wanted if self._trouble(self._views.get(shard))]
        if unknown:
            await self.read_views(unknown, self._deadline_s)
        generations = {shard: self._readable(self._views.get(shard)) for shard in wanted}
        names = {
            shard: [self.keys.entity(shard, generations[shard], kind, key) for kind, key in entities]
            for shard, entities in wanted.items()
        }
        commands: list[Command] = [["MGET", self.keys.control(shard), *names[shard]] for shard in wanted]
        answers = await self.connection.ask(commands, self._deadline_s)
        found: list[tuple[EntityKey, str, Head]] = []
        again: list[EntityKey] = []
        for (shard, entities), (stored, *values) in zip(wanted.items(), answers, strict=True):
            if self._readable(self._learn(shard, stored)) != generations[shard]:
                again += entities
                continue
            for entity, name, value in zip(entities, names[shard], values, strict=True):
                head = None if value is None else decode_head(name, value)
                if head is not None:
                    found.append((entity, name, head))
        return found, again

    async def _compose(self, heads: list[tuple[EntityKey, str, Head]], states: EntityStates) -> list[EntityKey]:
        """Put the states of `heads` into `states`; returns those whose past changed meanwhile."""
        lacking = []
        commands: list[Command] = []
        for (kind, _), name, head in heads:
            if head.past_rows:
                past_name = self.keys.past(name)
                if self._pasts.known(past_name, head) is None:
                    lacking.append((past_name, head, self.layouts[kind]))
                    commands += self._pasts.missing(past_name, head, self.layouts[kind])
        if commands:
            answers = await self.connection.ask(commands, self._deadline_s)
            for place, (name, head, layout) in enumerate(lacking):
                self._pasts.add(name, head, layout, answers[2 * place], answers[2 * place + 1])
        again = []
        complete: dict[str, list[tuple[str, Head, PastRows | None]]] = {}
        for (kind, key), name, head in heads:
            past = self._pasts.known(self.keys.past(name), head) if head.past_rows else None
            if head.past_rows and past is None:
                again.append((kind, key))
            else:
                complete.setdefault(kind, []).append((key, head, past))
        for kind, loaded in complete.items():
            states[kind].update((state.key, state) for state in self.layouts[kind].states(loaded))
        self._pasts.trim()
        return again

    async def _change(self, function: str, arguments: Sequence[str | int], entities: Mapping[EntityKey, bytes]) -> None:
        """Call `function` for the packed values of `entities`, until each call found the generations that it knew."""
        todo = [
            (shard, of_shard[start : start + ENTITIES_A_CALL])
            for shard, of_shard in _by_shard(entities).items()
            for start in range(0, len(of_shard), ENTITIES_A_CALL)
        ]
        for _ in range(_ATTEMPTS):
            if not todo:
                return
            await self.read_views({shard for shard, _ in todo if not self._is_writable(self._views.get(shard))})
            commands = []
            for shard, chunk in todo:
                view = self._views.get(shard)
                if view is None or not self._is_writable(view):
                    raise EntityStoreUnavailableError(_FLUSHED if view is None else _OTHER_VERSION)
                packed = [entities[entity] for entity in chunk]
                commands.append(
                    call(function, self._names(shard, view.control, chunk), [view.stored, *arguments, *packed])
                )
            answers = await self.connection.ask(commands)
            again = [(chunk, answer) for chunk, answer in zip(todo, answers, strict=True) if answer != DONE]
            for (shard, _), answer in again:
                self._learn(shard, answer)
            todo = [chunk for chunk, _ in again]
        raise EntityStoreUnavailableError("generations of entity windows change faster than they can be written")

    @staticmethod
    def _is_writable(view: View | None) -> bool:
        return view is not None and view.control.format == FORMAT

    def _names(self, shard: int, control: Control, entities: Sequence[EntityKey]) -> list[str]:
        """All keys that a change of `entities` may touch, in the order that functions.lua expects."""
        names = [self.keys.control(shard)]
        generations = []
        if control.current is not None:
            generations.append(control.current.name)
            names.append(self.keys.offsets(shard, control.current.name))
        if control.building is not None:
            generations.append(control.building.name)
            names += self.keys.building(shard, control.building.name)
        for kind, key in entities:
            for generation in generations:
                head = self.keys.entity(shard, generation, kind, key)
                names += (head, self.keys.past(head))
        return names


def new_name() -> str:
    """A name that no generation had before."""
    return secrets.token_hex(4)


def identity_of(transaction_id: str) -> int:
    """What a mark remembers of its transaction."""
    return int.from_bytes(blake2b(transaction_id.encode(), digest_size=_IDENTITY_BYTES).digest(), "little")


def _flat_events(events: Sequence[EntityEvent]) -> dict[EntityKey, list[object]]:
    """The events of one source by entity, as functions.lua expects them."""
    flat: dict[EntityKey, list[object]] = {}
    for event in events:
        entity = event.kind, event.key
        values = flat.get(entity)
        if values is None:
            values = flat[entity] = [event.kind]
        low, high = event.amount & _LOW_MASK, event.amount >> _LOW_BITS
        values += (event.offset, event.timestamp_ms, low, high)
        customer = _names(event.user_id, event.former_user_id)
        values += (customer, _names(event.card_id, event.former_card_id) or False, event.first_time)
    return flat


def _names(name: str | None, former: str | None) -> object:
    """Somebody as functions.lua expects them: by name, or by name and the one before."""
    return name if former is None else (name, former)


def _by_shard(entities: Iterable[EntityKey]) -> dict[int, list[EntityKey]]:
    shards: dict[int, list[EntityKey]] = {}
    for entity in entities:
        shards.setdefault(shard_of(*entity), []).append(entity)
    return shards
