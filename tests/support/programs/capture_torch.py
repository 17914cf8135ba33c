"""Two torch ranks that step together until the file GO is gone: `capture_torch.py GO`."""

import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
torch.manual_seed(0)
model = torch.nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
goes_on = torch.ones(1)
while goes_on.item():
    optimizer.zero_grad()
    model(torch.randn(4, 8)).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        dist.all_reduce(parameter.grad)
    optimizer.step()
    time.sleep(0.02)
    goes_on.fill_(Path(sys.argv[1]).exists())
    dist.all_reduce(goes_on, op=dist.ReduceOp.MIN)
dist.destroy_process_group()
