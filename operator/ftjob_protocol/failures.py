"""Why ranks fail: the classes, which of several failures came first, and the form in which they are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Optional

from ftjob_protocol import Word
from ftjob_protocol.values.fields import Fields
from ftjob_protocol.values.text import clean

MESSAGE_BYTES = 4096
TYPE_BYTES = 128
LOG_LINES = 20
LOG_BYTES = 2048
RANKS_MAX = 10_000_000
"""More than any job has."""
EXIT_CODE_MAX = 255


class FailureClass(Word):
    """What kind of failure it was."""

    EXCEPTION = "Exception"
    """The rank's own uncaught exception."""
    EXIT = "Exit"
    """A non-zero exit code without an exception on record."""
    SIGNAL = "Signal"
    """A signal that the agent did not send."""
    HANG = "Hang"
    """No step for too long, and this rank holds up the others."""
    CONFIG = "Config"
    """The agent could not start the ranks."""
    PEER_LOST = "PeerLost"
    """Another rank went away, say the exception or the last output."""
    STOPPED = "Stopped"
    """The agent ended it."""


class FailureType(Word):
    """What a failure's `type` can be beside the name of an exception or a signal."""

    OOM_KILLED = "OOMKilled"
    PEERS_ABSENT = "PeersAbsent"
    LOST_CONTACT = "LostContact"
    SIGTERM = "SIGTERM"
    PEER_FAILED = "PeerFailed"
    JOB_SUCCEEDED = "JobSucceeded"
    PEER_LOST = "PeerLost"
    """Ranks have lost each other, though all of their agents are there."""
    AGENT_ERROR = "AgentError"
    HANG = "Hang"


_CONSEQUENCES: Mapping[str, int] = {FailureClass.PEER_LOST: 2, FailureClass.STOPPED: 3}
_NO_CONTACT = 1


@dataclass(frozen=True)
class Failure:
    """Why a rank, or an agent, failed."""

    failure_class: str
    message: str
    rank: Optional[int] = None
    """None: the agent itself failed, or was ended."""
    time_ns: int = 0
    """Nanoseconds since 1970, by the clock of its node."""
    type: str = ""
    exit_code: Optional[int] = None
    log_tail: str = ""
    """The last lines that the rank wrote, without those that the message has."""

    @property
    def is_without_contact(self) -> bool:
        """Whether agents did not hear each other: a node or a network did it, not the program."""
        by_agent = self.failure_class in {FailureClass.STOPPED, FailureClass.CONFIG}
        return by_agent and self.type in {FailureType.PEERS_ABSENT, FailureType.LOST_CONTACT}

    @property
    def blame(self) -> int:
        """How far it is from being the cause of all others, which is 0.

        Agents that do not hear each other explain why ranks lose their peers; both are consequences, and so
        are ranks that were stopped. A class that is not known is as bad as an exception.
        """
        return _NO_CONTACT if self.is_without_contact else _CONSEQUENCES.get(self.failure_class, 0)

    @property
    def is_primary(self) -> bool:
        """Whether it can be the cause of others."""
        return self.blame == 0

    def as_json(self) -> dict[str, Any]:
        """Return the form in which it is told: as much as a status can hold."""
        return {
            "rank": self.rank,
            "timeNs": self.time_ns,
            "class": self.failure_class,
            "type": clean(self.type, TYPE_BYTES),
            "exitCode": self.exit_code,
            "message": clean(self.message, MESSAGE_BYTES, lines=True, keep_end=True),
            "logTail": last_lines(self.log_tail),
        }

    @classmethod
    def from_json(cls, data: Any) -> Optional[Failure]:
        """Read that form, or null. Whoever wrote it, it fits into a status.

        Raises
        ------
        ValueError
            It is neither.
        """
        if data is None:
            return None
        fields = Fields(data, "failure")
        return cls(
            failure_class=class_of(fields.text("class", TYPE_BYTES)),
            message=fields.text("message", MESSAGE_BYTES, lines=True, keep_end=True),
            rank=fields.whole("rank", most=RANKS_MAX),
            time_ns=fields.whole("timeNs") or 0,
            type=fields.text("type", TYPE_BYTES),
            exit_code=fields.whole("exitCode", most=EXIT_CODE_MAX),
            log_tail=last_lines(fields.text("logTail", LOG_BYTES, lines=True, keep_end=True)),
        )

    def in_short(self) -> str:
        """Return it in one line."""
        who = "the agent" if self.rank is None else f"rank {self.rank}"
        lines = [line for line in self.message.splitlines() if line.strip()]
        what = lines[-1].strip()[:300] if lines else self.failure_class
        return what if what.startswith(who) else f"{who}: {what}"


def first(failures: Iterable[Optional[Failure]]) -> Optional[Failure]:
    """Return the failure that came before the others.

    The class counts before the time: a victim that saw its peer go may end earlier than the peer does, and
    the clocks of two nodes differ by more than two failures do. Times are compared only where the blame is
    the same.
    """
    found = [failure for failure in failures if failure is not None]
    return min(found, key=lambda failure: (failure.blame, failure.time_ns), default=None)


def class_of(name: str) -> FailureClass:
    """Return the class of this name; one that nobody knows is an exit of which no more is known."""
    return next((known for known in FailureClass if known == name), FailureClass.EXIT)


def clip(text: str) -> str:
    """Return the end of a traceback as a status can hold it."""
    return clean(text, MESSAGE_BYTES, lines=True, keep_end=True).strip()


def last_lines(text: str) -> str:
    """Return the end of a log as a status can hold it: so many lines and bytes."""
    shown = clean(text, len(text) * 4, lines=True).strip("\n")
    return clean("\n".join(shown.split("\n")[-LOG_LINES:]), LOG_BYTES, lines=True, keep_end=True)
