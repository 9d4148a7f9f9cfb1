"""Topics and tables, before the first message. Safe to repeat; what is there is never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from botocore.exceptions import BotoCoreError, ClientError

from fraud.bootstrap import state_limits
from fraud.features import feature_set
from fraud.live.brokers import check_brokers
from fraud.live.dynamodb_client import dynamodb_client, dynamodb_failure
from fraud.live.kafka import connection
from fraud.live.redis_windows import entity_windows
from fraud.ports import EntityStoreUnavailableError
from fraud.setting_kinds import masked_url
from fraud.settings import Settings
from fraud.stores.dynamodb_tables import Setup, create_tables, holds_history
from fraud.stores.entity_windows.generations import SHARDS

DAY_MS = 86_400_000
# Somebody has to look at each, and may be on leave.
DEAD_LETTER_MIN_DAYS = 30.0


class SetupError(Exception):
    """Topics or tables that cannot be made: one line for people."""


async def set_up_topics(settings: Settings) -> list[Setup]:
    """Create the topics that are missing. Raises `SetupError`, `BrokersUnreachableError`."""
    to = connection(settings)
    await check_brokers(to)
    admin = to.admin()
    try:
        await admin.start()
        return await _create_topics(admin, topics(settings))
    except (KafkaError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise SetupError(
            f"Kafka at {settings.kafka_bootstrap_servers} (FRAUD_KAFKA_BOOTSTRAP_SERVERS): {reason}"
        ) from error
    finally:
        await admin.close()


async def set_up_tables(settings: Settings) -> list[Setup]:
    """Create the tables that are missing. Raises `SetupError`."""
    try:
        async with dynamodb_client(settings) as client:
            return await create_tables(client, settings.table_prefix)
    except (BotoCoreError, ClientError, OSError) as error:
        raise SetupError(dynamodb_failure(settings, error)) from error


async def set_up_windows(settings: Settings) -> list[Setup]:
    """Say in Redis that there is no history yet, where that is so. Raises `SetupError`."""
    plan = feature_set(settings.feature_set).plan(state_limits(settings))
    windows = entity_windows(settings, plan)
    try:
        async with dynamodb_client(settings) as client:
            has_history = await holds_history(client, settings.table_prefix)
        made = not has_history and await windows.initialise()
        missing = SHARDS - len(await windows.read_views(range(SHARDS)))
    except (BotoCoreError, ClientError, EntityStoreUnavailableError, OSError) as error:
        shown = masked_url(settings.redis_url)
        raise SetupError(f"Entity windows at {shown} (FRAUD_REDIS_URL): {error}") from error
    finally:
        await windows.close()
    differences = (f"{missing} of {SHARDS} shards were flushed; fill them from history: fraud rebuild entities",)
    return [Setup("windows", settings.table_prefix, made, differences if missing else ())]


def topics(settings: Settings) -> list[NewTopic]:
    """The topics as they should be: old messages are deleted, since a key is a customer with many messages."""
    names = (
        settings.transactions_topic,
        settings.labels_topic,
        settings.decisions_topic,
        settings.alerts_topic,
        settings.dead_letter_topic,
    )
    return [_topic(name, settings) for name in names]


def _topic(name: str, settings: Settings) -> NewTopic:
    days = settings.topic_retention_days
    if name == settings.dead_letter_topic:
        days = max(days, DEAD_LETTER_MIN_DAYS)
    configuration = {
        "cleanup.policy": "delete",
        "retention.ms": str(round(days * DAY_MS)),
        # One broker may be away, and what is acknowledged is still on two where there are three.
        "min.insync.replicas": str(max(1, settings.topic_replication - 1)),
    }
    return NewTopic(name, settings.topic_partitions, settings.topic_replication, topic_configs=configuration)


async def _create_topics(admin: AIOKafkaAdminClient, wanted: Sequence[NewTopic]) -> list[Setup]:
    there = set(await admin.list_topics())
    missing = [topic for topic in wanted if topic.name not in there]
    made = set()
    if missing:
        answer = await admin.create_topics(missing)
        for name, code, message in answer.topic_errors:
            error = for_code(code)
            if error is TopicAlreadyExistsError:
                # Somebody else made it at this very moment.
                continue
            if code:
                raise SetupError(f"Kafka does not create the topic {name}: {message or error.__name__}")
            made.add(name)
    found = [topic for topic in wanted if topic.name not in made]
    differences = await _differences(admin, found)
    return [Setup("topic", topic.name, topic.name in made, differences.get(topic.name, ())) for topic in wanted]


async def _differences(admin: AIOKafkaAdminClient, wanted: Sequence[NewTopic]) -> dict[str, tuple[str, ...]]:
    if not wanted:
        return {}
    described = await admin.describe_topics([topic.name for topic in wanted])
    partitions = {topic["topic"]: topic["partitions"] for topic in described}
    values = await _configurations(admin, [topic.name for topic in wanted])
    return {
        topic.name: (
            *_layout_differences(topic, partitions[topic.name]),
            *_value_differences(topic, values[topic.name]),
        )
        for topic in wanted
    }


async def _configurations(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
    }


def _layout_differences(wanted: NewTopic, partitions: Sequence[Mapping[str, Any]]) -> list[str]:
    differences = []
    count = len(partitions)
    if count < wanted.num_partitions:
        differences.append(
            f"{count} partitions instead of {wanted.num_partitions}; once producers pause, workers have caught up and "
            "are stopped: fraud add-partitions"
        )
    elif count > wanted.num_partitions:
        differences.append(
            f"{count} partitions instead of {wanted.num_partitions}; Kafka cannot take any away, "
            f"so set FRAUD_TOPIC_PARTITIONS to {count}"
        )
    copies = min((len(partition["replicas"]) for partition in partitions), default=0)
    if copies != wanted.replication_factor:
        differences.append(
            f"{copies} copies of each partition instead of {wanted.replication_factor}; "
            f"change them with kafka-reassign-partitions.sh, or set FRAUD_TOPIC_REPLICATION to {copies}"
        )
    return differences


def _value_differences(wanted: NewTopic, values: Mapping[str, str]) -> list[str]:
    return [
        f"{name} is {values.get(name)} instead of {value}; kafka-configs.sh --alter --entity-type topics "
        f"--entity-name {wanted.name} --add-config {name}={value}"
        for name, value in wanted.topic_configs.items()
        if values.get(name) != value
    ]
