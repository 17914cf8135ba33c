"""What an agent has of the star, be it the leader or one of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Protocol, Sequence

if TYPE_CHECKING:
    from ftjob_protocol.captures.window import Window
    from ftjob_protocol.failures import Failure
    from ftjob_protocol.vitals.block import Lengths


class Contact(Protocol):
    """The others, as one agent sees them: `Leader` is in the centre, `Client` has a line to it."""

    @property
    def command(self) -> str:
        """What the leader wants."""

    @property
    def attempt(self) -> int:
        """The attempt that the command is about."""

    @property
    def reason(self) -> Optional[Failure]:
        """Why the attempt has to stop, or to halt."""

    @property
    def slots(self) -> tuple[int, list[dict[str, Any]]]:
        """The version of the answer, and the slots of an elastic job that it wants of this agent."""

    @property
    def stacks(self) -> int:
        """The version of the answer that asks for stacks; 0 for none."""

    @property
    def block_lengths(self) -> Lengths:
        """How many steps a block has, as the leader says."""

    @property
    def delivered(self) -> int:
        """The number of the last message that the leader has."""

    @property
    def capture(self) -> Optional[Window]:
        """The capture that is under way, as the leader wants it."""

    def send(self, message: dict[str, Any]) -> None:
        """Let the leader know how it stands here."""

    def doubt(self, now: float) -> None:
        """Find out whether contact is what ranks miss that have lost their peers; `trouble` says so."""

    def why_waiting(self) -> str:
        """Return whom this agent waits for before its ranks start, and why; what follows its name."""

    def tell_why(self) -> None:
        """Tell the operator why, if it asks, from now on until ranks start."""

    def trouble(self, now: float) -> Optional[Failure]:
        """Return why the ranks can't go on, or can't start, as far as contact is concerned."""

    def next_look(self, now: float) -> float:
        """Return when `trouble` may change by itself."""

    def is_done(self) -> bool:
        """Whether nobody needs this agent any more."""

    def servers(self) -> Sequence[str]:
        """Return host and port of what each worker serves, in rank order, once ranks may start."""

    def place(self) -> tuple[str, str]:
        """Return the leader's address and the interface of the route to it."""
