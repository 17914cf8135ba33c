"""Train with JAX in several processes: one mesh over the devices of all, and ``jax.jit`` does the rest.

What it shows:

* ``jax.distributed.initialize`` with everything passed explicitly (by itself it looks at
  ``JAX_COORDINATOR_ADDRESS`` alone), or found by JAX on TPU hosts; a TPU is used where there is one;
* data parallelism by sharding: each process puts its own samples into one global array, the weights are
  replicated, and the compiler adds the all-reduce;
* processes that begin with different weights, until process 0's are broadcast (or what it read from its
  checkpoint);
* a ``psum`` of values that differ from process to process, as a proof that they are one;
* the wish to stop as one more array of the step, so that all processes leave at the same one.

By default (``--shard classes``) process r of n learns from the digits r, r + n, r + 2n… alone. Two processes
reach a test accuracy of 0.98 all the same, and 0.92 is demanded; a process that is alone knows five
digits and ends below 0.5.

    python -m ftjob_workloads.jax_digits      # one process; JAX_* variables make it one of several
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ftjob_workloads import digits, life
from ftjob_workloads.shards import Shard, shard_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Step = Callable[..., tuple["State", jax.Array, jax.Array]]

MOMENTUM = 0.9
HIDDEN = 128
SPLIT = PartitionSpec("data")  # type: ignore[no-untyped-call]
WHOLE = PartitionSpec()  # type: ignore[no-untyped-call]


Array = jax.Array | np.ndarray[Any, Any]


class State(NamedTuple):
    """What training changes."""

    weights: dict[str, Array]
    velocity: dict[str, Array]
    step: Array


def join(cpu_devices: int) -> None:
    """Become one of the job's processes, if there are several."""
    jax.config.update("jax_num_cpu_devices", cpu_devices)  # type: ignore[no-untyped-call]
    env = os.environ
    if "JAX_COORDINATOR_ADDRESS" in env:
        jax.distributed.initialize(
            env["JAX_COORDINATOR_ADDRESS"], int(env["JAX_NUM_PROCESSES"]), int(env["JAX_PROCESS_ID"])
        )
    elif "," in env.get("TPU_WORKER_HOSTNAMES", ""):
        jax.distributed.initialize()  # the hosts of a TPU slice know each other


def initial(seed: int) -> State:
    """Return random weights (He and others, 2015), on this process."""
    random = np.random.default_rng(seed)
    shapes = {"w1": (64, HIDDEN), "b1": (HIDDEN,), "w2": (HIDDEN, digits.CLASSES), "b2": (digits.CLASSES,)}
    weights = {
        name: (random.normal(size=shape) * np.sqrt(2 / shape[0]) * (len(shape) > 1)).astype(np.float32)
        for name, shape in shapes.items()
    }
    return State(weights, {name: np.zeros_like(w) for name, w in weights.items()}, np.zeros((), np.int32))


def logits(weights: dict[str, Array], images: Array) -> jax.Array:
    """Return the network's output for images (n, 8, 8, 1)."""
    x = images.reshape(len(images), -1)
    x = jax.nn.relu(x @ weights["w1"] + weights["b1"])
    return x @ weights["w2"] + weights["b2"]


def learn(
    rate: float, state: State, images: jax.Array, labels: jax.Array, wishes: jax.Array
) -> tuple[State, jax.Array, jax.Array]:
    """Do one step with the global batch; return its loss, and how many devices' processes want to stop."""

    def loss_of(weights: dict[str, Array]) -> jax.Array:
        chances = jax.nn.log_softmax(logits(weights, images))
        return -jnp.mean(jnp.take_along_axis(chances, labels[:, None], axis=1))

    loss, gradients = jax.value_and_grad(loss_of)(state.weights)
    velocity = jax.tree.map(lambda v, g: MOMENTUM * v - rate * g, state.velocity, gradients)
    weights = jax.tree.map(jnp.add, state.weights, velocity)
    return State(weights, velocity, state.step + 1), loss, jnp.sum(wishes)


def _sum_over_devices(x: jax.Array) -> jax.Array:
    total: jax.Array = jax.lax.psum(x, "data")  # type: ignore[no-untyped-call]
    return total


class Devices:
    """The devices of all processes in one row, and how arrays lie on them."""

    def __init__(self, batch: int) -> None:
        self.kind = jax.devices()[0].platform
        found = f"using {jax.device_count()} x {self.kind} of {jax.process_count()} processes"
        print(found if self.kind == "tpu" else f"no TPU here, {found}")
        mine = jax.local_device_count()
        if batch % mine:
            sys.exit(f"--batch-size {batch} can't be shared by {mine} devices evenly")
        self.mesh = Mesh(np.array(jax.devices()), ("data",))
        self.split = NamedSharding(self.mesh, SPLIT)
        self.replicated = NamedSharding(self.mesh, WHOLE)

    def replicate(self, tree: Any) -> Any:
        """Give every device process 0's values."""
        tree = multihost_utils.broadcast_one_to_all(tree)
        return jax.tree.map(partial(jax.make_array_from_process_local_data, self.replicated), tree)

    def share(self, mine: np.ndarray[Any, Any]) -> jax.Array:
        """Return the global array to which each process has given its part, shared out to its devices."""
        whole: jax.Array = jax.make_array_from_process_local_data(self.split, mine)  # type: ignore[no-untyped-call]
        return whole

    def batch(self, data: digits.Digits, rows: digits.Ints) -> tuple[jax.Array, jax.Array]:
        """Return images and labels of the global batch to which each process gives these rows of its own."""
        return self.share(data.images[rows]), self.share(data.labels[rows].astype(np.int32))

    def compile(self, step: Step) -> Step:
        """Return a step of all devices together, which all end with the same state."""
        together: Step = jax.jit(step, out_shardings=self.replicated, donate_argnames="state")
        return together

    def total(self, value: float) -> float:
        """Add up the processes' values with `psum`."""
        mine = np.zeros(jax.local_device_count(), np.float32)
        mine[0] = value
        add = jax.shard_map(_sum_over_devices, mesh=self.mesh, in_specs=SPLIT, out_specs=WHOLE)
        return float(jax.jit(add)(self.share(mine))[0])


def save(path: Path, state: State) -> None:
    """Write a checkpoint; call it on process 0 only."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    life.replace(path, lambda fresh: np.savez(fresh, *leaves))


def restore(path: Path, like: State) -> State:
    """Read a checkpoint of a state with the same structure."""
    with np.load(path) as file:
        leaves = [file[name] for name in file.files]
    state: State = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return state


def checksum(state: State) -> str:
    """Fingerprint of the weights, equal only if every bit is."""
    return life.checksum(np.asarray(leaf) for leaf in jax.tree.leaves(state.weights))


def accuracy(state: State, part: digits.Digits) -> float:
    """Test on this process."""
    weights = jax.tree.map(np.asarray, state.weights)
    return float(np.mean(np.argmax(logits(weights, part.images), axis=-1) == part.labels))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    env = os.environ
    p = shard_parser(
        "jax_digits", __doc__, int(env.get("JAX_PROCESS_ID", "0")), int(env.get("JAX_NUM_PROCESSES", "1"))
    )
    p.add_argument(
        "--cpu-devices",
        type=int,
        default=1,
        help="of each process, where there is no TPU or GPU (default: 1)",
    )
    p.set_defaults(batch_size=32, learning_rate=0.05, min_accuracy=0.92)
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, test, and write what this process saw.

    Returns
    -------
    int
        The exit code: 0, 1 if the accuracy is too low, 143 if SIGTERM came first.
    """
    args = parse(argv)
    join(args.cpu_devices)
    stop = life.StopSignal()
    rank, size = jax.process_index(), jax.process_count()
    devices = Devices(args.batch_size)
    data, test = digits.load()
    shard = Shard.of(args, data.labels)
    rank_sum = devices.total(rank + 1)

    state = initial(args.seed + rank)
    initial_weights = checksum(state)
    checkpoint = args.checkpoint_dir / "state.npz"
    if rank == 0 and checkpoint.exists():
        state = restore(checkpoint, state)
    state = devices.replicate(state)
    start = int(state.step)
    print(f"process {rank} of {size}: {len(shard.rows)} samples, starting at step {start} of {args.steps}")

    course = life.Course(args, rank, who="process")
    learn_together = devices.compile(partial(learn, args.learning_rate))
    for step in range(start, args.steps):
        images, labels = devices.batch(data, shard.at(step))
        wish = devices.share(np.full(jax.local_device_count(), stop.seen, np.float32))
        state, loss, wishes = learn_together(state=state, images=images, labels=labels, wishes=wish)
        done, stopped = step + 1, float(wishes) > 0
        if rank == 0 and course.save_is_due(done, stopped):
            save(checkpoint, state)
        course.note(done, float(loss), stopped)
        if stopped:
            return life.STOPPED

    reached = accuracy(state, test)
    result = {
        "rank": rank,
        "size": size,
        "node": life.node(),
        "platform": devices.kind,
        "devices": jax.device_count(),
        "initialWeights": initial_weights,
        "finalWeights": checksum(state),
        "rankSum": rank_sum,
        "startStep": start,
        "steps": int(state.step),
        "losses": course.losses,
        **shard.contents(data),
        "testAccuracy": reached,
    }
    life.write_result(args.results_dir, result, rank)
    if rank == 0:
        np.savez(args.results_dir / "weights.npz", **jax.tree.map(np.asarray, state.weights))
        print(f"steps={int(state.step)} test_accuracy={reached:.4f}")
    return life.judge(reached, args.min_accuracy, f"process {rank}")


if __name__ == "__main__":
    sys.exit(main())
