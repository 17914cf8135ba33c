"""tf.distribute.MultiWorkerMirroredStrategy: one process a pod, which drives all of its GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ftjob.strategies.base import NCCL_INTERFACE, Family, Processes, Strategy
from ftjob.strategies.tf_config import TF_DISTRIBUTE, tf_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace


class MultiWorkerMirrored(Strategy):
    """Equal workers that all-reduce; without a task ``chief``, TensorFlow makes worker 0 the chief."""

    name: ClassVar[str] = "MultiWorkerMirrored"
    processes: ClassVar[Processes] = Processes.ALWAYS_ONE
    identity: ClassVar[tuple[Family, ...]] = (TF_DISTRIBUTE,)

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return the cluster and this task in it."""
        return {"TF_CONFIG": tf_config(layout, worker), **NCCL_INTERFACE}
