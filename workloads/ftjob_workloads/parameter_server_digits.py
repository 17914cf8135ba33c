"""Train a Keras 3 model asynchronously: ``ParameterServerStrategy`` and a ``ClusterCoordinator``.

One program for all roles; ``TF_CONFIG`` says which one a process has:

* ``ps`` and ``worker`` serve: they run what the chief sends them. Asked to stop, they wait for the chief,
  which may still be saving what they hold;
* ``chief`` makes the variables, which live on the parameter servers, and schedules steps; each worker that
  is free takes the next one and does not wait for the others;
* ``evaluator``, if there is one, tests each checkpoint while training goes on.

Each worker has its own share of the samples, which it finds by its index from inside the ``tf.function``. In
the same place it counts its steps in a variable on a parameter server: the chief demands that every worker
has done some, that all variables are on parameter servers, and a test accuracy of 0.90. Two workers
reach more than 0.96 in 400 steps, since the learning rate falls to nothing: at a rate that stays, gradients
of weights that others have changed since end one training in twenty below 0.90.

The optimizer's own ``iterations`` is no measure here: Keras reads it, adds one and writes it back, and what
another worker wrote between is lost. ``assign_add`` of a ``tf.Variable`` is one operation.

    python -m ftjob_workloads.parameter_server_digits      # in each process of the job
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ftjob_workloads import digits, life, tensorflow_start

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

LINGER_SECONDS = 20
"""How long a server that is asked to stop waits for the chief; less than the 30 s of a Kubernetes pod."""

current_worker = tf.distribute.coordinator.experimental_get_current_worker_index


class State:
    """What is kept on the parameter servers, and in checkpoints; make it in the strategy's scope."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dense(64, activation="relu"),
                keras.layers.Dense(digits.CLASSES),
            ]
        )
        self.optimizer = keras.optimizers.SGD(args.learning_rate)
        self.optimizer.build(self.model.trainable_variables)
        self.steps_of_worker = tf.Variable(tf.zeros(args.workers, tf.int64), name="steps_of_worker")
        self.checkpoint = tf.train.Checkpoint(
            model=self.model, optimizer=self.optimizer, steps_of_worker=self.steps_of_worker
        )

    @property
    def step(self) -> int:
        """Steps that all workers have done."""
        return int(self.steps_of_worker.numpy().sum())

    def devices(self) -> dict[str, str]:
        """Return where each variable lives."""
        trained = (*self.model.variables, *self.optimizer.variables)
        found = {variable.path: variable.value.device for variable in trained}
        return {**found, "steps_of_worker": self.steps_of_worker.device}

    def accuracy(self, part: digits.Digits) -> float:
        """Test on the calling process."""
        predicted = tf.argmax(self.model(part.images, training=False), axis=-1)
        return float(np.mean(predicted.numpy() == part.labels))


class Trainer:
    """The chief's side of the training."""

    def __init__(self, strategy: tf.distribute.ParameterServerStrategy, args: argparse.Namespace) -> None:
        self.strategy = strategy
        self.coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
        with strategy.scope():
            self.state = State(args)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def batches(self, data: digits.Digits, args: argparse.Namespace, start: int) -> Any:
        """Return an iterator whose values are made on the worker that asks for them."""

        @tf.function
        def of_this_worker() -> tf.data.Dataset:
            mine = tf.cast(current_worker(), tf.int64)
            samples = tf.data.Dataset.from_tensor_slices((data.images, data.labels)).shard(args.workers, mine)
            shuffled = samples.shuffle(len(data.labels), seed=args.seed + start).repeat()
            return shuffled.batch(args.batch_size).prefetch(2)

        return iter(self.coordinator.create_per_worker_dataset(of_this_worker))

    @tf.function
    def learn(self, iterator: Any) -> tf.Tensor:
        """Do one step on the worker that runs this, and count it there."""

        def replica(batch: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            images, labels = batch
            with tf.GradientTape() as tape:
                loss = self.loss(labels, self.state.model(images, training=True))
            variables = self.state.model.trainable_variables
            self.state.optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        loss = self.strategy.run(replica, args=(next(iterator),))
        count = tf.one_hot(current_worker(), self.state.steps_of_worker.shape[0], dtype=tf.int64)
        self.state.steps_of_worker.assign_add(count)
        return loss

    def round(self, iterator: Any, steps: int) -> float:
        """Let the workers do so many steps; return their mean loss."""
        losses = [self.coordinator.schedule(self.learn, args=(iterator,)) for _ in range(steps)]
        self.coordinator.join()
        return float(np.mean(self.coordinator.fetch(losses)))


def coordinate(resolver: tf.distribute.cluster_resolver.ClusterResolver, args: argparse.Namespace) -> int:
    """Be the chief: train, test, and write the result."""
    stop = life.StopSignal()
    keras.utils.set_random_seed(args.seed)
    data, test = digits.load()
    trainer = Trainer(tf.distribute.ParameterServerStrategy(resolver), args)
    state = trainer.state
    manager = tensorflow_start.restore(state.checkpoint, args.checkpoint_dir)
    start = step = state.step
    print(f"chief: starting at step {start} of {args.steps}")
    life.expect(args.steps)
    iterator = trainer.batches(data, args, start)

    losses = []
    while step < args.steps and not stop.seen:
        state.optimizer.learning_rate = args.learning_rate * (1 - step / args.steps)
        losses.append(trainer.round(iterator, min(args.round, args.steps - step)))
        before, step = step, state.step
        if step // args.checkpoint_every > before // args.checkpoint_every or step == args.steps or stop.seen:
            manager.save(step)
        print(f"step {step} loss {losses[-1]:.4f} steps of the workers {state.steps_of_worker.numpy()}")
        life.report(step, args.steps, {"loss": losses[-1]})
    if step < args.steps:
        print(f"stopped at step {step}")
        return life.STOPPED

    steps_of_worker = state.steps_of_worker.numpy().tolist()
    accuracy = state.accuracy(test)
    result = {
        "cluster": {job: len(tasks) for job, tasks in resolver.cluster_spec().as_dict().items()},
        "node": life.node(),
        "startStep": start,
        "steps": step,
        "stepsOfWorker": steps_of_worker,
        "devices": state.devices(),
        "losses": losses,
        "testAccuracy": accuracy,
    }
    life.write_result(args.results_dir, result)
    print(f"steps={step} steps_of_worker={steps_of_worker} test_accuracy={accuracy:.4f}")
    return _judge(result, args.min_accuracy)


def _judge(result: dict[str, Any], min_accuracy: float) -> int:
    complaints = []
    idle = [worker for worker, steps in enumerate(result["stepsOfWorker"]) if steps == 0]
    if idle:
        complaints.append(f"these workers have done no step: {idle}")
    elsewhere = {name: d for name, d in result["devices"].items() if not d.startswith("/job:ps/")}
    if elsewhere:
        complaints.append(f"not on a parameter server: {elsewhere}")
    for complaint in complaints:
        print(f"chief: {complaint}", file=sys.stderr)
    missed = life.judge(result["testAccuracy"], min_accuracy, "chief")
    return 1 if complaints else missed


def serve(resolver: tf.distribute.cluster_resolver.ClusterResolver) -> int:
    """Be a parameter server or a worker, until SIGTERM."""
    stop = life.StopSignal()
    cluster = resolver.cluster_spec()
    server = tf.distribute.Server(cluster, job_name=resolver.task_type, task_index=resolver.task_id)
    print(f"{resolver.task_type} {resolver.task_id}: serving at {server.target}")
    # Not `server.join()`: it never returns, and Python could not handle a signal in it.
    while not stop.seen:
        time.sleep(0.2)
    deadline = time.monotonic() + LINGER_SECONDS
    while time.monotonic() < deadline and _listens(cluster.task_address("chief", 0)):
        time.sleep(0.2)
    print(f"{resolver.task_type} {resolver.task_id}: stopped")
    sys.stdout.flush()
    os._exit(life.STOPPED)  # a server has no way to be shut down


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def evaluate(args: argparse.Namespace) -> int:
    """Be the evaluator: test each checkpoint, until that of the last step."""
    stop = life.StopSignal()
    _, test = digits.load()
    state = State(args)
    accuracies: dict[int, float] = {}
    seen = None
    while state.step < args.steps and not stop.seen:
        newest = tf.train.latest_checkpoint(str(args.checkpoint_dir))
        if newest == seen:
            time.sleep(0.2)
            continue
        seen = newest
        state.checkpoint.restore(newest).expect_partial()
        accuracies[state.step] = state.accuracy(test)
        print(f"evaluator: step {state.step} test_accuracy={accuracies[state.step]:.4f}")
    rank = int(os.environ.get("FTJOB_RANK", "1"))
    life.write_result(args.results_dir, {"accuracies": accuracies}, rank)
    return life.STOPPED if stop.seen else 0


def parse(argv: Sequence[str] | None, workers: int) -> argparse.Namespace:
    """Read the command line."""
    p = life.parser("parameter_server_digits", __doc__)
    add = p.add_argument
    add("--workers", type=int, default=workers, help="that share the data (default: those of TF_CONFIG)")
    add("--batch-size", type=int, default=32, help="samples a step (default: %(default)s)")
    add("--steps", type=int, default=400, help="of all workers together (default: %(default)s)")
    add("--round", type=int, default=20, help="steps between two looks of the chief (default: %(default)s)")
    add("--learning-rate", type=float, default=0.2, help="of the first steps (default: %(default)s)")
    add("--min-accuracy", type=float, default=0.9, help="exit 1 below it (default: %(default)s)")
    add("--checkpoint-every", type=int, default=100, help="steps (default: %(default)s)")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what this process's role asks for.

    Returns
    -------
    int
        The exit code: 0, 1 if a bar was missed, 143 after SIGTERM, which is how the servers always end.
    """
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    args = parse(argv, len(resolver.cluster_spec().as_dict().get("worker", ())))
    if resolver.task_type == "chief":
        return coordinate(resolver, args)
    if resolver.task_type in {"ps", "worker"}:
        return serve(resolver)
    if resolver.task_type == "evaluator":
        return evaluate(args)
    sys.exit("TF_CONFIG names no chief, ps, worker or evaluator: set it in each process, or use `ftjob run`")


if __name__ == "__main__":
    sys.exit(main())
