"""Keeps Python's collector of cycles from walking everything that a worker holds while payments wait."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

# What has come since is all that a full collection walks: with a thousand payments a second some milliseconds.
FREEZE_INTERVAL_S = 5.0


async def keep_collections_short(sleep: Callable[[float], Any] = asyncio.sleep) -> None:
    """Exempt what is held from collection, again and again until cancelled.

    A full collection walks every customer in memory: with 5,000 of them a worker stood still for a fifth of a second
    every few seconds, with more of them longer. Customers, like all that lives long here, have no cycles and are freed
    when nothing refers to them, exempt or not. A cycle that dies young is still collected.
    """
    while True:
        gc.freeze()
        await sleep(FREEZE_INTERVAL_S)
