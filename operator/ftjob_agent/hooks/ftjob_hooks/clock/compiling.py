"""Steps in which a framework traces or compiles: they say nothing about the others."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from .. import notes, process
from ..protocol import clock as layout
from ..protocol import files, variables
from .recorder import current

if TYPE_CHECKING:
    from types import ModuleType


def hook_dynamo(module: ModuleType) -> None:
    """Watch torch.compile, by its own callback."""
    dynamo: Any = module
    if hasattr(dynamo, "on_compile_start"):
        dynamo.on_compile_start(_mark)


def hook_tracing(module: ModuleType) -> None:
    """Watch the tracing of a `tf.function`, which its first call with each signature begins."""
    tracing: Any = module
    original = getattr(tracing, "_create_concrete_function", None)
    if original is not None:

        @functools.wraps(original)
        def create(*args: Any, **kwargs: Any) -> Any:
            _mark()
            return original(*args, **kwargs)

        tracing._create_concrete_function = create


def hook_jax(module: ModuleType) -> None:
    """Watch JAX's compiler, by JAX's own listeners (`jax.monitoring`)."""
    monitoring: Any = module
    if hasattr(monitoring, "register_event_duration_secs_listener"):
        monitoring.register_event_duration_secs_listener(_jax_has_taken)


@notes.guarded
def _jax_has_taken(event: str, *_arguments: Any, **_more: Any) -> None:
    if event.endswith("/backend_compile_duration"):
        _mark()
        if process.speaks():  # of most programs on JAX no more is known than that they run
            path = os.path.join(os.environ[variables.RANK_DIR], files.COMPILED)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            os.utime(path)


def _mark(*_arguments: Any) -> None:
    current.mark(layout.COMPILE)
