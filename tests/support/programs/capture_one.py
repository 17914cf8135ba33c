"""One rank of TensorFlow or JAX that works until the file GO is gone: `capture_one.py FRAMEWORK GO`."""

import sys
import time
from pathlib import Path


def tensorflow(go: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415  one of them

    variable = tf.Variable(tf.ones((8, 8)))
    optimizer = tf.keras.optimizers.SGD(0.001)

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(variable * variable)
        optimizer.apply_gradients([(tape.gradient(loss, variable), variable)])

    while go.exists():
        step()
        time.sleep(0.02)


def jax(go: Path) -> None:
    import jax as framework  # noqa: PLC0415

    double = framework.jit(lambda x: x @ x)
    x = framework.numpy.ones((64, 64)) / 64
    Path("up").touch()
    while go.exists():
        x = double(x).block_until_ready()
        time.sleep(0.01)


{"tensorflow": tensorflow, "jax": jax}[sys.argv[1]](Path(sys.argv[2]))
