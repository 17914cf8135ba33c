"""A training with TensorFlow as people write it: ``keras`` (one rank), ``multiworker``, ``horovod-tf``."""

from __future__ import annotations

import os
import sys
from typing import Any

MODE = sys.argv[1]
if MODE == "horovod-tf":
    os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
from insight.planted import Planted, burn

RANK, RANKS = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
planted = Planted(RANK, RANKS)


def work(x: Any) -> Any:
    """Compute inside the graph, as layers do."""

    def compute() -> np.float32:
        assert planted.current is not None
        burn(planted.current["work"] * 0.8)
        planted.at("forward")
        return np.float32(0.0)

    done = tf.numpy_function(compute, [], tf.float32)
    done.set_shape(())
    return x + done


def batches() -> Any:
    """Yield what the generator makes; nothing is loaded ahead."""

    def generate() -> Any:
        while True:
            planted.at("input")
            yield np.ones((1, 16), np.float32), np.zeros((1, 4), np.float32)

    spec = (tf.TensorSpec((1, 16), tf.float32), tf.TensorSpec((1, 4), tf.float32))
    return tf.data.Dataset.from_generator(generate, output_signature=spec)


def model() -> Any:
    inputs = tf.keras.Input((16,))
    worked = tf.keras.layers.Lambda(work, output_shape=(16,))(inputs)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(4)(worked))


def by_fit(strategy: Any) -> None:
    """Train by `fit`, in the library's own loop."""
    steps = planted.steps()

    class Passing(tf.keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            next(steps)

    total = sum(each["steps"] for each in planted.placements)
    with strategy.scope():
        trained = model()
        trained.compile(optimizer="sgd", loss="mse")
    trained.fit(batches(), epochs=1, steps_per_epoch=total, verbose=0, callbacks=[Passing()])
    next(steps, None)


def by_hand() -> None:
    """Train with Horovod in a loop of one's own."""
    import horovod.tensorflow as hvd

    hvd.init()
    trained, optimizer = model(), tf.keras.optimizers.SGD(0.01)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with hvd.DistributedGradientTape(tf.GradientTape()) as tape:
            loss = tf.reduce_mean(tf.square(trained(x) - y))
        grads = tape.gradient(loss, trained.trainable_variables)
        optimizer.apply_gradients(zip(grads, trained.trainable_variables))
        return loss

    data = iter(batches())
    for _ in planted.steps():
        step(*next(data))


if MODE == "horovod-tf":
    by_hand()
elif MODE == "multiworker":
    by_fit(tf.distribute.MultiWorkerMirroredStrategy())
else:
    by_fit(tf.distribute.get_strategy())
