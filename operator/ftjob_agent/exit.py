"""Why an agent's ranks are ended, and how its life has ended: judged from facts, without any process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from ftjob_protocol.failures import Failure, FailureClass, FailureType
from ftjob_protocol.states import Command, State

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig

SIBLING_GRACE = 1.0
FAREWELL_SECONDS = 5.0
"""How long the other agents, or what the kernel still holds, are waited for at the end."""


@dataclass(frozen=True)
class Exit:
    """How an agent has ended."""

    state: str
    failure: Optional[Failure] = None

    @property
    def exit_code(self) -> int:
        """The agent's exit code: that of the rank that failed here, or 143 where ranks were ended."""
        if self.state == State.SUCCEEDED:
            return 0
        if (
            self.state == State.FAILED
            and self.failure is not None
            and self.failure.failure_class != FailureClass.HANG
        ):
            return self.failure.exit_code or 1
        return 143


@dataclass
class Facts:
    """What an agent knows of why its ranks end, beside what they have done themselves."""

    signals: int = 0
    """How often the pod was told to end."""
    failure: Optional[Failure] = None
    """What the agent itself failed at; at the end the failure that it exits with."""
    reason: Optional[Failure] = None
    """The first word from outside that ends the ranks."""
    is_own_reason: bool = False
    """Whether nobody has said that word: contact is what is missing."""

    def fail(self, failure: Failure) -> None:
        """Keep what the agent itself failed at."""
        self.failure = failure

    def hear(self, command: str, told: Optional[Failure], trouble: Optional[Failure]) -> None:
        """Keep the reason if the ranks have to end.

        Parameters
        ----------
        command, told
            What the leader says, and why.
        trouble
            Why this agent can't go on without the others, if it can't.
        """
        if self.reason is not None:
            return
        if self.signals:
            self.reason = stopped_by_signal()
        elif trouble is not None:
            self.reason, self.is_own_reason = trouble, True
        elif command in {Command.STOP, Command.HALT}:
            self.reason = told

    def allow_resuming(self, command: str) -> bool:
        """Whether ranks that fail, or are halted, may be started again by this agent."""
        is_ending = self.signals or self.failure is not None or self.is_own_reason
        return not is_ending and command in {Command.START, Command.HALT}

    def grace(self, stop_grace: float) -> float:
        """Return how long ranks may take: when the pod ends they may want to write a checkpoint."""
        reason = self.reason
        told = (
            reason is not None
            and reason.failure_class == FailureClass.STOPPED
            and reason.type == FailureType.SIGTERM
        )
        return stop_grace if self.signals or told else SIBLING_GRACE

    def exit(self, found: Optional[Failure], *, have_succeeded: bool) -> Exit:
        """Say how it ends.

        Parameters
        ----------
        found
            What has failed here: the agent, a rank of its own, or the rank that holds up all others.
        have_succeeded
            Whether all ranks have ended well.
        """
        if found is not None:
            return Exit(State.STOPPED if found.failure_class == FailureClass.STOPPED else State.FAILED, found)
        if have_succeeded:
            return Exit(State.SUCCEEDED)
        reason = self.reason or Failure(FailureClass.STOPPED, "the agent ended", time_ns=time.time_ns())
        if reason.failure_class == FailureClass.STOPPED:
            return Exit(State.STOPPED, reason)
        return Exit(
            State.STOPPED, stopped(f"stopped because of {reason.in_short()}", FailureType.PEER_FAILED)
        )

    def patience(self, state: str, config: AgentConfig) -> Optional[float]:
        """Return for how many seconds the others are waited for; None: as long as it takes."""
        if state == State.SUCCEEDED:
            # A success must be known to the leader, or it would count this agent as lost.
            return None if config.is_leader else config.contact_timeout
        if self.is_own_reason and not config.is_leader:
            return 0.0  # contact is what is missing
        is_idle = state == State.STOPPED and not config.is_leader
        return SIBLING_GRACE if is_idle else FAREWELL_SECONDS


def stopped(message: str, failure_type: str) -> Failure:
    """Return the reason of a stop that is no rank's own failure."""
    return Failure(FailureClass.STOPPED, message, time_ns=time.time_ns(), type=failure_type, exit_code=143)


def stopped_by_signal() -> Failure:
    """Return the reason of ranks whose pod was told to end."""
    return stopped("the pod was told to end (SIGTERM)", FailureType.SIGTERM)


def stopped_by_success(config: AgentConfig) -> Failure:
    """Return the reason of all others when the success of this agent is the job's."""
    return stopped(f"{config.name} has succeeded, which ends the job", FailureType.JOB_SUCCEEDED)
