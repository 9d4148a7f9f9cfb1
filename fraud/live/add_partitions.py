"""More partitions for the topics, while nobody works on them: customers change places."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import KafkaError, for_code

from fraud.live.kafka import connection
from fraud.live.load import working_members
from fraud.live.setup import SetupError, topics
from fraud.settings import Settings


async def add_partitions(settings: Settings) -> dict[str, tuple[int, int]]:
    """Give every topic `topic_partitions` partitions; by topic, how many it had and has now.

    Raises `SetupError` while workers are at work or something is not acknowledged, and where Kafka refuses.
    """
    try:
        members = await working_members(settings)
        if members:
            raise SetupError(
                f"{members} workers of the group {settings.consumer_group!r} are at work: pause what produces, "
                "wait until they have caught up, stop them, then run this again"
            )
        admin = connection(settings).admin()
        await admin.start()
        try:
            present = await _partition_counts(admin, settings)
            behind = await not_acknowledged(settings, present)
            if behind:
                raise SetupError(
                    f"{behind} messages are not acknowledged: their customers' later payments would overtake them. "
                    "Start the workers again until fraud_consumer_lag is 0, then stop them"
                )
            return await _add(admin, settings, present)
        finally:
            await admin.close()
    except (KafkaError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise SetupError(
            f"Kafka at {settings.kafka_bootstrap_servers} (FRAUD_KAFKA_BOOTSTRAP_SERVERS): {reason}"
        ) from error


async def _partition_counts(admin: AIOKafkaAdminClient, settings: Settings) -> dict[str, int]:
    described = await admin.describe_topics([topic.name for topic in topics(settings)])
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["partitions"]}


async def not_acknowledged(settings: Settings, present: Mapping[str, int]) -> int:
    """How many messages the group has not acknowledged; `present` is the number of partitions by topic.

    Raises `KafkaError`.
    """
    observer = connection(settings).observer(settings.consumer_group)
    await observer.start()
    try:
        names = (settings.transactions_topic, settings.labels_topic)
        places = [TopicPartition(name, number) for name in names for number in range(present.get(name, 0))]
        beginnings, ends = await observer.beginning_offsets(places), await observer.end_offsets(places)
        behind = 0
        for place in places:
            acknowledged = await observer.committed(place)
            behind += ends[place] - (beginnings[place] if acknowledged is None else acknowledged)
        return behind
    finally:
        await observer.stop()


async def _add(
    admin: AIOKafkaAdminClient, settings: Settings, present: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    missing = [name for name, count in present.items() if count < settings.topic_partitions]
    if missing:
        total = NewPartitions(total_count=settings.topic_partitions)
        answer = await admin.create_partitions(dict.fromkeys(missing, total))
        for _, code, message in answer.topic_errors:
            if code:
                raise SetupError(message or str(for_code(code)))
    return {name: (count, max(count, settings.topic_partitions)) for name, count in present.items()}
