"""tf.distribute.MirroredStrategy: one process a pod, its GPUs are the replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ftjob.models.spec import StrategyName
from ftjob.strategies.base import Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace


class Mirrored(Strategy):
    """Replicas inside one process; workers, if several, know nothing of each other."""

    name: ClassVar[StrategyName] = StrategyName.MIRRORED

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return nothing: TensorFlow finds the pod's devices by itself."""
        return {}
