"""Where TensorFlow runs what, and what XLA makes of it: eager mode, graph and ``jit_compile=True`` measured.

What it shows:

* physical devices, memory growth on GPUs, and the CPU split into logical devices; all of that is settled by
  the first use of a device, and refused afterwards;
* explicit placement of tensors, variables and parts of a graph, and copies between devices;
* soft placement: an operation for a device that is not there moves to one that is, or is an error;
* the same computations in eager mode, as a graph, and compiled by XLA, in alternating rounds. Their results
  are equal within rounding.

That XLA was at work is not taken from the clock: the compiled function must be marked so, its optimized HLO
must hold fused loops, and the plain graph must have no HLO at all.

    python -m ftjob_workloads.device_placement
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ftjob_workloads import digits, life, tensorflow_start

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

MODES = ("eager", "graph", "xla")
TOLERANCE = 1e-4
"""Largest difference between the modes, relative to the largest number: XLA adds in another order."""


def configure(logical_cpus: int) -> None:
    """Set up the devices; it must be the first thing that touches them."""
    tensorflow_start.let_memory_grow()
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * logical_cpus)


def devices(logical_cpus: int) -> dict[str, Any]:
    """List what there is; after the first use nothing can be changed any more."""
    physical = tf.config.list_physical_devices()
    logical = [device.name for device in tf.config.list_logical_devices()]
    gpus = [device for device in physical if device.device_type == "GPU"]
    details = {gpu.name: tf.config.experimental.get_device_details(gpu) for gpu in gpus}
    growth = {gpu.name: tf.config.experimental.get_memory_growth(gpu) for gpu in gpus}
    for device in physical:
        print(device.name, details.get(device.name, {}).get("device_name", ""))
    print(f"logical devices: {', '.join(logical)}")
    cpus = [name for name in logical if ":CPU:" in name]
    life.require(len(cpus) == logical_cpus, f"{logical_cpus} logical CPUs were asked for, not {cpus}")
    life.require(all(growth.values()), f"memory growth is off: {growth}")
    try:
        configure(logical_cpus + 1)
    except RuntimeError as error:
        late = str(error)
    else:
        raise life.Missed("devices could be changed after their first use")
    print(f"too late to change that: {late}")
    return {"physical": [d.name for d in physical], "logical": logical, "memoryGrowth": growth, "late": late}


def placement() -> dict[str, Any]:
    """Put tensors, a variable and parts of a graph on the last device, and copy between devices."""
    here, there = (tf.config.list_logical_devices()[i].name for i in (0, -1))
    images = digits.load()[0].images.reshape(-1, 64)
    with tf.device(there):
        tensor = tf.constant(images)
        product = tf.matmul(tensor, tensor, transpose_a=True)
        variable = tf.Variable(product)
    with tf.device(here):
        copy = tf.identity(product)

    @tf.function
    def two_places(x: tf.Tensor) -> tf.Tensor:
        with tf.device(there):
            first = tf.tanh(x)
        with tf.device(here):
            return tf.sinh(first)

    graph = two_places.get_concrete_function(tensor).graph
    in_graph = {op.type: op.device for op in graph.get_operations() if op.type in {"Tanh", "Sinh"}}
    found = {
        "tensor": tensor.device,
        "product": product.device,
        "variable": variable.device,
        "copy": copy.device,
    }
    for what, device in found.items():
        print(f"{what:>8} is on {device}")
    expected = {"tensor": there, "product": there, "variable": there, "copy": here}
    life.require(
        all(found[what].endswith(device) for what, device in expected.items()), f"misplaced: {found}"
    )
    life.require(in_graph == {"Tanh": there, "Sinh": here}, f"misplaced in the graph: {in_graph}")
    error = _difference([two_places(tensor).numpy()], [np.sinh(np.tanh(images))])
    life.require(error <= TOLERANCE, f"the copies between devices changed the result by {error:.1e}")
    return {"here": here, "there": there, "eager": found, "graph": in_graph}


def soft_placement() -> dict[str, Any]:
    """Ask for a device that is not there, with and without soft placement."""
    missing = f"GPU:{len(tf.config.list_physical_devices('GPU'))}"

    def there() -> tf.Tensor:
        with tf.device(missing):
            return tf.constant([1.0, 2.0]) + 1

    before = tf.config.get_soft_device_placement()
    outcome = {}
    try:
        tf.config.set_soft_device_placement(False)
        for name, call in (("eager", there), ("graph", tf.function(there))):
            try:
                call()
            except tf.errors.InvalidArgumentError as error:
                outcome[name] = str(error).partition("\n")[0]
            else:
                raise life.Missed(f"{name}: {missing} does not exist, and yet it was used")
        tf.config.set_soft_device_placement(True)
        moved = there().device
        graph_sum = float(tf.reduce_sum(tf.function(there)()))
    finally:
        tf.config.set_soft_device_placement(before)
    print(f"hard: {outcome['eager'][:100]}\nsoft: {missing} is {moved}")
    life.require(graph_sum == 5.0, f"the moved graph says {graph_sum}")
    return {"missing": missing, "hard": outcome, "softDevice": moved}


@dataclass(frozen=True)
class Task:
    """Something to compute, which starts anew at each `reset`."""

    compute: Callable[..., tf.Tensor]
    args: tuple[tf.Tensor, ...]
    weights: tuple[tf.Variable, ...] = ()

    @classmethod
    def elementwise(cls, samples: int) -> Task:
        """Standardize and squash pixels: a dozen element-wise operations, nothing to compute but memory."""

        def compute(x: tf.Tensor) -> tf.Tensor:
            mean, variance = tf.nn.moments(x, axes=1, keepdims=True)
            x = (x - mean) * tf.math.rsqrt(variance + 1e-3)
            return tf.tanh(0.8 * (x + 0.05 * x**3)) * x * 0.5 + x**2 / (1 + tf.abs(x))

        return cls(compute, (tf.constant(_rows(samples)[0]),))

    @classmethod
    def training_step(cls, samples: int, seed: int) -> Task:
        """Do one step of a small network on scanned digits, gradient and update included."""
        random = np.random.default_rng(seed)
        w1, w2 = (
            tf.Variable((random.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32))
            for shape in ((64, 128), (128, digits.CLASSES))
        )

        def compute(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                logits = tf.nn.gelu(x @ w1) @ w2
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
            for weight, gradient in zip((w1, w2), tape.gradient(loss, (w1, w2)), strict=True):
                weight.assign_sub(0.5 * tf.clip_by_norm(gradient, 1.0))
            return loss

        rows, labels = _rows(samples)
        return cls(compute, (tf.constant(rows), tf.constant(labels)), (w1, w2))

    def modes(self) -> Mapping[str, Any]:
        """Return the same computation in its three modes."""
        graph = tf.function(self.compute)
        return dict(
            zip(MODES, (self.compute, graph, tf.function(self.compute, jit_compile=True)), strict=True)
        )


def compiled(task: Task, rounds: int, calls: int) -> dict[str, Any]:
    """Compare the three modes of a task: results, time, and what XLA made of it."""
    modes = task.modes()
    start = [weight.numpy() for weight in task.weights]
    results: dict[str, list[Any]] = {}
    first_call: dict[str, float] = {}
    for mode, call in modes.items():
        _restore(task, start)
        began = time.perf_counter()
        call(*task.args)
        first_call[mode] = time.perf_counter() - began  # tracing and compiling
        output = [call(*task.args).numpy() for _ in range(10)][-1]
        results[mode] = [output, *(weight.numpy() for weight in task.weights)]
    differences = {mode: _difference(results[mode], results["eager"]) for mode in ("graph", "xla")}
    for mode, difference in differences.items():
        life.require(difference <= TOLERANCE, f"{mode} and eager mode differ by {difference:.1e}")

    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(rounds):  # alternating: what else the machine does hits all modes alike
        for mode, call in modes.items():
            began = time.perf_counter()
            for _ in range(calls):
                result = call(*task.args)
            result.numpy()  # a GPU computes while Python goes on
            times[mode].append((time.perf_counter() - began) / calls)
    medians = {mode: float(np.median(times[mode])) for mode in MODES}
    print(f"{'':>8} {'first call':>12} {'median call':>12} {'against eager':>14}")
    for mode in MODES:
        ratio = medians["eager"] / medians[mode]
        print(f"{mode:>8} {first_call[mode] * 1e3:9.2f} ms {medians[mode] * 1e6:9.0f} us {ratio:12.2f} x")
    return {
        "differences": differences,
        "firstCallSeconds": first_call,
        "seconds": medians,
        **proof(modes, task.args),
    }


def proof(modes: Mapping[str, Any], args: tuple[tf.Tensor, ...]) -> dict[str, Any]:
    """Prove by its HLO that XLA compiled the function, and that the plain graph was left alone."""
    graph, xla = modes["graph"], modes["xla"]
    marks = {
        mode: function.get_concrete_function(*args).function_def.attr["_XlaMustCompile"].b
        for mode, function in (("graph", graph), ("xla", xla))
    }
    life.require(marks == {"graph": False, "xla": True}, f"marked to be compiled: {marks}")
    try:
        graph.experimental_get_compiler_ir(*args)(stage="hlo")
    except ValueError as error:
        refused = str(error)
    else:
        raise life.Missed("the plain graph has an HLO: it is compiled too")
    before = xla.experimental_get_compiler_ir(*args)(stage="hlo")
    after = xla.experimental_get_compiler_ir(*args)(stage="optimized_hlo")
    entry = after[after.index("\nENTRY ") :]
    operations = len(graph.get_concrete_function(*args).graph.get_operations())
    fusions = len(re.findall(r"= \S+ fusion\(", after))
    kernels = len(re.findall(r"= \S+ (?:fusion|call|custom-call|dot|reduce|convolution)\(", entry))
    life.require(after.startswith("HloModule ") and before.startswith("HloModule "), "that is no HLO")
    life.require(fusions > 0, "XLA has fused nothing")
    print(
        f"HLO: {operations} operations of the graph became {kernels} kernels, {fusions} of them fused loops"
    )
    return {
        "graphOperations": operations,
        "hloInstructions": before.count(" = "),
        "kernels": kernels,
        "fusions": fusions,
        "graphRefuses": refused,
        "hlo": after.partition("\n")[0],
    }


def _rows(samples: int) -> tuple[digits.Floats, digits.Ints]:
    learn, _ = digits.load()
    ids = np.arange(samples) % len(learn.labels)
    return learn.images[ids].reshape(-1, 64), learn.labels[ids]


def _restore(task: Task, values: Sequence[Any]) -> None:
    for weight, value in zip(task.weights, values, strict=True):
        weight.assign(value)


def _difference(a: Sequence[Any], b: Sequence[Any]) -> float:
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in zip(a, b, strict=True))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = life.parser("device_placement", __doc__)
    add = p.add_argument
    add("--logical-cpus", type=int, default=2, help="to split the CPU into (default: %(default)s)")
    add("--samples", type=int, default=4096, help="rows of each measured computation (default: %(default)s)")
    add("--rounds", type=int, default=15, help="of measuring (default: %(default)s)")
    add("--calls", type=int, default=20, help="of each mode in a round (default: %(default)s)")
    args = p.parse_args(argv)
    if args.smoke:
        args.rounds, args.calls = 5, 5
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Look at devices, then measure, and write what was found.

    Returns
    -------
    int
        The exit code: 0, 1 if a check failed, 143 if SIGTERM came first.
    """
    args = parse(argv)
    configure(args.logical_cpus)
    tf.config.list_logical_devices()  # the first use: a resumed run must be as settled as a fresh one
    step = Task.training_step(args.samples, args.seed)
    chain = Task.elementwise(args.samples)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "devices": partial(devices, args.logical_cpus),
        "placement": placement,
        "softPlacement": soft_placement,
        "elementwise": partial(compiled, chain, args.rounds, args.calls),
        "trainingStep": partial(compiled, step, args.rounds, args.calls),
    }
    return life.do_parts(args, parts)


if __name__ == "__main__":
    sys.exit(main())
