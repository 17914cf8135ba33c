"""Two TensorFlow ranks whose steps exchange gradients inside of one function, until the file GO is gone.

`capture_tensorflow.py GO`. Rank 0 uses the profiler itself all the time. Not rank 1: TensorFlow's own profile
of any other than the first worker may end in SIGABRT (see `trace_tensorflow.py`).
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import tensorflow as tf

go, own = Path(sys.argv[1]), Path(os.environ["FTJOB_OUTPUTS"]) / "own"
is_first = os.environ["FTJOB_RANK"] == "0"
strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    weights = tf.Variable(tf.zeros((64, 8)))
    optimizer: Any = tf.keras.optimizers.SGD(0.01)
    optimizer.build([weights])


def replica(pixels: Any, alive: Any) -> Any:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(pixels @ weights - 1.0))
    optimizer.apply_gradients([(tape.gradient(loss, weights), weights)])
    return alive


@tf.function
def train_step(pixels: Any, alive: Any) -> Any:
    return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(replica, args=(pixels, alive)), axis=None)


if is_first:
    tf.profiler.experimental.start(str(own))
alive = 2.0
while alive == 2.0:
    time.sleep(0.1)
    alive = float(train_step(tf.ones((4, 64)), tf.constant(float(go.exists()))))
if is_first:
    tf.profiler.experimental.stop()
print("done", flush=True)
