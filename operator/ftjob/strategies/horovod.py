"""Horovod over gloo: no ssh, no MPI, no launcher.

The agent of index 0 serves Horovod's key-value store; every rank finds it by the variables that
``horovodrun`` would set (horovod/runner/gloo_run.py, 0.28.1). In an elastic job it serves Horovod's own
elastic driver instead, which tells the agents by way of the leader what to start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ftjob.strategies.base import NCCL_INTERFACE, Family, Strategy
from ftjob.strategies.tf_config import TF_DISTRIBUTE
from ftjob.strategies.torchrun import TORCH_DISTRIBUTED
from ftjob_protocol import variables
from ftjob_protocol.agent_config import Rendezvous, RendezvousKind
from ftjob_protocol.variables import IFACE, LEADER_IP, Number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace


START_SECONDS = 600
"""How long ranks wait in ``hvd.init()`` for each other, unless the job itself says how long a start may take;
Horovod's own 30 are few if one loads data first."""


class Horovod(Strategy):
    """Ranks that all-reduce by Horovod."""

    name: ClassVar[str] = "Horovod"
    elastic: ClassVar[bool] = True
    # The ranks' own framework would take its variables for a second group, beside Horovod's.
    identity: ClassVar[tuple[Family, ...]] = (
        TORCH_DISTRIBUTED,
        TF_DISTRIBUTE,
        Family(
            "Horovod",
            (
                "HOROVOD_RANK",
                "HOROVOD_SIZE",
                "HOROVOD_LOCAL_RANK",
                "HOROVOD_LOCAL_SIZE",
                "HOROVOD_CROSS_RANK",
                "HOROVOD_CROSS_SIZE",
                "HOROVOD_HOSTNAME",
                "HOROVOD_GLOO_RENDEZVOUS_ADDR",
                "HOROVOD_GLOO_RENDEZVOUS_PORT",
                "HOROVOD_CONTROLLER",
                "HOROVOD_ELASTIC",
            ),
        ),
    )

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return Horovod's identity variables and the address of its store."""
        who = {
            # Horovod scopes local keys by host name, so it must differ between pods even on one node.
            "HOROVOD_HOSTNAME": worker.name,
            "HOROVOD_RANK": str(rank),
            "HOROVOD_SIZE": str(layout.world_size),
            "HOROVOD_LOCAL_RANK": str(local_rank),
            "HOROVOD_LOCAL_SIZE": str(worker.processes),
            "HOROVOD_CROSS_RANK": str(worker.number),
            "HOROVOD_CROSS_SIZE": str(len(layout.workers)),
        }
        elastic = layout.spec.elastic
        if elastic is None:
            limit = layout.spec.scheduling.timeout_seconds
            who["HOROVOD_GLOO_TIMEOUT_SECONDS"] = str(START_SECONDS if limit is None else limit)
        else:  # there ranks learn by this timeout that a worker was lost while they met
            who |= {
                "HOROVOD_ELASTIC": "1",
                "HOROVOD_HOSTNAME": Number.HOSTNAME.placeholder,
                "HOROVOD_RANK": Number.RANK.placeholder,
                "HOROVOD_SIZE": Number.SIZE.placeholder,
                "HOROVOD_LOCAL_SIZE": Number.LOCAL_SIZE.placeholder,
                "HOROVOD_CROSS_RANK": Number.CROSS_RANK.placeholder,
                "HOROVOD_CROSS_SIZE": Number.CROSS_SIZE.placeholder,
                # A rank keeps its place while Horovod changes its number, so these count places.
                variables.WORLD_SIZE: str(elastic.max_workers * worker.processes),
            }
        return {
            **who,
            "HOROVOD_CONTROLLER": "gloo",
            "HOROVOD_CPU_OPERATIONS": "gloo",
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": LEADER_IP,
            "HOROVOD_GLOO_RENDEZVOUS_PORT": str(layout.rendezvous_port),
            "HOROVOD_GLOO_IFACE": IFACE,
            **NCCL_INTERFACE,
        }

    def rendezvous(self, layout: Layout) -> Rendezvous:
        """Return what the leader serves: a store for these hosts, or the elastic driver."""
        if layout.spec.elastic is not None:
            return Rendezvous(RendezvousKind.HOROVOD_ELASTIC, layout.rendezvous_port)
        prefix = layout.leader.name.removesuffix(str(layout.leader.index))
        return Rendezvous(RendezvousKind.HOROVOD, layout.rendezvous_port, prefix)
