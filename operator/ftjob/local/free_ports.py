"""Free ports of this machine."""

from __future__ import annotations

import random
import socket

from ftjob.plan.layout import PORT_BASE, PORT_BLOCKS, PORT_STEP


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports that nobody listens on.

    Taken from below the kernel's ephemeral range: no outgoing connection can take one between this look
    and the agent's bind.
    """
    found: list[int] = []
    candidates = list(range(PORT_BASE, PORT_BASE + PORT_STEP * PORT_BLOCKS))
    random.shuffle(candidates)
    for port in candidates:
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    if len(found) < count:
        message = f"no {count} free ports from {PORT_BASE} to {PORT_BASE + PORT_STEP * PORT_BLOCKS}"
        raise OSError(message)
    return tuple(found)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
