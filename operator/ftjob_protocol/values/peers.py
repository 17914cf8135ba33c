"""Lists of a job's workers in the values of variables: the plan names them, agents fill them in.

In each pod such a list would make 3,000 pods of 140 kB. So the leader tells all agents once, when all are
there, where each is: by address, since 3,000 programs with 3,000 names ask the DNS nine million times.
"""

from __future__ import annotations

import json
import re
from typing import Sequence

VALUE_MAX = 128 * 1024 - 1
"""Bytes of a variable with its name and ``=``: Linux refuses longer ones (MAX_ARG_STRLEN, execve(2))."""

_SERVERS = re.compile(r'"@SERVERS:(\d+):(\d+)@"')
_HOSTS = re.compile(r"@HOSTS:(\d+):(\d+)@")


def servers(first: int, count: int) -> str:
    """Return what stands in a JSON document for the list of so many workers' hosts and ports."""
    return f"@SERVERS:{first}:{count}@"


def hosts(first: int, count: int) -> str:
    """Return what stands for the hosts of so many workers, with commas between."""
    return f"@HOSTS:{first}:{count}@"


def asks_for_peers(value: str) -> bool:
    """Whether a value has such a list."""
    return bool(_SERVERS.search(value) or _HOSTS.search(value))


def filled(value: str, addresses: Sequence[str]) -> str:
    """Fill the lists in.

    Parameters
    ----------
    addresses
        Host and port of each worker, in rank order.
    """

    def chosen(found: re.Match[str]) -> Sequence[str]:
        first, count = map(int, found.groups())
        return addresses[first : first + count]

    value = _SERVERS.sub(lambda found: json.dumps(chosen(found), separators=(",", ":")), value)
    return _HOSTS.sub(lambda found: ",".join(map(host_of, chosen(found))), value)


def address(host: str, port: int) -> str:
    """Return host and port in one text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_of(text: str) -> str:
    """Return the host of such a text."""
    return text.rpartition(":")[0].strip("[]")
