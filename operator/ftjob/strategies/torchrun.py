"""torch.distributed without torchrun: the agent itself launches the ranks, and so knows each of them.

Each rank gets what torchrun of torch 2.15 would give it (torch/distributed/elastic/agent/server/api.py and
local_elastic_agent.py); the ``PET_`` variables say the same in the form of torchrun's own arguments
(torch/distributed/argparse_util.py), for a script that calls torchrun's API itself.

An elastic job has one group of ranks after the other. Each is a rendezvous of a fixed size, whose numbers the
agents fill in; as under torchrun, all ranks start anew when a worker comes or goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ftjob.strategies.base import NCCL_INTERFACE, Family, Strategy
from ftjob_protocol import variables
from ftjob_protocol.variables import ATTEMPT_NOW, IFACE, LEADER_IP, Number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace

TORCH_DISTRIBUTED = Family(
    "torch.distributed",
    (
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "GROUP_RANK",
        "GROUP_WORLD_SIZE",
        "ROLE_RANK",
        "ROLE_WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "TORCHELASTIC_RUN_ID",
        "TORCHELASTIC_RESTART_COUNT",
        "TORCHELASTIC_MAX_RESTARTS",
        "TORCHELASTIC_USE_AGENT_STORE",
    ),
    ("PET_",),  # torchrun's arguments
)


class Torchrun(Strategy):
    """Ranks that meet at the store of rank 0, as ``init_process_group`` finds it by ``env://``."""

    name: ClassVar[str] = "Torchrun"
    elastic: ClassVar[bool] = True
    identity: ClassVar[tuple[Family, ...]] = (TORCH_DISTRIBUTED,)

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return torch.distributed's identity variables and torchrun's arguments."""
        port = str(layout.rendezvous_port)
        numbers = [str(n) for n in (rank, layout.world_size, worker.index, len(layout.workers))]
        own: dict[str, str] = {}
        if layout.spec.elastic is not None:
            numbers = [
                Number.RANK.placeholder,
                Number.SIZE.placeholder,
                Number.CROSS_RANK.placeholder,
                Number.CROSS_SIZE.placeholder,
            ]
            own = {
                variables.RANK: Number.RANK.placeholder,
                variables.WORLD_SIZE: Number.SIZE.placeholder,
                "TORCHELASTIC_RESTART_COUNT": Number.GENERATION.placeholder,
            }
        rank_now, size, group_rank, groups = numbers
        return {
            "MASTER_ADDR": LEADER_IP,
            "MASTER_PORT": port,
            "RANK": rank_now,
            "WORLD_SIZE": size,
            "LOCAL_RANK": str(local_rank),
            "LOCAL_WORLD_SIZE": str(worker.processes),
            "GROUP_RANK": group_rank,
            "GROUP_WORLD_SIZE": groups,
            # torchrun has one role, and calls it so
            "ROLE_NAME": "default",
            "ROLE_RANK": rank_now,
            "ROLE_WORLD_SIZE": size,
            "TORCHELASTIC_RUN_ID": layout.uid,
            "TORCHELASTIC_RESTART_COUNT": ATTEMPT_NOW,
            "TORCHELASTIC_MAX_RESTARTS": str(layout.spec.restart.limit),
            # Rank 0 itself serves the store; where this is True, torchrun's agent does.
            "TORCHELASTIC_USE_AGENT_STORE": "False",
            "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
            "PET_NNODES": groups,
            "PET_NPROC_PER_NODE": str(worker.processes),
            "PET_NODE_RANK": group_rank,
            "PET_MASTER_ADDR": LEADER_IP,
            "PET_MASTER_PORT": port,
            "GLOO_SOCKET_IFNAME": IFACE,
            **NCCL_INTERFACE,
            **own,
        }
