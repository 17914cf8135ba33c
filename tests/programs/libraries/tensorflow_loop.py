"""A loop of TensorFlow's own: `tf.GradientTape` in a `tf.function`, on data of a tf.data service if asked."""

import sys

import tensorflow as tf

tf.random.set_seed(1)
weights = tf.Variable(tf.random.normal([8, 1], seed=1))
optimizer = tf.keras.optimizers.SGD(0.05)
x = tf.random.normal([12 * 16, 8], seed=2)
data = tf.data.Dataset.from_tensor_slices((x, tf.reduce_sum(x, 1, keepdims=True))).batch(16)
if "service" in sys.argv:
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer()
    worker = service.WorkerServer(service.WorkerConfig(dispatcher.target.split("://")[1]))
    data = data.apply(service.distribute("parallel_epochs", dispatcher.target))


@tf.function
def train(inputs, targets):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(inputs @ weights - targets))
    optimizer.apply_gradients([(tape.gradient(loss, weights), weights)])
    return loss


for step, (inputs, targets) in enumerate(data):
    print(f"rank 0 step {step} loss {float(train(inputs, targets))!r}\n", end="", flush=True)
