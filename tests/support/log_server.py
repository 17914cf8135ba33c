"""The parts of an API server that `ftjob logs` asks, in front of logs that a test writes.

Connections are cut at random places: as by a lost connection, or as by a proxy that ends the answer in order.
"""

from __future__ import annotations

import json
import random
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import yaml

from ftjob.client.handle import path_of
from ftjob.models.names import API_VERSION, KIND, LABEL_ATTEMPT, LABEL_UID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

NAMESPACE = "team"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
LINES_A_CHUNK = 50


def stamp(nanoseconds: int) -> bytes:
    """Return a time as the kubelet writes it."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z".encode()


@dataclass
class Pod:
    """A pod and its log."""

    name: str
    attempt: int = 0
    ranks: Sequence[int] = (0,)
    marked: bool = False
    agents: int = 1
    uid: str = ""
    state: str = "running"
    """Or waiting, or terminated."""
    log: list[bytes] = field(default_factory=list)
    """Lines with their times, and without their ends."""
    ends_open: bool = False
    """Whether its last line has no end."""
    is_read: bool = False
    """Whether somebody got all of it after its end."""

    @property
    def manifest(self) -> dict[str, Any]:
        """The pod as the API server returns it."""
        config = {
            "version": 1,
            "job": "digits",
            "role": "worker",
            "index": 0,
            "attempt": self.attempt,
            "worldSize": 8,
            "agents": self.agents,
            "port": 1,
            "leader": {"host": "x", "port": 1},
            "ranks": [{"rank": rank, "localRank": place} for place, rank in enumerate(self.ranks)],
            "markRanks": self.marked,
        }
        env = [{"name": "FTJOB_AGENT_CONFIG", "value": json.dumps(config)}]
        phase = {"waiting": "Pending", "running": "Running", "terminated": "Failed"}[self.state]
        return {
            "metadata": {
                "name": self.name,
                "namespace": NAMESPACE,
                "uid": self.uid or self.name,
                "labels": {LABEL_ATTEMPT: str(self.attempt), LABEL_UID: "u-1"},
            },
            "spec": {"containers": [{"name": "trainer", "env": env}]},
            "status": {
                "phase": phase,
                "containerStatuses": [{"name": "trainer", "state": {self.state: {}}}],
            },
        }


class LogServer:
    """What stands behind the server's address."""

    def __init__(self, cut: Callable[[], int | None] = lambda: None) -> None:
        self._cut = cut
        self.changed = threading.Condition()
        self._version = 1
        self.pods: dict[str, Pod] = {}
        self.status: dict[str, Any] = {"phase": "Running"}
        self.spec: dict[str, Any] = {"strategy": "Plain", "template": {"spec": {"containers": [{}]}}}
        self.is_there = True
        self.refusal: int | None = None
        """The code that every request for a log gets."""
        self.cuts = 0
        self.asked: list[dict[str, str]] = []
        """The queries of requests for logs."""

    @property
    def job(self) -> dict[str, Any]:
        """The job as the API server returns it."""
        meta = {"name": "digits", "namespace": NAMESPACE, "uid": "u-1", "resourceVersion": str(self._version)}
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta}
        return {**body, "spec": self.spec, "status": self.status}

    def add(self, pod: Pod) -> Pod:
        """Create a pod."""
        with self.changed:
            self.pods[pod.name] = pod
            self._news()
        return pod

    def write(self, pod: Pod, *lines: str | bytes, at: int | None = None) -> None:
        """Append lines to a log, now or at a time in nanoseconds."""
        when = stamp(time.time_ns() if at is None else at)
        with self.changed:
            pod.log += [when + b" " + (line.encode() if isinstance(line, str) else line) for line in lines]
            self.changed.notify_all()

    def end(self, *pods: Pod) -> None:
        """Let the containers of pods end."""
        with self.changed:
            for pod in pods:
                pod.state = "terminated"
            self._news()

    def delete(self, *pods: Pod) -> None:
        """Delete pods."""
        with self.changed:
            for pod in pods:
                del self.pods[pod.name]
            self._news()

    def set_status(self, **status: Any) -> None:
        """Change the job's status."""
        with self.changed:
            self.status = status
            self._news()

    def _news(self) -> None:
        self._version += 1
        self.changed.notify_all()

    def objects(self, path: str) -> list[dict[str, Any]]:
        """Return what is in a list."""
        if path == PODS:
            return [pod.manifest for pod in self.pods.values()]
        return [self.job] if self.is_there else []

    def answer(self, path: str, query: dict[str, str], send: Callable[[bytes], object]) -> int:
        """Answer a request; return the status code if it is not 200."""
        if path.endswith("/log"):
            self.asked.append(query)
            pod = self.pods.get(path.split("/")[-2])
            if self.refusal or pod is None:
                return self.refusal or 404
            self._send_log(pod, query, send)
            return 200
        if query.get("watch"):
            self._watch(path, send)
            return 200
        if path in {PODS, path_of(NAMESPACE)}:
            found: dict[str, Any] = {"items": self.objects(path)}
            send(json.dumps({**found, "metadata": {"resourceVersion": str(self._version)}}).encode())
            return 200
        name = path.rpartition("/")[2]
        for each in [*self.objects(PODS), *self.objects("")]:
            if each["metadata"]["name"] == name:
                send(json.dumps(each).encode())
                return 200
        return 404

    def _watch(self, path: str, send: Callable[[bytes], object]) -> None:
        seen = -1
        limit = time.monotonic() + 1.0  # then the client asks again, as it has to
        while time.monotonic() < limit:
            with self.changed:
                if self._version == seen:
                    self.changed.wait(0.2)
                    continue
                seen, found = self._version, self.objects(path)
            for each in found:
                send(json.dumps({"type": "MODIFIED", "object": each}).encode() + b"\n")

    def _send_log(self, pod: Pod, query: dict[str, str], send: Callable[[bytes], object]) -> None:
        place = max(0, len(pod.log) - int(query["tailLines"])) if "tailLines" in query else 0
        since = query.get("sinceTime", "").rstrip("Z").encode()
        left = self._cut()
        while True:
            with self.changed:
                if "follow" in query and len(pod.log) <= place and pod.state == "running":
                    self.changed.wait(0.5)
                lines = pod.log[place : place + LINES_A_CHUNK]
                has_ended = pod.state != "running"
            place += len(lines)
            data = b"".join(line + b"\n" for line in lines if line >= since)
            if has_ended and pod.ends_open and place == len(pod.log):
                data = data[:-1]
            if left is not None and len(data) >= left:
                send(data[:left])
                self.cuts += 1
                raise (ConnectionAbortedError if left % 3 else EOFError)
            if data:
                send(data)
                left = left - len(data) if left is not None else None
            if not lines and (has_ended or "follow" not in query):
                pod.is_read = has_ended
                return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server: LogServer = self.server.behind  # type: ignore[attr-defined]
        split = urlsplit(self.path)
        query = {key: found[0] for key, found in parse_qs(split.query).items()}
        self.has_begun = False
        try:
            code = server.answer(split.path, query, self._send)
        except ConnectionAbortedError:
            self._begin()
            self.close_connection = True
            return
        except EOFError:
            code = 200
        except OSError:
            self.close_connection = True
            return
        if code == 200:
            self._begin()
            self.wfile.write(b"0\r\n\r\n")
            return
        name = split.path.rpartition("/")[2]
        text = json.dumps({"message": f'pods "{name}" not found' if code == 404 else "no"}).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _begin(self) -> None:
        if not self.has_begun:
            self.has_begun = True
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()

    def _send(self, data: bytes) -> None:
        self._begin()
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the client has gone


@contextmanager
def serving(server: LogServer, folder: Path) -> Iterator[Path]:
    """Serve it; yield the kubeconfig that leads there."""
    http = _Server(("127.0.0.1", 0), _Handler)
    http.behind = server  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{http.server_port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    try:
        yield path
    finally:
        with suppress(OSError):
            http.shutdown()
            http.server_close()


def random_cuts(seed: int, mean: int) -> Callable[[], int]:
    """Return what says after how many bytes a connection is cut."""
    generator = random.Random(seed)
    return lambda: int(generator.expovariate(1 / mean)) + 1
