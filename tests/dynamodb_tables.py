"""Tables of DynamoDB Local that nobody has used before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import Any

from fraud.live.dynamodb_client import dynamodb_client
from fraud.settings import Settings
from fraud.stack import Stack
from fraud.stores.dynamodb_tables import create_tables

_NUMBERS = count()


def with_tables(stack: Stack, use: Callable[[Any, str], Awaitable[Any]]) -> Any:
    """What `use` returns, which is given a client and the prefix of the tables."""
    prefix = f"contract{next(_NUMBERS)}-"
    settings = replace(Settings(), dynamodb_endpoint_url=f"http://127.0.0.1:{stack.ports.dynamodb}")

    async def used() -> Any:
        async with dynamodb_client(settings) as client:
            await create_tables(client, prefix)
            return await use(client, prefix)

    return asyncio.run(used())
