"""A stack: its three servers in one folder, started, watched, stopped one by one or together."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fraud.stack.jars import JARS, StackError, copy_jars, exclusive, jar_folder
from fraud.stack.prerequisites import JAVA, MAVEN, check_prerequisites
from fraud.stack.processes import ServerProcess
from fraud.stack.servers import HOST, SERVERS, Server, StackPorts, is_taken

# Kafka alone is up in three seconds; on a busy machine of two cores ten times that has been seen.
START_TIMEOUT_S = 120.0
_POLL_S = 0.1
_LOG_LINES_SHOWN = 5
_WITH_JARS = ("kafka", "dynamodb")
# DynamoDB Local waits for the disk at every write: 50 a second on a laptop's, 500 in memory. Here its files are in
# memory, but outlive its process.
_MEMORY = Path("/dev/shm")  # noqa: S108 named by user and stack, and closed to others


class ServerState(NamedTuple):
    """What is to be known of a server: `health` is healthy, not answering, stopped, or port taken."""

    name: str
    health: str
    address: str
    pid: int | None
    log: Path


@dataclass
class Stack:
    """Three servers whose files are below `directory`. `ends_with_caller` is for tests: a killed test leaves none.

    Every method that starts something raises `StackError`.
    """

    directory: Path
    ports: StackPorts = field(default_factory=StackPorts)
    jars: Path = JARS
    ends_with_caller: bool = False

    def __post_init__(self) -> None:
        self.directory = self.directory.absolute()
        self._servers = {name: self._server(kind) for name, kind in SERVERS.items()}
        self._processes = {name: ServerProcess(self._folder(name) / "process.json") for name in SERVERS}

    @property
    def environment(self) -> dict[str, str]:
        """The settings, as environment variables, that make the service use this stack."""
        return {
            "FRAUD_KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.ports.kafka}",
            "FRAUD_DYNAMODB_ENDPOINT_URL": f"http://{HOST}:{self.ports.dynamodb}",
            "FRAUD_REDIS_URL": f"redis://{HOST}:{self.ports.redis}/0",
            "FRAUD_TOPIC_REPLICATION": "1",
        }

    @property
    def has_jars(self) -> bool:
        """Whether Maven has done its part."""
        return all(jar_folder(name, self.jars).is_dir() for name in _WITH_JARS)

    def up(self) -> list[str]:
        """Start what does not run, and wait until all are healthy; the names of those that were started."""
        self._check_installed()
        for name in _WITH_JARS:
            copy_jars(name, self.jars)
        self.directory.mkdir(parents=True, exist_ok=True)
        with exclusive(self.directory / ".lock"):
            if self.has_lost_memory:
                self.forget()
            started = [name for name in SERVERS if self._launch(name)]
            for name in SERVERS:
                self._wait(name)
        return started

    @property
    def has_lost_memory(self) -> bool:
        """Whether the machine was restarted, which leaves Kafka's data without DynamoDB's: `up` then begins anew."""
        stopped = all(self.pid(name) is None for name in SERVERS)
        return stopped and self._data("kafka").is_dir() and not self._data("dynamodb").is_dir()

    def down(self) -> list[str]:
        """End what this stack started, and nothing else; the names of those that ran. Their data stay."""
        return [name for name, process in self._processes.items() if process.stop()]

    def forget(self) -> None:
        """Remove everything that the servers have kept and logged. Raises `StackError` while one of them runs."""
        running = [name for name in SERVERS if self.pid(name) is not None]
        if running:
            raise StackError(f"{', '.join(running)} must be stopped before the data are removed")
        for name in SERVERS:
            shutil.rmtree(self._data(name), ignore_errors=True)
            shutil.rmtree(self._folder(name), ignore_errors=True)

    def start(self, name: str) -> None:
        """Start one server, if it does not run, and wait until it is healthy."""
        self._launch(name)
        self._wait(name)

    def stop(self, name: str) -> None:
        """End one server as an operator would; its data stay."""
        self._processes[name].stop()

    def kill(self, name: str) -> None:
        """End one server at once, in the middle of whatever it does."""
        self._processes[name].stop(signal.SIGKILL)

    def restart(self, name: str) -> None:
        """Stop one server and start it again on the same port and data."""
        self.stop(name)
        self.start(name)

    def pid(self, name: str) -> int | None:
        """The process of a server; None if it does not run."""
        return self._processes[name].pid

    def log(self, name: str) -> Path:
        """What the server says."""
        return self._folder(name) / "server.log"

    def states(self) -> list[ServerState]:
        """How the servers are."""
        return [self._state(name) for name in SERVERS]

    def _state(self, name: str) -> ServerState:
        server, pid = self._servers[name], self.pid(name)
        if pid is None:
            health = "port taken by another program" if is_taken(server.port) else "stopped"
        else:
            health = "healthy" if server.answers() else "not answering"
        return ServerState(name, health, f"{HOST}:{server.port}", pid, self.log(name))

    def _check_installed(self) -> None:
        needed = [] if self.has_jars else [JAVA, MAVEN]
        needed += [need for kind in SERVERS.values() for need in kind.needs]
        check_prerequisites(list(dict.fromkeys(needed)))

    def _launch(self, name: str) -> bool:
        server, process = self._servers[name], self._processes[name]
        if process.pid is not None:
            return False
        wanted = (server.port, self.ports.controller) if name == "kafka" else (server.port,)
        for port in wanted:
            if is_taken(port):
                raise StackError(
                    f"{name} cannot start: another program listens on {HOST}:{port}; "
                    "end it, or name other addresses in the settings"
                )
        for folder in (self._folder(name), self._data(name)):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        server.prepare()
        dies_with_caller = server.data if self.ends_with_caller else None
        process.start(server.command(), self.log(name), dies_with_caller=dies_with_caller)
        return True

    def _wait(self, name: str) -> None:
        server, process = self._servers[name], self._processes[name]
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.answers():
            if process.pid is None or time.monotonic() > deadline:
                what = "has ended" if process.pid is None else f"does not answer after {START_TIMEOUT_S:.0f} seconds"
                lines = self.log(name).read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
                raise StackError("\n  ".join([f"{name} {what}; the end of {self.log(name)}:", *lines]))
            time.sleep(_POLL_S)

    def _server(self, kind: type[Server]) -> Server:
        return kind(self._folder(kind.name), self._data(kind.name), self.jars, self.ports)

    def _folder(self, name: str) -> Path:
        return self.directory / name

    def _data(self, name: str) -> Path:
        if name == "dynamodb" and os.access(_MEMORY, os.W_OK):
            digest = hashlib.sha256(str(self.directory).encode()).hexdigest()[:12]
            return _MEMORY / f"fraud-stack-{os.getuid()}-{digest}"
        return self._folder(name) / "data"


def start_stack(directory: Path, ports: StackPorts, *, jars: Path = JARS, ends_with_caller: bool = False) -> Stack:
    """A stack whose servers run and are healthy. Raises `StackError`."""
    stack = Stack(directory, ports, jars, ends_with_caller)
    stack.up()
    return stack
