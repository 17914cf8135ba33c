"""DeepSpeed's engine with ZeRO stage 2 and two batches a step, on CPUs."""

import deepspeed
import torch

deepspeed.init_distributed("gloo")
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
engine, _, _, _ = deepspeed.initialize(
    model=model,
    optimizer=torch.optim.AdamW(model.parameters(), lr=0.01),
    config={
        "train_micro_batch_size_per_gpu": 8,
        "gradient_accumulation_steps": 2,
        "zero_optimization": {"stage": 2},
        "zero_allow_untested_optimizer": True,
    },
)
rank, size = deepspeed.comm.get_rank(), deepspeed.comm.get_world_size()
torch.manual_seed(rank)
for batch in range(24):
    x = torch.randn(8, 8)
    loss = torch.nn.functional.mse_loss(engine(x), x.sum(1, keepdim=True))
    engine.backward(loss)
    engine.step()
    print(f"rank {rank} of {size} batch {batch} loss {loss.item()!r}\n", end="", flush=True)
deepspeed.comm.destroy_process_group()
