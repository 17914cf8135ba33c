"""GPUs of the machine, dealt out to what stands for pods: as in the cluster, each sees what it asks for.

Without that all would take the same ones, which NCCL refuses, and TensorFlow and JAX fill up to the end.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from ftjob.models.manifest import gpus_of
from ftjob.models.spec import trainer_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, Place, WorkerPlace

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables"""

GIVE_UP_SECONDS = 30.0


def find(caller: Mapping[str, str]) -> tuple[str, ...]:
    """Return the NVIDIA GPUs that the caller may use, as CUDA's variable names them."""
    if VISIBLE in caller:
        return tuple(filter(None, (word.strip() for word in caller[VISIBLE].split(","))))
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        done = subprocess.run(
            [program, "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=GIVE_UP_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(done.stdout.split()) if done.returncode == 0 else ()


def deal(layout: Layout, gpus: tuple[str, ...]) -> dict[Place, tuple[str, ...]]:
    """Return what each worker gets: all that it asks for, or nobody gets any.

    Parameters
    ----------
    gpus
        Those of this machine.
    """
    left, dealt = list(gpus), {}
    for worker in layout.workers:
        wanted = gpus_of(trainer_of(layout.spec, worker.role))
        if wanted > len(left):
            return {worker.place: () for worker in layout.workers}
        dealt[worker.place] = tuple(left[:wanted])
        del left[:wanted]
    return dealt


def visible(layout: Layout, gpus: tuple[str, ...], worker: WorkerPlace) -> dict[str, str]:
    """Return the variable by which a worker sees its GPUs and no others."""
    return {VISIBLE: ",".join(deal(layout, gpus)[worker.place])}


def note(layout: Layout, gpus: tuple[str, ...]) -> str:
    """Say why the ranks see no GPUs, where somebody could expect that they do; else nothing."""
    wanted = sum(gpus_of(trainer_of(layout.spec, worker.role)) for worker in layout.workers)
    if wanted > len(gpus):
        plural = "s" if wanted > 1 else ""
        return f"the job asks for {wanted} GPU{plural} and this machine has {len(gpus)}: its ranks see none"
    if gpus and not wanted:
        return (
            "the ranks see no GPUs, since no pod asks for any: set `nvidia.com/gpu` under the trainer's "
            "resources.limits"
        )
    return ""
