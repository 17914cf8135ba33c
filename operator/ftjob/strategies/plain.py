"""The same command in every pod, told apart by an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ftjob.strategies.base import Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace


class Plain(Strategy):
    """Independent workers, as an Indexed Job's pods."""

    name: ClassVar[str] = "Plain"

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return the index under the name that Indexed Jobs use (Kubernetes batch/v1)."""
        return {"JOB_COMPLETION_INDEX": str(worker.index)}
