"""The shape of Horovod's pytorch_mnist.py: its broadcast of the optimizer fills it by a step of its own."""

import horovod.torch as hvd
import torch

hvd.init()
torch.manual_seed(1)
torch.set_num_threads(1)
images = torch.rand(12 * 2 * 8, 1, 12, 12)
digits = torch.utils.data.TensorDataset(images, (images.mean((1, 2, 3)) > 0.5).long())
sampler = torch.utils.data.DistributedSampler(digits, num_replicas=hvd.size(), rank=hvd.rank())
loader = torch.utils.data.DataLoader(digits, batch_size=8, sampler=sampler)
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(256, 2)
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01 * hvd.size(), momentum=0.5)
hvd.broadcast_parameters(model.state_dict(), root_rank=0)
hvd.broadcast_optimizer_state(optimizer, root_rank=0)
optimizer = hvd.DistributedOptimizer(
    optimizer, named_parameters=model.named_parameters(), compression=hvd.Compression.fp16, op=hvd.Average
)
for epoch in range(1, 3):
    model.train()
    sampler.set_epoch(epoch)
    for batch, (data, target) in enumerate(loader):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(data), target)
        loss.backward()
        optimizer.step()
        print(
            f"rank {hvd.rank()} of {hvd.size()} epoch {epoch} batch {batch} loss {loss.item()!r}\n",
            end="",
            flush=True,
        )
    mean = hvd.allreduce(loss.detach(), name="mean_loss").item()
    print(f"rank {hvd.rank()} of {hvd.size()} epoch {epoch} mean {mean!r}\n", end="", flush=True)
