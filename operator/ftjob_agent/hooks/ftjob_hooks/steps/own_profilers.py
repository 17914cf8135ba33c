"""Learn that the script is about to use a profiler itself, by whatever interface; ours gives way then.

The functions that are wrapped are those that all interfaces end in: of torch `torch.profiler`,
`torch.autograd.profiler` with its `emit_nvtx` and `emit_itt`, and the profiler of old; of TensorFlow
`tf.profiler`, `tf.summary.trace_on` and Keras' TensorBoard.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from . import count

if TYPE_CHECKING:
    from types import ModuleType


def hook_torch(module: ModuleType) -> None:
    """Watch a module that enables torch's profilers; each of them has its own names of the functions."""
    _give_way_before(module, "_prepare_profiler", "_enable_profiler", "_enable_profiler_legacy")


def hook_tensorflow(module: ModuleType) -> None:
    """Watch TensorFlow's profiler, and its server, by which others may begin a session at any time."""
    _give_way_before(module, "start", "start_server")


def hook_jax(module: ModuleType) -> None:
    """Watch JAX's profiler: on GPUs there is one for all frameworks of a process."""
    _give_way_before(module, "start_trace", "start_server")
    count.current.serve_without_steps()  # of JAX no steps are seen


def _give_way_before(module: Any, *names: str) -> None:
    for name in names:
        original = getattr(module, name, None)
        if original is not None:
            setattr(module, name, _giving_way(original))


def _giving_way(original: Any) -> Any:
    @functools.wraps(original)
    def begin(*args: Any, **kwargs: Any) -> Any:
        count.current.give_way()
        return original(*args, **kwargs)

    return begin
