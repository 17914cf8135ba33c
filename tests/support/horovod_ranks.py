"""Starting the ranks of a Horovod job by hand, with a rendezvous server of their own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
from horovod.runner.http.http_server import RendezvousServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from workloads.conftest import Program

    Ranks = Callable[..., list[Program]]


@contextmanager
def launcher(start: Callable[..., Program]) -> Iterator[Ranks]:
    """Give a function that starts the ranks of a job on so many (pretended) hosts: `h0:2,h1:2`.

    What it is given as ``but`` is run by these ranks instead.
    """
    servers: list[RendezvousServer] = []

    def ranks(
        folder: Path, hosts: str, *args: object, but: Mapping[int, Sequence[object]] | None = None
    ) -> list[Program]:
        slots = get_host_assignments(parse_hosts(hosts), 1)
        server = RendezvousServer()
        port = server.start()
        server.init(slots)
        servers.append(server)
        return [
            start(
                folder,
                *(but or {}).get(slot.rank, args),
                name=f"rank-{slot.rank}",
                env={
                    "HOROVOD_RANK": str(slot.rank),
                    "HOROVOD_SIZE": str(slot.size),
                    "HOROVOD_LOCAL_RANK": str(slot.local_rank),
                    "HOROVOD_LOCAL_SIZE": str(slot.local_size),
                    "HOROVOD_CROSS_RANK": str(slot.cross_rank),
                    "HOROVOD_CROSS_SIZE": str(slot.cross_size),
                    "HOROVOD_HOSTNAME": slot.hostname,
                    "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1",
                    "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
                    "HOROVOD_CONTROLLER": "gloo",
                    "HOROVOD_CPU_OPERATIONS": "gloo",
                    "HOROVOD_GLOO_IFACE": "lo",
                    "HOROVOD_GLOO_TIMEOUT_SECONDS": "400",
                    "FTJOB_NODE_NAME": f"node-of-{slot.hostname}",
                },
            )
            for slot in slots
        ]

    yield ranks
    for server in servers:
        server.stop()
