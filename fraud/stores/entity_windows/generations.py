"""Where entity windows stand in Redis: keys, shards, and the record that says which generation of them is current.

A generation is a complete set of entity windows under one name. The control record of a shard names the current one
and, while entity windows are rebuilt, the one being built. A shard without a record was flushed or never had one:
nothing of it can be believed.
"""

from __future__ import annotations

from zlib import crc32

import msgspec

from fraud.features.entity_words import DISTINCT_CAP
from fraud.features.plan import StatePlan
from fraud.transaction import LATEST_TIMESTAMP_MS

# The version of the values in Redis, see layout.py. A worker of another version sees no generation that it can read,
# and decides without entity windows until they are rebuilt.
FORMAT = 1
# Keys of one shard share a hash slot, so that one call takes many of them, with the shard's control record, on a
# cluster, too; a cluster can spread over as many primaries. A call costs the client about ten times what a key in it
# does, so more shards make small batches slow. Another number strands every key: it needs a rebuild.
SHARDS = 32
# A row holds its bucket in 32 bits: with shorter hops the times that a transaction may have do not fit.
_SHORTEST_HOP_MS = 1_000


class PlanRecord(msgspec.Struct, frozen=True, array_like=True):
    """What the functions in Redis need of a `StatePlan`; `kinds` maps to hop, retention, and what is kept besides."""

    forget_after_ms: int
    keep_ms: int
    kinds: dict[str, tuple[int, int, bool, bool, bool, bool]]
    distinct_cap: int


class Generation(msgspec.Struct, frozen=True, array_like=True):
    """One complete set of entity windows. `complete` is whether one that is being built has all of its history."""

    name: str
    plan: PlanRecord
    complete: bool = True


class Control(msgspec.Struct, frozen=True, array_like=True):
    """The control record of a shard."""

    format: int = FORMAT
    current: Generation | None = None
    building: Generation | None = None


def plan_record(plan: StatePlan) -> PlanRecord:
    """What Redis has to know of `plan`. Raises `ValueError` for a hop that is too short for the layout."""
    for entity in plan.entities:
        if entity.hop_ms < _SHORTEST_HOP_MS or LATEST_TIMESTAMP_MS // entity.hop_ms >= 1 << 32:
            raise ValueError(
                f"the windows of a {entity.kind} have a hop of {entity.hop_ms} ms; Redis keeps hops of a second or more"
            )
    longest_ms = max((entity.retention_ms for entity in plan.entities), default=0)
    return PlanRecord(
        forget_after_ms=int(plan.forget_after_ms),
        # By then an entity is forgotten by event time; by the wall clock this only bounds memory.
        keep_ms=int(longest_ms + plan.forget_after_ms),
        kinds={
            entity.kind: (
                entity.hop_ms,
                int(entity.retention_ms),
                entity.counts_customers,
                entity.counts_cards,
                entity.sums_amounts,
                entity.counts_first_times,
            )
            for entity in plan.entities
        },
        distinct_cap=DISTINCT_CAP,
    )


def decode_control(value: bytes) -> Control:
    """The control record as it is stored. A record of a version not known yet has no generation that can be read."""
    if msgspec.msgpack.decode(value, type=list[object])[0] != FORMAT:
        return Control(format=0)
    return msgspec.msgpack.decode(value, type=Control)


def encode_control(control: Control) -> bytes:
    """The control record as it is stored."""
    return msgspec.msgpack.encode(control)


def shard_of(kind: str, key: str) -> int:
    """The shard that an entity belongs to: the same in every process."""
    return crc32(f"{kind}:{key}".encode()) % SHARDS


class Keys:
    """Names of everything in Redis under one prefix. The part in braces is what Redis Cluster hashes."""

    def __init__(self, prefix: str) -> None:
        if not prefix or set(prefix) & set("{}*?[]\\"):
            raise ValueError(f"the prefix of keys in Redis is {prefix!r}; it needs characters other than {{}}*?[]\\")
        self._prefix = prefix
        self._shards = [f"{prefix}{{{shard:02d}}}:" for shard in range(SHARDS)]

    def control(self, shard: int) -> str:
        """The control record of a shard."""
        return self._shards[shard] + "generation"

    def applied(self) -> str:
        """What each source's worker knows to be counted."""
        return self._shards[0] + "applied"

    def entity(self, shard: int, generation: str, kind: str, key: str) -> str:
        """The head of an entity."""
        return f"{self._shards[shard]}{generation}:{kind}:{key}"

    @staticmethod
    def past(head: str) -> str:
        """The past of an entity, from the name of its head. No kind of entity is called so."""
        prefix, _, rest = head.partition("}:")
        generation, _, entity = rest.partition(":")
        return f"{prefix}}}:{generation}:past:{entity}"

    @staticmethod
    def kind_of(head: str) -> str:
        """The kind of entity, from the name of its head."""
        return head.partition("}:")[2].split(":", 2)[1]

    def offsets(self, shard: int, generation: str) -> str:
        """The last offset of each source that the shard counted."""
        return f"{self._shards[shard]}{generation}:.offsets"

    def building(self, shard: int, generation: str) -> tuple[str, str, str, str]:
        """Of a generation being built: offsets, cut-offs, the set of keys that wait for their history, the lease."""
        start = f"{self._shards[shard]}{generation}:."
        return start + "offsets", start + "cut-offs", start + "waiting", start + "lease"

    def everything_of(self, generation: str) -> str:
        """A pattern for SCAN that finds all keys of one generation."""
        return f"{self._prefix}{{??}}:{generation}:*"
