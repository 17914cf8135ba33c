"""A training with torch as people write it: ``ddp``, ``fsdp2``, ``dist`` (own all-reduces) or ``horovod``."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from insight.planted import Planted
from torch import nn

MODE = sys.argv[1]
RANK, RANKS = (int(os.environ[name]) for name in ("FTJOB_RANK", "FTJOB_WORLD_SIZE"))
planted = Planted(RANK, RANKS)


class Photos(torch.utils.data.Dataset[torch.Tensor]):
    """Each item is decoded when it is asked for."""

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> torch.Tensor:
        planted.at("input")
        return torch.full((64,), index % 7 / 7.0)


class Backward(torch.autograd.Function):
    """The identity, whose gradient takes time."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        planted.work(0.6)
        planted.at("backward")
        return grads[0]


class Model(nn.Module):
    """Two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 128), nn.Linear(128, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        planted.work(0.4)
        planted.at("forward")
        return self.second(Backward.apply(torch.relu(self.first(x))))


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model: nn.Module = Model()
    optimizer: Any
    if MODE == "horovod":
        import horovod.torch as hvd

        hvd.init()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())

        def exchange(count: int, floats: int) -> None:
            for each in range(count):
                hvd.allreduce(torch.ones(floats), name=f"more.{each}")
    else:
        from torch import distributed as dist

        dist.init_process_group("gloo")
        if MODE == "ddp":
            model = nn.parallel.DistributedDataParallel(model)
        elif MODE == "fsdp2":
            from torch.distributed.fsdp import fully_shard

            fully_shard(model.first)
            fully_shard(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

        def exchange(count: int, floats: int) -> None:
            for _ in range(count):
                dist.all_reduce(torch.ones(floats))

    planted.exchange = exchange
    optimizer.register_step_pre_hook(lambda *_: planted.at("optimizer")) if MODE != "horovod" else None
    batches = iter(torch.utils.data.DataLoader(Photos(), batch_size=1))
    for _ in planted.steps():
        batch = next(batches)
        loss = model(batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if MODE == "dist":
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad)
        planted.at("exchange")
        if MODE == "horovod":
            optimizer.synchronize()
            planted.at("optimizer")
            with optimizer.skip_synchronize():
                optimizer.step()
        else:
            optimizer.step()


main()
