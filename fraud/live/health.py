"""`/metrics`, `/health/live` and `/health/ready` of a worker."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


class HealthServer:
    """Serves a worker's measures and state of health.

    `unready` and `unhealthy` say in words what is wrong, or nothing: a worker that is not ready should get no more
    partitions, one that is unhealthy has to be started anew.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        unready: Callable[[], str],
        unhealthy: Callable[[], str],
        refresh: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._unready = unready
        self._unhealthy = unhealthy
        self._refresh = refresh
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises `OSError` when the port is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/health/live", self._live),
                web.get("/health/ready", self._ready),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def stop(self) -> None:
        """Listen no longer."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _request: web.Request) -> web.Response:
        self._refresh()
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _live(self, _request: web.Request) -> web.Response:
        return _answer(self._unhealthy())

    async def _ready(self, _request: web.Request) -> web.Response:
        return _answer(self._unhealthy() or self._unready())


def _answer(problem: str) -> web.Response:
    if problem:
        return web.json_response({"status": "unavailable", "reason": problem}, status=503)
    return web.json_response({"status": "ok"})
