"""The tables in DynamoDB: what they must look like, and how they come to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

# When an item may be removed, in seconds since 1970 (ingestion time and retention). Items without it stay.
EXPIRY_ATTRIBUTE = "expires_at"
# A table on AWS takes some ten seconds; one that takes minutes means that something is wrong.
_WAIT = {"Delay": 1, "MaxAttempts": 300}


@dataclass(frozen=True)
class Index:
    """A secondary index; `projection` is KEYS_ONLY or ALL. Items without its keys are not in it."""

    name: str
    hash_key: str
    range_key: str | None
    projection: str


@dataclass(frozen=True)
class Table:
    """A table without its prefix."""

    name: str
    hash_key: str
    range_key: str | None = None
    indexes: tuple[Index, ...] = ()


HISTORY = "TransactionHistory"
TABLES = (
    Table("UserProfiles", "user_id"),
    Table(
        HISTORY,
        "user_id",
        "event",
        (Index("by_transaction_id", "transaction_id", None, "KEYS_ONLY"),),
    ),
    Table("Labels", "user_id", "label", (Index("waiting", "waiting", "waiting_since_ms", "ALL"),)),
)
_NUMBERS = frozenset(("waiting_since_ms",))


@dataclass(frozen=True)
class Setup:
    """What came of a topic or table: it was `made`, or was there, with `differences` from what it should be."""

    kind: str
    name: str
    made: bool
    differences: tuple[str, ...] = ()


async def create_tables(client: Any, table_prefix: str) -> list[Setup]:
    """Create what is missing of the tables, with on-demand billing, index and expiry; nothing that is there is changed.

    `client` is an aiobotocore DynamoDB client; its errors pass through.
    """
    return [await _create(client, f"{table_prefix}{table.name}", table) for table in TABLES]


async def holds_history(client: Any, table_prefix: str) -> bool:
    """Whether any transaction is in history. The client's errors pass through."""
    answer = await client.scan(TableName=f"{table_prefix}{HISTORY}", Limit=1)
    return bool(answer["Items"])


async def _create(client: Any, name: str, table: Table) -> Setup:
    found = await _description(client, name)
    if found is None:
        try:
            await client.create_table(**_definition(name, table))
        except ClientError as error:
            # Somebody else creates it at this very moment.
            if _code(error) != "ResourceInUseException":
                raise
    await client.get_waiter("table_exists").wait(TableName=name, WaiterConfig=_WAIT)
    expires = await _expires(client, name)
    if not expires:
        await client.update_time_to_live(
            TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRY_ATTRIBUTE}
        )
    if found is None:
        return Setup("table", name, made=True)
    return Setup("table", name, made=False, differences=tuple(_differences(found, _definition(name, table))))


async def _description(client: Any, name: str) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = await client.describe_table(TableName=name)
    except ClientError as error:
        if _code(error) == "ResourceNotFoundException":
            return None
        raise
    return dict(answer["Table"])


async def _expires(client: Any, name: str) -> bool:
    answer = await client.describe_time_to_live(TableName=name)
    return answer["TimeToLiveDescription"]["TimeToLiveStatus"] in ("ENABLING", "ENABLED")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _definition(name: str, table: Table) -> dict[str, Any]:
    keys = [(table.hash_key, table.range_key), *((index.hash_key, index.range_key) for index in table.indexes)]
    attributes = sorted({attribute for pair in keys for attribute in pair if attribute is not None})
    definition: dict[str, Any] = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": _key_schema(table.hash_key, table.range_key),
        "AttributeDefinitions": [
            {"AttributeName": attribute, "AttributeType": "N" if attribute in _NUMBERS else "S"}
            for attribute in attributes
        ],
    }
    if table.indexes:
        definition["GlobalSecondaryIndexes"] = [
            {
                "IndexName": index.name,
                "KeySchema": _key_schema(index.hash_key, index.range_key),
                "Projection": {"ProjectionType": index.projection},
            }
            for index in table.indexes
        ]
    return definition


def _key_schema(hash_key: str, range_key: str | None) -> list[dict[str, str]]:
    schema = [{"AttributeName": hash_key, "KeyType": "HASH"}]
    return [*schema, {"AttributeName": range_key, "KeyType": "RANGE"}] if range_key is not None else schema


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    differences = []
    if _keys(found["KeySchema"]) != _keys(wanted["KeySchema"]):
        differences.append(
            f"its key is {_keys(found['KeySchema'])} instead of {_keys(wanted['KeySchema'])}: another program's "
            "table has the name; choose another FRAUD_TABLE_PREFIX"
        )
    if found.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED") != wanted["BillingMode"]:
        differences.append(
            "it has provisioned capacity and throttles beyond it; on demand: aws dynamodb update-table "
            f"--table-name {wanted['TableName']} --billing-mode PAY_PER_REQUEST"
        )
    indexes: dict[str, Mapping[str, Any]] = {
        index["IndexName"]: index for index in found.get("GlobalSecondaryIndexes", ())
    }
    asked: Sequence[Mapping[str, Any]] = wanted.get("GlobalSecondaryIndexes", ())
    for index in asked:
        there = indexes.get(index["IndexName"])
        if there is None:
            differences.append(
                f"the index {index['IndexName']} is missing; add it with: aws dynamodb update-table "
                f"--table-name {wanted['TableName']} --global-secondary-index-updates"
            )
        elif _keys(there["KeySchema"]) != _keys(index["KeySchema"]):
            differences.append(f"the index {index['IndexName']} has the key {_keys(there['KeySchema'])}")
    return differences


def _keys(schema: Sequence[Mapping[str, str]]) -> str:
    names = {entry["KeyType"]: entry["AttributeName"] for entry in schema}
    return ", ".join(names[kind] for kind in ("HASH", "RANGE") if kind in names)
