"""What is measured of a pipeline: its rate over a backlog, its latency at a rate, and how it recovers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.live.payments import Customers
from benchmarks.live.processes import Worker, case_environment, fraud, processor_seconds
from benchmarks.live.traffic import Traffic, rate_between
from fraud.stack import Stack

SERVERS = ("kafka", "dynamodb", "redis")
# The first decisions of a backlog come while the rest is still being fetched.
_LEFT_OUT_OF_A_RATE = 0.05
# Connections, caches and the interpreter's own warm-up take the first seconds at a rate.
_LEFT_OUT_OF_LATENCIES_S = 3.0
# A worker that answers within so long has caught up.
_RECOVERED_MS = 1_000.0
_STAGE = 'fraud_stage_seconds_sum{stage="'


@dataclass
class Throughput:
    """`microseconds` of processor time a transaction by process, `stages` of wall time by stage."""

    rate: float
    transactions: int
    microseconds: dict[str, float]
    stages: dict[str, float] = field(default_factory=dict)
    degraded: int = 0


@dataclass
class Latency:
    """Milliseconds from when a payment was due to when its decision was read, at `rate` payments a second."""

    rate: float
    payments: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    degraded: int = 0


@dataclass
class Recovery:
    """Seconds from the death of one of two workers, at `rate` payments a second."""

    rate: float
    session_timeout_s: float
    seconds: float


class Pipeline:
    """One way to answer payments, with topics, tables and a Redis database of its own. Ends its workers on exit."""

    def __init__(
        self, stack: Stack, folder: Path, name: str, database: int, customers: int, settings: Mapping[str, str]
    ) -> None:
        self.environment = case_environment(stack, name, database, settings)
        self._stack, self._folder, self._name = stack, folder, name
        self.traffic = Traffic(self.environment)
        self._customers = Customers(customers)
        self._sent = 0
        self.workers: list[Worker] = []
        self._ends = ExitStack()

    def __enter__(self) -> Pipeline:
        fraud(self.environment, "init")
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def start(self, floor: Sequence[str] = ()) -> Worker:
        """Start a worker of the service, or the floor whose arguments are given."""
        log = self._folder / f"{self._name}-{len(self.workers)}.log"
        worker = Worker(self.environment, log)
        if floor:
            worker.command = (sys.executable, "-m", "benchmarks.live.floors", *floor)
        worker.start()
        self._ends.callback(worker.kill)
        self.workers.append(worker)
        if worker.is_service:
            worker.wait_until_ready()
        return worker

    def restart(self) -> None:
        """Every worker ends, and one that holds no customer takes its place."""
        for worker in self.workers:
            worker.stop()
        self.workers.clear()
        self.start()

    async def fill(self, payments: int) -> None:
        """Answer payments that are not measured."""
        await self._send(payments)
        await self.traffic.wait_for(self._sent)
        for worker in self.workers:
            worker.check()

    async def _send(self, payments: int) -> None:
        await self.traffic.send(self._customers.payments(self._sent, payments))
        self._sent += payments

    async def throughput(self, payments: int) -> Throughput:
        """The rate at which a backlog of payments is answered."""
        for worker in self.workers:
            worker.hold()
        await self._send(payments)
        for worker in self.workers:
            worker.release()
        used, metrics = self._used(), self._metrics()
        await self.traffic.wait_for(self._sent)
        used_after, metrics_after = self._used(), self._metrics()
        times_ms = (await self.traffic.times_ms())[-payments:]
        stages = {
            name.removeprefix(_STAGE).rstrip('"}'): (value - metrics.get(name, 0.0)) / payments * 1e6
            for name, value in metrics_after.items()
            if name.startswith(_STAGE)
        }
        return Throughput(
            rate_between(times_ms, round(payments * _LEFT_OUT_OF_A_RATE), payments - 1),
            payments,
            {name: (used_after[name] - seconds) / payments * 1e6 for name, seconds in used.items()},
            stages,
            _degraded(metrics_after) - _degraded(metrics),
        )

    def _used(self) -> dict[str, float]:
        """Processor seconds of the workers together, and of each server."""
        servers = {name: self._stack.pid(name) for name in SERVERS}
        return {
            "worker": sum(worker.processor_seconds for worker in self.workers),
            **{name: processor_seconds(pid) for name, pid in servers.items() if pid is not None},
        }

    def _metrics(self) -> dict[str, float]:
        together: dict[str, float] = {}
        for worker in self.workers:
            for name, value in worker.metrics().items():
                together[name] = together.get(name, 0.0) + value
        return together

    async def latency(self, rate: float, seconds: float) -> Latency:
        """The latencies at a rate, whether the pipeline keeps up or not."""
        payments = self._customers.payments(self._sent, round(rate * seconds))
        before = _degraded(self._metrics())
        due_s, latencies_ms = await self.traffic.open_loop(payments, rate)
        self._sent += len(payments)
        degraded = _degraded(self._metrics()) - before
        steady = latencies_ms[due_s >= _LEFT_OUT_OF_LATENCIES_S]
        p50, p99, p999 = np.quantile(steady, (0.5, 0.99, 0.999)).tolist()
        return Latency(rate, len(steady), p50, p99, p999, degraded)

    async def recovery(self, rate: float, seconds: float, killed_after_s: float, session_timeout_s: float) -> Recovery:
        """How long payments wait after one of the workers is killed, until none waits for a second any more."""
        payments = self._customers.payments(self._sent, round(rate * seconds))
        due_s, latencies_ms = await self.traffic.open_loop(
            payments, rate, asyncio.create_task(self._killed(killed_after_s))
        )
        self._sent += len(payments)
        return Recovery(rate, session_timeout_s, recovered_after_s(due_s, latencies_ms) - killed_after_s)

    async def _killed(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self.workers.pop().kill()


def recovered_after_s(due_s: NDArray[np.float64], latencies_ms: NDArray[np.float64]) -> float:
    """When the last payment that waited for a second or longer was answered: seconds from the first payment."""
    late = latencies_ms >= _RECOVERED_MS
    return float((due_s[late] + latencies_ms[late] / 1_000).max()) if late.any() else 0.0


def _degraded(metrics: Mapping[str, float]) -> int:
    return int(sum(value for name, value in metrics.items() if name.startswith("fraud_degraded_total")))
