"""Steps in which a framework traces or compiles: they say nothing about the others."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..protocol import clock as layout
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


def _mark(*_arguments: Any) -> None:
    current.mark(layout.COMPILE)
