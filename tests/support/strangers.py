"""A program that holds connections to a port and never shows a key: ``strangers.py PORT NUMBER``.

Those that come first idle, the next third drip a request byte by byte, and the last third flood. Each that is
closed comes back at once.
"""

from __future__ import annotations

import errno
import itertools
import resource
import selectors
import socket
import sys
import time

HEAD = b"GET /v1/progress HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000
FLOODS = itertools.cycle(
    [
        b"POST /healthz HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000,
        b"GET /healthz HTTP/1.1\r\n\r\n" * 10_000,
        b"POST /v1/agents/worker/1 HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000,
        b"\0" * 1_000_000,
    ]
)


class Stranger:
    """One connection after the other."""

    def __init__(self, selector: selectors.BaseSelector, port: int, kind: int) -> None:
        self._selector, self._port, self._kind = selector, port, kind
        self.connect()

    def connect(self) -> None:
        """Come, or come back."""
        self._stream = socket.socket()
        self._stream.setblocking(False)
        code = self._stream.connect_ex(("127.0.0.1", self._port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect")
        self._rest = memoryview((b"", HEAD, next(FLOODS))[self._kind])
        self._selector.register(self._stream, selectors.EVENT_READ, self)

    def send(self) -> None:
        """Send a byte, or all that goes."""
        try:
            sent = self._stream.send(self._rest[: 1 if self._kind == 1 else len(self._rest)])
            self._rest = self._rest[sent:]
        except OSError:
            pass  # it is not connected yet, its buffers are full, or it will be told so when it reads

    def read(self) -> None:
        """Read what comes; come back when that is the end."""
        try:
            if self._stream.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._selector.unregister(self._stream)
        self._stream.close()
        self.connect()


def main() -> None:
    """Go on until the port is closed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, number = int(sys.argv[1]), int(sys.argv[2])
    selector = selectors.DefaultSelector()
    strangers = [Stranger(selector, port, 3 * index // number) for index in range(number)]
    print("there", flush=True)
    while True:
        for key, _ in selector.select(0.01):
            key.data.read()
        for stranger in strangers:
            stranger.send()
        time.sleep(0.01)


if __name__ == "__main__":
    main()
