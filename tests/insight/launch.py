"""The environments of the ranks, as each framework's launcher makes them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def environments(strategy: str, size: int) -> Iterator[list[dict[str, str]]]:
    """Give the environment of each rank, while its rendezvous is there."""
    if strategy == "Horovod":
        with _horovod(size) as found:
            yield found
    elif strategy == "MultiWorkerMirrored":
        yield _tf_configs(size)
    elif strategy == "JAX":
        coordinator = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": str(size)}
        yield [coordinator | {"JAX_PROCESS_ID": str(rank)} for rank in range(size)]
    else:
        common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        yield [common | {"RANK": str(rank)} for rank in range(size)]


def _tf_configs(size: int) -> list[dict[str, str]]:
    cluster = {"worker": [f"127.0.0.1:{free_port()}" for _ in range(size)]}
    return [
        {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})}
        for rank in range(size)
    ]


@contextmanager
def _horovod(size: int) -> Iterator[list[dict[str, str]]]:
    # Only a run that plants faults in Horovod needs it.
    from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts  # noqa: PLC0415
    from horovod.runner.http.http_server import RendezvousServer  # noqa: PLC0415

    slots = get_host_assignments(parse_hosts(f"localhost:{size}"), 1)
    server = RendezvousServer()
    port = server.start()
    server.init(slots)
    try:
        yield [
            {
                "HOROVOD_RANK": str(slot.rank),
                "HOROVOD_SIZE": str(size),
                "HOROVOD_LOCAL_RANK": str(slot.rank),
                "HOROVOD_LOCAL_SIZE": str(size),
                "HOROVOD_CROSS_RANK": "0",
                "HOROVOD_CROSS_SIZE": "1",
                "HOROVOD_HOSTNAME": "localhost",
                "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1",
                "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
                "HOROVOD_CONTROLLER": "gloo",
                "HOROVOD_CPU_OPERATIONS": "gloo",
                "HOROVOD_GLOO_IFACE": "lo",
            }
            for slot in slots
        ]
    finally:
        server.stop()
