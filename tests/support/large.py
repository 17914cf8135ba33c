"""The largest job of each strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.builders import job

from ftjob.strategies.tf_config import TASKS_MAX

if TYPE_CHECKING:
    from support.builders import JobBuilder

MANY = 10_000
SLICE = {"library": "JAX", "accelerator": "tpu-v5p-slice", "topology": "16x20x28", "chipsPerWorker": 4}


def large(strategy: str) -> JobBuilder:
    """Return 10,000 workers, or as many as the strategy takes."""
    wanted = job("a-name-of-some-length").strategy(strategy)
    if strategy == "TPU":
        return wanted.with_spec(tpu=SLICE, workers=16 * 20 * 28 // 4)
    if strategy == "Mirrored":
        return wanted  # it has one pod
    if strategy == "MultiWorkerMirrored":
        return wanted.workers(TASKS_MAX)
    if strategy == "ParameterServer":
        return wanted.workers(TASKS_MAX - 101).roles(chief=1, ps=100, evaluator=1)
    if strategy in {"Horovod", "Torchrun", "Plain"}:
        wanted = wanted.processes(8)
    return wanted.workers(MANY)
