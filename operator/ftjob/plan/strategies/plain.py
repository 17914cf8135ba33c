"""The same command in every pod, told apart by an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ftjob.api.spec import StrategyName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.plan.layout import Layout, WorkerPlace


class Plain:
    """Independent workers, as an Indexed Job's pods."""

    name: ClassVar[StrategyName] = StrategyName.PLAIN
    together: ClassVar[bool] = False

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return the index under the name that Indexed Jobs use (Kubernetes batch/v1)."""
        return {"JOB_COMPLETION_INDEX": str(worker.index)}

    def rendezvous(self, layout: Layout) -> dict[str, Any] | None:
        """Return None: nothing has to be served."""
        return None
