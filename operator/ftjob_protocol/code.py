"""The code that a user brings along: one archive, packed by the command line and unpacked by each agent."""

from __future__ import annotations

from dataclasses import dataclass

PACKED_MAX = 900 << 10
"""Most bytes of the archive: a ConfigMap takes 1 MiB."""
UNPACKED_MAX = 64 << 20
"""Most bytes of the archive once it is no longer compressed."""
FILES_MAX = 10_000


@dataclass(frozen=True)
class Code:
    """Where an agent finds the archive, and what tells it from all others."""

    file: str
    sha256: str

    def as_json(self) -> dict[str, str]:
        """Return its part of the agent's document."""
        return {"file": self.file, "sha256": self.sha256}
