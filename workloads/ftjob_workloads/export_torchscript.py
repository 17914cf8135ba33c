"""TorchScript: how models were saved before ``torch.export``, and still are where C++ programs load them.

torch is retiring it. Write new programs with ``torch.export.save`` and ``torch.export.load``, as
`quantize_export` does by default; this module is all of ours that uses TorchScript.
"""

# Much of torch has no types.
# mypy: allow-untyped-calls

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pathlib import Path

# Each call of torch.jit says that it is deprecated. That is known, and said above.
warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=FutureWarning)
warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=DeprecationWarning)


def save(model: torch.nn.Module, path: Path) -> None:
    """Compile a model, its control flow included, and write it; its Python code is not needed again."""
    torch.jit.script(model.eval()).save(str(path))


def load(path: Path) -> torch.jit.ScriptModule:
    """Read what `save` wrote."""
    model: torch.jit.ScriptModule = torch.jit.load(str(path))
    return model
