"""The leader's address: asked of the DNS as seldom as all agents of a large job together should."""

from __future__ import annotations

import math
import random
import socket
from typing import Callable, Optional

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 1.0
"""Of a small job."""
ASKS_PER_SECOND = 120
"""Of all agents of a job that wait. By the chance in their pauses a moment may have half as many more."""


class Lookup:
    """What the DNS has said of a host; who waits for it asks again after growing pauses."""

    def __init__(
        self,
        host: str,
        namespace: str,
        agents: int,
        *,
        ask: Optional[Callable[[str], list[str]]] = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._host, self._agents = absolute(host, namespace), agents
        self._ask, self._chance = ask or _ask, chance
        self._known: list[str] = []
        self._error = OSError("it has not been asked for")
        self._tries = 0
        self._next = 0.0

    def addresses(self, now: float) -> list[str]:
        """Return the host's addresses, as far as they are known.

        Raises
        ------
        OSError
            None is known.
        """
        if now >= self._next:
            self._next = math.inf
            try:
                self._known = self._ask(self._host)
            except OSError as error:
                self._error = error
                self.failed(now)
        if not self._known:
            raise self._error
        return self._known

    def failed(self, now: float) -> None:
        """Ask again after a pause: nobody answers there."""
        if self._next < math.inf:
            return
        shortest = min(FIRST_PAUSE * 2 ** min(self._tries, 16), LONGEST_PAUSE)
        self._tries += 1
        self._next = now + max(shortest, self._agents / ASKS_PER_SECOND) * (0.5 + self._chance())

    def answered(self) -> None:
        """Ask no more: somebody answers there."""
        self._next, self._tries = math.inf, 0


def absolute(host: str, namespace: str, path: str = "/etc/resolv.conf") -> str:
    """Return a Service's host with the cluster's domain: one question, not one for each domain searched."""
    within = f"{namespace}.svc."
    if not host.endswith(f".{namespace}.svc"):
        return host
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        return host
    searched = [domain for line in words if line[:1] == ["search"] for domain in line[1:]]
    domains = [domain[len(within) :].rstrip(".") for domain in searched if domain.startswith(within)]
    return f"{host}.{domains[0]}." if domains and domains[0] else host


def _ask(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def own_address(host: str) -> str:
    """Return the address of this host's name, or of the leader's, who asks; empty if neither is known yet.

    A pod's own name is in its /etc/hosts: an elastic leader may be alone before its other name is known.
    """
    for name in (host, socket.gethostname()):
        try:
            return str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])
        except OSError:
            pass  # nobody has come in, and the name is not known yet: whoever starts now is alone
    return ""
