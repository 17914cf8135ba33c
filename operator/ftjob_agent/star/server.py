"""A small HTTP/1.1 server in the agent's loop: a thousand agents may wait without a thread each."""

from __future__ import annotations

import json
import math
import selectors
import socket
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

from ftjob_agent.linux import is_loopback
from ftjob_protocol import orders
from ftjob_protocol.signing import signature

if TYPE_CHECKING:
    from ftjob_agent.loop import Loop

HEAD_LIMIT = 4 * 1024
BODY_LIMIT = 1024 * 1024
REQUEST_SECONDS = 10.0
IDLE_SECONDS = 60.0
STRANGERS = 128
"""So many connections may be open that have not shown the job's key, besides one for each agent."""
STRANGER_SECONDS = 2.0
SWEEP_SECONDS = 0.5
STRANGER_READS = 8
"""A connection of ours shows the key with its first bytes, one that drips them never gets so far."""
STRANGERS_PER_SECOND = 200.0
"""Strangers that come faster wait in the kernel's queue, and cost nothing there."""
STRANGERS_AT_ONCE = 32
BACKLOG = 4096
_REQUEST_HEADER = signature.REQUEST_HEADER.lower()
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
_REASONS.update(
    {409: "Conflict", 411: "Length Required", 413: "Content Too Large", 431: "Header Fields Too Large"}
)
_REASONS.update({500: "Internal Server Error", 503: "Service Unavailable"})


class HttpError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Request:
    """One request; `reply` may be called later."""

    def __init__(self, connection: Connection, method: str, target: str, body: bytes) -> None:
        self.method = method
        self.path, _, query = target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query)) if query else {}
        self.local_address, self.peer_address = connection.local_address, connection.peer_address
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
    if is_loopback(host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
        except OSError as error:
            if error.errno not in (97, 99):  # EAFNOSUPPORT, EADDRNOTAVAIL: IPv6 is switched off
                raise
    return socket.create_server(("", port), backlog=BACKLOG)


class Server:
    """Accepts connections and hands whole, signed requests to `handle`.

    A connection is a *stranger's* until it has shown the job's key. Strangers have little time, little room
    and a small share of the processor, whatever they do with it.

    Parameters
    ----------
    connections
        So many may be open that have shown the key.
    strangers
        So many may be open that have not.
    """

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        receiver: signature.Receiver,
        handle: Handler,
        *,
        connections: int,
        strangers: int = STRANGERS,
    ) -> None:
        self.loop, self.receiver, self.handle = loop, receiver, handle
        self._listener, self._limit, self._stranger_limit = listener, connections, strangers
        self._known: set[Connection] = set()
        self._strangers: dict[Connection, None] = {}
        """In the order in which they came."""
        self._allowance, self._counted = float(strangers), time.monotonic()
        self._is_sweeping = False
        self._look_at_known = 0.0
        listener.setblocking(False)
        self._listen()

    def admit(self, connection: Connection) -> bool:
        """Take a connection for one of ours from now on; False if there are too many of those."""
        if len(self._known) >= self._limit:
            return False
        self._strangers.pop(connection)
        self._known.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """Drop a closed connection."""
        if connection in self._strangers:
            del self._strangers[connection]
            self._allowance -= 1
        self._known.discard(connection)

    def close(self) -> None:
        """Listen no more, and close all connections."""
        self.loop.watch(self._listener, 0, self._accept)
        self._listener.close()
        for connection in (*self._strangers, *self._known):
            connection.close()

    def _listen(self) -> None:
        if self._listener.fileno() < 0:
            return  # it was closed while it paused
        self.loop.watch(self._listener, selectors.EVENT_READ, self._accept)

    def _pause(self, seconds: float) -> None:
        self.loop.watch(self._listener, 0, self._accept)
        self.loop.call_at(time.monotonic() + seconds, self._listen)

    def _accept(self, _events: int) -> None:
        """Accept a few: those that were accepted before have their turn before they make room."""
        now = time.monotonic()
        earned = (now - self._counted) * STRANGERS_PER_SECOND
        self._allowance, self._counted = min(self._stranger_limit, self._allowance + earned), now
        for _ in range(STRANGERS_AT_ONCE):
            if self._allowance < 1:
                self._pause(STRANGERS_AT_ONCE / STRANGERS_PER_SECOND)
                return
            try:
                stream, peer = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:
                self._pause(1)  # there are no file descriptors left, which asking again does not change
                return
            if len(self._strangers) >= self._stranger_limit:
                next(iter(self._strangers)).close()
            self._strangers[Connection(self, stream, str(peer[0]))] = None
            self._sweep_in_time()

    def _sweep_in_time(self) -> None:
        if self._is_sweeping or not (self._strangers or self._known):
            return
        self._is_sweeping = True
        self.loop.call_at(time.monotonic() + SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close connections that do not get on with their request."""
        now = time.monotonic()
        is_time = now >= self._look_at_known
        if is_time:
            self._look_at_known = now + REQUEST_SECONDS / 2
        for connection in (*self._strangers, *(self._known if is_time else ())):
            connection.close_if_stale(now)
        self._is_sweeping = False
        self._sweep_in_time()


class _Head(NamedTuple):
    """The head of a request whose body is awaited."""

    method: str
    target: str
    length: int
    is_last: bool


class Connection:
    """One connection; it has at most one request at a time."""

    def __init__(self, server: Server, stream: socket.socket, peer: str) -> None:
        self._server, self._stream = server, stream
        self._input, self._output = b"", b""
        self._head: Optional[_Head] = None
        self._is_known = self._is_greeted = False
        self._signature: Optional[signature.Signature] = None
        """Of the request that is being read or answered; None of a question for the agent's health."""
        self._reads = 0
        self._is_answering = self._is_writing = False
        self._is_last = False
        self._since = time.monotonic()
        self.local_address, self.peer_address = (
            address.removeprefix("::ffff:") for address in (str(stream.getsockname()[0]), peer)
        )
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
        if self._signature is not None:
            shown = self._server.receiver.sign(self._signature, status, body)
            head += f"{signature.ANSWER_HEADER}: {shown}\r\n"
        if self._is_last:
            head += "Connection: close\r\n"
        self._output += head.encode() + b"\r\n" + body
        self._is_answering = False
        if self._is_known:
            self._since = time.monotonic()
        self._write()
        if self._input and self._stream.fileno() >= 0:
            self._server.loop.post(self._next_request)

    def close_if_stale(self, now: float) -> None:
        """Close when the other side neither ends its request nor begins one."""
        if not self._is_known:
            limit = STRANGER_SECONDS
        elif self._is_answering:
            return
        else:
            limit = REQUEST_SECONDS if self._input or self._head or self._output else IDLE_SECONDS
        if now - self._since >= limit:
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
        room = 65536 if self._is_known else HEAD_LIMIT + 1 - len(self._input)
        try:
            data = self._stream.recv(room)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if self._is_known and not self._input and not self._head:
            self._since = time.monotonic()
        self._reads += 1
        self._input += data
        if not data or len(self._input) > HEAD_LIMIT + BODY_LIMIT:
            self.close()
            return
        self._next_request()
        if not self._is_known and self._reads >= STRANGER_READS:
            self.close()

    def _next_request(self) -> None:
        if self._is_answering or self._stream.fileno() < 0:
            return
        try:
            request = self._parse()
            if request is not None and request.path == signature.NONCE:
                request.reply(self._server.receiver.welcome())
            elif request is not None:
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
        if self._head is None:
            self._signature = None
            self._head = self._parse_head()
        head = self._head
        if head is None or len(self._input) < head.length:
            return None
        body, self._input = self._input[: head.length], self._input[head.length :]
        self._head, self._is_last = None, head.is_last
        if self._signature is not None and not self._signature.covers(body):
            self._signature, self._is_last = None, True
            raise HttpError(401, "the body is not the one that was signed")
        self._is_answering = True
        return Request(self, head.method, head.target, body)

    def _parse_head(self) -> Optional[_Head]:
        """Return the head of the next request when all of it is there; none of a stranger's has a body."""
        text, end, rest = self._input.partition(b"\r\n\r\n")
        if not end and len(text) <= HEAD_LIMIT:
            return None
        self._is_last = True  # unless it turns out to be sound
        if len(text) > HEAD_LIMIT:
            raise HttpError(431, "the header is too large")
        words, headers = _split(text)
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise HttpError(400, "not HTTP/1.1")
        length = headers.get("content-length", "" if words[0] == "POST" else "0")
        if "transfer-encoding" in headers or not length.isdecimal():
            raise HttpError(411, "a body needs Content-Length")
        is_last = words[2] == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
        head = _Head(words[0], words[1], int(length) if len(length) <= 10 else BODY_LIMIT + 1, is_last)
        if head.target != orders.HEALTH:
            self._signature = self._judge(head, headers.get(_REQUEST_HEADER, ""))
        elif head.method != "GET" or head.length:
            raise HttpError(405, f"{orders.HEALTH} takes GET, without a body")
        elif not self._is_known:
            head = head._replace(is_last=True)
        if head.length > BODY_LIMIT:
            raise HttpError(413, f"the body is larger than {BODY_LIMIT} bytes")
        self._input = rest
        return head

    def _judge(self, head: _Head, shown: str) -> signature.Signature:
        """Return the signature of a request of ours, before anything is read of its body."""
        accepted = self._server.receiver.accept(head.method, head.target, shown)
        if accepted is None:
            raise HttpError(401, "the request is not signed with the job's token, or not for now")
        if head.target == signature.NONCE:
            # Whoever has heard this question can repeat it: it makes nobody known, and is answered once.
            if head.length or (self._is_greeted and not self._is_known):
                raise HttpError(401, "the nonce was told, and is all there is here")
            self._is_greeted = True
        elif not self._is_known:
            self._is_known = self._server.admit(self)
            if not self._is_known:
                raise HttpError(503, "too many connections")
        return accepted

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
        if self._is_writing != bool(self._output):
            self._is_writing = bool(self._output)
            write = selectors.EVENT_WRITE if self._is_writing else 0
            self._server.loop.watch(self._stream, selectors.EVENT_READ | write, self._on_event)


def _split(text: bytes) -> tuple[list[str], dict[str, str]]:
    """Return the words of a head's first line, and its headers by their names in lower case."""
    lines = text.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines[1:])
    return lines[0].split(" "), {key.strip().lower(): value.strip() for key, _, value in fields}


def read_seconds(text: str) -> float:
    """Return a time that was sent; one without end is none."""
    try:
        number = float(text)
    except ValueError:
        raise HttpError(400, "wait is not a number of seconds") from None
    return number if math.isfinite(number) else 0.0
