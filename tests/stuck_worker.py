"""`python stuck_worker.py HOW`: a worker that gets stuck after its first batch of transactions, without an error.

The product knows nothing of it.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from fraud.cli import main
from fraud.live.decisions import DecisionService
from fraud.live.stream import Subscription

_LOOK_S = 0.05


def _hang() -> None:
    original = DecisionService.handle
    visits = itertools.count()

    async def hanging(*arguments: Any) -> None:
        if next(visits):
            await asyncio.Event().wait()
        await original(*arguments)

    DecisionService.handle = hanging  # type: ignore[assignment, method-assign]


def _end() -> None:
    original: Callable[..., Awaitable[None]] = Subscription._listen

    async def ending(subscription: Subscription, channel: Any) -> None:
        listening = asyncio.create_task(original(subscription, channel))
        while not subscription._batches:
            await asyncio.sleep(_LOOK_S)
        listening.cancel()

    Subscription._listen = ending  # type: ignore[method-assign]


def _fetch_no_more() -> None:
    original: Callable[..., Awaitable[None]] = Subscription._take

    async def pausing(subscription: Subscription, lane: int, events: Any) -> None:
        await original(subscription, lane, events)
        app = subscription._app
        app.consumer.pause_partitions(app.assignment_now())

    Subscription._take = pausing  # type: ignore[assignment, method-assign]


WAYS: dict[str, Callable[[], None]] = {
    "a batch that hangs": _hang,
    "an agent that has ended": _end,
    "a consumer that fetches no more": _fetch_no_more,
}


if __name__ == "__main__":
    WAYS[sys.argv[1]]()
    sys.argv[1:] = ["worker"]
    main()
