"""`fraud init` makes topics, tables and empty entity windows, can be repeated, and changes nothing that is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
import redis
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from command_line import Finished

from fraud.live.dynamodb_client import dynamodb_client
from fraud.live.setup import topics
from fraud.settings import Settings, load_settings
from fraud.stack import Stack

TOPIC_VARIABLES = [f"FRAUD_{name}_TOPIC" for name in ("TRANSACTIONS", "LABELS", "DECISIONS", "ALERTS", "DEAD_LETTER")]


@pytest.fixture
def settings(stack: Stack, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of the command, with names that no other test uses."""
    mine = f"init-{sha256(request.node.name.encode()).hexdigest()[:12]}"
    environment = stack.environment | {
        "FRAUD_TABLE_PREFIX": f"{mine}-",
        "FRAUD_TOPIC_PARTITIONS": "3",
        **{variable: f"{mine}-{place}" for place, variable in enumerate(TOPIC_VARIABLES)},
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield load_settings(environment)
    _remove_windows(stack, f"{mine}-")


def _remove_windows(stack: Stack, prefix: str) -> None:
    with redis.Redis(port=stack.ports.redis) as client:
        for key in client.scan_iter(f"{prefix}*"):
            client.delete(key)


@pytest.fixture
def dynamodb(settings: Settings) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """`dynamodb(operation, arguments)`."""

    def call(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            async with dynamodb_client(settings) as client:
                answer: dict[str, Any] = await getattr(client, operation)(**arguments)
                return answer

        return asyncio.run(ask())

    return call


@pytest.fixture
def make_topic(settings: Settings) -> Callable[[NewTopic], None]:
    """Makes a topic by itself."""

    def make(topic: NewTopic) -> None:
        async def ask() -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
            await admin.start()
            await admin.create_topics([topic])
            await admin.close()

        asyncio.run(ask())

    return make


def test_everything_is_made_at_first_and_found_afterwards(fraud: Callable[..., Any], settings: Settings) -> None:
    first = fraud("init")
    assert (first.exit_code, first.stderr) == (0, "")
    lines = first.stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["made"] * 9
    assert [line.split()[0] for line in lines] == ["topic"] * 5 + ["table"] * 3 + ["windows"]
    again = fraud("init")
    assert [line.split()[1] for line in again.stdout.splitlines()] == ["found"] * 9


def test_a_table_has_keys_index_expiry_and_pays_for_what_is_used(
    fraud: Callable[..., Any], settings: Settings, dynamodb: Callable[..., dict[str, Any]]
) -> None:
    fraud("init")
    history = {"TableName": f"{settings.table_prefix}TransactionHistory"}
    table = dynamodb("describe_table", history)["Table"]
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["user_id", "event"]
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["by_transaction_id"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    expiry = dynamodb("describe_time_to_live", history)["TimeToLiveDescription"]
    assert (expiry["TimeToLiveStatus"], expiry["AttributeName"]) == ("ENABLED", "expires_at")


def test_a_topic_deletes_by_age_and_dead_letters_stay_longer(settings: Settings) -> None:
    day_ms = 86_400_000
    made = {topic.name: topic for topic in topics(settings)}
    assert {topic.topic_configs["cleanup.policy"] for topic in made.values()} == {"delete"}
    assert made[settings.transactions_topic].topic_configs["retention.ms"] == str(7 * day_ms)
    assert made[settings.dead_letter_topic].topic_configs["retention.ms"] == str(30 * day_ms)


@pytest.mark.parametrize(("replication", "in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_what_is_acknowledged_survives_the_loss_of_a_broker_where_there_are_three(
    replication: int, in_sync: str
) -> None:
    made = topics(load_settings({"FRAUD_TOPIC_REPLICATION": str(replication)}))
    assert {topic.topic_configs["min.insync.replicas"] for topic in made} == {in_sync}


def test_a_topic_with_fewer_partitions_is_left_as_it_is_and_told_with_how_to_change_it(
    fraud: Callable[..., Any], settings: Settings, make_topic: Callable[[NewTopic], None]
) -> None:
    make_topic(NewTopic(settings.transactions_topic, 2, 1))
    for _ in range(2):
        lines = fraud("init").stdout.splitlines()
        assert lines[0].split()[1] == "differs"
        assert "2 partitions instead of 3" in lines[1]
        assert "fraud add-partitions" in lines[1]


def test_a_topic_with_more_partitions_and_another_policy_is_told(
    fraud: Callable[..., Any], settings: Settings, make_topic: Callable[[NewTopic], None]
) -> None:
    make_topic(NewTopic(settings.alerts_topic, 4, 1, topic_configs={"cleanup.policy": "compact"}))
    said = fraud("init").stdout
    assert "4 partitions instead of 3; Kafka cannot take any away, so set FRAUD_TOPIC_PARTITIONS to 4" in said
    assert "cleanup.policy is compact instead of delete; kafka-configs.sh --alter" in said


def test_a_table_of_another_program_is_told_and_left_alone(
    fraud: Callable[..., Any], settings: Settings, dynamodb: Callable[..., dict[str, Any]]
) -> None:
    name = f"{settings.table_prefix}TransactionHistory"
    dynamodb(
        "create_table",
        {
            "TableName": name,
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
        },
    )
    said = fraud("init").stdout
    assert "its key is id instead of user_id, event" in said
    assert "throttles beyond it; on demand: aws dynamodb update-table" in said
    assert "the index by_transaction_id is missing" in said
    table = dynamodb("describe_table", {"TableName": name})["Table"]
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["id"]


def test_windows_that_were_flushed_are_not_declared_empty_where_there_is_history(
    fraud: Callable[..., Any], settings: Settings, dynamodb: Callable[..., dict[str, Any]], stack: Stack
) -> None:
    fraud("init")
    item = {"user_id": {"S": "u1"}, "event": {"S": "2026-03-01T12:00:00.000Z#t1"}}
    dynamodb("put_item", {"TableName": f"{settings.table_prefix}TransactionHistory", "Item": item})
    _remove_windows(stack, settings.table_prefix)
    windows, difference = fraud("init").stdout.splitlines()[-2:]
    assert windows.split()[:2] == ["windows", "differs"]
    assert "shards were flushed; fill them from history: fraud rebuild entities" in difference


def test_windows_that_were_flushed_are_made_again_where_there_is_no_history(
    fraud: Callable[..., Any], settings: Settings, stack: Stack
) -> None:
    fraud("init")
    _remove_windows(stack, settings.table_prefix)
    assert fraud("init").stdout.splitlines()[-1].split()[:2] == ["windows", "made"]


@pytest.mark.parametrize(
    ("variable", "address", "message"),
    [
        ("FRAUD_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1", "Kafka at 127.0.0.1:1 (FRAUD_KAFKA_BOOTSTRAP_SERVERS)"),
        ("FRAUD_DYNAMODB_ENDPOINT_URL", "http://127.0.0.1:1", "DynamoDB at http://127.0.0.1:1 (FRAUD_DYNAMODB_"),
        ("FRAUD_REDIS_URL", "redis://u:hidden@127.0.0.1:1/0", "Entity windows at redis://u:***@127.0.0.1:1/0 (FRAUD"),
    ],
)
def test_a_server_that_is_not_there_is_told_in_one_line_with_its_setting(
    fraud: Callable[..., Any],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    address: str,
    message: str,
) -> None:
    monkeypatch.setenv(variable, address)
    finished = fraud("init")
    assert finished.exit_code == 2
    assert finished.stderr.startswith(message)
    assert len(finished.stderr.splitlines()) == 1
    assert "hidden" not in finished.stderr


def test_more_copies_than_there_are_brokers_are_told_in_the_words_of_kafka(
    fraud: Callable[..., Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_TOPIC_REPLICATION", "3")
    finished = fraud("init")
    assert finished.exit_code == 2
    assert "only 1 broker(s) are registered" in finished.stderr


def test_a_worker_without_tables_is_told_to_make_them(settings: Settings, fraud: Callable[..., Finished]) -> None:
    finished = fraud("worker")
    (line,) = finished.stderr.splitlines()
    assert finished.exit_code == 2
    assert line.startswith(f"DynamoDB at {settings.dynamodb_endpoint_url} (FRAUD_DYNAMODB_ENDPOINT_URL): ")
    assert line.endswith("; make the tables: fraud init")
