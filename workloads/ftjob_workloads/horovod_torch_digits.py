"""Train a torch model with Horovod: ranks learn what only the others have seen.

What it shows:

* ``DistributedOptimizer`` around torch's own, which adds up the gradients while they are computed;
* ranks that begin with different weights, until rank 0's are broadcast, and the optimizer's state with them
  (or what rank 0, which alone keeps checkpoints, read from its own);
* a learning rate that rises to the number of ranks times its first value, and fades to nothing;
* one small all-reduce that averages each step's loss and carries the wish to stop, so that all ranks leave at
  the same step;
* a GPU for each rank of a machine, if there are any;
* a test set that is shared out, and counted together.

By default (``--shard classes``) rank r of n learns from the digits r, r + n, r + 2n… alone. Four ranks
reach a test accuracy of 0.98 all the same, one process with all digits 0.967 in as many steps, and
0.90 is demanded; a rank without the exchange knows two or three digits and ends at 0.18 to 0.31. The default
size takes less than a minute on two cores: ``--smoke`` changes nothing.

    python -m ftjob_workloads.horovod_torch_digits      # one process; ftjob, horovodrun or mpirun start more
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import horovod.torch as hvd
import numpy as np
import torch

from ftjob_workloads import digits, life
from ftjob_workloads.shards import Shard, parser
from ftjob_workloads.torch_ranks import checksum

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def warm_up_and_fade(base: float, ranks: int, warmup_steps: int, steps: int, step: int) -> float:
    """Return a step's learning rate: it rises from ``base`` to ``base`` x ``ranks``, then falls to nothing.

    n ranks make batches n times as large, whose gradients are less noisy and bear longer steps; but not at
    the very beginning, when the weights are still arbitrary, nor at the end, where a step too long can't be
    made good any more.
    """
    risen = min(step / max(warmup_steps, 1), 1.0)
    left = min((steps - step) / max(steps - warmup_steps, 1), 1.0)
    return base * (1.0 + risen * (ranks - 1)) * left


class Trainer:
    """Model and optimizer of one rank, and the step that it does together with the others."""

    def __init__(self, device: torch.device, learning_rate: float) -> None:
        self.device = device
        self.step = 0
        self.model = torch.nn.Sequential(
            torch.nn.Conv2d(1, 32, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(32, 32, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(32 * 4 * 4, 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, digits.CLASSES),
        ).to(device)
        self.optimizer = hvd.DistributedOptimizer(
            torch.optim.SGD(self.model.parameters(), learning_rate, momentum=0.9),
            named_parameters=self.model.named_parameters(),
        )
        self.loss = torch.nn.CrossEntropyLoss()

    def broadcast(self) -> None:
        """Give every rank what rank 0 has."""
        hvd.broadcast_parameters(self.model.state_dict(), root_rank=0)
        hvd.broadcast_optimizer_state(self.optimizer, root_rank=0)
        self.step = hvd.broadcast_object(self.step, root_rank=0)

    def learn(self, part: digits.Digits, rows: digits.Ints, stop: bool, rate: float) -> tuple[float, bool]:
        """Do one step; return the loss of the global batch, and whether a rank wants to stop."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        images, labels = self.tensors(part, rows)
        self.optimizer.zero_grad()
        loss = self.loss(self.model(images), labels)
        loss.backward()
        self.optimizer.step()  # waits for the gradients of all ranks
        self.step += 1
        mean = hvd.allreduce(
            torch.tensor([loss.item(), float(stop)]), op=hvd.Average, name="loss_and_stop"
        ).tolist()
        return mean[0], mean[1] > 0

    def accuracy(self, part: digits.Digits) -> float:
        """Test with every size-th sample, and count with all ranks."""
        images, labels = self.tensors(part, np.arange(hvd.rank(), len(part.labels), hvd.size()))
        with torch.no_grad():
            hits = (self.model(images).argmax(1) == labels).sum().cpu()
        return float(hvd.allreduce(hits, op=hvd.Sum, name="hits")) / len(part.labels)

    def tensors(self, part: digits.Digits, rows: digits.Ints) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (n, 1, 8, 8) and labels of these rows, on the rank's device."""
        images = torch.from_numpy(part.images[rows]).permute(0, 3, 1, 2)
        return images.to(self.device), torch.from_numpy(part.labels[rows]).to(self.device)

    def save(self, path: Path) -> None:
        """Write all that a resumed run needs."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        life.replace(path, lambda fresh: torch.save(state, fresh))

    def restore(self, path: Path) -> None:
        """Read what `save` wrote."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def use_device() -> torch.device:
    """Take this rank's GPU if there are any: one for each rank of the machine."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(hvd.local_rank() % torch.cuda.device_count())
    return torch.device("cuda", torch.cuda.current_device())


def main(argv: Sequence[str] | None = None) -> int:
    """Train, test, and write what this rank saw.

    Returns
    -------
    int
        The exit code: 0, 1 if the accuracy is too low, 143 if SIGTERM came first.
    """
    hvd.init()
    rank, size = hvd.rank(), hvd.size()
    args = parser("horovod_torch_digits", __doc__, rank, size).parse_args(argv)
    stop = life.StopSignal()
    torch.manual_seed(args.seed + rank)
    data, test = digits.load()
    shard = Shard.of(args, data.labels)
    trainer = Trainer(use_device(), args.learning_rate)
    initial = checksum(trainer.model)

    # Only rank 0 reads and writes checkpoints; the broadcast gives the others what it read.
    checkpoint = args.checkpoint_dir / "checkpoint.pt"
    if rank == 0 and checkpoint.exists():
        trainer.restore(checkpoint)
    trainer.broadcast()
    start = trainer.step
    rank_sum = int(hvd.allreduce(torch.tensor(rank + 1), op=hvd.Sum, name="rank_sum"))
    print(f"rank {rank} of {size}: {len(shard.rows)} samples, starting at step {start} of {args.steps}")

    course = life.Course(args, rank)
    rate = args.learning_rate
    for step in range(start, args.steps):
        if args.lr_schedule == "warmup":
            rate = warm_up_and_fade(args.learning_rate, size, args.warmup_steps, args.steps, step)
        loss, stopped = trainer.learn(data, shard.at(step), stop.seen, rate)
        if rank == 0 and course.save_is_due(trainer.step, stopped):
            trainer.save(checkpoint)
        course.note(trainer.step, loss, stopped)
        if stopped:
            return life.STOPPED

    accuracy = trainer.accuracy(test)
    result = {
        "rank": rank,
        "size": size,
        "node": life.node(),
        "initialWeights": initial,
        "finalWeights": checksum(trainer.model),
        "rankSum": rank_sum,
        "startStep": start,
        "steps": trainer.step,
        "losses": course.losses,
        **shard.contents(data),
        "testAccuracy": accuracy,
    }
    life.write_result(args.results_dir, result, rank)
    if rank == 0:
        life.replace(args.results_dir / "model.pt", lambda to: torch.save(trainer.model.state_dict(), to))
        print(f"steps={trainer.step} test_accuracy={accuracy:.4f}")
    hvd.shutdown()
    return life.judge(accuracy, args.min_accuracy, f"rank {rank}")


if __name__ == "__main__":
    sys.exit(main())
