"""The processes of a case: its settings, its workers, and what they have used of the processor."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.request import urlopen

from fraud.stack import Stack, StackPorts

FRAUD = str(Path(sys.executable).with_name("fraud"))
# Nothing here takes longer unless it hangs.
PATIENCE_S = 600
PARTITIONS = 4
_METRIC = re.compile(r"^(\w+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def case_environment(stack: Stack, name: str, database: int, settings: Mapping[str, str]) -> dict[str, str]:
    """Settings of a case with topics, tables and a Redis database of its own."""
    redis_url = stack.environment["FRAUD_REDIS_URL"].rsplit("/", 1)[0]
    topics = ("transactions", "labels", "decisions", "alerts", "dead-letter")
    chosen = {
        **{f"{topic.replace('-', '_')}_topic": f"{name}-{topic}" for topic in topics},
        "table_prefix": f"{name}-",
        "consumer_group": name,
        "redis_url": f"{redis_url}/{database}",
        "topic_partitions": str(PARTITIONS),
        # The simulated days may lie ahead of the machine's clock, or behind it.
        "future_tolerance_minutes": "99999999",
        "stale_alert_minutes": "99999999",
        **settings,
    }
    own = {f"FRAUD_{key.upper()}": value for key, value in chosen.items()}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **stack.environment, **one_thread, **own}


def fraud(environment: Mapping[str, str], *arguments: str) -> None:
    """Run a command of the product's. Ends this process if it fails."""
    finished = subprocess.run([FRAUD, *arguments], env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        sys.exit(f"fraud {' '.join(arguments)} ended with {finished.returncode}: {finished.stderr[-2_000:]}")


def processor_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


@dataclass
class Worker:
    """A process that consumes and publishes: the service, or a floor, as `command` says."""

    environment: Mapping[str, str]
    log: Path
    command: Sequence[str] = (FRAUD, "worker")

    def start(self) -> None:
        """Start it on a port of its own for metrics."""
        self.port = StackPorts.free().redis
        environment = {**self.environment, "FRAUD_METRICS_PORT": str(self.port)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    @property
    def is_service(self) -> bool:
        """Whether it serves metrics and health."""
        return self.command[0] == FRAUD

    def wait_until_ready(self) -> None:
        """Wait until it says that it decides."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.check()
            with suppress(OSError), urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=10) as answer:
                if answer.status == HTTPStatus.OK:
                    return
            time.sleep(0.1)
        sys.exit(f"a worker does not become ready; its log is {self.log}")

    def check(self) -> None:
        """End this process if the worker has ended by itself."""
        if self.process.poll() is not None:
            sys.exit(f"a worker ended by itself; the end of {self.log}:\n{self.log.read_text()[-2_000:]}")

    @property
    def processor_seconds(self) -> float:
        """What it has used so far."""
        return processor_seconds(self.process.pid)

    def metrics(self) -> dict[str, float]:
        """Its measures by name with labels; none of a floor."""
        if not self.is_service:
            return {}
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            return {name: float(value) for name, value in _METRIC.findall(answer.read().decode())}

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self.process.kill()
        self.process.wait()

    def hold(self) -> None:
        """Let it stand still, so that it meets everything that is sent meanwhile at once."""
        self.process.send_signal(signal.SIGSTOP)

    def release(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)
