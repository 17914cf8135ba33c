"""The shape of Horovod's elastic examples: a state with commits, a function that runs anew after a change."""

import horovod.torch as hvd
import torch

hvd.init()
torch.manual_seed(1)
torch.set_num_threads(1)
model = torch.nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())


@hvd.elastic.run
def train(state):
    while state.batch < 16:
        x = torch.randn(8, 8, generator=torch.Generator().manual_seed(10 * state.batch + hvd.rank()))
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
        loss.backward()
        optimizer.step()
        print(
            f"rank {hvd.rank()} of {hvd.size()} batch {state.batch} loss {loss.item()!r}\n",
            end="",
            flush=True,
        )
        state.batch += 1
        if state.batch % 5 == 0:
            state.commit()


train(hvd.elastic.TorchState(model=model, optimizer=optimizer, batch=0))
