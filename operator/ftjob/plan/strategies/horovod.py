"""Horovod over gloo: no ssh, no MPI, no launcher.

The agent of index 0 serves Horovod's key-value store; every rank finds it by the variables that
``horovodrun`` would set (horovod/runner/gloo_run.py, 0.28.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ftjob.api.spec import StrategyName
from ftjob.plan.strategies.base import IFACE, LEADER_IP, NCCL_INTERFACE, Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.plan.layout import Layout, WorkerPlace


class Horovod(Strategy):
    """Ranks that all-reduce by Horovod."""

    name: ClassVar[StrategyName] = StrategyName.HOROVOD
    together: ClassVar[bool] = True  # clients give up on the store after 30 s

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return Horovod's identity variables and the address of its store."""
        peers = [w for w in layout.workers if w.processes > local_rank]
        return {
            # Horovod scopes local keys by host name, so it must differ between pods even on one node.
            "HOROVOD_HOSTNAME": worker.name,
            "HOROVOD_RANK": str(rank),
            "HOROVOD_SIZE": str(layout.world_size),
            "HOROVOD_LOCAL_RANK": str(local_rank),
            "HOROVOD_LOCAL_SIZE": str(worker.processes),
            "HOROVOD_CROSS_RANK": str(peers.index(worker)),
            "HOROVOD_CROSS_SIZE": str(len(peers)),
            "HOROVOD_CONTROLLER": "gloo",
            "HOROVOD_CPU_OPERATIONS": "gloo",
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": LEADER_IP,
            "HOROVOD_GLOO_RENDEZVOUS_PORT": str(layout.rendezvous_port),
            "HOROVOD_GLOO_IFACE": IFACE,
            **NCCL_INTERFACE,
        }

    def rendezvous(self, layout: Layout) -> dict[str, Any]:
        """Return the hosts and slots that the store is filled with."""
        hosts = ",".join(f"{w.name}:{w.processes}" for w in layout.workers)
        return {"kind": "Horovod", "port": layout.rendezvous_port, "hosts": hosts}
