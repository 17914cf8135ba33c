"""The tensors_autodiff program with a custom gradient that is a thousandth too large."""

import sys
from collections.abc import Callable

import tensorflow as tf

from ftjob_workloads import tensors_autodiff


@tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
def softplus(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    return tf.math.softplus(x), lambda upstream: upstream * tf.sigmoid(x) * 1.001


if __name__ == "__main__":
    tensors_autodiff.softplus = softplus
    sys.exit(tensors_autodiff.main())
