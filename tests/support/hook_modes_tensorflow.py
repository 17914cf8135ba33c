"""TensorFlow and Keras trainings for `hook_modes.py`; each returns the number of its steps.

With `TF_USE_LEGACY_KERAS=1` they run on tf_keras.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)


def _parts(optimizer: Any = None) -> tuple[Any, Any, Any]:
    model = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(1)])
    return model, optimizer or tf.keras.optimizers.SGD(0.01), tf.random.uniform((8, 4))


def _step(model: Any, optimizer: Any) -> Callable[[Any], Any]:
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return step


def _two_devices() -> Any:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    return strategy


def eager() -> int:
    model, optimizer, x = _parts()
    step = _step(model, optimizer)
    for _ in range(13):
        step(x)
    return 13


def function() -> int:
    model, optimizer, x = _parts()
    step = tf.function(_step(model, optimizer))
    for _ in range(37):
        step(x)
    return 37


def function_run_eagerly() -> int:
    tf.config.run_functions_eagerly(True)
    return function()


def killed() -> int:
    """Die without any clean-up: what is in the mapped file stays."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return 37
    function()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def jit() -> int:
    model, optimizer, x = _parts()
    step = tf.function(_step(model, optimizer), jit_compile=True)
    for _ in range(17):
        step(x)
    return 17


def inner_function() -> int:
    """The step is a function in a loop in a function; another function is called between."""
    model, optimizer, x = _parts()
    step = tf.function(_step(model, optimizer))

    def traced_several() -> None:
        for _ in tf.range(4):
            step(x)

    several = tf.function(traced_several)

    def traced_evaluate() -> Any:
        return model(x)

    evaluate = tf.function(traced_evaluate)

    for _ in range(7):
        several()
        evaluate()
    return 28


def concrete() -> int:
    """A concrete function is not called through `tf.function`."""
    model, optimizer, x = _parts()
    optimizer.build(model.trainable_variables)
    step = tf.function(_step(model, optimizer)).get_concrete_function(x)
    for _ in range(9):
        step(x)
    return 9


def mirrored() -> int:
    strategy = _two_devices()
    with strategy.scope():
        model, optimizer, x = _parts()
        optimizer.build(model.trainable_variables)
    step = _step(model, optimizer)

    def traced_train() -> None:
        strategy.run(step, args=(x,))

    train = tf.function(traced_train)

    for _ in range(19):
        train()
    return 19


def mirrored_function_in_run() -> int:
    strategy = _two_devices()
    with strategy.scope():
        model, optimizer, x = _parts()
        optimizer.build(model.trainable_variables)
    step = tf.function(_step(model, optimizer))
    for _ in range(8):
        strategy.run(step, args=(x,))
    return 8


def mirrored_eager() -> int:
    strategy = _two_devices()
    with strategy.scope():
        model, optimizer, x = _parts()
        optimizer.build(model.trainable_variables)
    step = _step(model, optimizer)
    for _ in range(6):
        strategy.run(step, args=(x,))
    return 6


def two_optimizers() -> int:
    model, first, x = _parts()
    other, second, _ = _parts(tf.keras.optimizers.Adam())
    one, two = _step(model, first), _step(other, second)

    def traced_step() -> None:
        one(x)
        two(x)

    step = tf.function(traced_step)

    for _ in range(11):
        step()
    return 11


def two_functions() -> int:
    model, first, x = _parts()
    other, second, _ = _parts(tf.keras.optimizers.Adam())
    one, two = tf.function(_step(model, first)), tf.function(_step(other, second))
    for _ in range(11):
        one(x)
        two(x)
    return 11


def the_first_is_used_up() -> int:
    """A warm-up with one optimizer, then another one that was there before, each in a function of its own."""
    model, first, x = _parts()
    second = tf.keras.optimizers.Adam()
    one, two = tf.function(_step(model, first)), tf.function(_step(model, second))
    for function, steps in ((one, 8), (two, 10)):
        for _ in range(steps):
            function(x)
    return 18


def accumulation() -> int:
    model, optimizer, x = _parts()
    sums = [tf.Variable(tf.zeros_like(v)) for v in model.trainable_variables]

    def traced_accumulate() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x) ** 2)
        for total, gradient in zip(sums, tape.gradient(loss, model.trainable_variables), strict=True):
            total.assign_add(gradient)

    accumulate = tf.function(traced_accumulate)

    def traced_apply() -> None:
        optimizer.apply_gradients(zip([v / 4 for v in sums], model.trainable_variables, strict=True))
        for total in sums:
            total.assign(tf.zeros_like(total))

    apply = tf.function(traced_apply)

    for _ in range(6):
        for _ in range(4):
            accumulate()
        apply()
    return 6


def accumulation_of_keras() -> int:
    """Keras accumulates by itself: `apply` is called for each batch, and so the script counts."""
    model, optimizer, x = _parts(tf.keras.optimizers.SGD(0.01, gradient_accumulation_steps=4))
    step = tf.function(_step(model, optimizer))
    for _ in range(12):
        step(x)
    return 12


def resumed() -> int:
    """A checkpoint has brought the optimizer's counter with it."""
    model, optimizer, x = _parts()
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(1000)
    step = tf.function(_step(model, optimizer))
    for _ in range(5):
        step(x)
    return 1005


def one_after_the_other() -> int:
    """A new model and optimizer for each fold of a cross-validation."""
    for _ in range(3):
        model, optimizer, x = _parts()
        step = _step(model, optimizer)
        for _ in range(5):
            step(x)
    return 15


def _compiled(optimizer: Any = None, **kwargs: Any) -> Any:
    model, optimizer, _ = _parts(optimizer)
    model.compile(optimizer, "mse", **kwargs)
    return model


def _data(batches: int) -> Any:
    x = tf.random.uniform((8 * batches, 4))
    return x, tf.reduce_sum(x, axis=1, keepdims=True)


def fit() -> int:
    x, y = _data(10)
    _compiled().fit(x, y, batch_size=8, epochs=3, verbose=0, validation_data=(x, y))
    return 30


def fit_several_per_execution() -> int:
    x, y = _data(10)
    _compiled(steps_per_execution=4).fit(x, y, batch_size=8, epochs=2, verbose=0)
    return 20


def fit_mirrored() -> int:
    with _two_devices().scope():
        model = _compiled()
    x, y = _data(10)
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    return 20


def fit_of_unknown_length() -> int:
    x, y = _data(10)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8).filter(lambda *_: True)
    _compiled().fit(dataset, epochs=2, verbose=0)
    return 20


def fit_accumulating() -> int:
    x, y = _data(10)
    model = _compiled(tf.keras.optimizers.SGD(0.01, gradient_accumulation_steps=2))
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    return 20


def fit_continued() -> int:
    """`initial_epoch`, as after a checkpoint: ten steps were done by somebody else."""
    x, y = _data(10)
    _compiled().fit(x, y, batch_size=8, epochs=3, initial_epoch=1, verbose=0)
    return 30


def fit_twice_then_loop() -> int:
    x, y = _data(10)
    model = _compiled()
    model.fit(x, y, batch_size=8, epochs=1, verbose=0)
    model.fit(x, y, batch_size=8, epochs=2, initial_epoch=1, verbose=0)
    step = tf.function(_step(model, model.optimizer))
    for _ in range(5):
        step(x)
    return 25


def legacy_optimizer() -> int:
    """An optimizer of the first Keras 2, by tf_keras."""
    model, optimizer, x = _parts(tf.keras.optimizers.legacy.SGD(0.01))
    step = tf.function(_step(model, optimizer))
    for _ in range(9):
        step(x)
    return 9
