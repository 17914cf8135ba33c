"""The agent as one file, named by its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

NAME = "ftjob-agent.pyz"


@dataclass(frozen=True)
class AgentFile:
    """The agent's zipapp."""

    content: bytes

    @cached_property
    def digest(self) -> str:
        """Its SHA-256, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()
