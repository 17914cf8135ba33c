"""PyTorch Lightning's Trainer with two devices, which it shares between processes by DDP."""

import sys

import lightning
import torch


class Line(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))

    def training_step(self, batch, index):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.net(x), y)
        print(
            f"rank {self.global_rank} of {self.trainer.world_size} step {index} loss {loss.item()!r}\n",
            end="",
            flush=True,
        )
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


if __name__ == "__main__":
    lightning.seed_everything(1)
    x = torch.randn(12 * 2 * 8, 8)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8
    )
    lightning.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        use_distributed_sampler=True,
        profiler=sys.argv[1] if len(sys.argv) > 1 else None,
    ).fit(Line(), loader)
