"""What ``diagnose`` says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional

from ftjob_diagnosis.window import Seen


class _Word(str, Enum):
    """As a text it is its value (`enum.StrEnum` needs Python 3.11)."""

    def __str__(self) -> str:
        return str.__str__(self)


class Kind(_Word):
    """What is wrong. The last two are no findings: they are the kinds of a diagnosis without one."""

    STRAGGLER = "Straggler"
    IMBALANCE = "Imbalance"
    INPUT_BOUND = "InputBound"
    COMMUNICATION_BOUND = "CommunicationBound"
    HOST_CONTENTION = "HostContention"
    PAUSES = "Pauses"
    REGRESSION = "Regression"
    MEMORY_GROWTH = "MemoryGrowth"
    LAUNCH_BOUND = "LaunchBound"
    NO_PROBLEM = "NoProblem"
    """Every signal was measured, and none is near its threshold."""
    UNKNOWN = "Unknown"
    """Too little was measured to say so."""


class Cause(_Word):
    """Why a straggler is slow."""

    INPUT = "Input"
    COMPUTE = "Compute"
    HOST = "Host"
    UNKNOWN = "Unknown"


class Confidence(_Word):
    """How sure a finding is."""

    HIGH = "High"
    MEDIUM = "Medium"
    LOW = "Low"
    """For reports; never in a status."""


@dataclass(frozen=True)
class Evidence:
    """One number that a finding rests on."""

    text: str
    """Such as ``own 88.0 ms, others 63.0``."""
    ref: str
    """Where a summary has it, such as ``ranks/2/ownMs``."""


@dataclass(frozen=True)
class Finding:
    """One thing that makes the job slow, or will end it."""

    kind: Kind
    ranks: tuple[int, ...]
    """The ranks to blame; empty: all alike."""
    node: Optional[str]
    """The node to blame: these are all of its ranks, and it isn't the only one."""
    cause: Optional[Cause]
    """Of a straggler."""
    cost_share: float
    """Of the job's wall time, 0 to 1."""
    confidence: Confidence
    line: Optional[str]
    """The line of the user's code."""
    evidence: tuple[Evidence, ...]
    next: str
    """What to do about it."""
    text: str
    """In one line, at most 160 characters: the kind, the number, the place."""


@dataclass(frozen=True)
class Diagnosis:
    """All findings, the one that costs most first, and the verdict in one sentence."""

    findings: tuple[Finding, ...]
    text: str
    """The verdict, at most 160 characters."""
    seen: Seen
    """What was measured."""
    notes: tuple[str, ...] = ()
    """What could not be measured, and what that means."""
    is_clear: bool = False
    """No problem was found, and each would have been seen."""

    @property
    def verdict(self) -> Optional[Finding]:
        """The first finding that is sure enough to be told."""
        return next((found for found in self.findings if found.confidence is not Confidence.LOW), None)

    @property
    def kind(self) -> Kind:
        """The verdict in one word."""
        if self.verdict is not None:
            return self.verdict.kind
        return Kind.NO_PROBLEM if self.is_clear else Kind.UNKNOWN
