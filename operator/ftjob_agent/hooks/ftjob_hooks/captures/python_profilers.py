"""Profilers of Python itself: a capture with stacks takes their place in the interpreter, and leaves none."""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable


def is_on() -> bool:
    """Whether one is on in this thread."""
    monitoring = getattr(sys, "monitoring", None)  # where cProfile is from Python 3.12 on
    return sys.getprofile() is not None or (
        monitoring is not None and monitoring.get_tool(monitoring.PROFILER_ID) is not None
    )


def before_each(call: Callable[[], None]) -> None:
    """Call something before the script begins one."""
    import cProfile

    profiler: Any = cProfile.Profile
    system: Any = sys
    profiler.enable = _after(call, profiler.enable)
    system.setprofile = _after(call, sys.setprofile)


def _after(call: Callable[[], None], original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def begin(*args: Any, **kwargs: Any) -> Any:
        call()
        return original(*args, **kwargs)

    return begin
