"""An engine of pytorch-ignite under its own `idist.Parallel`."""

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events


def train(rank):
    torch.manual_seed(1)
    model = idist.auto_model(torch.nn.Linear(8, 1))
    optimizer = idist.auto_optim(torch.optim.SGD(model.parameters(), lr=0.05))

    def update(_engine, seed):
        x = torch.randn(16, 8, generator=torch.Generator().manual_seed(seed * 10 + rank))
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
        loss.backward()
        optimizer.step()
        return loss.item()

    trainer = Engine(update)

    @trainer.on(Events.ITERATION_COMPLETED)
    def tell(engine):
        state = engine.state
        print(
            f"rank {rank} of {idist.get_world_size()} step {state.iteration} loss {state.output!r}\n",
            end="",
            flush=True,
        )

    trainer.run(range(12), max_epochs=1)


if __name__ == "__main__":
    with idist.Parallel(backend="gloo") as parallel:
        parallel.run(train)
