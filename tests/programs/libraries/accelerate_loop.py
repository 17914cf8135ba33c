"""A loop of one's own with Hugging Face Accelerate, two batches a step."""

import torch
from accelerate import Accelerator

accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
torch.manual_seed(1)
model = torch.nn.Linear(8, 1)
x = torch.randn(12 * 2 * 2 * 8, 8)
data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
model, optimizer, loader = accelerator.prepare(
    model, torch.optim.AdamW(model.parameters(), lr=0.05), torch.utils.data.DataLoader(data, batch_size=8)
)
for batch, (inputs, targets) in enumerate(loader):
    with accelerator.accumulate(model):
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    rank, size = accelerator.process_index, accelerator.num_processes
    print(f"rank {rank} of {size} batch {batch} loss {loss.item()!r}\n", end="", flush=True)
accelerator.end_training()
