"""What the programs with several ranks have in common: options, and the ranks' shares of the digits."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ftjob_workloads import life

if TYPE_CHECKING:
    import argparse

    from ftjob_workloads import digits


@dataclass(frozen=True)
class Shard:
    """One rank's part of the training data, and the order in which it is used."""

    rows: digits.Ints
    batch: int
    seed: int | None
    """None: always the same order."""

    @classmethod
    def of(cls, args: argparse.Namespace, labels: digits.Ints) -> Shard:
        """Cut shard ``--shard-index`` of ``--shard-count`` out of the training data."""
        index, count = args.shard_index, args.shard_count
        if args.shard == "classes":
            rows = np.flatnonzero(labels % count == index)
        else:
            # Equal lengths: then the ranks' k-th batches together are the k-th batch of one rank alone.
            rows = np.arange(index, len(labels) - len(labels) % count, count)
        if len(rows) < args.batch_size:
            sys.exit(
                f"shard {index} of {count} has {len(rows)} samples, less than --batch-size: use fewer ranks"
            )
        return cls(rows, args.batch_size, None if args.fixed_order else args.seed + index)

    def at(self, step: int) -> digits.Ints:
        """Return the batch of ``step``, a function of the step: a resumed run needs no other state."""
        epoch, index = divmod(step, len(self.rows) // self.batch)
        rows = (
            self.rows
            if self.seed is None
            else np.random.default_rng((self.seed, epoch)).permutation(self.rows)
        )
        return rows[index * self.batch : (index + 1) * self.batch]

    def contents(self, data: digits.Digits) -> dict[str, list[Any]]:
        """Return which samples of the training data these are, for the rank's result."""
        return {
            "ids": data.ids[self.rows].tolist(),
            "classes": np.unique(data.labels[self.rows]).tolist(),
        }


def shard_parser(prog: str, doc: str | None, rank: int, size: int) -> argparse.ArgumentParser:
    """Return a parser with the options of a program that shares the digits out; `Shard.of` reads some.

    The default size is that of ``--smoke``.

    Parameters
    ----------
    prog, doc
        The module's name and docstring.
    rank, size
        What the framework says that this process is.
    """
    env = os.environ
    p = life.parser(prog, doc)
    add = p.add_argument
    add(
        "--shard",
        choices=["classes", "interleave"],
        default="classes",
        help="rank r sees its own digits only, or every n-th sample (default: %(default)s)",
    )
    # From ftjob, not the framework: should the ranks not find each other, each still has only its own shard.
    add("--shard-index", type=int, default=int(env.get("FTJOB_RANK", rank)), help="default: the rank")
    add(
        "--shard-count",
        type=int,
        default=int(env.get("FTJOB_WORLD_SIZE", size)),
        help="default: the number of ranks",
    )
    add("--fixed-order", action="store_true", help="do not shuffle")
    add("--batch-size", type=int, default=16, help="samples a step on each rank (default: %(default)s)")
    add("--steps", type=int, default=300, help="optimizer steps (default: %(default)s)")
    add("--learning-rate", type=float, default=0.02, help="of one rank (default: %(default)s)")
    add("--min-accuracy", type=float, default=0.9, help="exit 1 below it (default: %(default)s)")
    add("--checkpoint-every", type=int, default=100, help="steps (default: %(default)s)")
    return p


def parser(prog: str, doc: str | None, rank: int, size: int) -> argparse.ArgumentParser:
    """Return `shard_parser` with what the Horovod programs need in addition: the learning rate's course."""
    p = shard_parser(prog, doc, rank, size)
    p.add_argument(
        "--lr-schedule",
        choices=["warmup", "constant"],
        default="warmup",
        help="rise to ranks x rate and fade, or not (default: %(default)s)",
    )
    p.add_argument("--warmup-steps", type=int, default=60, help="(default: %(default)s)")
    return p
