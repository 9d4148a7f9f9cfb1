"""A TCP proxy between the service and a real server that delays, freezes and cuts connections when a test says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

_CHUNK_BYTES = 65_536
_PATIENCE_S = 10
# Accepting, connecting, making the task and beginning it take about six; with fewer its socket outlives the loop.
_TURNS_TO_BEGIN = 10


class FaultProxy:
    """Listens on `port` of the loopback and speaks to `target_port` there, in a thread of its own.

    Attributes that a test sets at any time: `delay_s` holds every chunk of an answer back for so long; `frozen` lets
    nothing through in either direction, but keeps connections; `refuses` closes new connections at once;
    `loses_answers` lets requests through and cuts the connection when the answer comes.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.delay_s = 0.0
        self.refuses = False
        self.loses_answers = False
        self._thawed = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def frozen(self) -> bool:
        return not self._thawed.is_set()

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        self._loop.call_soon_threadsafe(self._thawed.clear if frozen else self._thawed.set)

    def cut(self) -> None:
        """End all connections that there are."""
        self._run(self._cut())

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        """End all connections and listen no more."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        ended: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        ended.result(_PATIENCE_S)

    async def _listen(self) -> None:
        self._thawed.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        # A connection that was just made has a task some turns of the loop later, and closes itself only in it.
        for _ in range(_TURNS_TO_BEGIN):
            await asyncio.sleep(0)
        self._server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others)
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _cut(self) -> None:
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(writer)
        try:
            if not self.refuses:
                with suppress(OSError, asyncio.CancelledError):
                    await self._connect(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _connect(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self.target_port)
        self._writers.add(to_server)
        ways = [
            asyncio.create_task(self._carry(client, to_server, answers=False)),
            asyncio.create_task(self._carry(server, to_client, answers=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if answers and self.loses_answers:
                return
            if answers and self.delay_s:
                await asyncio.sleep(self.delay_s)
            await self._thawed.wait()
            writer.write(chunk)
            await writer.drain()


@contextmanager
def running_fault_proxy(target_port: int) -> Iterator[FaultProxy]:
    """A proxy that runs until the end of the block."""
    proxy = FaultProxy(target_port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
