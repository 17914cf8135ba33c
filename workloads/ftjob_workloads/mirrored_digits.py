"""Train a Keras 3 model on all devices of one machine: ``MirroredStrategy`` and a custom ``train_step``.

What it shows, each in the place where people get it wrong:

* gradients are clipped *after* they are summed over the replicas, so that N devices do what one device does
  with the same global batch: losses and weights are the same;
* a custom ``train_step`` feeds the loss metric the whole loss, not the loss divided by the number of
  replicas;
* the order of the samples is a function of seed and step: a run that was stopped goes on with the next
  sample;
* SIGTERM (what Kubernetes sends before it takes a pod away) saves at once and exits with 143.

Each global batch is laid out so that the first replica gets its lowest digits and the last one its highest.
Added up, the gradients are those of any other layout, but a replica left alone would know only its own
digits. With 2 devices and the defaults the program reaches a test accuracy of 0.98 to 0.99 and demands
0.95; if the exchange between the replicas is broken it ends between 0.6 and 0.7.

    python -m ftjob_workloads.mirrored_digits --devices 2
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ftjob_workloads import digits, life, tensorflow_start

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


@keras.saving.register_keras_serializable("ftjob")
class WorstClassRecall(keras.metrics.Metric):
    """Recall of the class that is recognized worst: a good mean can hide one bad digit.

    Its two counters are plain sums, so that what the replicas counted can be added.
    """

    def __init__(self, classes: int = digits.CLASSES, name: str = "worst_recall", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.hits = self.add_weight(shape=(classes,), initializer="zeros", name="hits")
        self.seen = self.add_weight(shape=(classes,), initializer="zeros", name="seen")

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        """Count the samples of each class, and those that were recognized."""
        labels = keras.ops.one_hot(keras.ops.reshape(y_true, (-1,)), self.classes)
        hit = keras.ops.cast(
            keras.ops.equal(keras.ops.argmax(y_pred, -1), keras.ops.reshape(y_true, (-1,))), "float32"
        )
        weight = (
            keras.ops.ones_like(hit) if sample_weight is None else keras.ops.reshape(sample_weight, (-1,))
        )
        self.hits.assign_add(keras.ops.sum(labels * (hit * weight)[:, None], axis=0))
        self.seen.assign_add(keras.ops.sum(labels * weight[:, None], axis=0))

    def result(self) -> tf.Tensor:
        """Lowest recall of the classes seen so far."""
        recall = keras.ops.where(self.seen > 0, self.hits / keras.ops.maximum(self.seen, 1.0), 1.0)
        return keras.ops.min(recall)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable("ftjob")
class ClippedModel(keras.Sequential):
    """A model whose gradients are clipped to one global norm, the same on one device and on many."""

    def __init__(
        self, layers: Sequence[keras.Layer] | None = None, clip_norm: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(layers, **kwargs)
        self.clip_norm = clip_norm
        self.clipped = keras.metrics.Mean(name="clipped")

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Learn from this replica's part of a global batch."""
        x, y = data
        replica = tf.distribute.get_replica_context()
        with tf.GradientTape() as tape:
            predicted = self(x, training=True)
            # Keras has divided this by the number of replicas: the sum over them is the global batch's mean.
            loss = self.compute_loss(x=x, y=y, y_pred=predicted)
        gradients = tape.gradient(loss, self.trainable_variables)

        # Sum first, then clip: a norm of one replica's gradients says nothing about the norm of their sum.
        # (`clipnorm=` and `global_clipnorm=` of the optimizer look at each replica's own.)
        gradients, loss = replica.all_reduce(tf.distribute.ReduceOp.SUM, (gradients, loss))
        gradients, norm = tf.clip_by_global_norm(gradients, self.clip_norm)
        # The optimizer will sum over the replicas again; they all hold the same gradients by now.
        self.optimizer.apply([g / replica.num_replicas_in_sync for g in gradients], self.trainable_variables)

        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)  # the sum: one replica's loss would show half of it on two devices
            elif metric is self.clipped:
                metric.update_state(tf.cast(norm > self.clip_norm, tf.float32))
            else:
                metric.update_state(y, predicted)
        # What the metrics say is a mean since the epoch began; these two are of this step alone.
        now = {"step_loss": loss, "step_norm": norm}
        return {metric.name: metric.result() for metric in self.metrics} | now

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {**super().get_config(), "clip_norm": self.clip_norm}


@dataclass(frozen=True)
class Stream:
    """The endless sequence of training batches, as a function of the step."""

    data: digits.Digits
    batch: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the data."""
        return len(self.data.labels) // self.batch

    def dataset(self, start: int, steps: int) -> tf.data.Dataset:
        """Return the global batches of steps ``start`` to ``steps - 1``."""
        order = np.concatenate([self._batch(step) for step in range(start, steps)])
        images, labels = tf.constant(self.data.images), tf.constant(self.data.labels)
        batches = tf.data.Dataset.from_tensor_slices(order).batch(self.batch, drop_remainder=True)
        return batches.map(lambda ids: (tf.gather(images, ids), tf.gather(labels, ids))).prefetch(2)

    def _batch(self, step: int) -> digits.Ints:
        epoch, index = divmod(step, self.steps_per_epoch)
        shuffled = np.random.default_rng((self.seed, epoch)).permutation(len(self.data.labels))
        ids = shuffled[index * self.batch : (index + 1) * self.batch]
        return ids[
            np.argsort(self.data.labels[ids], kind="stable")
        ]  # low digits to the first replica, see above


class Keeper(keras.callbacks.Callback):
    """Saves every so many steps and when asked to stop, and notes each step's loss and gradient norm."""

    def __init__(self, manager: tf.train.CheckpointManager, every: int) -> None:
        super().__init__()
        self.manager = manager
        self.every = every
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.stop = life.StopSignal()
        self.stopped = False

    def step(self) -> int:
        """Return the optimizer's count, which is kept in the checkpoint with the weights."""
        return int(self.model.optimizer.iterations.numpy())

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Save if it is time to."""
        logs = logs or {}
        self.losses.append(float(logs["step_loss"]))
        self.norms.append(float(logs["step_norm"]))
        self.stopped = self.stop.seen
        if self.stopped or self.step() % self.every == 0:
            self.manager.save(self.step())
        if self.stopped:
            self.model.stop_training = True


def build(args: argparse.Namespace) -> ClippedModel:
    """Make the compiled model; call it in the strategy's scope."""
    model = ClippedModel(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(digits.CLASSES),
        ],
        clip_norm=args.clip_norm,
    )
    model.compile(
        optimizer=keras.optimizers.SGD(args.learning_rate, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy"), WorstClassRecall()],
        jit_compile=False,  # compiling costs more than it saves on a model of this size
    )
    model.optimizer.build(model.trainable_variables)  # so that a checkpoint finds the momenta to restore
    return model


def make_strategy(devices: int) -> tf.distribute.MirroredStrategy:
    """Use the first ``devices`` GPUs (0: all); without any, split the CPU into so many logical devices.

    Call it before anything else touches TensorFlow's devices.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if devices > len(gpus):
            sys.exit(f"--devices {devices}, but this machine has {len(gpus)} GPUs: ask for fewer devices")
        tf.config.set_visible_devices(gpus[: devices or None], "GPU")
        return tf.distribute.MirroredStrategy()
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * max(devices, 1)
    )
    names = [device.name for device in tf.config.list_logical_devices("CPU")]
    # Copies between logical CPU devices have no NCCL.
    return tf.distribute.MirroredStrategy(names, cross_device_ops=tf.distribute.ReductionToOneDevice())


def train(model: ClippedModel, stream: Stream, keeper: Keeper, start: int, steps: int) -> None:
    """Go on from step ``start`` until ``steps`` are done or we are asked to stop."""
    epoch = stream.steps_per_epoch
    # `fit` knows only epochs of one length: what is left of the epoch that was broken off, then the whole
    # ones, then the beginning of the last.
    rest = min(-(-start // epoch) * epoch, steps)
    whole = max(steps // epoch * epoch, rest)
    for first, until in pairwise((start, rest, whole, steps)):
        if first == until or keeper.stopped:
            continue
        model.fit(
            stream.dataset(first, until),
            steps_per_epoch=min(epoch, until - first),
            initial_epoch=first // epoch,
            epochs=-(-until // epoch),
            callbacks=[keeper],
            shuffle=False,  # the stream's order is the order
            verbose=2,
        )


def tested(model: ClippedModel, test: digits.Digits) -> tuple[float, float]:
    """Return the accuracy and the worst class's recall.

    Not by ``model.evaluate``: with TensorFlow 2.21 one process in a hundred died of SIGSEGV at its end, where
    the strategy's iterator is destroyed, in a thread that outlived it.
    """
    predicted = model(test.images, training=False)
    accuracy, worst_recall = keras.metrics.SparseCategoricalAccuracy(), WorstClassRecall()
    accuracy.update_state(test.labels, predicted)
    worst_recall.update_state(test.labels, predicted)
    return float(accuracy.result()), float(worst_recall.result())


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = life.parser("mirrored_digits", __doc__)  # the default size is that of --smoke
    p.add_argument(
        "--devices",
        type=int,
        default=0,
        help="replicas: GPUs, or logical CPU devices if there is none (0: all)",
    )
    p.add_argument(
        "--batch-size", type=int, default=64, help="samples a step, over all replicas (default: %(default)s)"
    )
    p.add_argument("--steps", type=int, default=440, help="optimizer steps (default: %(default)s, 20 epochs)")
    p.add_argument("--learning-rate", type=float, default=0.05, help="(default: %(default)s)")
    p.add_argument(
        "--clip-norm", type=float, default=1.0, help="longest global gradient (default: %(default)s)"
    )
    p.add_argument("--min-accuracy", type=float, default=0.95, help="exit 1 below it (default: %(default)s)")
    p.add_argument("--checkpoint-every", type=int, default=100, help="steps (default: %(default)s)")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, test, and write the result.

    Returns
    -------
    int
        The exit code: 0, 1 if the accuracy is too low, 143 if SIGTERM came first.
    """
    args = parse(argv)
    strategy = make_strategy(args.devices)
    replicas = strategy.num_replicas_in_sync
    print(f"num_replicas_in_sync={replicas}")
    if args.batch_size % replicas:
        sys.exit(f"--batch-size {args.batch_size} can't be shared evenly by {replicas} replicas")

    keras.utils.set_random_seed(args.seed)
    learn, test = digits.load()
    stream = Stream(learn, args.batch_size, args.seed)
    with strategy.scope():
        model = build(args)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    manager = tensorflow_start.restore(checkpoint, args.checkpoint_dir)
    keeper = Keeper(manager, args.checkpoint_every)
    start = int(model.optimizer.iterations.numpy())
    print(f"starting at step {start} of {args.steps}")

    train(model, stream, keeper, start, args.steps)
    step = int(model.optimizer.iterations.numpy())
    if keeper.stopped:
        print(f"stopped at step {step}, saved {manager.latest_checkpoint}")
        return life.STOPPED

    manager.save(step)
    accuracy, worst_recall = tested(model, test)
    result = {
        "replicas": replicas,
        "startStep": start,
        "steps": step,
        "losses": keeper.losses,
        "gradientNorms": keeper.norms,
        "testAccuracy": accuracy,
        "worstRecall": worst_recall,
    }
    life.write_result(args.results_dir, result)
    model.save(args.results_dir / "model.keras")
    print(f"steps={step} test_accuracy={accuracy:.4f} worst_recall={worst_recall:.4f}")
    return life.judge(accuracy, args.min_accuracy)


if __name__ == "__main__":
    sys.exit(main())
