"""The agent's sources, and its zipapp as the release builds it."""

from __future__ import annotations

from pathlib import Path

from ftjob.agent_zipapp import PACKAGES, write

OPERATOR = Path(__file__).parents[2] / "operator"
SOURCES = tuple(path for name in PACKAGES for path in sorted((OPERATOR / name).rglob("*.py")))
"""All that is in the zipapp, the hooks too."""


def build_agent(target: Path) -> Path:
    """Write the zipapp."""
    write(target)
    return target
