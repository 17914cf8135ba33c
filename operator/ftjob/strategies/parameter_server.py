"""tf.distribute.ParameterServerStrategy: a chief that trains, by way of workers and parameter servers.

Workers and parameter servers only serve (``tf.distribute.Server(...).join()``): they make no step in Python
and never end, so the job succeeds with its chief. An evaluator is a process apart that reads checkpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ftjob.models.spec import SuccessPolicy
from ftjob.strategies.base import Family, Processes, Strategy
from ftjob.strategies.tf_config import TF_DISTRIBUTE, tf_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace


class ParameterServer(Strategy):
    """Roles that serve the chief, or worker 0 where there is no chief."""

    name: ClassVar[str] = "ParameterServer"
    processes: ClassVar[Processes] = Processes.ALWAYS_ONE
    roles: ClassVar[Mapping[str, int]] = {"chief": 1, "ps": 1, "evaluator": 0}
    success: ClassVar[SuccessPolicy] = SuccessPolicy.CHIEF
    others_end: ClassVar[bool] = False
    identity: ClassVar[tuple[Family, ...]] = (TF_DISTRIBUTE,)

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return the cluster and this task in it."""
        return {"TF_CONFIG": tf_config(layout, worker)}

    def makes_steps(self, layout: Layout, worker: WorkerPlace) -> bool:
        """Return whether this is the chief."""
        return worker.place == layout.leader.place
