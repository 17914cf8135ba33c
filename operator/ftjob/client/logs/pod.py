"""What a pod says of the lines in its log: whose they are, and whether there are any yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftjob.models.manifest import items, mapping, trainer_in
from ftjob.models.names import LABEL_ATTEMPT
from ftjob_protocol.agent_config import parse
from ftjob_protocol.values.document import DocumentError
from ftjob_protocol.variables import AGENT_CONFIG

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig


@dataclass(frozen=True)
class LoggedPod:
    """A worker's pod."""

    name: str
    uid: str
    container: str
    attempt: int
    """The one that has made it."""
    ranks: tuple[int, ...]
    """Whose lines may be in it; empty: that is not known."""
    agents: int
    """How many such pods its attempt has."""
    is_marked: bool
    is_elastic: bool
    """Whether its ranks may have other numbers later."""
    has_started: bool
    has_ended: bool

    def rank_of(self, marked: int | None) -> int | None:
        """Return whose a line with this mark is."""
        if not self.is_marked:
            return self.ranks[0] if len(self.ranks) == 1 else None
        return marked if self.is_elastic or marked in self.ranks else None


def read_pod(raw: dict[str, Any]) -> LoggedPod:
    """Read a worker's pod as the API server returns it."""
    meta, status = mapping(raw, "metadata"), mapping(raw, "status")
    trainer = trainer_in(raw)
    name = str(trainer.get("name") or "")
    state = next(
        (
            mapping(found, "state")
            for found in items(status, "containerStatuses")
            if found.get("name") == name
        ),
        {},
    )
    told = _told(trainer)
    attempt = str(mapping(meta, "labels").get(LABEL_ATTEMPT))
    has_ended = "terminated" in state or status.get("phase") in {"Succeeded", "Failed"}
    return LoggedPod(
        name=str(meta.get("name")),
        uid=str(meta.get("uid")),
        container=name,
        attempt=int(attempt) if attempt.isdecimal() else 0,
        ranks=tuple(spec.rank for spec in told.ranks) if told is not None else (),
        agents=told.agents if told is not None else 1,
        is_marked=told is not None and told.mark_ranks,
        is_elastic=told is not None and told.elastic is not None,
        has_started="running" in state or has_ended,
        has_ended=has_ended,
    )


def _told(trainer: dict[str, Any]) -> AgentConfig | None:
    """Return what the agent was told; None if another version of ftjob has told it."""
    for variable in items(trainer, "env"):
        if variable.get("name") == AGENT_CONFIG:
            try:
                return parse(str(variable.get("value")).replace("$$(", "$("))
            except DocumentError:
                return None
    return None
