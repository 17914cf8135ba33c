"""A small HTTP/1.1 server in the agent's loop: a thousand agents may wait without a thread each."""

from __future__ import annotations

import hmac
import json
import selectors
import socket
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Callable, Optional

from ftjob_agent.linux import is_loopback
from ftjob_protocol import orders

if TYPE_CHECKING:
    from ftjob_agent.loop import Loop

HEAD_LIMIT = 16 * 1024
BODY_LIMIT = 1024 * 1024
REQUEST_SECONDS = 10.0
IDLE_SECONDS = 60.0
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
_REASONS.update(
    {409: "Conflict", 411: "Length Required", 413: "Content Too Large", 431: "Header Fields Too Large"}
)
_REASONS.update({500: "Internal Server Error"})


class HttpError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Request:
    """One request; `reply` may be called later."""

    def __init__(self, connection: Connection, method: str, target: str, body: bytes) -> None:
        parts = urllib.parse.urlsplit(target)
        self.method, self.path = method, parts.path
        self.query = {key: values[-1] for key, values in urllib.parse.parse_qs(parts.query).items()}
        self.local_address = connection.local_address
        self._connection, self._body = connection, body

    def document(self) -> dict[str, Any]:
        """Return the body's JSON object."""
        try:
            data = json.loads(self._body)
        except (ValueError, RecursionError):
            raise HttpError(400, "the body is not JSON") from None
        if not isinstance(data, dict):
            raise HttpError(400, "the body is not a JSON object")
        return data

    def reply(self, payload: dict[str, Any], status: int = 200) -> None:
        """Answer; nothing happens when the other side has gone."""
        self._connection.reply(status, payload)


Handler = Callable[[Request], None]


def listen(host: str, port: int) -> socket.socket:
    """Listen on all interfaces, or on the loopback alone when that is where the leader is."""
    backlog = 1024
    if is_loopback(host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=backlog)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True
            )
        except OSError as error:
            if error.errno not in (97, 99):  # EAFNOSUPPORT, EADDRNOTAVAIL: IPv6 is switched off
                raise
    return socket.create_server(("", port), backlog=backlog)


class Server:
    """Accepts connections and hands whole, authorized requests to `handle`."""

    def __init__(
        self, loop: Loop, listener: socket.socket, token: str, connections: int, handle: Handler
    ) -> None:
        self.loop, self.handle = loop, handle
        self._token = orders.bearer(token)["Authorization"].encode()
        self._listener, self._limit = listener, connections
        self._connections: set[Connection] = set()
        self._is_sweeping = False
        listener.setblocking(False)
        loop.watch(listener, selectors.EVENT_READ, self._accept)

    def is_authorized(self, value: str) -> bool:
        """Whether a request's Authorization is that of this job."""
        return hmac.compare_digest(value.encode("utf-8", "replace"), self._token)

    def forget(self, connection: Connection) -> None:
        """Drop a closed connection."""
        self._connections.discard(connection)

    def _accept(self, _events: int) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            if len(self._connections) >= self._limit:
                stream.close()
                continue
            self._connections.add(Connection(self, stream))
            if not self._is_sweeping:
                self._is_sweeping = True
                self.loop.call_at(time.monotonic() + REQUEST_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close connections that do not get on with their request."""
        for connection in list(self._connections):
            connection.close_if_stale(time.monotonic())
        self._is_sweeping = bool(self._connections)
        if self._is_sweeping:
            self.loop.call_at(time.monotonic() + REQUEST_SECONDS, self._sweep)


class Connection:
    """One connection; it has at most one request at a time."""

    def __init__(self, server: Server, stream: socket.socket) -> None:
        self._server, self._stream = server, stream
        self._input, self._output = b"", b""
        self._is_answering = False
        self._is_last = False
        self._since = time.monotonic()
        address = str(stream.getsockname()[0])
        self.local_address = address.removeprefix("::ffff:")
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.loop.watch(stream, selectors.EVENT_READ, self._on_event)

    def reply(self, status: int, payload: dict[str, Any]) -> None:
        """Send an answer."""
        if self._stream.fileno() < 0 or not self._is_answering:
            return
        body = json.dumps(payload).encode()
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n"
        if self._is_last:
            head += "Connection: close\r\n"
        self._output += head.encode() + b"\r\n" + body
        self._is_answering = False
        self._since = time.monotonic()
        self._write()
        if self._input and self._stream.fileno() >= 0:
            self._server.loop.post(self._next_request)

    def close_if_stale(self, now: float) -> None:
        """Close when the other side neither ends its request nor begins one."""
        limit = REQUEST_SECONDS if self._input or self._output else IDLE_SECONDS
        if not self._is_answering and now - self._since > limit:
            self.close()

    def close(self) -> None:
        """Close; a held request is dropped."""
        if self._stream.fileno() >= 0:
            self._server.loop.watch(self._stream, 0, self._on_event)
            self._stream.close()
            self._server.forget(self)

    def _on_event(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._write()
        if not events & selectors.EVENT_READ or self._stream.fileno() < 0:
            return
        try:
            data = self._stream.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._since = self._since if self._input else time.monotonic()
        self._input += data
        if not data or len(self._input) > HEAD_LIMIT + BODY_LIMIT:
            self.close()
        else:
            self._next_request()

    def _next_request(self) -> None:
        if self._is_answering or self._stream.fileno() < 0:
            return
        try:
            request = self._parse()
            if request is not None:
                self._server.handle(request)
        except HttpError as error:
            self._refuse(error.status, str(error))
        except Exception as error:
            self._refuse(500, f"{type(error).__name__}: {error}")

    def _refuse(self, status: int, text: str) -> None:
        self._is_answering = True
        self.reply(status, {"error": text})

    def _parse(self) -> Optional[Request]:
        """Return the next request when all of it is there."""
        head, end, rest = self._input.partition(b"\r\n\r\n")
        if len(head) > HEAD_LIMIT:
            self._is_last = True
            raise HttpError(431, "the header is too large")
        if not end:
            return None
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        headers = {
            key.strip().lower(): value.strip()
            for key, _, value in (line.partition(":") for line in lines[1:])
        }
        self._is_last = True  # unless it turns out to be sound
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise HttpError(400, "not HTTP/1.1")
        if not words[1].startswith(orders.HEALTH) and not self._server.is_authorized(
            headers.get("authorization", "")
        ):
            raise HttpError(401, "the bearer token is missing or wrong")
        length = headers.get("content-length", "" if words[0] == "POST" else "0")
        if "transfer-encoding" in headers or not length.isdigit():
            raise HttpError(411, "a body needs Content-Length")
        if len(length) > 10 or int(length) > BODY_LIMIT:
            raise HttpError(413, f"the body is larger than {BODY_LIMIT} bytes")
        if len(rest) < int(length):
            return None
        self._is_last = headers.get("connection", "").lower() == "close" or words[2] == "HTTP/1.0"
        self._input = rest[int(length) :]
        self._is_answering = True
        return Request(self, words[0], words[1], rest[: int(length)])

    def _write(self) -> None:
        try:
            sent = self._stream.send(self._output) if self._output else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        self._output = self._output[sent:]
        if not self._output and self._is_last and not self._is_answering:
            self.close()
            return
        write = selectors.EVENT_WRITE if self._output else 0
        self._server.loop.watch(self._stream, selectors.EVENT_READ | write, self._on_event)
