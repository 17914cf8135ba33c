"""Environment variables that decide who a rank is, and so are the operator's alone to set.

A stray ``WORLD_SIZE=1`` in a pod template is how distributed jobs silently run alone, so a template that
sets one of these is refused, whatever its strategy. For every other variable the user's value wins, by
whatever way it comes into the container: the agent sees it there before it sets the plan's.
"""

from __future__ import annotations

from ftjob.strategies import STRATEGIES
from ftjob.strategies.base import Family

# JOB_COMPLETION_INDEX is Kubernetes' own name for the index of a pod.
OUR_OWN = Family("ftjob", ("JOB_COMPLETION_INDEX",), ("FTJOB_",))

FAMILIES = (
    *dict.fromkeys(family for strategy in STRATEGIES.values() for family in strategy.identity),
    OUR_OWN,
)

IDENTITY_NAMES = tuple(name for family in FAMILIES for name in family.names)
"""Names that are known in full."""

IDENTITY_PREFIXES = tuple(prefix for family in FAMILIES for prefix in family.prefixes)
"""Beginnings of names."""


def is_identity(name: str) -> bool:
    """Whether this variable is the operator's alone to set."""
    return name in IDENTITY_NAMES or name.startswith(IDENTITY_PREFIXES)
