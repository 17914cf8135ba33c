"""Eager int8 quantization: how models were quantized before PT2E, and still are where no compiler is at hand.

torch is retiring ``torch.ao.quantization``. Write new programs with PT2E, as `quantize_export` does by
default; this module is all of ours that uses the old way. Its merit: the operations that it puts into the
model are int8 kernels as they stand, while a PT2E model has to be compiled before it is fast.
"""

# Much of torch has no types.
# mypy: allow-untyped-calls

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch.ao import quantization

from ftjob_workloads import export_torchscript

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# torch.ao.quantization says that it is deprecated, and so are two things that it does inside. That is known,
# and said above.
warnings.filterwarnings("ignore", message=r"(?s).*torch\.ao\.quantization is deprecated")
warnings.filterwarnings("ignore", message=r"torch\.quantize_per_tensor, torch\.quantize_per_channel")
warnings.filterwarnings("ignore", message=r"Please use quant_min and quant_max", module=r"torch\.ao\.")
# The second is said once in a process; let it be here: TorchScript would print it past Python's filters.
torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.quint8)


def quantize(
    model: torch.nn.Module, fuse: Sequence[Sequence[str]], calibration: Iterable[torch.Tensor]
) -> torch.nn.Module:
    """Return an int8 copy of a model, which takes and gives floats.

    Parameters
    ----------
    model
        Modules only: what is not a module is not seen. It stays as it is.
    fuse
        Names of modules that follow each other and become one: convolution and ReLU, linear and ReLU.
    calibration
        Batches of typical inputs, from which the ranges of the activations are taken.
    """
    wrapped = quantization.QuantWrapper(model.eval())
    names = [[f"module.{name}" for name in group] for group in fuse]
    fused = quantization.fuse_modules(wrapped, names)  # a copy
    fused.qconfig = quantization.get_default_qconfig(torch.backends.quantized.engine)
    quantization.prepare(fused, inplace=True)
    with torch.no_grad():
        for batch in calibration:
            fused(batch)
    quantized: torch.nn.Module = quantization.convert(fused)
    return quantized


def save(model: torch.nn.Module, path: Path) -> None:
    """Write what `quantize` returned; TorchScript is the only way to save it whole."""
    export_torchscript.save(model, path)


def load(path: Path) -> torch.jit.ScriptModule:
    """Read what `save` wrote."""
    return export_torchscript.load(path)
