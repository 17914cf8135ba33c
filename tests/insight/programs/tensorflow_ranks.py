"""A training with TensorFlow as people write it: ``tensorflow_ranks.py MODE [ahead]``.

``horovod`` and ``multiworker`` have a loop of their own, ``horovod_fit`` and ``multiworker_fit`` use Keras'
fit, which knows neither in Keras 3. With ``ahead`` data are read ahead.
"""

from __future__ import annotations

import os
import sys

MODE, AHEAD = sys.argv[1], sys.argv[2:] == ["ahead"]
FITS = MODE.endswith("_fit")
if FITS:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"

import tensorflow as tf
from insight.planted import Planted

RANK, RANKS = (int(os.environ[name]) for name in ("FTJOB_RANK", "FTJOB_WORLD_SIZE"))
planted = Planted(RANK, RANKS)
keras = tf.keras
tf.config.threading.set_intra_op_parallelism_threads(1)


def photos():
    """Each item is decoded when it is asked for. A loop of our own measures what it waits for that."""
    while True:
        planted.at("input", is_lost=FITS)
        yield [[RANK / 7.0] * 64] * 4, [1.0] * 4


def dataset():
    signature = (tf.TensorSpec((4, 64), tf.float32), tf.TensorSpec((4,), tf.float32))
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    data = tf.data.Dataset.from_generator(photos, output_signature=signature)
    # Else each worker asks all others in each step whether they have data, too.
    data = data.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return (data.prefetch(4) if AHEAD else data).with_options(options)


def device(x, part, point):
    """Work as a device does, inside the graph."""

    def run(value):
        planted.work(part)
        planted.at(point)
        return value

    return tf.ensure_shape(tf.numpy_function(run, [x], tf.float32), x.shape)


@tf.custom_gradient
def on_device(x):
    return device(x, 0.4, "forward"), lambda upstream: device(upstream, 0.6, "backward")


def model():
    return keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Lambda(on_device, output_shape=(128,)),
            keras.layers.Dense(1),
        ]
    )


class Steps(keras.callbacks.Callback):
    """Takes the planted steps along with fit's."""

    def __init__(self):
        super().__init__()
        self.left = planted.steps()

    def on_train_batch_begin(self, batch, logs=None):
        next(self.left)

    def on_train_end(self, logs=None):
        next(self.left, None)


def of_each_worker(strategy):
    options = tf.distribute.InputOptions(experimental_fetch_to_device=AHEAD)
    return strategy.distribute_datasets_from_function(lambda _: dataset(), options)


def fit(net, data, optimizer, callbacks):
    net.compile(optimizer, "mse")
    callbacks = [*callbacks, Steps()]
    net.fit(data, epochs=1, steps_per_epoch=planted.total, verbose=0, callbacks=callbacks)


def train(batches, step):
    """Train in a loop of our own."""
    batches = iter(batches)
    for _ in planted.steps():
        with planted.lost("input"):
            batch = next(batches)
        step(*batch)
        planted.at("exchange")


def with_horovod() -> None:
    import horovod.tensorflow as hvd

    hvd.init()
    net = model()
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(net.trainable_variables)

    def exchange(count, floats):
        for each in range(count):
            hvd.allreduce(tf.ones(floats), name=f"more.{each}")

    @tf.function
    def step(x, y):
        with hvd.DistributedGradientTape(tf.GradientTape()) as tape:
            loss = tf.reduce_mean(tf.square(net(x) - y[:, None]))
        variables = net.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss

    planted.exchange = exchange
    train(dataset(), step)


def fit_with_horovod() -> None:
    import horovod.tensorflow.keras as hvd

    hvd.init()
    optimizer = hvd.DistributedOptimizer(keras.optimizers.legacy.SGD(0.01))
    fit(model(), dataset(), optimizer, [hvd.callbacks.BroadcastGlobalVariablesCallback(0)])


def with_multiworker() -> None:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        net = model()
        optimizer = keras.optimizers.SGD(0.01)
        optimizer.build(net.trainable_variables)

    def replica(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(net(x) - y[:, None]))
        variables = net.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    @tf.function
    def step(x, y):
        return strategy.run(replica, args=(x, y))

    train(of_each_worker(strategy), step)


def fit_with_multiworker() -> None:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        net = model()
        fit(net, of_each_worker(strategy), keras.optimizers.SGD(0.01), [])


{
    "horovod": with_horovod,
    "horovod_fit": fit_with_horovod,
    "multiworker": with_multiworker,
    "multiworker_fit": fit_with_multiworker,
}[MODE]()
