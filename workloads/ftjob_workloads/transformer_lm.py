"""Train a small masked language model with positional encoding, on one or many processes (DDP).

What it shows:

* an encoder (`ftjob_workloads.transformer`) under a padding mask, for lines differ in length, and no causal
  one: a masked character is guessed from both sides;
* sinusoidal, learned or no positions (``--positions``): without them a line is a bag of characters;
* ranks that find each other by torchrun's variables; without them a group of one, through the same code;
* the loss that DDP needs: it averages over ranks, but they have masked different numbers of characters, so
  each divides by the number of *all* and multiplies by the number of ranks;
* one small all-reduce that carries each step's loss and the wish to stop, so that all ranks leave at the
  same step; rank 0 alone reads and writes checkpoints;
* held-out lines that are shared out, and counted together.

Each rank has lines that no other rank sees, and by default (``--shard halves``) is asked for every other
character of the alphabet alone. Two ranks guess 0.43 of the held-out characters, and 0.35 is demanded; in
smoke size 0.31, and 0.25 is demanded: there a rank alone ends at 0.18, and a model without positions at 0.14.

    python -m ftjob_workloads.transformer_lm                       # one process
    torchrun --nproc-per-node 2 -m ftjob_workloads.transformer_lm  # two; ftjob starts them in many pods
"""

from __future__ import annotations

# torch leaves `backward()` and its like without types.
# mypy: allow-untyped-calls
import os
import sys
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ftjob_workloads import life, text
from ftjob_workloads.torch_ranks import checksum
from ftjob_workloads.transformer import MaskedLM

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Group:
    """The ranks that train together."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls) -> Group:
        """Meet the others, by torchrun's variables; without them, be a group of one."""
        gpu = torch.cuda.is_available()
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if gpu else torch.device("cpu")
        if gpu:
            torch.cuda.set_device(device)  # NCCL takes the current one
        backend = "nccl" if gpu else "gloo"
        if "RANK" in os.environ:
            dist.init_process_group(backend)
        else:
            alone = dist.HashStore()  # type: ignore[attr-defined]  # it is exported, but not to mypy
            dist.init_process_group(backend, store=alone, rank=0, world_size=1)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    def sum(self, *values: float | Tensor) -> list[float]:
        """Add numbers over all ranks."""
        numbers = torch.tensor([float(value) for value in values], dtype=torch.float64, device=self.device)
        dist.all_reduce(numbers)
        return [float(number) for number in numbers.tolist()]

    def gather(self, value: str) -> list[str]:
        """Return every rank's value, on every rank."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: Any) -> Any:
        """Return rank 0's value."""
        values = [value]
        dist.broadcast_object_list(values, src=0, device=self.device)
        return values[0]


@dataclass(frozen=True)
class Shard:
    """One rank's lines, and what it masks in them: functions of the step, a resumed run needs no other state.

    All ranks agree on one order of all lines. A step's global batch is the next ``batch`` of them, and rank r
    of n takes its lines r, r + n, r + 2n…: the same set of lines and masks on however many ranks.
    """

    tokens: text.Ints
    batch: int
    index: int
    count: int
    seed: int
    fraction: float
    half: bool
    """Ask for every other character of the alphabet, the even or the odd ones, as the rank is."""

    @classmethod
    def of(cls, args: argparse.Namespace, tokens: text.Ints) -> Shard:
        """Cut shard ``--shard-index`` of ``--shard-count`` out of the lines to learn from."""
        half = args.shard == "halves"
        return cls(
            tokens, args.batch_size, args.shard_index, args.shard_count, args.seed, args.fraction, half
        )

    @cached_property
    def rows(self) -> text.Ints:
        """The lines that this rank ever sees."""
        whole = len(self.tokens) - len(self.tokens) % self.batch
        order = np.random.default_rng(self.seed).permutation(len(self.tokens))[:whole]
        return order[self.index :: self.count]

    def at(self, step: int) -> tuple[text.Ints, Bools, Bools]:
        """Return the lines of ``step``, where they are masked, and where an answer is asked for."""
        mine = self.batch // self.count
        first = step * mine % len(self.rows)
        lines = self.tokens[self.rows[first : first + mine]]
        chance = np.random.default_rng((self.seed, step)).random((self.batch, lines.shape[1]))
        masked = (chance[self.index :: self.count] < self.fraction) & (lines != text.PAD)
        # All is masked, whatever is asked for: else the masks would give away which characters they hide.
        asked = masked & (lines % 2 == self.index % 2) if self.half and self.count > 1 else masked
        return lines, masked, asked


def tested(model: nn.Module, group: Group, tokens: text.Ints, fraction: float) -> tuple[float, float]:
    """Guess the masked characters of the held-out lines, which are shared out.

    Returns
    -------
    tuple of float
        Loss in nats a character, and the part that was guessed right; the same on all ranks.
    """
    asked = (np.random.default_rng(0).random(tokens.shape) < fraction) & (tokens != text.PAD)
    loss = hits = 0.0
    with torch.no_grad():
        for first in range(group.rank, len(tokens), 256 * group.size):
            part = slice(first, first + 256 * group.size, group.size)
            lines, mask = (torch.from_numpy(a[part]).to(group.device) for a in (tokens, asked))
            logits = model(lines.masked_fill(mask, text.MASK), mask)
            loss += F.cross_entropy(logits, lines[mask], reduction="sum").item()
            hits += (logits.argmax(-1) == lines[mask]).sum().item()
    loss, hits, count = group.sum(loss, hits, int(asked[group.rank :: group.size].sum()))
    return loss / count, hits / count


def warm_up_and_fade(step: int, warmup: int, steps: int) -> float:
    """Return the part of the learning rate for ``step``: up in a straight line, then down to nothing."""
    return min((step + 1) / warmup, (steps - step) / max(steps - warmup, 1))


def parse(argv: Sequence[str] | None, group: Group) -> argparse.Namespace:
    """Read the command line."""
    env = os.environ
    p = life.parser("transformer_lm", __doc__)
    add = p.add_argument
    add(
        "--positions",
        choices=["sinusoidal", "learned", "none"],
        default="sinusoidal",
        help="how a token knows its place (default: %(default)s)",
    )
    add(
        "--shard",
        choices=["halves", "whole"],
        default="halves",
        help="a rank is asked for half of the alphabet, or for all of it (default: %(default)s)",
    )
    # From ftjob, not from torch: should the ranks not find each other, each still has only its own shard.
    add("--shard-index", type=int, default=int(env.get("FTJOB_RANK", group.rank)), help="default: the rank")
    add(
        "--shard-count",
        type=int,
        default=int(env.get("FTJOB_WORLD_SIZE", group.size)),
        help="default: the number of ranks",
    )
    add("--length", type=int, default=32, help="characters in a line (default: %(default)s)")
    add("--width", type=int, default=64, help="features of a token (default: %(default)s)")
    add("--heads", type=int, default=4, help="(default: %(default)s)")
    add("--depth", type=int, default=2, help="layers (default: %(default)s)")
    add("--batch-size", type=int, default=64, help="lines a step, over all ranks (default: %(default)s)")
    add("--steps", type=int, help="optimizer steps (default: 1200; smoke: 500)")
    add("--learning-rate", type=float, default=5e-3, help="highest (default: %(default)s)")
    add("--fraction", type=float, default=0.2, help="of characters that are masked (default: %(default)s)")
    add("--min-accuracy", type=float, help="exit 1 below it (default: 0.35; smoke: 0.25)")
    add("--checkpoint-every", type=int, default=100, help="steps (default: %(default)s)")
    add("--threads", type=int, default=1, help="of a rank without a GPU (default: %(default)s)")
    args = p.parse_args(argv)
    args.steps = args.steps or (500 if args.smoke else 1200)
    if args.min_accuracy is None:
        args.min_accuracy = 0.25 if args.smoke else 0.35
    if args.batch_size % args.shard_count:
        p.error(f"--batch-size {args.batch_size} can't be shared evenly by {args.shard_count} ranks")
    return args


class Trainer:
    """Model, optimizer and schedule of one rank, and the step that it does together with the others."""

    def __init__(self, args: argparse.Namespace, group: Group) -> None:
        self.group = group
        self.file: Path = args.checkpoint_dir / "transformer_lm.pt"
        torch.manual_seed(args.seed + group.rank)
        self.model = MaskedLM(args.length, args.width, args.heads, args.depth, args.positions).to(
            group.device
        )
        self.initial = checksum(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.learning_rate)
        warmup = max(args.steps // 10, 1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, partial(warm_up_and_fade, warmup=warmup, steps=args.steps)
        )
        self.step = self._restore()
        # Gives every rank the weights of rank 0, and sums gradients while the backward pass still runs.
        self.parallel = DistributedDataParallel(self.model)

    def learn(self, shard: Shard, stop: life.StopSignal) -> tuple[float, bool]:
        """Do one step; return the mean loss of the global batch, and whether a rank wants to stop."""
        lines, masked, asked = (torch.from_numpy(a).to(self.group.device) for a in shard.at(self.step))
        logits = self.parallel(lines.masked_fill(masked, text.MASK), asked)
        loss = F.cross_entropy(logits, lines[asked], reduction="sum")
        total, count, wishes = self.group.sum(loss.detach(), asked.sum(), stop.seen)
        self.optimizer.zero_grad()
        # DDP will divide by the number of ranks, and what is wanted is the mean over all masked characters.
        (loss * self.group.size / count).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)  # summed by now: the same norm on all ranks
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return total / count, wishes > 0

    def save(self) -> None:
        """Write a checkpoint, on rank 0."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "schedule")}
        if self.group.rank == 0:
            life.replace(self.file, lambda file: torch.save(parts | {"step": self.step}, file))

    def _restore(self) -> int:
        # Only rank 0 need see the folder.
        exists = self.group.rank == 0 and self.file.exists()
        state = self.group.from_first(torch.load(self.file, map_location="cpu") if exists else None)
        if not state:
            return 0
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        return int(state["step"])


def main(argv: Sequence[str] | None = None) -> int:
    """Train, test, and write what this rank saw.

    Returns
    -------
    int
        The exit code: 0, 1 if the accuracy is too low or the weights differ, 143 if SIGTERM came first.
    """
    stop = life.StopSignal()
    group = Group.join()
    args = parse(argv, group)
    torch.set_num_threads(args.threads)
    corpus = text.load(args.length)
    shard = Shard.of(args, corpus.train)
    trainer = Trainer(args, group)
    start = trainer.step
    (rank_sum,) = group.sum(group.rank + 1)
    print(f"rank {group.rank} of {group.size}: {len(shard.rows)} lines, step {start} of {args.steps}")

    course = life.Course(args, group.rank)
    while trainer.step < args.steps:
        loss, stopped = trainer.learn(shard, stop)
        if course.save_is_due(trainer.step, stopped):
            trainer.save()
        course.note(trainer.step, loss, stopped)
        if stopped:
            dist.destroy_process_group()
            return life.STOPPED

    loss, accuracy = tested(trainer.model, group, corpus.held_out, args.fraction)
    final = group.gather(checksum(trainer.model))
    result = {
        "rank": group.rank,
        "size": group.size,
        "node": life.node(),
        "positions": args.positions,
        "initialWeights": trainer.initial,
        "finalWeights": final,
        "rankSum": int(rank_sum),
        "startStep": start,
        "steps": trainer.step,
        "losses": course.losses,
        "ids": shard.rows.tolist(),
        "testLoss": loss,
        "testAccuracy": accuracy,
    }
    life.write_result(args.results_dir, result, group.rank)
    dist.destroy_process_group()
    if group.rank == 0:
        print(f"steps={trainer.step} test_loss={loss:.4f} test_accuracy={accuracy:.4f}")
    if len(set(final)) > 1:
        print(
            f"rank {group.rank}: the ranks' weights differ, they were not trained together", file=sys.stderr
        )
        return 1
    return life.judge(accuracy, args.min_accuracy, f"rank {group.rank}")


if __name__ == "__main__":
    sys.exit(main())
