"""Trainings with a profiler of their own, for `hook_modes.py`: of TensorFlow, Keras and JAX.

A mode is called INTERFACE_BEGIN_END: before step BEGIN the profiler begins, after step END it ends.
"""

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)

STEPS = 12


class Session:
    """`tf.profiler.experimental.start`."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp()

    def begin(self) -> None:
        """Begin to profile."""
        tf.profiler.experimental.start(self.folder)

    def end(self) -> None:
        """End it."""
        tf.profiler.experimental.stop()

    def check(self) -> None:
        """Look for what it has recorded."""
        (path,) = Path(self.folder).rglob("*.xplane.pb")
        assert b"own-step" in path.read_bytes()


class Context(Session):
    """`tf.profiler.experimental.Profile`."""

    def begin(self) -> None:
        self.made = tf.profiler.experimental.Profile(self.folder)
        self.made.__enter__()

    def end(self) -> None:
        self.made.__exit__(None, None, None)


class Summary(Session):
    """`tf.summary.trace_on`."""

    def begin(self) -> None:
        self.writer = tf.summary.create_file_writer(self.folder)
        tf.summary.trace_on(graph=True, profiler=True, profiler_outdir=self.folder)

    def end(self) -> None:
        with self.writer.as_default():
            tf.summary.trace_export("own", step=0)


class Jax(Session):
    """`jax.profiler`."""

    def begin(self) -> None:
        self.jax = importlib.import_module("jax")
        self.jax.profiler.start_trace(self.folder)

    def end(self) -> None:
        self.jax.block_until_ready(self.jax.numpy.ones(3) + 1)
        self.jax.profiler.stop_trace()

    def check(self) -> None:
        assert list(Path(self.folder).rglob("*.xplane.pb"))


MAKERS: dict[str, Callable[[], Session]] = {
    "session": Session,
    "context": Context,
    "summary": Summary,
    "jax": Jax,
}


def __getattr__(name: str) -> Callable[[], int]:
    interface, begin, end = name.split("_")
    if interface == "keras":
        return lambda: _fit(Session(), int(begin), int(end))
    if interface not in MAKERS:
        raise AttributeError(name)
    return lambda: _train(MAKERS[interface](), int(begin), int(end))


def _model() -> Any:
    model = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(1)])
    model.compile(tf.keras.optimizers.SGD(0.01), "mse")
    return model


def _train(own: Session, begin: int, end: int) -> int:
    model, x = _model(), tf.random.uniform((8, 4))

    @tf.function  # type: ignore[untyped-decorator]
    def train() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x) ** 2)
        variables = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    for step in range(1, STEPS + 1):
        if step == begin:
            own.begin()
        with tf.profiler.experimental.Trace("own-step", step_num=step, _r=1):
            train()
        if step == end:
            own.end()
    own.check()
    return STEPS


class Callback(tf.keras.callbacks.Callback):  # type: ignore[misc]
    """Profiles some batches, which Keras counts from 0, as its TensorBoard does."""

    def __init__(self, own: Session, begin: int, end: int) -> None:
        super().__init__()
        self.own, self.first, self.last = own, begin - 1, end - 1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == self.first:
            self.own.begin()
        self.mark = tf.profiler.experimental.Trace("own-step", step_num=batch, _r=1)
        self.mark.__enter__()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.mark.__exit__(None, None, None)
        if batch == self.last:
            self.own.end()


def _fit(own: Session, begin: int, end: int) -> int:
    x = tf.random.uniform((8 * STEPS, 4))
    callbacks = [Callback(own, begin, end)]
    _model().fit(x, tf.zeros((8 * STEPS, 1)), batch_size=8, verbose=0, callbacks=callbacks)
    own.check()
    return STEPS
