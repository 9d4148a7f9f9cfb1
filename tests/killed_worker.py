"""`python killed_worker.py STAGE VISIT`: a worker that is killed by itself when it is at that stage for that time.

The signal is SIGKILL, so that nothing after that moment is done. The product knows nothing of it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from fraud.cli import main
from fraud.live import stream
from fraud.live.backlog import EntityBacklog
from fraud.live.decisions import DecisionService
from fraud.live.kafka import Publisher
from fraud.live.stream import Subscription, WorkerApp
from fraud.stores import write_parts
from fraud.stores.customers import CachedCustomers
from fraud.stores.dynamodb import DynamoCustomerTables

# How long a call to Redis takes, about: the worker dies while it is counted or just after.
_DURING_S = 0.002
_ACTIONS_OF_A_PART = 8
# As often as there are batches: some of what was done before a kill is acknowledged then, and some is not.
_COMMIT_INTERVAL_S = 0.05


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _at(moment: str, owner: type, method: str) -> Callable[[int], None]:
    """What makes the worker die before, during or after the so manieth call of an asynchronous method."""

    def arm(visit: int) -> None:
        original: Callable[..., Awaitable[Any]] = getattr(owner, method)
        visits = itertools.count(1)

        async def dying(*arguments: Any) -> Any:
            is_last = next(visits) == visit
            if is_last and moment == "before":
                _die()
            if is_last and moment == "during":
                asyncio.get_running_loop().call_later(_DURING_S, _die)
            result = await original(*arguments)
            if is_last and moment == "after":
                _die()
            return result

        setattr(owner, method, dying)

    return arm


def _half_written(visit: int) -> None:
    """A batch goes to history in several transactions: only some of them are made."""
    write_parts.TRANSACTION_ACTIONS = _ACTIONS_OF_A_PART
    # Half of the parts of a batch of 64 events.
    _at("after", DynamoCustomerTables, "_write_part")(visit * _ACTIONS_OF_A_PART - _ACTIONS_OF_A_PART // 2)


def _half_published(visit: int) -> None:
    original = Publisher.publish
    visits = itertools.count(1)

    async def dying(publisher: Publisher, outgoing: Any) -> None:
        # Labels are published in the same way, mostly nothing of them.
        if outgoing and next(visits) == visit:
            await original(publisher, outgoing[: len(outgoing) // 2])
            _die()
        await original(publisher, outgoing)

    Publisher.publish = dying  # type: ignore[assignment, method-assign]


STAGES: dict[str, Callable[[int], None]] = {
    "taken": _at("before", DecisionService, "handle"),
    "loaded": _at("after", CachedCustomers, "load"),
    "decided": _at("before", CachedCustomers, "commit"),
    "half of history written": _half_written,
    "history written": _at("after", CachedCustomers, "commit"),
    "entities being counted": _at("during", EntityBacklog, "count"),
    "entities counted": _at("after", EntityBacklog, "count"),
    "half published": _half_published,
    "published": _at("after", Publisher, "publish"),
    "acknowledged": _at("after", Subscription, "_take"),
    "stopping": _at("before", WorkerApp, "on_stop"),
}


if __name__ == "__main__":
    stream._COMMIT_INTERVAL_S = _COMMIT_INTERVAL_S
    STAGES[sys.argv[1]](int(sys.argv[2]))
    sys.argv[1:] = ["worker"]
    main()
