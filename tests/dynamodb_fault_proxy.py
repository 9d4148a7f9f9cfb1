"""A proxy between the service and DynamoDB Local that answers as DynamoDB does on a bad day."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from ssl import SSLContext
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web

_PATIENCE_S = 30
# Longer than the service waits for an answer.
_NO_ANSWER_S = 7
_ERRORS = "com.amazonaws.dynamodb.v20120810#"
FAULTS = ("throttled", "cancelled", "unprocessed", "cut", "unanswered")
# Other operations know no such answer.
_ONLY_FOR = {"cancelled": "TransactWriteItems", "unprocessed": "BatchGetItem"}
_FORWARDED = ("X-Amz-Target", "Content-Type", "Authorization", "X-Amz-Date", "X-Amz-Security-Token")


class DynamoFaultProxy:
    """Listens on `port` of the loopback, in a thread of its own. The first request to meet a fault is drawn by a seed.

    `share` of the requests for each operation meet one of `FAULTS`, in turn: `throttled`; `cancelled` (transactions,
    because of one of their items); `unprocessed` (batches: half of the keys stay unread); `unanswered` (done, but
    nothing is said until the service has given up); `cut` (done, but the connection ends instead of an answer). Others
    pass through, and so does everything while `share` is 0. `met` counts what was met. `away` closes every connection
    at once.

    With `tls` it is as AWS is. `signers` are the access keys that requests were signed with, each with its session
    token; one of `unknown_keys` is refused.
    """

    def __init__(self, target: str, seed: int, tls: SSLContext | None = None) -> None:
        self.port = 0
        self.share = 0.0
        self.signers: set[tuple[str, str | None]] = set()
        self.unknown_keys: set[str] = set()
        self._tls = tls
        self.met: Counter[str] = Counter()
        self._away_until = 0.0
        self._target = target
        self._draw = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._due: dict[str, float] = {}
        self._next = [*FAULTS, *(name for name in FAULTS if name != "unanswered")]
        self._answers: dict[str, Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]] = {
            "throttled": self._throttle,
            "cancelled": self._cancel,
            "unprocessed": self._leave_unprocessed,
            "unanswered": self._say_nothing,
            "cut": self._cut,
        }

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def go_away(self, seconds: float) -> None:
        """Be away for so long from now on."""
        self._away_until = time.monotonic() + seconds

    @property
    def is_away(self) -> bool:
        return time.monotonic() < self._away_until

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
        self._session = ClientSession(timeout=ClientTimeout(total=_PATIENCE_S))
        # A transaction has up to 4 MB.
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        key = request.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
        self.signers.add((key, request.headers.get("X-Amz-Security-Token")))
        if key in self.unknown_keys:
            error = {"__type": f"{_ERRORS}UnrecognizedClientException", "message": "The security token is invalid."}
            return web.json_response(error, status=400)
        if self.is_away:
            self.met["away"] += 1
            return await self._hang_up(request)
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        # Evenly spread: of few requests for an operation a draw for each might hit none.
        due = self._due.get(operation, self._draw.random()) + self.share
        self._due[operation] = due % 1.0
        if due < 1.0:
            return await self._pass(request, body)
        able = [name for name in self._next if _ONLY_FOR.get(name, operation) == operation]
        # What was not met yet comes first, what this operation alone knows before all: a short run meets everything.
        fault = min(able, key=lambda name: 2 if self.met[name] else int(name not in _ONLY_FOR))
        self._next.remove(fault)
        self._next.append(fault)
        self.met[fault] += 1
        return await self._answers[fault](request, body)

    async def _pass(self, request: web.Request, body: bytes) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
        async with self._session.post(self._target, data=body, headers=headers) as answer:
            content = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name.lower().startswith("x-amz")}
            return web.Response(status=answer.status, body=content, headers=kept, content_type=_content_type(answer))

    async def _throttle(self, _request: web.Request, _body: bytes) -> web.StreamResponse:
        error = {"__type": f"{_ERRORS}ProvisionedThroughputExceededException", "message": "The level is exceeded."}
        return web.json_response(error, status=400)

    async def _cancel(self, _request: web.Request, body: bytes) -> web.StreamResponse:
        reasons = [{"Code": "None"} for _ in json.loads(body)["TransactItems"]]
        reasons[self._draw.randrange(len(reasons))] = {"Code": "TransactionConflict", "Message": "Another is ongoing."}
        error = {
            "__type": f"{_ERRORS}TransactionCanceledException",
            "message": "Transaction cancelled, please refer cancellation reasons for specific reasons",
            "CancellationReasons": reasons,
        }
        return web.json_response(error, status=400)

    async def _leave_unprocessed(self, request: web.Request, body: bytes) -> web.StreamResponse:
        asked = json.loads(body)
        left = {}
        for table, one in asked["RequestItems"].items():
            half = len(one["Keys"]) // 2
            left[table] = {**one, "Keys": one["Keys"][half:]}
            one["Keys"] = one["Keys"][:half]
        if not all(one["Keys"] for one in asked["RequestItems"].values()):
            answer: dict[str, Any] = {"Responses": {table: [] for table in left}}
        else:
            passed = await self._pass(request, json.dumps(asked).encode())
            assert isinstance(passed, web.Response)
            assert isinstance(passed.body, bytes)
            answer = json.loads(passed.body)
        return web.json_response({**answer, "UnprocessedKeys": left})

    async def _say_nothing(self, request: web.Request, body: bytes) -> web.StreamResponse:
        await self._pass(request, body)
        await asyncio.sleep(_NO_ANSWER_S)
        return await self._hang_up(request)

    async def _cut(self, request: web.Request, body: bytes) -> web.StreamResponse:
        await self._pass(request, body)
        return await self._hang_up(request)

    async def _hang_up(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=500)


def _content_type(answer: Any) -> str:
    return str(answer.content_type)


@contextmanager
def running_dynamodb_fault_proxy(target: str, seed: int, tls: SSLContext | None = None) -> Iterator[DynamoFaultProxy]:
    """A proxy that runs until the end of the block."""
    proxy = DynamoFaultProxy(target, seed, tls)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
