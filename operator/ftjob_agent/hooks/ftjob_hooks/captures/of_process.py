"""Which captures this process may take: as its environment says, and what its agent orders."""

from __future__ import annotations

import json
import os
from typing import Callable, Optional

from ..clock import ticker
from ..protocol import Profile, variables
from .orders import Orders, Position
from .profiler import Captures


def of_process(position: Callable[[], Position]) -> Optional[Captures]:
    """Make what the environment and the rank's folder ask for; None if there is nothing to capture."""
    profile = _scheduled()
    captures = Captures(profile, int(os.environ.get(variables.RANK, "0")))
    orders = Orders(captures, position)
    if orders.are_taken or (profile is not None and "Stacks" in profile.wanted.tools):
        ticker.at_tick(orders.look)
        ticker.start()
    return captures if orders.are_taken or profile is not None else None


def _scheduled() -> Optional[Profile]:
    text = os.environ.get(variables.PROFILE)
    if not text:
        return None
    profile = Profile.read(json.loads(text))
    is_wanted = profile.wanted.schedule and {"Framework", "Stacks"} & set(profile.wanted.tools)
    return profile if is_wanted else None
