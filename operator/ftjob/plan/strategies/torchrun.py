"""torch.distributed without torchrun: the agent itself launches the ranks, and so knows each of them.

Each rank gets what torchrun of torch 2.15 would give it (torch/distributed/elastic/agent/server/api.py and
local_elastic_agent.py); the ``PET_`` variables say the same in the form of torchrun's own arguments
(torch/distributed/argparse_util.py), for a script that calls torchrun's API itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ftjob.api.spec import StrategyName
from ftjob.plan.strategies.base import IFACE, LEADER_IP, NCCL_INTERFACE, Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.plan.layout import Layout, WorkerPlace


class Torchrun(Strategy):
    """Ranks that meet at the store of rank 0, as ``init_process_group`` finds it by ``env://``."""

    name: ClassVar[StrategyName] = StrategyName.TORCHRUN

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return torch.distributed's identity variables and torchrun's arguments."""
        port = str(layout.rendezvous_port)
        return {
            "MASTER_ADDR": LEADER_IP,
            "MASTER_PORT": port,
            "RANK": str(rank),
            "WORLD_SIZE": str(layout.world_size),
            "LOCAL_RANK": str(local_rank),
            "LOCAL_WORLD_SIZE": str(worker.processes),
            "GROUP_RANK": str(worker.index),
            "PET_NNODES": str(len(layout.workers)),
            "PET_NPROC_PER_NODE": str(worker.processes),
            "PET_NODE_RANK": str(worker.index),
            "PET_MASTER_ADDR": LEADER_IP,
            "PET_MASTER_PORT": port,
            "GLOO_SOCKET_IFNAME": IFACE,
            **NCCL_INTERFACE,
        }
