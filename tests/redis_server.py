"""Real Redis servers for tests: on a free port of the loopback, started and stopped by the test."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis

_PATIENCE_S = 30


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """One redis-server, nothing kept on disk unless `options` say so."""

    def __init__(self, directory: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        # The server listens on its port plus 10,000 for other servers of a cluster, hence the free port there.
        self._process = subprocess.Popen(
            [
                *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._directory)),
                *("--save", "", "--appendonly", "no", "--logfile", str(self._directory / f"redis-{self.port}.log")),
                *self._options,
            ]
        )
        give_up = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.command("PING")
            except redis.ConnectionError:
                assert self._process.poll() is None, "redis-server ended; is it installed? apt-get install redis-server"
                assert time.monotonic() < give_up, "redis-server does not answer"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop it; what it held is lost."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE_S)
            self._process = None

    def command(self, *words: str) -> object:
        """The answer to one command, over a connection of its own."""
        with redis.Redis(port=self.port) as client:
            answer: object = client.execute_command(*words)
            return answer


@contextmanager
def running_redis(directory: Path, options: Sequence[str] = ()) -> Iterator[RedisServer]:
    """A server that runs until the end of the block."""
    server = RedisServer(directory, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
