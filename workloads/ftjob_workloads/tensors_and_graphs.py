"""The first parts of `tensors_autodiff`: what tensors hold, and that a graph computes what eager mode does.

* constants: default types, rounding, overflow, and that nothing is converted behind your back;
* the same function in eager mode and as a graph: equal results, one trace for each signature, control flow
  that depends on data.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ftjob_workloads import digits, life

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES = (tf.bfloat16, tf.float16, tf.float32, tf.float64)


def constants() -> dict[str, Any]:
    """Make tensors of several types and look at how they round, overflow and refuse to mix."""
    rounding = {}
    for dtype in DTYPES:
        # The distance from 1 to the next number: the last power of two that still changes it.
        step = tf.constant(1.0, dtype)
        while bool(1 + step / 2 > 1):
            step /= 2
        rounding[dtype.name] = float(step)
        print(f"{dtype.name:>9}: {dtype.size} bytes, 1 + {float(step):.2e} is the next number after 1")

    matrix = tf.constant([[1, 2], [3, 4]])
    life.require(
        matrix.dtype == tf.int32 and tf.constant(1.5).dtype == tf.float32, "default types have changed"
    )
    life.require(
        bool(tf.math.is_inf(tf.cast(tf.constant(70_000.0), tf.float16))), "float16 holds more than 65,504"
    )
    life.require(int(tf.constant(2**31 - 1) + 1) == -(2**31), "int32 does not wrap around")
    life.refuses(tf.errors.InvalidArgumentError, lambda: matrix + tf.constant(0.5), "int32 + float32")
    life.refuses(TypeError, partial(_assign, matrix), "item assignment to a constant")

    variable = tf.Variable(matrix)
    variable[0, 1].assign(20)
    ragged = tf.ragged.constant([[1, 2, 3], [], [4]])
    sparse = tf.sparse.from_dense([[0, 0, 5], [0, 6, 0]])
    words = tf.strings.split("constants of text are bytes")
    return {
        "rounding": rounding,
        "variable": variable.numpy().tolist(),
        "raggedRowSums": tf.reduce_sum(ragged, axis=1).numpy().tolist(),
        "sparseEntries": int(tf.shape(sparse.indices)[0]),
        "words": int(tf.size(words)),
    }


def eager_and_graph(repeats: int) -> dict[str, Any]:
    """Run one function in both modes; its loop ends when the data says so."""
    traces = []

    def root(a: tf.Tensor) -> tf.Tensor:
        """Principal square root of a positive definite matrix (Denman and Beavers)."""
        traces.append(a.shape)  # Python runs at each call in eager mode, but once a signature in a graph
        y, z, change = a, tf.eye(a.shape[0], dtype=a.dtype), tf.constant(1.0, a.dtype)
        while change > 1e-12:
            fresh = (y + tf.linalg.inv(z)) / 2
            z = (z + tf.linalg.inv(y)) / 2
            change, y = tf.norm(fresh - y) / tf.norm(fresh), fresh
        return y

    graph = tf.function(root)
    rows = digits.load()[0].images.reshape(-1, 64)[:, ::4].astype(np.float64)
    covariance = tf.constant(np.cov(rows, rowvar=False) + 0.1 * np.eye(rows.shape[1]))
    eager_seconds = seconds(lambda: root(covariance), repeats)
    in_eager_mode, traces[:] = len(traces), []
    graph_seconds = seconds(lambda: graph(covariance), repeats)
    in_graph_mode = len(traces)
    graph(covariance[:8, :8])  # another shape is another signature
    operations = {op.type for op in graph.get_concrete_function(covariance).graph.get_operations()}

    difference = float(tf.reduce_max(tf.abs(root(covariance) - graph(covariance))))
    error = float(tf.reduce_max(tf.abs(graph(covariance) @ graph(covariance) - covariance)))
    life.at_most("eager against graph", difference, 1e-12)
    life.at_most("root x root against the matrix", error, 1e-10)
    life.require(in_graph_mode == 1, f"one signature was traced {in_graph_mode} times")
    life.require(bool(operations & {"While", "StatelessWhile"}), "the graph holds no loop")
    print(f"eager {eager_seconds * 1e3:.2f} ms, graph {graph_seconds * 1e3:.2f} ms a call")
    return {
        "pythonRuns": {"eager": in_eager_mode, "graph": in_graph_mode, "graphOfTwoShapes": len(traces) - 1},
        "difference": difference,
        "error": error,
        "seconds": {"eager": eager_seconds, "graph": graph_seconds},
    }


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call; the first one, which may trace, does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _assign(tensor: tf.Tensor) -> None:
    tensor[0, 0] = 1
