"""An API server that has a bad day: a proxy in front of a real one, whose answers the test spoils."""

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from support.apiserver import ApiServer
from support.ports import free_port

NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


@dataclass
class FaultProxy:
    """Forwards requests; those of a kind fail while a fault of it lasts."""

    server: ApiServer
    kubeconfig: Path
    port: int
    refused: dict[str, int] = field(default_factory=dict)
    """Codes by plural."""
    hanging: set[str] = field(default_factory=set)
    """Plurals of which nothing is answered, and watches stay silent."""
    spoil: dict[str, bytes] = field(default_factory=dict)
    """What every watch of a plural brings before it ends."""
    hits: dict[str, int] = field(default_factory=dict)
    """How many requests and watches a fault has met, by plural."""
    _watches: set[asyncio.Event] = field(default_factory=set)
    _ready: threading.Event = field(default_factory=threading.Event)

    def end_watches(self) -> None:
        """End all watches, so that the next ones meet the fault."""
        for event in list(self._watches):
            self._loop.call_soon_threadsafe(event.set)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve in a thread while the block runs."""
        thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        thread.start()
        assert self._ready.wait(30)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        application = web.Application(client_max_size=1 << 24)
        application.add_routes([web.route("*", "/{any:.*}", self._forward)])
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        context = ssl.create_default_context(cafile=str(self.server.ca_file))
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._session:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        plural = next((part for part in reversed(request.path.split("/")) if part in self._faulty()), "")
        if plural in self.refused:
            self._hit(plural)
            return web.json_response({"kind": "Status", "message": "a bad day"}, status=self.refused[plural])
        await self._while_hanging(plural)
        headers = {k: v for k, v in request.headers.items() if k not in {"Host", "Content-Length"}}
        data = await request.read() or None
        url = self.server.url + request.path_qs
        async with self._session.request(
            request.method, url, headers=headers, data=data, timeout=NO_TIMEOUT
        ) as found:
            kept = {k: v for k, v in found.headers.items() if k in {"Content-Type", "Content-Encoding"}}
            answer = web.StreamResponse(status=found.status, headers=kept)
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):  # the operator has gone
                await answer.prepare(request)
                if "watch" not in request.query or found.status != 200:
                    await answer.write(await found.read())
                else:
                    await self._watch(request.path, found, answer)
            return answer

    async def _watch(self, path: str, found: aiohttp.ClientResponse, answer: web.StreamResponse) -> None:
        plural, ended = path.rpartition("/")[2], asyncio.Event()
        self._watches.add(ended)
        end = asyncio.create_task(ended.wait())
        try:
            while True:
                line = asyncio.create_task(found.content.readline())
                await asyncio.wait({line, end}, return_when=asyncio.FIRST_COMPLETED)
                await self._while_hanging(plural)
                if plural in self.spoil:
                    self._hit(plural)
                    await answer.write(self.spoil[plural])
                    return
                if not line.done() or not line.result():
                    line.cancel()
                    return
                await answer.write(line.result())
        finally:
            end.cancel()
            self._watches.discard(ended)

    def _faulty(self) -> set[str]:
        return {*self.refused, *self.hanging, *self.spoil}

    def _hit(self, plural: str) -> None:
        self.hits[plural] = self.hits.get(plural, 0) + 1

    async def _while_hanging(self, plural: str) -> None:
        if plural in self.hanging:
            self._hit(plural)
        while plural in self.hanging:  # noqa: ASYNC110  set by another thread
            await asyncio.sleep(0.1)


@contextmanager
def fault_proxy(server: ApiServer, folder: Path) -> Iterator[FaultProxy]:
    """Serve a proxy in front of the API server."""
    config = json.loads(server.kubeconfig.read_text())
    port = free_port()
    config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{port}"}
    kubeconfig = folder / "kubeconfig-of-proxy"
    kubeconfig.write_text(json.dumps(config))
    proxy = FaultProxy(server, kubeconfig, port)
    with proxy.serving():
        yield proxy
