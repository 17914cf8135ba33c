"""Trains a small model with JAX for ever, as one rank of several, and marks its steps for JAX' profiler.

`trace_jax.py slow` marks none, as most programs do, and rank 1 takes longer for each.
"""

import contextlib
import itertools
import sys
import time
from typing import Any

import jax as half_typed
import numpy as np

jax: Any = half_typed
jnp = jax.numpy
jax.config.update("jax_platforms", "cpu")
jax.distributed.initialize()
is_slow = sys.argv[1:] == ["slow"]
pause = 0.25 + 0.1 * (is_slow and jax.process_index() == 1)  # so that seconds are few steps
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
parts = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))


@jax.jit
def train(weights: Any, x: Any) -> Any:
    def loss_of(weights: Any) -> Any:
        return jnp.mean((jnp.tanh(x @ weights[0]) @ weights[1] - x.sum(1, keepdims=True)) ** 2)

    gradients = jax.grad(loss_of)(weights)
    return tuple(weight - 0.01 * gradient for weight, gradient in zip(weights, gradients, strict=True))


weights: Any = jnp.full((64, 128), 0.1), jnp.full((128, 1), 0.1)
for step in itertools.count():
    # It begins when it is made.
    with contextlib.nullcontext() if is_slow else jax.profiler.StepTraceAnnotation("train", step_num=step):
        rows = np.random.default_rng([step, jax.process_index()]).normal(size=(256, 64)).astype("float32")
        weights = train(weights, jax.make_array_from_process_local_data(parts, rows))
        jax.block_until_ready(weights)
        time.sleep(pause)
    if step == 3:
        print("training", flush=True)
