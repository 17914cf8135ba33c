"""tf.distribute.MirroredStrategy: one process, each GPU of its pod is a replica."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ftjob.strategies.base import Processes, Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace


class Mirrored(Strategy):
    """Replicas inside one process, which share the devices of one pod."""

    name: ClassVar[str] = "Mirrored"
    processes: ClassVar[Processes] = Processes.ALWAYS_ONE

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return nothing: TensorFlow finds the pod's devices by itself."""
        return {}
