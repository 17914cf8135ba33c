"""TensorFlow training that knows nothing of ftjob, in several styles; under Horovod if HOROVOD_RANK is set.

Prints `STEPS=<its optimizer's own count>` at the end.
"""

import argparse
import os
import signal
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

MODES = ["eager", "function", "jit", "mirrored", "fit", "fit-spe", "two-optimizers", "accumulate"]
BATCH = 32

parser = argparse.ArgumentParser()
parser.add_argument("--mode", choices=MODES, default="function")
parser.add_argument("--steps", type=int, default=50)
parser.add_argument("--step-seconds", type=float, default=0.0)
parser.add_argument("--fail-rank", type=int)
parser.add_argument("--fail-how", choices=["exception", "exit", "sigkill"], default="exception")
parser.add_argument("--fail-step", type=int, default=10)
args = parser.parse_args()
horovod = "HOROVOD_RANK" in os.environ
rank = int(os.environ.get("FTJOB_RANK", os.environ.get("HOROVOD_RANK", "0")))
parts = 4 if args.mode == "accumulate" else 1

if horovod:
    if args.mode in {"jit", "mirrored", "fit", "fit-spe"}:
        parser.error(f"--mode {args.mode} does not go with Horovod")
    import horovod.tensorflow as hvd

    hvd.init()
if args.mode == "mirrored":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

keras.utils.set_random_seed(rank)
pixels, digits = load_digits(return_X_y=True)
x, y = (pixels / 16.0).astype(np.float32), digits.astype(np.int64)
strategy = tf.distribute.MirroredStrategy() if args.mode == "mirrored" else tf.distribute.get_strategy()
with strategy.scope():
    hidden, out = keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)
    model = keras.Sequential([keras.Input((64,)), hidden, out])
    layers = [hidden, out] if args.mode == "two-optimizers" else [model]
    optimizers = [keras.optimizers.Adam(1e-3) for _ in layers]
    for part, optimizer in zip(layers, optimizers, strict=True):
        optimizer.build(part.trainable_variables)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def fail_if_due(step: int) -> None:
    if rank != args.fail_rank or step != args.fail_step:
        return
    print(f"fails at {time.time()}", flush=True)
    if args.fail_how == "exit":
        os._exit(7)
    if args.fail_how == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError(f"rank {rank} fails on purpose at step {args.fail_step}")


def train_step(images: Any, labels: Any) -> Any:
    """Learn from `parts` batches in one step."""
    sums: list[Any] = [0.0] * len(model.trainable_variables)
    for batch, classes in zip(tf.split(images, parts), tf.split(labels, parts), strict=True):
        with tf.GradientTape() as tape:
            loss = entropy(classes, model(batch, training=True)) / parts
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        sums = [total + gradient for total, gradient in zip(sums, gradients, strict=True)]
    if horovod:
        sums = [hvd.allreduce(gradient, name=f"gradient.{i}") for i, gradient in enumerate(sums)]
    of = {v.path: gradient for v, gradient in zip(model.trainable_variables, sums, strict=True)}
    for layer, opt in zip(layers, optimizers, strict=True):
        opt.apply([of[v.path] for v in layer.trainable_variables], layer.trainable_variables)
    return loss


class EachStep(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        fail_if_due(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        time.sleep(args.step_seconds)


def rows(step: int) -> Any:
    return np.arange(BATCH * parts * step, BATCH * parts * (step + 1)) % len(x)


if args.mode in {"fit", "fit-spe"}:
    order = np.concatenate([rows(step) for step in range(args.steps)])
    spe = 4 if args.mode == "fit-spe" else 1
    model.compile(optimizers[0], loss=entropy, steps_per_execution=spe, jit_compile=False)
    model.fit(x[order], y[order], batch_size=BATCH, shuffle=False, verbose=0, callbacks=[EachStep()])
else:
    run = train_step
    if args.mode == "mirrored":
        run = tf.function(lambda images, labels: strategy.run(train_step, args=(images, labels)))
    elif args.mode != "eager":
        run = tf.function(train_step, jit_compile=args.mode == "jit")
    for number in range(args.steps):
        fail_if_due(number)
        chosen = rows(number * (hvd.size() if horovod else 1) + (rank if horovod else 0))
        run(x[chosen], y[chosen])
        time.sleep(args.step_seconds)

print(f"STEPS={int(optimizers[0].iterations.numpy())}")
