"""What operator, agent, hooks, local runner and readers of a job's outputs say to each other.

Standard library only, Python 3.9 or newer: it lies beside the agent in its zipapp and runs in the user's
image. ``docs/agent-protocol.md`` says what the words mean; here each of them is spelt, once.
"""

from enum import Enum

VERSION = 1
"""Of every document."""


class Word(str, Enum):
    """One of a fixed set of texts; as a text it is its value (`enum.StrEnum` needs Python 3.11)."""

    def __str__(self) -> str:
        return str.__str__(self)
