"""A training with JAX as people write it: one mesh over all processes; the compiler adds the all-reduce."""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp
import numpy as np
from insight.planted import Planted
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

env = os.environ
jax.config.update("jax_platforms", "cpu")
jax.distributed.initialize(
    env["JAX_COORDINATOR_ADDRESS"], int(env["JAX_NUM_PROCESSES"]), int(env["JAX_PROCESS_ID"])
)
planted = Planted(jax.process_index(), jax.process_count())
mesh = Mesh(np.array(jax.devices()), ("data",))
split, whole = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())


def photos():
    while True:
        planted.at("input")
        yield np.full((4, 64), planted.rank / 7.0, np.float32)


@jax.jit
def step(weights, batch):
    def loss(weights):
        return jnp.mean(jnp.square(jax.nn.relu(batch @ weights["first"]) @ weights["second"]))

    return jax.tree.map(lambda w, g: w - 0.01 * g, weights, jax.grad(loss)(weights))


def main() -> None:
    chance = np.random.default_rng(0)
    shapes = {"first": (64, 128), "second": (128, 8)}
    weights = {name: chance.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights = {name: jax.make_array_from_process_local_data(whole, each) for name, each in weights.items()}
    batches = photos()
    for _ in planted.steps():
        batch = jax.make_array_from_process_local_data(split, next(batches))
        planted.work(1.0)
        planted.at("forward")
        weights = jax.block_until_ready(step(weights, batch))
    multihost_utils.sync_global_devices("done")
    jax.distributed.shutdown()


main()
