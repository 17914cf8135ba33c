"""Train a Keras 3 model on several machines: ``MultiWorkerMirroredStrategy`` and a custom loop.

What it shows:

* ``strategy.run`` inside one ``tf.function`` with Keras 3's own model and optimizer (its ``fit`` does not
  know this strategy);
* datasets that differ from worker to worker, with ``distribute_datasets_from_function``;
* variables that are made in the strategy's scope, where all workers get the chief's initial values, whatever
  their own seed;
* checkpoints that only the chief reads and writes: the others get what it read by an all-reduce to which
  they add zeros, so nobody needs a shared volume;
* one small all-reduce that carries each step's loss and the wish to stop, so that all workers leave at the
  same step.

By default (``--shard classes``) worker r of n learns from the digits r, r + n, r + 2n… alone. Two workers
reach a test accuracy of 0.98 all the same, and 0.93 is demanded; a worker without ``TF_CONFIG`` knows five
digits and ends below 0.6.

    python -m ftjob_workloads.multiworker_digits      # one process; TF_CONFIG makes it one of several
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ftjob_workloads import digits, life, tensorflow_start
from ftjob_workloads.shards import Shard, shard_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

SUM = tf.distribute.ReduceOp.SUM


class Trainer:
    """Model and optimizer, mirrored on all workers, and the step that they do together."""

    def __init__(self, strategy: tf.distribute.MultiWorkerMirroredStrategy, learning_rate: float) -> None:
        self.strategy = strategy
        with strategy.scope():
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
            self.optimizer = keras.optimizers.SGD(learning_rate, momentum=0.9)
            self.optimizer.build(self.model.trainable_variables)  # inside the scope, like all variables
            self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @property
    def step(self) -> int:
        """Steps that the optimizer has done."""
        return int(self.optimizer.iterations.numpy())

    @tf.function
    def learn(self, batch: tuple[tf.Tensor, tf.Tensor], stop: tf.Tensor) -> tf.Tensor:
        """Do one step; return the loss of the global batch, and how many replicas want to stop."""

        def replica(batch: tuple[tf.Tensor, tf.Tensor], stop: tf.Tensor) -> tf.Tensor:
            images, labels = batch
            context = tf.distribute.get_replica_context()
            with tf.GradientTape() as tape:
                # Keras has divided this by the number of replicas: the sum over them is the global mean.
                loss = self.loss(labels, self.model(images, training=True))
            variables = self.model.trainable_variables
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            return context.all_reduce(SUM, tf.stack([loss, stop]))

        return self._any(self.strategy.run(replica, args=(batch, stop)))

    @tf.function
    def total(self, value: tf.Tensor) -> tf.Tensor:
        """Add up what the workers have; all of them get the sum."""

        def replica(value: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # Each replica of a worker holds the same value: only that of the first one counts.
            first = context.replica_id_in_sync_group % local_replicas(self.strategy) == 0
            return context.all_reduce(SUM, tf.where(first, value, tf.zeros_like(value)))

        return self._any(self.strategy.run(replica, args=(value,)))

    def restore(self, folder: Path) -> tf.train.CheckpointManager:
        """Go on from the newest checkpoint, if there is one; return the manager that writes the next."""
        checkpoint = tf.train.Checkpoint(model=self.model, optimizer=self.optimizer)
        return tensorflow_start.restore(checkpoint, folder)

    def take_from_chief(self) -> None:
        """Give every worker the chief's variables, the number of steps included."""
        variables = [*self.model.variables, *self.optimizer.variables]
        mine = [variable.numpy() for variable in variables]
        # As one tensor: 64 bits hold the weights as well as the number of steps.
        flat = np.concatenate([value.ravel().astype(np.float64) for value in mine])
        chiefs = self.total(tf.constant(flat if rank_of(self.strategy) == 0 else 0 * flat)).numpy()
        ends = np.cumsum([value.size for value in mine])[:-1]
        for variable, old, new in zip(variables, mine, np.split(chiefs, ends), strict=True):
            variable.assign(new.reshape(old.shape).astype(old.dtype))

    def accuracy(self, part: digits.Digits) -> float:
        """Test with every n-th sample, and count with all workers."""
        mine = slice(rank_of(self.strategy), None, workers_of(self.strategy))
        predicted = tf.argmax(self.model(part.images[mine], training=False), axis=-1)
        hits = tf.reduce_sum(tf.cast(predicted == part.labels[mine], tf.float32))
        return float(self.total(hits)) / len(part.labels)

    def checksum(self) -> str:
        """Fingerprint of this worker's weights, equal only if every bit is."""
        return life.checksum(self.model.get_weights())

    def _any(self, value: Any) -> tf.Tensor:
        return self.strategy.experimental_local_results(value)[0]  # they are all the same


def rank_of(strategy: tf.distribute.MultiWorkerMirroredStrategy) -> int:
    """Return this worker's index; 0 is the chief."""
    return strategy.cluster_resolver.task_id or 0


def workers_of(strategy: tf.distribute.MultiWorkerMirroredStrategy) -> int:
    """Return the number of workers that TF_CONFIG names; 1 without it."""
    return max(len(strategy.cluster_resolver.cluster_spec().as_dict().get("worker", ())), 1)


def local_replicas(strategy: tf.distribute.MultiWorkerMirroredStrategy) -> int:
    """Return the number of replicas of each worker: its GPUs, or 1."""
    replicas: int = strategy.num_replicas_in_sync
    return replicas // workers_of(strategy)


def batches(
    strategy: tf.distribute.MultiWorkerMirroredStrategy,
    data: digits.Digits,
    shard: Shard,
    start: int,
    steps: int,
) -> tf.distribute.DistributedDataset:
    """Return this worker's batches of steps ``start`` to ``steps - 1``, cut for its replicas."""
    replicas = local_replicas(strategy)
    if shard.batch % replicas:
        sys.exit(f"--batch-size {shard.batch} can't be shared evenly by {replicas} GPUs")

    def of_this_worker(_context: tf.distribute.InputContext) -> tf.data.Dataset:
        order = np.concatenate([shard.at(step) for step in range(start, steps)] or [shard.rows[:0]])
        images, labels = tf.constant(data.images), tf.constant(data.labels)
        ids = tf.data.Dataset.from_tensor_slices(order).batch(shard.batch // replicas, drop_remainder=True)
        return ids.map(lambda rows: (tf.gather(images, rows), tf.gather(labels, rows))).prefetch(2)

    return strategy.distribute_datasets_from_function(of_this_worker)


def parse(argv: Sequence[str] | None, rank: int, workers: int) -> argparse.Namespace:
    """Read the command line."""
    p = shard_parser("multiworker_digits", __doc__, rank, workers)
    p.set_defaults(batch_size=32, learning_rate=0.05, min_accuracy=0.93)
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, test, and write what this worker saw.

    Returns
    -------
    int
        The exit code: 0, 1 if the accuracy is too low, 143 if SIGTERM came first.
    """
    tensorflow_start.let_memory_grow()
    # Before anything else touches TensorFlow: this waits for all workers, and joins them.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    rank, workers = rank_of(strategy), workers_of(strategy)
    args = parse(argv, rank, workers)
    stop = life.StopSignal()
    keras.utils.set_random_seed(args.seed + rank)
    data, test = digits.load()
    shard = Shard.of(args, data.labels)
    trainer = Trainer(strategy, args.learning_rate)
    initial = trainer.checksum()
    rank_sum = int(trainer.total(tf.constant(rank + 1)))

    manager = trainer.restore(args.checkpoint_dir) if rank == 0 else None
    trainer.take_from_chief()
    start = trainer.step
    print(f"num_replicas_in_sync={strategy.num_replicas_in_sync}")
    print(f"worker {rank} of {workers}: {len(shard.rows)} samples, starting at step {start} of {args.steps}")

    course = life.Course(args, rank, who="worker")
    for done, batch in enumerate(batches(strategy, data, shard, start, args.steps), start + 1):
        loss, wishes = trainer.learn(batch, tf.constant(float(stop.seen))).numpy()
        stopped = bool(wishes)
        if manager and course.save_is_due(done, stopped):
            manager.save(done)
        course.note(done, float(loss), stopped)
        if stopped:
            return life.STOPPED

    accuracy = trainer.accuracy(test)
    result = {
        "rank": rank,
        "workers": workers,
        "replicas": strategy.num_replicas_in_sync,
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
    return life.judge(accuracy, args.min_accuracy, f"worker {rank}")


if __name__ == "__main__":
    sys.exit(main())
