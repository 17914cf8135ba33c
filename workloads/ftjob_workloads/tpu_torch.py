"""Train a torch model on a TPU with torch-xla; without a TPU, the same on XLA's CPU devices.

What it shows:

* one process a host and one program for all chips (SPMD): only the input's first dimension is split over a
  mesh of devices, XLA adds the exchange of gradients by itself. Losses are those of one device;
* the TPU is taken if the pod has one; if not, one line says so and CPU devices take its place;
* batches of one shape only: the remainder of an epoch is dropped, since XLA would compile anew for it;
* bfloat16 by autocast, weights and update in float32;
* losses stay on the device until a line is printed: reading one each step would hold the device up.

With the defaults it reaches a test accuracy of 0.97 to 0.99 on the CPU, and demands 0.95.

    python -m ftjob_workloads.tpu_torch       # needs torch-xla, see workloads/images/tpu
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch_xla
import torch_xla.core.xla_model as xm
import torch_xla.distributed.spmd as xs
from torch import nn
from torch_xla import runtime as xr
from torch_xla.debug import metrics
from torch_xla.distributed import parallel_loader

from ftjob_workloads import digits, life
from ftjob_workloads.tpu_host import TpuHost

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    Batch = dict[str, torch.Tensor]


class Scans(torch.utils.data.Dataset["Batch"]):
    """Digits by row, as ``images`` (1, 8, 8) and ``labels``."""

    def __init__(self, part: digits.Digits) -> None:
        self.images = torch.from_numpy(part.images).permute(0, 3, 1, 2).contiguous()
        self.labels = torch.from_numpy(part.labels)

    def __getitem__(self, row: int) -> Batch:
        return {"images": self.images[row], "labels": self.labels[row]}


@dataclass(frozen=True)
class Batches:
    """One host's part of the global batches of steps ``start`` to ``steps - 1``: rows of the data.

    A batch is a function of the step alone, so that a resumed run goes on with the next sample.
    """

    samples: int
    size: int
    """Of the global batch."""
    seed: int
    start: int
    steps: int
    host: int
    hosts: int

    @property
    def per_epoch(self) -> int:
        """Whole batches in one pass over the data; what is left of it is dropped."""
        return self.samples // self.size

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        share = self.size // self.hosts
        for step in range(self.start, self.steps):
            epoch, index = divmod(step, self.per_epoch)
            order = np.random.default_rng((self.seed, epoch)).permutation(self.samples)
            first = index * self.size + self.host * share
            yield order[first : first + share].tolist()


class Devices:
    """The mesh of all devices of all hosts, along which batches are split."""

    def __init__(self) -> None:
        xr.use_spmd()
        self.device = torch_xla.device()
        self.kind = str(xr.device_type())
        self.count = xr.global_runtime_device_count()
        self.hosts = xr.process_count()
        self.host = xr.process_index()
        self.mesh = xs.Mesh(np.arange(self.count), (self.count,), ("data",))

    def split(self, dimensions: int) -> xs.ShardingSpec:
        """Return how a batch is laid out; each host holds its own rows of it."""
        along = ("data", *[None] * (dimensions - 1))
        return xs.ShardingSpec(self.mesh, along, minibatch=self.hosts > 1)

    def load(self, scans: Scans, batches: Batches) -> Iterator[Batch]:
        """Return batches that lie on the devices; the next ones travel while one is learned."""
        loader = torch.utils.data.DataLoader(scans, batch_sampler=batches)
        layout = {"images": self.split(4), "labels": self.split(1)}
        return iter(parallel_loader.MpDeviceLoader(loader, self.device, input_sharding=layout))

    def wishes(self, *, stop: bool) -> bool:
        """Whether any host wants to stop: SIGTERM comes at another step on each, yet all leave together."""
        mine = [torch.full((self.count // self.hosts,), float(stop))]
        (all_of_them,) = xm.send_cpu_data_to_device(mine, self.device, input_sharding=self.split(1))
        return bool(all_of_them.sum().item() > 0)


class Net(nn.Module):
    """A small convolutional network for 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
            nn.Linear(64, digits.CLASSES),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 10) of images (n, 1, 8, 8)."""
        logits: torch.Tensor = self.layers(images)
        return logits


class Trainer:
    """Model and optimizer on the devices, the same on each."""

    def __init__(self, devices: Devices, learning_rate: float, precision: str) -> None:
        self.devices = devices
        self.bfloat16 = precision == "bfloat16"
        self.model = Net().to(devices.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), learning_rate, momentum=0.9)
        self.activations: set[str] = set()
        for layer in self.model.layers[:-1]:
            layer.register_forward_hook(
                lambda _layer, _input, output: self.activations.add(str(output.dtype))
            )

    def learn(self, batch: Batch) -> torch.Tensor:
        """Do one step; return the loss of the global batch, still on the device."""
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self._logits(batch["images"]), batch["labels"])
        torch.autograd.backward(loss)
        self.optimizer.step()
        torch_xla.sync()  # all of the step is one graph: compiled the first time, then only run
        return loss.detach()

    def accuracy(self, scans: Scans) -> float:
        """Test with all scans, on every device the same."""
        with torch.no_grad():
            predicted = self._logits(scans.images.to(self.devices.device)).argmax(-1)
        return float((predicted.cpu() == scans.labels).float().mean())

    def save(self, path: Path, step: int) -> None:
        """Write a checkpoint; one host does, all have the same."""
        state = {
            "step": step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.devices.host == 0:
            life.replace(path, lambda fresh: torch.save(state, fresh))

    def restore(self, path: Path) -> int:
        """Read the checkpoint if there is one; return its step, else 0."""
        if not path.exists():
            return 0
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("xla", torch.bfloat16, enabled=self.bfloat16):
            logits: torch.Tensor = self.model(images)
        return logits.float()  # a softmax of bfloat16 numbers is too coarse


def set_up_runtime(kind: str, devices: int) -> None:
    """Say which devices XLA shall have; call it before anything touches them."""
    os.environ["PJRT_DEVICE"] = kind
    if kind == "CPU":
        os.environ["CPU_NUM_DEVICES"] = str(devices)
    # XLA warns at each compilation that torch-xla's way to split programs (GSPMD) is to be replaced. Its last
    # release has no other.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = life.parser("tpu_torch", __doc__)
    add = p.add_argument
    add("--device", choices=["auto", "tpu", "cpu"], default="auto", help="tpu: exit 1 if there is none")
    add("--devices", type=int, default=4, help="CPU devices where there is no TPU (default: %(default)s)")
    add("--precision", choices=["bfloat16", "float32"], default="bfloat16", help="(default: %(default)s)")
    add("--batch-size", type=int, default=64, help="samples a step, over all devices (default: %(default)s)")
    add("--steps", type=int, default=660, help="optimizer steps (default: %(default)s, 30 epochs)")
    add("--print-every", type=int, default=22, help="steps (default: %(default)s)")
    add("--learning-rate", type=float, default=0.05, help="(default: %(default)s)")
    add("--min-accuracy", type=float, default=0.95, help="exit 1 below it (default: %(default)s)")
    args = p.parse_args(argv)
    if args.smoke:
        args.steps = min(args.steps, 220)
    return args


def shard_shapes(batch: torch.Tensor) -> list[list[int]]:
    """Return what each of this host's devices holds of a batch."""
    shards = xs.wrap_if_sharded(batch).local_shards
    return [list(shard.data.shape) for shard in shards]


def train(args: argparse.Namespace, devices: Devices, stop: life.StopSignal) -> int:
    """Train, test, and write the result; return the exit code."""
    if args.batch_size % devices.count:
        sys.exit(f"--batch-size {args.batch_size} can't be shared evenly by {devices.count} devices")
    torch.manual_seed(args.seed)
    learn, test = (Scans(part) for part in digits.load())
    trainer = Trainer(devices, args.learning_rate, args.precision)
    checkpoint = Path(args.checkpoint_dir) / "tpu_torch.pt"
    start = trainer.restore(checkpoint)
    print(
        f"{devices.kind}: {devices.count} devices of {devices.hosts} hosts, {args.precision}, "
        f"starting at step {start} of {args.steps}"
    )
    life.expect(args.steps)

    batches = Batches(
        len(learn.labels), args.batch_size, args.seed, start, args.steps, devices.host, devices.hosts
    )
    losses: list[float] = []
    fresh: list[torch.Tensor] = []
    shapes: list[list[int]] = []
    for step, batch in enumerate(devices.load(learn, batches), start + 1):
        shapes = shapes or shard_shapes(batch["images"])
        fresh.append(trainer.learn(batch))
        if step % args.print_every and step < args.steps:
            continue
        losses += torch.stack(fresh).tolist()
        fresh.clear()
        print(f"step {step} loss {losses[-1]:.4f}")
        life.report(step, args.steps, {"loss": losses[-1]})
        if devices.wishes(stop=stop.seen):
            trainer.save(checkpoint, step)
            print(f"stopped at step {step}, saved {checkpoint}")
            return life.STOPPED
    trainer.save(checkpoint, args.steps)

    accuracy = trainer.accuracy(test)
    result = {
        "device": devices.kind,
        "devices": devices.count,
        "hosts": devices.hosts,
        "startStep": start,
        "steps": args.steps,
        "losses": losses,
        "shards": shapes,
        "droppedPerEpoch": batches.samples - batches.per_epoch * batches.size,
        "compilations": (metrics.metric_data("CompileTime") or (0,))[0],
        "activations": sorted(trainer.activations),
        "weights": sorted({str(p.dtype) for p in trainer.model.parameters()}),
        "testAccuracy": accuracy,
    }
    life.write_result(args.results_dir, result, devices.host)
    print(f"device={devices.kind} steps={args.steps} test_accuracy={accuracy:.4f}")
    return life.judge(accuracy, args.min_accuracy)


def main(argv: Sequence[str] | None = None) -> int:
    """Choose the devices, and train on them.

    Returns
    -------
    int
        The exit code: 0, 1 if the accuracy is too low or a demanded TPU is missing, 143 after SIGTERM.
    """
    args = parse(argv)
    stop = life.StopSignal()
    kind = TpuHost.look(os.environ).choose(args.device, args.devices)
    if not kind:
        return 0
    set_up_runtime(kind, args.devices)
    return train(args, Devices(), stop)


if __name__ == "__main__":
    sys.exit(main())
