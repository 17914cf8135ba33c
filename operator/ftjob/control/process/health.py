"""The endpoints for the kubelet and Prometheus: /healthz, /readyz and /metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from ftjob.control.watching.signs import Signs

if TYPE_CHECKING:
    from ftjob.control.observability.metrics import Metrics
    from ftjob.control.queue import Queue

STUCK_SECONDS = 300.0
"""A look takes milliseconds; with every retry of every request it stays below this."""

TEXT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Health:
    """The health of this process."""

    queue: Queue
    metrics: Metrics
    signs: Signs = field(default_factory=Signs)
    ready: bool = False
    """Whether this process can take over: it waits for the Lease, or its cache is filled."""


def app(health: Health) -> web.Application:
    """Return the web application that answers for this process."""

    async def healthz(_request: web.Request) -> web.Response:
        age = health.queue.oldest_age()
        if age > STUCK_SECONDS:
            return web.Response(status=500, text=f"the oldest job in the queue has waited {age:.0f} s\n")
        silent = health.signs.silent()
        if silent:
            return web.Response(status=500, text=f"{silent}\n")
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        if not health.ready:
            return web.Response(status=503, text="the cache is not filled yet\n")
        return web.Response(text="ok\n")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=health.metrics.text(), headers={"Content-Type": TEXT})

    application = web.Application()
    application.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    return application


async def serve(application: web.Application, ports: set[int]) -> web.AppRunner:
    """Serve the application on all addresses; the caller cleans the runner up."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    for port in ports:
        try:
            await web.TCPSite(runner, port=port).start()
        except OSError as error:
            raise SystemExit(
                f"port {port}: {error.strerror}; see --metrics-port and --health-port"
            ) from error
    return runner
