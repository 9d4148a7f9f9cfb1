"""Work with an event loop of its own, called from a notebook, whose kernel is running one already."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

Outcome = TypeVar("Outcome")
# Bytes read and transactions processed so far.
Progress = Callable[[int, int], None]


class _InterruptedWorkError(Exception):
    """Nobody waits for the outcome any more."""


def beside_the_loop(work: Callable[[Progress], Outcome]) -> Outcome:
    """What `work` returns, computed in a thread of its own; what it raises is raised.

    Interrupting the kernel ends the work at its next call of the progress that it is given: a thread cannot be
    stopped from outside.
    """
    given_up = Event()

    def progress(_bytes_read: int, _records: int) -> None:
        if given_up.is_set():
            raise _InterruptedWorkError

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work, progress)
        try:
            return future.result()
        except KeyboardInterrupt:
            given_up.set()
            raise
