"""Calls to Redis that end in time: connected when first needed, answered by a deadline or given up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from ssl import SSLCertVerificationError
from time import monotonic
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from fraud.certificates import TlsFiles, UnusableTlsFileError, certificate_refusal, ends_handshake
from fraud.ports import EntityStoreUnavailableError
from fraud.stores.entity_windows.library import Client, Command, load_library, round_trip

# A call that nobody waits for any more is ended after this long, and so is one without a deadline: the longest that a
# commit can hold a batch before the worker knows that Redis is away.
SOCKET_TIMEOUT_S = 2.0
# Once, for a connection that the server closed while it was idle. More attempts would only hide an outage for longer.
_ATTEMPTS_AGAIN = 1
# A timer that is late by a tenth of its time was kept waiting by this process, not by the server.
_OVERSLEPT = 1.1
# Policies under which a full Redis throws away entity windows instead of refusing new ones; nobody would notice.
_KEEPS_EVERYTHING = "noeviction"
_WITH_TLS = "rediss:"
_AUTHORITY, _OWN_CERTIFICATE = "FRAUD_REDIS_SSL_CA_FILE", "FRAUD_REDIS_SSL_CERTIFICATE_FILE"

_Answer = TypeVar("_Answer")


class Connection:
    """Redis at `url`, one server or a cluster: the server says which. Failures are `EntityStoreUnavailableError`.

    With `rediss`, `tls` has the files.
    """

    def __init__(self, url: str, tls: TlsFiles | None = None) -> None:
        self._url = url
        self._tls = tls
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._overdue: asyncio.Task[Any] | None = None

    async def ask(self, commands: Sequence[Command], deadline_s: float | None = None) -> list[Any]:
        """The answers to `commands`, in one round trip (on a cluster, one for each primary).

        With a deadline, a call that misses it goes on by itself, since a connection that is left in the middle of an
        answer is lost, and until it ends all calls with a deadline fail at once.
        """
        if deadline_s is None:
            return await self._translated(self._answers(commands))
        if self._overdue is not None:
            if not self._overdue.done():
                raise EntityStoreUnavailableError("Redis has not answered an earlier call yet")
            self._overdue = None
        task = asyncio.create_task(self._translated(self._answers(commands)))
        try:
            if await _done_within(task, deadline_s):
                return task.result()
        except asyncio.CancelledError:
            self._leave(task)
            raise
        self._leave(task)
        raise EntityStoreUnavailableError(f"Redis has not answered within {deadline_s * 1000:g} ms")

    async def client(self) -> Client:
        """The connected client. Raises `EntityStoreUnavailableError`."""
        return await self._translated(self._connected())

    async def close(self) -> None:
        """End all connections."""
        if self._overdue is not None:
            await asyncio.wait([self._overdue])
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _leave(self, task: asyncio.Task[Any]) -> None:
        # Asks for the outcome, so that nothing is logged about an exception that nobody took.
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._overdue = task

    async def _answers(self, commands: Sequence[Command]) -> list[Any]:
        return await round_trip(await self._connected(), commands)

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                self._client = await _connect(self._url, self._tls)
        return self._client

    async def _translated(self, asked: Coroutine[Any, Any, _Answer]) -> _Answer:
        try:
            return await asked
        except (RedisError, OSError, TimeoutError) as error:
            # Once it is connected, an end of the connection is no matter of certificates.
            greeting = self._client is None and self._url.startswith(_WITH_TLS)
            raise EntityStoreUnavailableError(f"Redis failed: {_reason(error, greeting_with_tls=greeting)}") from error


def _reason(error: BaseException, *, greeting_with_tls: bool) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SSLCertVerificationError):
            return certificate_refusal(cause, "the server", _AUTHORITY)
        if greeting_with_tls and ends_handshake(cause):
            return f"{error}; does it want a certificate of the service, one that it trusts ({_OWN_CERTIFICATE})?"
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


async def _connect(url: str, tls: TlsFiles | None) -> Client:
    """A client that has loaded the functions. Raises errors of redis, and `EntityStoreUnavailableError`."""
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "retry": Retry(NoBackoff(), _ATTEMPTS_AGAIN),
    }
    if tls is not None and url.startswith(_WITH_TLS):
        options |= _tls_options(tls)
    client: Client = Redis.from_url(url, **options)
    try:
        facts: dict[str, Any] = await client.info()
        _check_policy(facts.get("maxmemory_policy", _KEEPS_EVERYTHING))
        if facts.get("redis_mode") == "cluster":
            await client.aclose()
            client = RedisCluster.from_url(url, **options)
        await load_library(client)
    except BaseException:
        await client.aclose()
        raise
    return client


def _tls_options(files: TlsFiles) -> dict[str, str]:
    """What the client is told of them, once it is known that it can use them."""
    try:
        files.context()
    except UnusableTlsFileError as error:
        raise EntityStoreUnavailableError(str(error)) from error
    named = {
        "ssl_ca_certs": files.ca_file,
        "ssl_certfile": files.certificate_file,
        "ssl_keyfile": files.key_file,
    }
    return {option: str(file) for option, file in named.items() if file is not None}


def _check_policy(policy: str) -> None:
    if policy != _KEEPS_EVERYTHING:
        raise EntityStoreUnavailableError(
            f"Redis has maxmemory-policy {policy}: it would lose entity windows in silence; "
            f"set it to {_KEEPS_EVERYTHING} and give it enough memory"
        )


async def _done_within(task: asyncio.Task[Any], deadline_s: float) -> bool:
    """Whether `task` ends by the deadline, of which the time is left out when this process did something else.

    While another batch is computed, an answer may be there and nobody can look.
    """
    started_s = monotonic()
    done, _ = await asyncio.wait([task], timeout=deadline_s)
    overslept = monotonic() - started_s > _OVERSLEPT * deadline_s
    if not done and overslept:
        done, _ = await asyncio.wait([task], timeout=deadline_s)
    return bool(done)
