"""What entity windows have not counted yet is counted once, however many wait for it."""

from __future__ import annotations

import asyncio

import pytest

from fraud.live.backlog import EntityBacklog
from fraud.ports import EntityEvent, EntityStoreUnavailableError
from fraud.stores.memory import MemoryEntities

LABELS_AT_ONCE = 16


class SlowWindows(MemoryEntities):
    """Windows that take a while for each commit, or are away."""

    def __init__(self):
        super().__init__()
        self.away = False
        self.commits = []

    async def commit(self, events):
        self.commits.append(sorted(events))
        await asyncio.sleep(0)
        if self.away:
            raise EntityStoreUnavailableError("away")


def event(offset):
    return EntityEvent("merchant", "M1", offset, 1_000, 500, "U1", None, False)


def marks(backlog):
    return [backlog.mark([("merchant", "M1")], f"T{number}", 1_000, True) for number in range(LABELS_AT_ONCE)]


def test_labels_that_come_together_wait_for_one_count_of_what_is_waiting():
    async def scenario():
        windows = SlowWindows()
        backlog = EntityBacklog(windows)
        for partition in range(3):
            backlog.add({f"topic:{partition}": [event(partition)]})
        await asyncio.gather(backlog.count(), *marks(backlog))
        return windows, backlog

    windows, backlog = asyncio.run(scenario())
    assert windows.commits == [["topic:0", "topic:1", "topic:2"]]
    assert len(backlog) == 0


def test_an_attempt_that_fails_fails_for_all_who_wait_for_it():
    # Each of them trying again would hold the next batch for as many time-outs.
    async def scenario():
        windows = SlowWindows()
        windows.away = True
        backlog = EntityBacklog(windows)
        backlog.add({"topic:0": [event(0)]})
        told = await asyncio.gather(*marks(backlog), return_exceptions=True)
        return windows, told, backlog

    windows, told, backlog = asyncio.run(scenario())
    assert windows.commits == [["topic:0"]]
    assert all(isinstance(one, EntityStoreUnavailableError) for one in told)
    assert len(backlog) == 1


def test_who_asks_after_a_failure_tries_again():
    async def scenario():
        windows = SlowWindows()
        windows.away = True
        backlog = EntityBacklog(windows)
        backlog.add({"topic:0": [event(0)]})
        with pytest.raises(EntityStoreUnavailableError):
            await backlog.catch_up()
        windows.away = False
        await backlog.catch_up()
        return windows, backlog

    windows, backlog = asyncio.run(scenario())
    assert windows.commits == [["topic:0"], ["topic:0"]]
    assert len(backlog) == 0


def test_a_count_that_is_cut_short_leaves_the_others_to_count():
    async def scenario():
        windows = SlowWindows()
        backlog = EntityBacklog(windows)
        backlog.add({"topic:0": [event(0)]})
        cut_short = asyncio.create_task(backlog.count())
        await asyncio.sleep(0)
        waiting = asyncio.create_task(backlog.catch_up())
        await asyncio.sleep(0)
        cut_short.cancel()
        await waiting
        return backlog

    assert len(asyncio.run(scenario())) == 0
