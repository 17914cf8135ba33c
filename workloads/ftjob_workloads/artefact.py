"""Load saved models in a process that knows nothing of how they were made, and measure them.

    python -m ftjob_workloads.artefact [--compile] FOLDER float.pt2 int8.pt2

``FOLDER`` holds what `quantize_export` wrote: the models, ``test.pt`` (test images and labels) and for each
model ``<model>.expected`` (its outputs for them). Prints one line of JSON: by model the size of its file, the
greatest difference of its outputs from those expected, test accuracy, and median time for a batch.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ftjob_workloads import export_torchscript, quantize_eager

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Model = Callable[[torch.Tensor], torch.Tensor]

# On import torchao 0.18 registers an enumeration with torch in a way that torch's log calls deprecated.
logging.getLogger("torch.utils._pytree").addFilter(lambda r: "KernelPreference" not in r.getMessage())

import torchao  # noqa: E402, F401  # a model that PT2E has quantized uses its operations

BATCH = 32
"""Images of a batch whose time is taken."""

REPEATS = 50
"""How often it is taken."""


def load(path: Path) -> Model:
    """Read a model that `torch.export` or TorchScript has saved."""
    if path.name.endswith("-eager.ts"):
        return quantize_eager.load(path)
    if path.suffix == ".ts":
        return export_torchscript.load(path)
    return torch.export.load(path).module()


def milliseconds(model: Model, batch: torch.Tensor) -> float:
    """Return the median time for a batch, after a few that do not count."""
    times = []
    with torch.inference_mode():
        for _ in range(REPEATS + 5):
            begin = time.perf_counter()
            model(batch)
            times.append(time.perf_counter() - begin)
    return statistics.median(times[5:]) * 1000


def measure(folder: Path, name: str, prepare: Callable[[Model], Model]) -> dict[str, Any]:
    """Load one model, prepare it for use, and compare it with what is expected of it."""
    images, labels = torch.load(folder / "test.pt", weights_only=True)
    expected = torch.load(folder / f"{name}.expected", weights_only=True)
    model = prepare(load(folder / name))
    with torch.inference_mode():
        outputs = model(images)
    return {
        "bytes": (folder / name).stat().st_size,
        "difference": float((outputs - expected).abs().max()),
        "accuracy": float((outputs.argmax(1) == labels).float().mean()),
        "milliseconds": milliseconds(model, images[:BATCH]),
    }


def _as_it_is(model: Model) -> Model:
    return model


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the models that the command line names; return the exit code."""
    p = argparse.ArgumentParser(prog="artefact", description=(__doc__ or "").partition("\n")[0])
    p.add_argument("--compile", action="store_true", help="with Inductor; needs a C++ compiler")
    p.add_argument("folder", type=Path)
    p.add_argument("models", nargs="+")
    args = p.parse_args(argv)
    prepare = torch.compile if args.compile else _as_it_is
    print(json.dumps({name: measure(args.folder, name, prepare) for name in args.models}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
