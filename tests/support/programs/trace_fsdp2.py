"""Trains a small model with torch's FSDP2 for ever, as one rank of several."""

from collections.abc import Iterator

import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, IterableDataset


class Rows(IterableDataset[torch.Tensor]):
    """Never ends."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            yield torch.randn(64)


torch.set_num_threads(1)
distributed.init_process_group("gloo")
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 8))
for layer in (model[0], model[2], model):
    fully_shard(layer)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step, batch in enumerate(DataLoader(Rows(), batch_size=16)):
    optimizer.zero_grad()
    model(batch).square().mean().backward()
    optimizer.step()
    if step == 3:
        print("training", flush=True)
