"""Whether a worker gets anywhere, which is what `/health/live` says."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping

_log = logging.getLogger(__name__)


class Liveness:
    """Counts for how many looks in a row what has to move has stood still; a worker is not live after `patience` looks.

    Looks are counted, not seconds: a process that was stopped for an hour has not stood still in it.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._seen: dict[str, tuple[Hashable, int]] = {}
        self.problem = ""

    def look(self, standing: Mapping[str, Hashable]) -> None:
        """Look once at `standing`: what has to move, in words that end in "for ...", and where it is.

        What waits for a server that is away must not stand in it: to start the worker anew would not bring that back.
        """
        seen = {}
        for what, where in standing.items():
            before, looks = self._seen.get(what, (where, 0))
            seen[what] = (where, looks + 1 if before == where else 1)
        self._seen = seen
        stuck = [what for what, (_, looks) in seen.items() if looks > self._patience]
        problem = "; ".join(stuck)
        if problem and not self.problem:
            _log.critical("the worker is not live: %s", problem)
        self.problem = problem
