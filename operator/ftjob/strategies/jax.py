"""jax.distributed: processes that find each other by a coordinator in rank 0.

``jax.distributed.initialize()`` reads only the coordinator's address by itself; the hooks tell it the rest.
Scripts that were written for Kubeflow's JAXJob pass it the variables of that (training-operator,
pkg/controller.v1/jax/envvar.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ftjob.models.manifest import gpus_of
from ftjob.models.spec import trainer_of
from ftjob.strategies.base import NCCL_INTERFACE, Family, Processes, Strategy
from ftjob_protocol.variables import LEADER_IP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace

JAX_DISTRIBUTED = Family(
    "jax.distributed", ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
)


class Jax(Strategy):
    """One process a pod, which drives all of its devices, or several that share them out."""

    name: ClassVar[str] = "JAX"
    processes: ClassVar[Processes] = Processes.ONE
    identity: ClassVar[tuple[Family, ...]] = (JAX_DISTRIBUTED,)
    unless_set: ClassVar[tuple[str, ...]] = (
        "COORDINATOR_ADDRESS",
        "COORDINATOR_PORT",
        "NUM_PROCESSES",
        "PROCESS_ID",
    )

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return the coordinator, the number of processes and this one's, and its share of the GPUs."""
        return {
            **coordinator(layout, rank),
            "COORDINATOR_ADDRESS": layout.leader.host,
            "COORDINATOR_PORT": str(layout.rendezvous_port),
            "NUM_PROCESSES": str(layout.world_size),
            "PROCESS_ID": str(rank),
            **_share_of_gpus(layout, worker, local_rank),
            **NCCL_INTERFACE,
        }


def coordinator(layout: Layout, rank: int) -> dict[str, str]:
    """Return what ``jax.distributed.initialize`` needs to know."""
    return {
        "JAX_COORDINATOR_ADDRESS": f"{LEADER_IP}:{layout.rendezvous_port}",
        "JAX_NUM_PROCESSES": str(layout.world_size),
        "JAX_PROCESS_ID": str(rank),
    }


def _share_of_gpus(layout: Layout, worker: WorkerPlace, local_rank: int) -> dict[str, str]:
    """Give each of several processes GPUs of its own: by default each takes all that it sees."""
    gpus = gpus_of(trainer_of(layout.spec))
    if worker.processes < 2 or gpus == 0:
        return {}
    share = gpus // worker.processes
    mine = range(local_rank * share, (local_rank + 1) * share)
    return {"JAX_LOCAL_DEVICE_IDS": ",".join(map(str, mine))}
