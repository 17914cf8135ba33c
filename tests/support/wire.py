"""What is between an agent and its leader: it can be listened to, and it can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


class Wire:
    """Passes on what two ends say; once it is cut, what one end sends never reaches the other.

    Parameters
    ----------
    target
        The leader's port.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port: int = self._sockets[0].getsockname()[1]
        """Where agents connect instead."""
        self.cut = threading.Event()
        self.said: list[bytearray] = []
        """By the agents, for each connection."""
        self.answered = bytearray()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        for end in self._sockets:
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                near, _ = self._sockets[0].accept()
                self._sockets.append(near)
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        self._sockets.append(far)
        said = bytearray()
        self.said.append(said)
        for ends in ((near, far, said), (far, near, self.answered)):
            threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, heard: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                heard += data
                if not self.cut.is_set():
                    sink.sendall(data)
            if not self.cut.is_set():
                sink.shutdown(socket.SHUT_WR)
