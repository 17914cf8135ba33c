"""The TensorFlow half of `analyse`: models, TensorFlow's profiler, Grappler and XLA."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from tensorflow.python.eager import context  # the only way to a graph as Grappler has left it

from ftjob_workloads import digits, tensorflow_start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

seed = keras.utils.set_random_seed

tensorflow_start.let_memory_grow()  # or nothing is left of it for torch


@dataclass
class Subject:
    """A Keras model and one batch to train it with."""

    model: keras.Model
    inputs: tf.Tensor
    labels: tf.Tensor

    def __post_init__(self) -> None:
        self.optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
        self.optimizer.build(self.model.trainable_variables)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def twin(self) -> Subject:
        """Return another one with the same weights and the same batch."""
        model = keras.models.clone_model(self.model)
        model.set_weights(self.model.get_weights())
        return Subject(model, self.inputs, self.labels)

    def step(self) -> tf.Tensor:
        """Do a step of training; return the loss."""
        with tf.GradientTape() as tape:
            loss = self.loss(self.labels, self.model(self.inputs, training=True))
        weights = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return loss


def digits_cnn(batch: int) -> Subject:
    """Build two convolutions that read handwritten digits."""
    model = keras.Sequential(
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
    learn, _ = digits.load()
    return Subject(model, tf.constant(learn.images[:batch]), tf.constant(learn.labels[:batch]))


def vision(batch: int) -> Subject:
    """Take the TensorFlow half of `ftjob_workloads.hybrid_vision`, on digits as large as its pictures."""
    from ftjob_workloads import hybrid_vision  # noqa: PLC0415 - brings OpenCV and torch

    model = hybrid_vision.keras_model()
    model.layers[-1].activation = keras.activations.linear  # the loss wants logits
    learn, _ = digits.load()
    images = tf.image.resize(learn.images[:batch], [hybrid_vision.SIDE] * 2, method="nearest")
    return Subject(model, images, tf.constant(learn.labels[:batch]))


def capture(subject: Subject, folder: Path, worker: str, steps: int) -> list[dict[str, Any]]:
    """Profile steps of training, in graph mode.

    Parameters
    ----------
    subject
        What to train.
    folder
        Where to write the trace.
    worker
        The rank's name, which becomes the file's.
    steps
        How many; they are marked ``train``, with their number from 1 on.

    Returns
    -------
    list
        Nothing: TensorBoard has the operators.
    """
    step = tf.function(subject.step)
    step()
    tf.profiler.experimental.start(str(folder))
    for number in range(1, steps + 1):
        with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
            step().numpy()
    tf.profiler.experimental.stop()
    # TensorFlow names the file after the host, which ranks of a pod share.
    (written,) = folder.glob("plugins/profile/*/*.xplane.pb")
    written.replace(folder / f"{worker}.xplane.pb")
    written.parent.rmdir()
    (folder / "plugins" / "profile").rmdir()
    (folder / "plugins").rmdir()
    return []


def variants(subject: Subject) -> tuple[dict[str, Callable[[], float]], dict[str, str]]:
    """Return a step of training without a graph, with one, and with one that is optimized in two ways."""
    eager, plain, grappler, xla = (subject.twin() for _ in range(4))
    graph, optimized = tf.function(plain.step), tf.function(grappler.step)
    return {
        "eager": lambda: float(eager.step()),
        "graph": partial(_with_grappler, graph, on=False),
        "graph, Grappler": partial(_with_grappler, optimized, on=True),
        "graph, XLA": partial(_value, tf.function(xla.step, jit_compile=True)),
    }, {}


def proof(subject: Subject) -> dict[str, Any]:
    """Return what shows that the graph was optimized.

    Returns
    -------
    dict
        How many nodes the step's graph has before and after Grappler, and how many fused kernels the HLO has
        that XLA makes of it.
    """
    context.enable_run_metadata()
    _with_grappler(tf.function(subject.twin().step), on=True)
    graphs = context.export_run_metadata().function_graphs
    context.disable_run_metadata()
    step = max(graphs, key=lambda graph: len(graph.pre_optimization_graph.node))
    compiled = tf.function(subject.twin().step, jit_compile=True)
    hlo = compiled.experimental_get_compiler_ir()(stage="optimized_hlo")
    return {
        "nodes": len(step.pre_optimization_graph.node),
        "nodesAfterGrappler": len(step.post_optimization_graph.node),
        "fusions": len(re.findall(r"(?m)^\s*(?:ROOT )?\S+ = .* fusion\(", hlo)),
    }


def _with_grappler(step: Callable[[], tf.Tensor], *, on: bool) -> float:
    # The options are the process's, and a call takes the graph that was optimized with those of the moment.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not on})
    return float(step())


def _value(step: Callable[[], tf.Tensor]) -> float:
    return float(step())
