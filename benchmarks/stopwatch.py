"""How long a case took, and what else it says about itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter, process_time


@dataclass(frozen=True)
class Measurement:
    """What one run of a case took: `transactions` in `wall_seconds`, of which the core worked `cpu_seconds`."""

    transactions: int
    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)


class Stopwatch:
    """Wall and processor seconds, over any number of stretches."""

    def __init__(self) -> None:
        self.wall_seconds = self.cpu_seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, cpu = perf_counter(), process_time()
        try:
            yield
        finally:
            self.wall_seconds += perf_counter() - wall
            self.cpu_seconds += process_time() - cpu
