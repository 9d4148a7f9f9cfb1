"""Transactions of DynamoDB, encoded in one go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import msgspec

# The client's own serializer walks through every attribute of every item by the model of the service, and then looks
# through all items again for names of tables: an eighth of a worker's processor time.
_encoded: ContextVar[bytes | None] = ContextVar("encoded_transaction", default=None)
_EVENT = "before-call.dynamodb.TransactWriteItems"


class TransactionWriter:
    """Sends transactions by `client`, an aiobotocore DynamoDB client, that are encoded already.

    The client does the rest: the token by which a request that is sent again counts once, signature, connections and
    attempts.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        # However many writers a client has, it asks once.
        client.meta.events.register(_EVENT, _put_in, unique_id=__name__)

    async def write(self, actions: Sequence[dict[str, Any]]) -> None:
        """Make all of `actions`, the `TransactItems` of the service's API, or none. Raises what the client raises."""
        before = _encoded.set(msgspec.json.encode(actions))
        try:
            await self._client.transact_write_items(TransactItems=[])
        finally:
            _encoded.reset(before)


def _put_in(params: dict[str, Any], **_: Any) -> None:
    items = _encoded.get()
    if items is not None:
        token = json.loads(params["body"])["ClientRequestToken"]
        params["body"] = b'{"ClientRequestToken":%s,"TransactItems":%s}' % (json.dumps(token).encode(), items)
