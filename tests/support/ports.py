"""Free ports of this machine, for servers of tests."""

from __future__ import annotations

import os
import random
import socket
from itertools import cycle

FIRST, LAST = 10_000, 19_999
"""Below the kernel's ephemeral range, so that no outgoing connection takes a port before its server does, and
outside of what `ftjob run` takes."""
SHARES = 10
SHARE = (LAST + 1 - FIRST) // SHARES

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % SHARES
_MINE = [FIRST + SHARE * _WORKER + offset for offset in random.sample(range(SHARE), SHARE)]
"""Tests that run beside each other take theirs from different shares, each once in turn."""
_NEXT = cycle(_MINE)


def free_port() -> int:
    """Return a port that nobody listens on."""
    for _ in range(SHARE):
        port = next(_NEXT)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {min(_MINE)} to {max(_MINE)}")
