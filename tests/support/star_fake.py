"""What the agents of one attempt's pods do when a rank fails, as far as the operator sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftjob_protocol.failures import Failure, FailureClass
from ftjob_protocol.leader_state import LeaderState
from ftjob_protocol.orders import OrderKind
from ftjob_protocol.states import State

if TYPE_CHECKING:
    from ftjob_protocol.orders import Order


@dataclass
class FakeStar:
    """The agents in the pods of one attempt: their ranks may have several lives."""

    attempt: int
    ordered: int = 0
    lives: int = 1
    start_at: float | None = None
    failure: Failure | None = None

    def __post_init__(self) -> None:
        self.ordered = self.attempt

    @property
    def is_halted(self) -> bool:
        """Whether the ranks are dead and the agents wait for a word."""
        return self.failure is not None

    def halt(self, rank: int, now: float) -> None:
        """Have a rank fail."""
        if not self.is_halted:
            self.failure = Failure(
                FailureClass.SIGNAL, f"rank {rank} was killed", rank, int(now * 1e9), "SIGKILL", 137
            )

    def take(self, order: Order, now: float) -> bool:
        """Take an order; return whether the agents end."""
        if order.command == OrderKind.END:
            return self.is_halted and order.attempt == self.attempt == self.ordered
        if order.attempt == self.attempt + 1 == self.ordered + 1 and self.is_halted:
            self.ordered, self.start_at = order.attempt, now + order.wait_seconds
        return False

    def go_on(self, now: float) -> bool:
        """Start the ranks again if they are to start now."""
        if self.start_at is None or now < self.start_at:
            return False
        self.attempt, self.start_at, self.failure = self.ordered, None, None
        self.lives += 1
        return True

    def report(self) -> LeaderState:
        """Return what the operator is told."""
        state = State.HALTED if self.is_halted else State.RUNNING
        return LeaderState(self.attempt, state, None, failure=self.failure, ordered=self.ordered)
