"""What a torch program needs to know of the other ranks of its job, if there are any."""

from __future__ import annotations

import os
from typing import Any, Self

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ftjob_workloads import life


class Ranks:
    """The ranks of the job; this process alone unless ``WORLD_SIZE`` is in the environment."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.device = torch.device("cpu")
        if torch.cuda.is_available():
            local = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
            self.device = torch.device("cuda", local)
            torch.cuda.set_device(self.device)

    def __enter__(self) -> Self:
        """Meet the others."""
        if self.size > 1:
            distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        return self

    def __exit__(self, *_error: object) -> None:
        if self.size > 1:
            distributed.destroy_process_group()

    def add(self, *values: float) -> list[float]:
        """Return the sums of all ranks' values."""
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.size > 1:
            distributed.all_reduce(total)
        return [float(value) for value in total]

    def gather(self, value: Any) -> list[Any]:
        """Return what each rank has given."""
        values = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return a model that averages its gradients over the ranks, and begins with rank 0's weights."""
        return DistributedDataParallel(model) if self.size > 1 else model


def checksum(model: nn.Module) -> str:
    """Fingerprint of the weights, equal only if every bit is."""
    return life.checksum(weight.cpu().numpy() for weight in model.state_dict().values())
