"""Keras' `fit` with callbacks: checkpoints, and TensorBoard where the arguments ask for its profiler."""

import sys

import keras
import numpy as np

keras.utils.set_random_seed(1)
x = np.random.default_rng(1).normal(size=(12 * 16, 8)).astype("float32")
model = keras.Sequential([keras.layers.Dense(16, "relu"), keras.layers.Dense(1)])
model.compile("adam", "mse")


class Printed(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        print(f"rank 0 step {batch} loss {float(logs['loss'])!r}\n", end="", flush=True)


callbacks = [Printed(), keras.callbacks.ModelCheckpoint("model.weights.h5", save_weights_only=True)]
if len(sys.argv) > 1:
    callbacks.append(keras.callbacks.TensorBoard("board", profile_batch=(5, 8)))
model.fit(x, x.sum(1, keepdims=True), batch_size=16, epochs=1, shuffle=False, verbose=0, callbacks=callbacks)
