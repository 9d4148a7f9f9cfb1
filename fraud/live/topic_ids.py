"""The ids of topics. A topic that is deleted and made again has the name and the offsets of the old one, not its id.

The client library asks for metadata without ids (they come with version 10, Kafka 2.8, KIP-516), so the request is
described here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)


class TopicChangedError(Exception):
    """A topic is not the one that this worker has been reading."""


class TopicIdsUnknownError(Exception):
    """The brokers do not tell the id of a topic."""


class _TopicId:
    """A UUID in 16 bytes."""

    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: Any) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


class _MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _TopicId),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequestStruct(RequestStruct):
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _TopicId), ("name", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestStruct]):
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        names: list[tuple[uuid.UUID, str, dict[int, bytes]]] = [(uuid.UUID(int=0), topic, {}) for topic in self._topics]
        return request_struct_class(
            topics=names,
            allow_auto_topic_creation=False,
            include_cluster_authorized_operations=False,
            include_topic_authorized_operations=False,
            tags={},
        )


class TopicLayout(NamedTuple):
    """What must not change while workers are at work."""

    topic_id: str
    partitions: int


async def topic_layouts(client: Any, topics: Sequence[str]) -> dict[str, TopicLayout]:
    """Id and number of partitions of each topic that exists. `client` is a started `aiokafka.client.AIOKafkaClient`.

    Raises `TopicIdsUnknownError` for brokers older than Kafka 2.8.
    """
    node_id = client.get_random_node()
    response = await client.send(node_id, _MetadataRequest(topics))
    found = {}
    for code, name, topic_id, _internal, partitions, *_ in response.topics:
        if code == 0:
            if topic_id.int == 0:
                raise TopicIdsUnknownError("the brokers give topics no ids: Kafka 2.8 or newer is needed")
            found[name] = TopicLayout(str(topic_id), len(partitions))
    return found


async def topic_ids(client: Any, topics: Sequence[str]) -> dict[str, str]:
    """The id of each topic that exists, as text; otherwise as `topic_layouts`."""
    return {name: layout.topic_id for name, layout in (await topic_layouts(client, topics)).items()}


def check_unchanged(before: Mapping[str, TopicLayout], now: Mapping[str, TopicLayout]) -> None:
    """Raise `TopicChangedError` for a topic that was made again, or got partitions. One that is away may come back."""
    for name, layout in before.items():
        present = now.get(name, layout)
        if present.topic_id != layout.topic_id:
            raise TopicChangedError(
                f"the topic {name} was deleted and made again while workers ran, so its first messages may have been "
                "skipped: see docs/going-live.md"
            )
        if present.partitions != layout.partitions:
            raise TopicChangedError(
                f"the topic {name} has {present.partitions} partitions now, it had {layout.partitions}: customers "
                "change places, so every worker has to start anew; see docs/going-live.md"
            )
