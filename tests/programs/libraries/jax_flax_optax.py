"""A model of Flax, an optimizer of Optax, a step that JAX compiles."""

import jax
import jax.numpy as jnp
import optax
from flax import linen


class Net(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(1)(linen.relu(linen.Dense(16)(x)))


net, optimizer = Net(), optax.adamw(0.01)
x = jax.random.normal(jax.random.key(1), (16, 8))
parameters = net.init(jax.random.key(2), x)
state = optimizer.init(parameters)


@jax.jit
def train(parameters, state, x):
    def loss_of(parameters):
        return jnp.mean((net.apply(parameters, x) - x.sum(1, keepdims=True)) ** 2)

    loss, gradients = jax.value_and_grad(loss_of)(parameters)
    updates, state = optimizer.update(gradients, state, parameters)
    return optax.apply_updates(parameters, updates), state, loss


for step in range(12):
    parameters, state, loss = train(parameters, state, jax.random.normal(jax.random.key(step), (16, 8)))
    print(f"rank 0 step {step} loss {float(loss)!r}\n", end="", flush=True)
