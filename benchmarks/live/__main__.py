"""Speed of the live service on servers of its own, beside floors in the same run.

    python -m benchmarks.live [--payments N] [--customers N] [--seconds S] [--repeat N]

Starts Kafka, DynamoDB Local and Redis on this machine, measures, stops them, writes `build/benchmarks/live.json` and
prints the tables of `docs/benchmarks.md`, which says what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.inputs import CACHE
from benchmarks.live.cases import Latency, Pipeline, Recovery, Throughput
from benchmarks.live.sizes import Sizes, measured_sizes
from benchmarks.live.tables import live_tables
from fraud.settings import load_settings
from fraud.stack import Stack, StackPorts

FEW_CUSTOMERS = 5_000
FLOORS = ("aiokafka", "faust", "stores")
# Where latencies are measured beside those at half of the peak; the tables name it.
CALM_SHARE = 1 / 6
# The first of them is of the stack's own commands.
_FIRST_DATABASE = 1
_DATABASES = 15
# DynamoDB Local takes half as long for a write after a tenth of these, but its compiler throws code away and makes it
# anew until about here: seconds in which the cores are its own, and which whoever is measured meanwhile would pay for.
_WARM_UP_PAYMENTS = 200_000
# A killed worker's partitions wait for its session to end; then there must be time to catch up.
_RECOVERY_SECONDS_BEFORE = 10.0
_RECOVERY_SECONDS_AFTER = 60.0


@dataclass
class Measured:
    """Everything of a run; a list has a value for each repeat."""

    machine: str
    many_customers: int
    warm: list[Throughput] = field(default_factory=list)
    cold: list[Throughput] = field(default_factory=list)
    warm_many: list[Throughput] = field(default_factory=list)
    cold_many: list[Throughput] = field(default_factory=list)
    two_workers: list[Throughput] = field(default_factory=list)
    floors: dict[str, list[Throughput]] = field(default_factory=lambda: {name: [] for name in FLOORS})
    latency: list[Latency] = field(default_factory=list)
    calm_latency: list[Latency] = field(default_factory=list)
    floor_latency: list[Latency] = field(default_factory=list)
    calm_floor_latency: list[Latency] = field(default_factory=list)
    recovery: list[Recovery] = field(default_factory=list)
    sizes: Sizes | None = None


class Run:
    """One run over all cases; `choices` are the command line's."""

    def __init__(self, stack: Stack, folder: Path, choices: argparse.Namespace) -> None:
        self._stack, self._folder, self._choices = stack, folder, choices
        self._pipelines = 0
        machine = f"{platform.machine()}, Python {platform.python_version()}"
        self.measured = Measured(machine, choices.customers)

    def _pipeline(self, name: str, customers: int, settings: Mapping[str, str]) -> Pipeline:
        number = self._pipelines
        self._pipelines += 1
        database = _FIRST_DATABASE + number % _DATABASES
        said(f"{name}, {customers:,} customers")
        return Pipeline(self._stack, self._folder, f"bench-{name}-{number}", database, customers, settings)

    async def warm_up_servers(self) -> None:
        """Answer payments until the servers' compilers have seen them: whoever came first would pay for it."""
        with self._pipeline("warm-up", FEW_CUSTOMERS, {}) as pipeline:
            pipeline.start()
            await pipeline.fill(_WARM_UP_PAYMENTS)

    async def repeat(self) -> None:
        """Every case once; the service and the floor that it is compared with stand beside each other."""
        await self._service()
        for kind in FLOORS:
            await self._floor(kind)
        await self._two_workers()
        await self._many_customers()

    async def _service(self) -> None:
        payments, measured = self._choices.payments, self.measured
        with self._pipeline("service", FEW_CUSTOMERS, {}) as pipeline:
            pipeline.start()
            await pipeline.fill(payments)
            measured.warm.append(await pipeline.throughput(payments))
            peak = measured.warm[-1].rate
            measured.latency.append(await pipeline.latency(peak / 2, self._choices.seconds))
            measured.calm_latency.append(await pipeline.latency(peak * CALM_SHARE, self._choices.seconds))
            pipeline.restart()
            measured.cold.append(await pipeline.throughput(FEW_CUSTOMERS))
            measured.sizes = measured.sizes or await measured_sizes(load_settings(pipeline.environment))

    async def _floor(self, kind: str) -> None:
        measured, sizes = self.measured, self.measured.sizes
        assert sizes is not None
        lengths = {
            "FLOOR_DECISION_BYTES": str(sizes.decision_bytes),
            "FLOOR_ITEM_BYTES": str(sizes.history_item_bytes),
            "FLOOR_SNAPSHOT_BYTES": str(sizes.profile_item_bytes),
            "FLOOR_CUSTOMERS": str(FEW_CUSTOMERS),
        }
        with self._pipeline(kind, FEW_CUSTOMERS, {}) as pipeline:
            pipeline.environment.update(lengths)
            pipeline.start([kind])
            await pipeline.fill(self._choices.payments)
            measured.floors[kind].append(await pipeline.throughput(self._choices.payments))
            if kind == FLOORS[-1]:
                half, calm = measured.latency[-1].rate, measured.calm_latency[-1].rate
                measured.floor_latency.append(await pipeline.latency(half, self._choices.seconds))
                measured.calm_floor_latency.append(await pipeline.latency(calm, self._choices.seconds))

    async def _two_workers(self) -> None:
        measured = self.measured
        with self._pipeline("two", FEW_CUSTOMERS, {}) as pipeline:
            pipeline.start()
            pipeline.start()
            await pipeline.fill(self._choices.payments)
            measured.two_workers.append(await pipeline.throughput(self._choices.payments))
            timeout_s = load_settings(pipeline.environment).session_timeout_seconds
            seconds = _RECOVERY_SECONDS_BEFORE + timeout_s + _RECOVERY_SECONDS_AFTER
            rate = measured.warm[-1].rate / 2
            measured.recovery.append(await pipeline.recovery(rate, seconds, _RECOVERY_SECONDS_BEFORE, timeout_s))

    async def _many_customers(self) -> None:
        customers, payments, measured = self._choices.customers, self._choices.payments, self.measured
        with self._pipeline("many", customers, {"cached_customers": str(2 * customers)}) as pipeline:
            pipeline.start()
            await pipeline.fill(customers)
            measured.warm_many.append(await pipeline.throughput(payments))
            pipeline.restart()
            measured.cold_many.append(await pipeline.throughput(payments))


def said(text: str) -> None:
    """Tell how far the benchmark is."""
    print(f"-- {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Run everything, write the figures, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--payments", type=int, default=20_000, help="in each measurement of a rate")
    parser.add_argument("--customers", type=int, default=200_000, help="of the case with many")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each measurement of latencies")
    parser.add_argument("--repeat", type=int, default=1, help="of everything; tables show medians")
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    choices = parser.parse_args()
    folder = CACHE / "live"
    folder.mkdir(parents=True, exist_ok=True)
    stack = Stack(folder / "stack", StackPorts.free(), ends_with_caller=True)
    try:
        stack.up()
        run = Run(stack, folder, choices)
        asyncio.run(run.warm_up_servers())
        for _ in range(choices.repeat):
            asyncio.run(run.repeat())
    finally:
        stack.down()
        stack.forget()
    figures: dict[str, Any] = asdict(run.measured)
    (CACHE / "live.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    tables = live_tables(figures)
    print(tables)
    if choices.out is not None:
        choices.out.write_text(tables + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
