"""Train a Keras 3 model with Horovod: a custom loop in which ranks learn what only the others have seen.

What it shows:

* ``DistributedGradientTape`` inside a ``tf.function``, with Keras 3's own model and optimizer;
* ranks that begin with different weights, until rank 0's are broadcast (or what rank 0 read from its
  checkpoint);
* a learning rate that rises to the number of ranks times its first value, and fades to nothing;
* one small all-reduce that carries each step's loss and the wish to stop, so that all ranks leave at the
  same step;
* a test set that is shared out, and counted together.

By default (``--shard classes``) rank r of n learns from the digits r, r + n, r + 2n… alone. Four ranks
reach a test accuracy of 0.986 all the same, one process with all digits 0.975 in as many steps, and 0.90 is
demanded; a rank without the exchange knows two or three digits and ends at 0.18 to 0.31.

    python -m ftjob_workloads.horovod_digits      # one process; ftjob, horovodrun or mpirun start more
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import horovod.tensorflow as hvd
import keras
import tensorflow as tf

from ftjob_workloads import digits, life, tensorflow_start
from ftjob_workloads.shards import Shard, parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path


@keras.saving.register_keras_serializable("ftjob")
class WarmUpAndFade(keras.optimizers.schedules.LearningRateSchedule):
    """Rise from ``base`` to ``base`` x ``ranks`` in a straight line, then fall in another to nothing.

    n ranks make batches n times as large, whose gradients are less noisy and bear longer steps; but not at
    the very beginning, when the weights are still arbitrary, nor at the end, where a step too long can't be
    made good any more.
    """

    def __init__(self, base: float, ranks: int, warmup_steps: int, steps: int) -> None:
        self.base = base
        self.ranks = ranks
        self.warmup_steps = warmup_steps
        self.steps = steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the learning rate of ``step``."""
        done = keras.ops.cast(step, "float32")
        risen = keras.ops.minimum(done / max(self.warmup_steps, 1), 1.0)
        left = keras.ops.minimum((self.steps - done) / max(self.steps - self.warmup_steps, 1), 1.0)
        return self.base * (1.0 + risen * (self.ranks - 1)) * left

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs."""
        return {
            "base": self.base,
            "ranks": self.ranks,
            "warmup_steps": self.warmup_steps,
            "steps": self.steps,
        }


class Trainer:
    """Model and optimizer of one rank, and the step that it does together with the others."""

    def __init__(self, schedule: float | WarmUpAndFade) -> None:
        self.model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
                keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dense(64, activation="relu"),
                keras.layers.Dense(digits.CLASSES),
            ]
        )
        self.optimizer = keras.optimizers.SGD(schedule, momentum=0.9)
        self.optimizer.build(
            self.model.trainable_variables
        )  # so that its variables can be broadcast and restored
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @property
    def step(self) -> int:
        """Steps that the optimizer has done."""
        return int(self.optimizer.iterations.numpy())

    def restore(self, folder: Path) -> tf.train.CheckpointManager:
        """Go on from the newest checkpoint, if there is one; return the manager that writes the next."""
        checkpoint = tf.train.Checkpoint(model=self.model, optimizer=self.optimizer)
        return tensorflow_start.restore(checkpoint, folder)

    def broadcast(self) -> None:
        """Give every rank what rank 0 has."""
        # Horovod knows TensorFlow's variables; Keras 3 holds one in each of its own.
        hvd.broadcast_variables(
            [v.value for v in (*self.model.variables, *self.optimizer.variables)], root_rank=0
        )

    @tf.function
    def learn(self, images: tf.Tensor, labels: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Do one step; return the loss of the global batch, and how many ranks want to stop."""
        weights = [v.value for v in self.model.trainable_variables]
        with hvd.DistributedGradientTape(tf.GradientTape()) as tape:
            loss = self.loss(labels, self.model(images, training=True))
        self.optimizer.apply(tape.gradient(loss, weights), self.model.trainable_variables)
        total = hvd.allreduce(tf.stack([loss, stop]), op=hvd.Sum, name="loss_and_stop")
        return total[0] / hvd.size(), total[1]

    def accuracy(self, part: digits.Digits) -> float:
        """Test with every size-th sample, and count with all ranks."""
        mine = slice(hvd.rank(), None, hvd.size())
        predicted = tf.argmax(self.model(part.images[mine], training=False), axis=-1)
        hits = tf.reduce_sum(tf.cast(predicted == part.labels[mine], tf.float32))
        return float(hvd.allreduce(hits, op=hvd.Sum, name="hits")) / len(part.labels)

    def checksum(self) -> str:
        """Fingerprint of the weights, equal only if every bit is."""
        return life.checksum(self.model.get_weights())


def use_devices() -> None:
    """Take this rank's GPU if there are any: one for each rank of the machine."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        mine = gpus[hvd.local_rank() % len(gpus)]
        tf.config.set_visible_devices(mine, "GPU")
        tf.config.experimental.set_memory_growth(mine, enable=True)


def learning_rate(args: argparse.Namespace, ranks: int) -> float | WarmUpAndFade:
    """Return the course that ``--lr-schedule`` asks for."""
    if args.lr_schedule == "constant":
        constant: float = args.learning_rate
        return constant
    return WarmUpAndFade(args.learning_rate, ranks, args.warmup_steps, args.steps)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, test, and write what this rank saw.

    Returns
    -------
    int
        The exit code: 0, 1 if the accuracy is too low, 143 if SIGTERM came first.
    """
    hvd.init()
    args = parser("horovod_digits", __doc__, hvd.rank(), hvd.size()).parse_args(argv)
    stop = life.StopSignal()
    use_devices()
    rank, size = hvd.rank(), hvd.size()
    keras.utils.set_random_seed(args.seed + rank)
    data, test = digits.load()
    shard = Shard.of(args, data.labels)
    trainer = Trainer(learning_rate(args, size))
    initial = trainer.checksum()

    # Only rank 0 reads and writes checkpoints; the broadcast gives the others what it read, the step
    # included.
    manager = trainer.restore(args.checkpoint_dir) if rank == 0 else None
    trainer.broadcast()
    start = trainer.step
    rank_sum = int(hvd.allreduce(tf.constant(rank + 1), op=hvd.Sum, name="rank_sum"))
    print(f"rank {rank} of {size}: {len(shard.rows)} samples, starting at step {start} of {args.steps}")

    course = life.Course(args, rank)
    for step in range(start, args.steps):
        rows = shard.at(step)
        loss, wishes = trainer.learn(data.images[rows], data.labels[rows], tf.constant(float(stop.seen)))
        done, stopped = step + 1, float(wishes) > 0
        if manager and course.save_is_due(done, stopped):
            manager.save(done)
        course.note(done, float(loss), stopped)
        if stopped:
            return life.STOPPED

    accuracy = trainer.accuracy(test)
    result = {
        "rank": rank,
        "size": size,
        "node": life.node(),
        "initialWeights": initial,
        "finalWeights": trainer.checksum(),
        "rankSum": rank_sum,
        "startStep": start,
        "steps": trainer.step,
        "losses": course.losses,
        **shard.contents(data),
        "testAccuracy": accuracy,
    }
    life.write_result(args.results_dir, result, rank)
    if rank == 0:
        trainer.model.save(args.results_dir / "model.keras")
        print(f"steps={trainer.step} test_accuracy={accuracy:.4f}")
    hvd.shutdown()
    return life.judge(accuracy, args.min_accuracy, f"rank {rank}")


if __name__ == "__main__":
    sys.exit(main())
