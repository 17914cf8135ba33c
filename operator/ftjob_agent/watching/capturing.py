"""An agent's side of captures that are asked for: it tells its ranks, and passes on what they say."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

from ftjob_protocol import files
from ftjob_protocol.captures.window import RankCapture, RankPhase, tell
from ftjob_protocol.files import nofollow

if TYPE_CHECKING:
    from ftjob_agent.ranks.supervise import Rank
    from ftjob_protocol.agent_config import AgentConfig
    from ftjob_protocol.captures.window import Window

LIMIT = 1 << 12


class Capturing:
    """What this agent's ranks do of the present capture.

    Parameters
    ----------
    ranks
        Those that run now.
    """

    def __init__(self, config: AgentConfig, ranks: Callable[[], Sequence[Rank]]) -> None:
        self._config, self._ranks = config, ranks
        self._window: Optional[Window] = None
        self._folders: dict[int, str] = {}
        self._said: dict[int, RankCapture] = {}

    def follow(self, window: Optional[Window]) -> None:
        """Tell the ranks what the leader has said, each once: some may be started after it was said."""
        if window != self._window:
            if window is None:
                for rank, folder in self._folders.items():
                    if not self._is_over(rank):
                        self._tell(rank, folder, None)
            self._window, self._folders, self._said = window, {}, {}
        if window is None:
            return
        for found in self._ranks():
            if window.holds(found.spec.rank) and found.spec.rank not in self._folders:
                self._folders[found.spec.rank] = found.dir
                self._tell(found.spec.rank, found.dir, window)

    def told(self) -> dict[str, Any]:
        """Return what the leader is told beside the rest."""
        if self._window is None:
            return {}
        for rank, folder in self._folders.items():
            if not self._is_over(rank):
                said = _said(folder)
                if said is not None and said.id == self._window.id:
                    self._said[rank] = said
        return {"capture": {str(rank): said.as_json() for rank, said in self._said.items()}}

    def _is_over(self, rank: int) -> bool:
        said = self._said.get(rank)
        return said is not None and RankPhase(said.phase).is_final

    def _tell(self, rank: int, folder: str, window: Optional[Window]) -> None:
        assert self._config.profiling is not None
        try:
            tell(folder, window, self._config.profiling.wanted, self._config.outputs)
        except OSError as error:
            if window is not None:
                note = f"its agent could not tell it: {error.strerror}"
                self._said[rank] = RankCapture(window.id, RankPhase.FAILED, note=note)


def _said(folder: str) -> Optional[RankCapture]:
    try:
        return RankCapture.read(json.loads(nofollow.read(os.path.join(folder, files.CAPTURING), LIMIT)))
    except (OSError, ValueError, RecursionError):
        return None
