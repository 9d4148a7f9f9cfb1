"""What a worker does beside deciding neither ends unseen nor ends deciding."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fraud.live.worker import again_and_again


def test_what_fails_is_told_and_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    attempts, pauses = [], []

    async def work() -> None:
        attempts.append(len(attempts))
        if len(attempts) < 3:
            raise ValueError("a file of another kind")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    with caplog.at_level(logging.ERROR):
        asyncio.run(again_and_again(work, sleep))
    assert len(attempts) == 3
    assert len(pauses) == 2
    assert min(pauses) > 0
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info] == [
        ("a file of another kind",)
    ] * 2


def test_a_worker_that_stops_ends_it() -> None:
    async def scenario() -> bool:
        task = asyncio.create_task(again_and_again(asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled()

    assert asyncio.run(scenario())
