"""A transaction that is encoded in one go is the request that the client itself would have made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud.live.dynamodb_client import dynamodb_client
from fraud.settings import load_settings
from fraud.stores.transaction_writer import TransactionWriter

NAMES = st.text(min_size=1, max_size=8)
VALUES = st.one_of(
    st.builds(lambda text: {"S": text}, st.text()),
    st.builds(lambda number: {"N": str(number)}, st.integers()),
    st.builds(lambda content: {"B": content}, st.binary()),
    st.builds(
        lambda scores: {"M": {name: {"N": repr(score)} for name, score in scores.items()}},
        st.dictionaries(NAMES, st.floats(0, 1)),
    ),
)
ACTIONS = st.lists(
    st.builds(
        lambda table, item: {
            "Put": {"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(id)"}
        },
        NAMES,
        st.dictionaries(NAMES, VALUES),
    ),
    min_size=1,
    max_size=4,
)


class KeptError(Exception):
    """Raised in place of sending."""


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Any, list[dict[str, Any]]]]:
    """A client that sends nothing, and the bodies that it would have sent."""
    bodies: list[dict[str, Any]] = []

    def keep(request: Any, **_: Any) -> None:
        bodies.append(json.loads(request.data))
        raise KeptError

    async with dynamodb_client(load_settings({"FRAUD_DYNAMODB_ENDPOINT_URL": "http://127.0.0.1:1"})) as client:
        client.meta.events.register("before-sign.dynamodb.TransactWriteItems", keep)
        yield client, bodies


async def sent(write: Any, actions: Any) -> None:
    with pytest.raises(KeptError):
        await write(actions)


@given(st.lists(ACTIONS, min_size=1, max_size=3))
@settings(max_examples=20, deadline=None)
def test_the_request_is_the_one_that_the_client_makes(batches: list[list[dict[str, Any]]]) -> None:
    async def run() -> None:
        async with listening() as (client, bodies):
            writer = TransactionWriter(client)
            # Several are in flight at once: each has its own items.
            await asyncio.gather(*(sent(writer.write, actions) for actions in batches))
            encoded = bodies[:]
            bodies.clear()
            for actions in batches:
                await sent(lambda items: client.transact_write_items(TransactItems=items), actions)
            tokens = {body.pop("ClientRequestToken") for body in encoded + bodies}
            assert len(tokens) == 2 * len(batches)
            assert all(body in encoded for body in bodies)
            assert len(encoded) == len(bodies)

    asyncio.run(run())


def test_two_writers_of_one_client_encode_once() -> None:
    async def run() -> None:
        async with listening() as (client, bodies):
            writers = [TransactionWriter(client) for _ in range(2)]
            for writer in writers:
                await sent(writer.write, [{"Delete": {"TableName": "t", "Key": {"id": {"S": "1"}}}}])
            assert [body["TransactItems"] for body in bodies] == [
                [{"Delete": {"TableName": "t", "Key": {"id": {"S": "1"}}}}]
            ] * 2

    asyncio.run(run())
