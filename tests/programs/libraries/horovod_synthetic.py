"""The shape of Horovod's synthetic benchmarks: warm-up, then groups of batches that `timeit` runs."""

import timeit

import horovod.torch as hvd
import torch
import torchvision

hvd.init()
torch.manual_seed(1)
torch.set_num_threads(1)
model = torchvision.models.squeezenet1_1(num_classes=10)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters(), op=hvd.Average)
hvd.broadcast_parameters(model.state_dict(), root_rank=0)
hvd.broadcast_optimizer_state(optimizer, root_rank=0)
model.eval()  # without its dropout
data, target = torch.randn(2, 3, 32, 32), torch.randint(10, (2,))


def benchmark_step():
    global loss
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(data), target)
    loss.backward()
    optimizer.step()


timeit.timeit(benchmark_step, number=2)
for group in range(5):
    took = timeit.timeit(benchmark_step, number=2)
    print(f"rank {hvd.rank()} of {hvd.size()} group {group} loss {loss.item()!r}\n", end="", flush=True)
    print(f"{2 * 2 / took:.1f} images a second", flush=True)
