"""An API server for people's kubeconfigs: it answers what a test tells it, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Manifest = dict[str, Any]
SERVED = ("/api/v1/", "/apis/ftjob.dev/")
"""What is served in any case; of others only what there is an object of."""


@dataclass
class FakeServer:
    """What there is, by path."""

    objects: dict[str, Manifest] = field(default_factory=dict)
    """What GET answers; a list has ``items``."""
    events: dict[str, list[Manifest]] = field(default_factory=dict)
    """What a watch of a path yields."""
    answers: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    """What else is answered, by method and path; without it a POST is answered with what it says."""
    refusals: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """Code and message, by method and path."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each request, in order."""
    written: list[Manifest] = field(default_factory=list)
    """Bodies of requests, in order."""

    def answer(self, method: str, target: str, body: Manifest | None) -> tuple[int, bytes]:
        """Return the code and the body of an answer."""
        address = urlsplit(target)
        path, query = address.path, parse_qs(address.query)
        self.asked.append((method, path))
        if body is not None:
            self.written.append(body)
        if (method, path) in self.refusals:
            code, message = self.refusals[method, path]
            return code, _json({"kind": "Status", "message": message})
        if "watch" in query:
            return 200, b"".join(_json(event) for event in self.events.get(path, ()))
        if method != "GET":
            usual = body if method in {"POST", "PATCH"} else {"kind": "Status"}
            return 200, _json(self.answers.get((method, path), usual))
        if path not in self.objects:
            plural, _, name = path.rpartition("/")
            message = f'{plural.rpartition("/")[2]} "{name}" not found'
            if not path.startswith(SERVED) and not any(
                known.startswith(_group(path)) for known in self.objects
            ):
                message = "the server could not find the requested resource"
            return 404, _json({"kind": "Status", "message": message})
        found = self.objects[path]
        if "fieldSelector" in query:
            (selector,) = query["fieldSelector"]
            found = {"items": [each for each in found["items"] if _matches(each, selector)]}
        return 200, _json(found)


def _group(path: str) -> str:
    """Return the beginning of all paths of an API's version: /apis/GROUP/VERSION/."""
    return "/".join([*path.split("/")[:4], ""])


def _matches(body: Manifest, selector: str) -> bool:
    for term in selector.split(","):
        path, _, value = term.replace("!=", "=").partition("=")
        found: Any = body
        for key in path.split("."):
            found = found.get(key, "")
        if (found == value) is ("!=" in term):
            return False
    return True


def _json(body: Any) -> bytes:
    return json.dumps(body).encode() + b"\n"


@contextmanager
def running_fake(folder: Path) -> Iterator[tuple[FakeServer, Path]]:
    """Serve until the block ends; give the server and a kubeconfig that leads to it."""
    fake = FakeServer()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            code, answer = fake.answer(self.command, self.path, body)
            self.send_response(code)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  # http.server's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {"name": "fake", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
                ],
                "users": [{"name": "fake", "user": {}}],
                "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
                "current-context": "fake",
            }
        )
    )
    try:
        yield fake, kubeconfig
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
