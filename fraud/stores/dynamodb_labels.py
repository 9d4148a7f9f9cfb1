"""Labels in DynamoDB: append-only, and those that wait for their transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from fraud.ports import Origin, WaitingLabel
from fraud.stores.dynamodb import Item, is_lost_condition, unavailable
from fraud.transaction import Label

# The hash key of the sparse index: only labels that wait have it.
_WAITING = "label"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Label).decode
_decode_origin = msgspec.msgpack.Decoder(Origin).decode


class DynamoLabels:
    """The table Labels. `client` is an aiobotocore DynamoDB client."""

    def __init__(self, client: Any, table_prefix: str) -> None:
        self._client = client
        self._table = f"{table_prefix}Labels"

    async def append(self, label: Label) -> list[Label]:
        """Keep a label, once per `label_id`, and return all of its transaction."""
        item = {**_key(label), "content": {"B": _encode(label)}}
        with unavailable("writing a label"):
            try:
                await self._client.put_item(
                    TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(user_id)"
                )
            except Exception as error:
                if not is_lost_condition(error):
                    raise
        return await self.of_transaction(label.user_id, label.transaction_id)

    async def of_transaction(self, user_id: str, transaction_id: str) -> list[Label]:
        """Every label of a transaction, by label id."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "user_id = :user AND begins_with(label, :transaction)",
            "ExpressionAttributeValues": {":user": {"S": user_id}, ":transaction": {"S": f"{transaction_id}#"}},
            "ConsistentRead": True,
        }
        labels: list[Label] = []
        while True:
            with unavailable("reading labels"):
                answer = await self._client.query(**request)
            labels += [_decode(bytes(item["content"]["B"])) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                # An identifier may hold the separator: then the prefix is that of another transaction, too.
                return [label for label in labels if label.transaction_id == transaction_id]
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    async def park(self, label: Label, origin: Origin, sealed: bytes) -> None:
        """Let a label wait for its transaction; one that waits already goes on waiting from when it began."""
        with unavailable("parking a label"):
            try:
                await self._client.update_item(
                    TableName=self._table,
                    Key=_key(label),
                    ConditionExpression="attribute_not_exists(waiting)",
                    UpdateExpression=(
                        "SET waiting = :waiting, waiting_since_ms = :since, waiting_origin = :origin, "
                        "waiting_message = :message"
                    ),
                    ExpressionAttributeValues={
                        ":waiting": {"S": _WAITING},
                        ":since": {"N": str(origin.ingested_ms)},
                        ":origin": {"B": _encode(origin)},
                        ":message": {"B": sealed},
                    },
                )
            except Exception as error:
                if not is_lost_condition(error):
                    raise

    async def settle(self, label: Label) -> None:
        """It waits no longer."""
        with unavailable("settling a label"):
            await self._client.update_item(
                TableName=self._table,
                Key=_key(label),
                UpdateExpression="REMOVE waiting, waiting_since_ms, waiting_origin, waiting_message",
            )

    async def waiting(self) -> list[WaitingLabel]:
        """The labels that wait, longest first. The index may lag behind by moments."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": "waiting",
            "KeyConditionExpression": "waiting = :waiting",
            "ExpressionAttributeValues": {":waiting": {"S": _WAITING}},
        }
        found: list[WaitingLabel] = []
        while True:
            with unavailable("reading the labels that wait"):
                answer = await self._client.query(**request)
            found += [_waiting(item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return found
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    async def every_transaction(self) -> AsyncIterator[list[Label]]:
        """The labels of each transaction that has any, in no order."""
        request: dict[str, Any] = {"TableName": self._table, "ProjectionExpression": "content"}
        # A customer's labels come together, though a transaction's need not where identifiers hold the separator.
        user_id: str | None = None
        by_transaction: dict[str, list[Label]] = {}
        while True:
            with unavailable("reading all labels"):
                answer = await self._client.scan(**request)
            for item in answer["Items"]:
                label = _decode(bytes(item["content"]["B"]))
                if label.user_id != user_id:
                    for labels in by_transaction.values():
                        yield labels
                    user_id, by_transaction = label.user_id, {}
                by_transaction.setdefault(label.transaction_id, []).append(label)
            if "LastEvaluatedKey" not in answer:
                break
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        for labels in by_transaction.values():
            yield labels


def _waiting(item: Item) -> WaitingLabel:
    label, origin = _decode(bytes(item["content"]["B"])), _decode_origin(bytes(item["waiting_origin"]["B"]))
    return WaitingLabel(label, origin, bytes(item["waiting_message"]["B"]) if "waiting_message" in item else None)


def _key(label: Label) -> Item:
    return {"user_id": {"S": label.user_id}, "label": {"S": f"{label.transaction_id}#{label.label_id}"}}
