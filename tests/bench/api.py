"""A client that creates objects and waits for them, beside a whole control plane with ftjob's operator."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
from bench.control_plane import running_control_plane
from support.control_cluster import running_operator

from ftjob.models.names import API_VERSION, PLURAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from support.control_cluster import Operator

Manifest = dict[str, Any]

CONNECTIONS = 16
PATHS = {"pods": "/api/v1", "services": "/api/v1", "jobs": "/apis/batch/v1", PLURAL: f"/apis/{API_VERSION}"}
CRD = Path(__file__).resolve().parents[2] / "manifests" / "crd" / "ftjob.dev_frameworktrainingjobs.yaml"


@dataclass(frozen=True)
class Api:
    """Requests of the client that measures."""

    session: aiohttp.ClientSession

    async def send(self, method: str, path: str, body: Manifest | None = None) -> Manifest:
        """Send a request; anything but success is an error, except that what is deleted may be gone."""
        data = None if body is None else orjson.dumps(body)
        async with self.session.request(method, path, data=data) as answer:
            found: Manifest = orjson.loads(await answer.read())
            if answer.status >= 300 and answer.status != 404:
                raise RuntimeError(f"{method} {path}: {answer.status} {found.get('message')}")
            return found

    async def patch(self, path: str, body: Manifest) -> None:
        """Merge-patch an object; one that is gone by now is no error."""
        headers = {"Content-Type": "application/merge-patch+json"}
        async with self.session.patch(path, data=orjson.dumps(body), headers=headers) as answer:
            if answer.status >= 300 and answer.status != 404:
                raise RuntimeError(f"PATCH {path}: {answer.status} {await answer.text()}")

    async def make_namespace(self, name: str) -> None:
        """Create a namespace, and wait until pods may be created in it."""
        await self.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        while (await self.send("GET", account))["kind"] != "ServiceAccount":  # noqa: ASYNC110  others make it
            await asyncio.sleep(0.1)

    async def create(self, namespace: str, manifests: list[tuple[str, Manifest]]) -> None:
        """Create objects, in their order, over so many connections."""
        waiting = iter(manifests)

        async def worker() -> None:
            for plural, body in waiting:
                await self.send("POST", f"{PATHS[plural]}/namespaces/{namespace}/{plural}", body)

        await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))

    async def watch(self, namespace: str, plural: str) -> AsyncIterator[Manifest]:
        """Yield the versions of the objects from the beginning of the namespace, for ever.

        The API server ends the watch of a client that is too slow for it; it is taken up where it ended.
        """
        version = ""
        while True:
            path = f"{PATHS[plural]}/namespaces/{namespace}/{plural}?watch=true&resourceVersion={version}"
            async with self.session.get(path) as answer:
                async for line in answer.content:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise RuntimeError(event["object"].get("message"))
                    version = event["object"]["metadata"]["resourceVersion"]
                    yield event["object"]

    async def until(
        self, namespace: str, plural: str, is_there: Callable[[Manifest], bool], count: int
    ) -> float:
        """Return when the last of ``count`` objects is as wanted."""
        there = set()
        async for body in self.watch(namespace, plural):
            if is_there(body):
                there.add(body["metadata"]["name"])
                if len(there) == count:
                    break
        return time.perf_counter()


def runs(pod: Manifest) -> bool:
    """Whether a pod runs."""
    return bool(pod["status"].get("phase") == "Running")


def in_words(values: list[float], unit: str) -> str:
    """Return the median and the range."""
    return f"{statistics.median(values):.2f} {unit} ({min(values):.2f} to {max(values):.2f})"


@asynccontextmanager
async def measured_cluster() -> AsyncIterator[tuple[Api, Operator]]:
    """Run a control plane with fake nodes, the operator as a process, and a client."""
    with tempfile.TemporaryDirectory() as folder, running_control_plane(Path(folder)) as server:
        for args in (
            ("apply", "--server-side", "-f", str(CRD)),
            ("wait", "--for=condition=Established", "-f", str(CRD), "--timeout=60s"),
            ("create", "namespace", "ftjob-system"),
        ):
            done = server.kubectl(*args)
            assert done.returncode == 0, done.stderr
        home = "ftjob-system"
        with running_operator(server, Path(folder), namespace=home, home=home, cluster_wide=True) as operator:
            assert operator.process.poll() is None, operator.log.read_text()
            headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
            async with aiohttp.ClientSession(
                server.url,
                headers=headers,
                connector=aiohttp.TCPConnector(ssl=False, limit=CONNECTIONS + 4),
                timeout=aiohttp.ClientTimeout(None),
                read_bufsize=1 << 20,
            ) as session:
                yield Api(session), operator
