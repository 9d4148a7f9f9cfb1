"""Customers' profiles and history in DynamoDB. Every failure of the service becomes `StoreUnavailableError`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fraud.ports import HistoryRecord, StoredDecision, StoreUnavailableError
from fraud.stores.customers import Snapshot
from fraud.stores.history_items import (
    DecisionCompression,
    UnreadableItemError,
    decode_body,
    encode_item,
    event_key,
    first_event_key,
)
from fraud.stores.transaction_writer import TransactionWriter
from fraud.stores.write_parts import WRITES_IN_FLIGHT, Part, write_parts

# The most that DynamoDB takes in one call.
_BATCH_GET_KEYS = 100
# Requests in flight: queries for cold customers are single, small and many.
_READS_IN_FLIGHT = 16
# A call that was cut short is completed this often before the whole batch is thrown away and tried again.
_ATTEMPTS = 5
_FIRST_PAUSE_S = 0.02
# No user has it: identifiers hold no control characters.
_DICTIONARY_PREFIX = "\x01dictionary:"
_LOST = "ConditionalCheckFailed"

Item = dict[str, dict[str, Any]]


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Turn what the client raises when the service is away, slow or throttling into `StoreUnavailableError`.

    What says that the request itself is wrong stays as it is: trying again would not help.
    """
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _REQUEST_IS_WRONG:
            raise
        raise StoreUnavailableError(f"{what}: DynamoDB answered {code}") from error
    except (BotoCoreError, TimeoutError, OSError) as error:
        raise StoreUnavailableError(f"{what}: DynamoDB cannot be reached: {error}") from error


_REQUEST_IS_WRONG = frozenset(("ValidationException", "ItemCollectionSizeLimitExceededException"))


class DynamoCustomerTables:
    """UserProfiles and TransactionHistory. `client` is an aiobotocore DynamoDB client.

    `sleep` waits between attempts. `typical_decision` is what decisions are compressed against; `start` stores it.
    """

    def __init__(
        self,
        client: Any,
        table_prefix: str,
        *,
        typical_decision: bytes,
        retention_days: float,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._writer = TransactionWriter(client)
        self._profiles = f"{table_prefix}UserProfiles"
        self._history = f"{table_prefix}TransactionHistory"
        self._retention_s = round(retention_days * 86_400)
        self._compression = DecisionCompression(typical_decision)
        self._sleep = sleep
        self._writes = asyncio.Semaphore(WRITES_IN_FLIGHT)
        self._reads = asyncio.Semaphore(_READS_IN_FLIGHT)

    async def start(self) -> None:
        """Store what decisions are compressed against, before the first one is written."""
        compression = self._compression
        item = {
            "user_id": {"S": _DICTIONARY_PREFIX + compression.dictionary_id.hex()},
            "content": {"B": compression.dictionary},
        }
        with unavailable("storing the dictionary"):
            await self._client.put_item(TableName=self._profiles, Item=item)

    async def read_snapshots(self, user_ids: Sequence[str]) -> dict[str, Snapshot]:
        """The snapshots that there are."""
        keys = [{"user_id": {"S": user_id}} for user_id in user_ids]
        items = await self._get(self._profiles, keys)
        return {
            item["user_id"]["S"]: Snapshot(
                item["user_id"]["S"],
                int(item["sequence"]["N"]),
                int(item["newest_ms"]["N"]),
                bytes(item["content"]["B"]),
            )
            for item in items
        }

    async def read_events(self, user_id: str, from_ms: int | None) -> list[HistoryRecord]:
        """Events from this event time on, without their decisions."""
        condition, values = "user_id = :user", {":user": {"S": user_id}}
        if from_ms is not None:
            condition += " AND event >= :first"
            values[":first"] = {"S": first_event_key(from_ms)}
        request = {
            "TableName": self._history,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": values,
            "ProjectionExpression": "body",
            "ConsistentRead": True,
        }
        return [decode_body(bytes(item["body"]["B"])) async for item in self._query(request)]

    async def every_event(self) -> AsyncIterator[HistoryRecord]:
        """All of history, without the decisions, in no order: a customer's events together, by time."""
        request: dict[str, Any] = {"TableName": self._history, "ProjectionExpression": "body"}
        while True:
            with unavailable("reading all of history"):
                answer = await self._client.scan(**request)
            for item in answer["Items"]:
                yield decode_body(bytes(item["body"]["B"]))
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    async def every_decision(self) -> AsyncIterator[tuple[StoredDecision, dict[str, float]]]:
        """All that history holds a decision of, each with the scores of shadow models, in no order."""
        request: dict[str, Any] = {"TableName": self._history, "ProjectionExpression": "body, decision, shadow"}
        while True:
            with unavailable("reading all of history"):
                answer = await self._client.scan(**request)
            for item in answer["Items"]:
                if "decision" in item:
                    scores = item.get("shadow", {}).get("M", {})
                    yield await self._stored(item), {name: float(score["N"]) for name, score in scores.items()}
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    async def _query(self, request: dict[str, Any]) -> AsyncIterator[Item]:
        while True:
            with unavailable("reading history"):
                async with self._reads:
                    answer = await self._client.query(**request)
            for item in answer["Items"]:
                yield item
            if "LastEvaluatedKey" not in answer:
                return
            request = {**request, "ExclusiveStartKey": answer["LastEvaluatedKey"]}

    async def read_decisions(self, keys: Sequence[tuple[str, int, str]]) -> list[StoredDecision | None]:
        """What stands under user id, timestamp and transaction id."""
        places = [(user_id, event_key(timestamp_ms, name)) for user_id, timestamp_ms, name in keys]
        wanted = [{"user_id": {"S": user_id}, "event": {"S": event}} for user_id, event in dict.fromkeys(places)]
        found = {}
        for item in await self._get(self._history, wanted):
            found[item["user_id"]["S"], item["event"]["S"]] = await self._stored(item)
        return [found.get(place) for place in places]

    async def _stored(self, item: Item) -> StoredDecision:
        compressed = bytes(item["decision"]["B"]) if "decision" in item else b""
        unknown = self._compression.unknown(compressed)
        if unknown is not None:
            keys = [{"user_id": {"S": _DICTIONARY_PREFIX + unknown.hex()}}]
            dictionaries = await self._get(self._profiles, keys)
            if not dictionaries:
                raise UnreadableItemError(f"the dictionary {unknown.hex()} is not in {self._profiles}")
            self._compression.learn(bytes(dictionaries[0]["content"]["B"]))
        return decode_body(bytes(item["body"]["B"]), *self._compression.decompress(compressed)).stored

    async def _get(self, table: str, keys: Sequence[Item]) -> list[Item]:
        parts = [keys[start : start + _BATCH_GET_KEYS] for start in range(0, len(keys), _BATCH_GET_KEYS)]
        answers = await asyncio.gather(*(self._get_part(table, part) for part in parts))
        return [item for answer in answers for item in answer]

    async def _get_part(self, table: str, keys: Sequence[Item]) -> list[Item]:
        request: dict[str, Any] = {table: {"Keys": list(keys), "ConsistentRead": True}}
        items: list[Item] = []
        for attempt in range(_ATTEMPTS):
            with unavailable(f"reading {table}"):
                async with self._reads:
                    answer = await self._client.batch_get_item(RequestItems=request)
            items += answer["Responses"].get(table, [])
            request = answer.get("UnprocessedKeys") or {}
            if not request:
                return items
            await self._sleep(_FIRST_PAUSE_S * 2**attempt)
        raise StoreUnavailableError(f"reading {table}: DynamoDB left keys unprocessed {_ATTEMPTS} times")

    async def find(self, user_id: str, transaction_id: str, timestamp_ms: int | None) -> StoredDecision | None:
        """A transaction of a customer by its id; without its time by an index that lags behind by moments."""
        if timestamp_ms is not None:
            return (await self.read_decisions([(user_id, timestamp_ms, transaction_id)]))[0]
        request = {
            "TableName": self._history,
            "IndexName": "by_transaction_id",
            "KeyConditionExpression": "transaction_id = :transaction",
            "ExpressionAttributeValues": {":transaction": {"S": transaction_id}},
        }
        keys = [
            {"user_id": item["user_id"], "event": item["event"]}
            async for item in self._query(request)
            if item["user_id"]["S"] == user_id
        ]
        items = await self._get(self._history, keys[:1]) if keys else []
        return await self._stored(items[0]) if items else None

    async def write(
        self, records: Sequence[HistoryRecord], snapshots: Sequence[Snapshot]
    ) -> Mapping[int, StoredDecision]:
        """Put each event unless its key is taken; snapshots replace older ones only."""
        # An event of each customer carries when the customer's snapshot may be deleted.
        expires = {record.stored.transaction.user_id: self._expires_at_s(record) for record in records}
        lost: dict[int, StoredDecision] = {}
        for parts in write_parts(records, snapshots):
            writes = (self._write_items(part, expires) for part in parts)
            for found in await asyncio.gather(*writes, return_exceptions=True):
                if isinstance(found, BaseException):
                    raise found
                lost.update(found)
        return lost

    async def _write_items(self, items: Part, expires: Mapping[str, int]) -> dict[int, StoredDecision]:
        """Encoded here, not before: DynamoDB has the first part while the next is made."""
        return await self._write_part(
            [
                (
                    place,
                    self._event_action(item)
                    if isinstance(item, HistoryRecord)
                    else self._snapshot_action(item, expires[item.user_id]),
                )
                for place, item in items
            ]
        )

    def _expires_at_s(self, record: HistoryRecord) -> int:
        return record.stored.origin.ingested_ms // 1_000 + self._retention_s

    def _event_action(self, record: HistoryRecord) -> dict[str, Any]:
        item = encode_item(record, self._compression, self._retention_s)
        attributes: Item = {
            "user_id": {"S": item.user_id},
            "event": {"S": item.event},
            "transaction_id": {"S": item.transaction_id},
            "sequence": {"N": str(item.sequence)},
            "body": {"B": item.body},
            "expires_at": {"N": str(item.expires_at_s)},
        }
        if item.decision:
            attributes["decision"] = {"B": item.decision}
        if record.shadow_scores:
            attributes["shadow"] = {"M": {name: {"N": repr(score)} for name, score in record.shadow_scores.items()}}
        return {
            "Put": {
                "TableName": self._history,
                "Item": attributes,
                "ConditionExpression": "attribute_not_exists(user_id)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _snapshot_action(self, snapshot: Snapshot, expires_at_s: int) -> dict[str, Any]:
        sequence = {"N": str(snapshot.sequence)}
        return {
            "Put": {
                "TableName": self._profiles,
                "Item": {
                    "user_id": {"S": snapshot.user_id},
                    "sequence": sequence,
                    "newest_ms": {"N": str(snapshot.newest_ms)},
                    "content": {"B": snapshot.content},
                    "expires_at": {"N": str(expires_at_s)},
                },
                "ConditionExpression": "attribute_not_exists(user_id) OR #sequence < :sequence",
                "ExpressionAttributeNames": {"#sequence": "sequence"},
                "ExpressionAttributeValues": {":sequence": sequence},
            }
        }

    async def _write_part(self, actions: list[tuple[int | None, dict[str, Any]]]) -> dict[int, StoredDecision]:
        """Write these actions together; those whose condition fails are taken out and the others tried again."""
        lost: dict[int, StoredDecision] = {}
        for attempt in range(_ATTEMPTS):
            if not actions:
                return lost
            try:
                with unavailable("writing history"):
                    async with self._writes:
                        await self._writer.write([action for _, action in actions])
            except StoreUnavailableError as error:
                reasons = _cancellation_reasons(error)
                if reasons is None:
                    raise
                kept = []
                for (place, action), reason in zip(actions, reasons, strict=True):
                    if reason.get("Code") != _LOST:
                        kept.append((place, action))
                    elif place is not None:
                        lost[place] = await self._stored(reason["Item"])
                if len(kept) == len(actions):
                    await self._sleep(_FIRST_PAUSE_S * 2**attempt)
                actions = kept
            else:
                return lost
        raise StoreUnavailableError(f"writing history: DynamoDB cancelled the transaction {_ATTEMPTS} times")


def is_lost_condition(error: BaseException) -> bool:
    """Whether a single write failed because its condition did not hold."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] == f"{_LOST}Exception"


def _cancellation_reasons(error: StoreUnavailableError) -> list[dict[str, Any]] | None:
    cause = error.__cause__
    if isinstance(cause, ClientError) and cause.response["Error"]["Code"] == "TransactionCanceledException":
        reasons: list[dict[str, Any]] = cause.response["CancellationReasons"]
        if any(reason.get("Code") == "ValidationError" for reason in reasons):
            # An item that is too large stays too large.
            raise cause
        return reasons
    return None
