"""The mirrored_digits program with a broken exchange: an all-reduce gives each replica its own value back.

Run as a script, with the program's own arguments.
"""

import sys
from typing import Any

import tensorflow as tf

from ftjob_workloads import mirrored_digits


class NoExchange(tf.distribute.ReductionToOneDevice):  # type: ignore[misc]  # TensorFlow has no types
    """Multiplies by the number of replicas instead of adding up, so that only the exchange is missing."""

    def reduce_implementation(self, reduce_op: Any, value: Any, destinations: Any, options: Any) -> Any:
        if reduce_op != tf.distribute.ReduceOp.SUM or not hasattr(value, "values"):
            return super().reduce_implementation(reduce_op, value, destinations, options)
        return type(value)([v * len(value.values) for v in value.values])

    def batch_reduce_implementation(self, reduce_op: Any, pairs: Any, options: Any) -> Any:
        return [self.reduce_implementation(reduce_op, value, to, options) for value, to in pairs]


if __name__ == "__main__":
    strategy = tf.distribute.MirroredStrategy
    tf.distribute.MirroredStrategy = lambda names, **_: strategy(names, cross_device_ops=NoExchange())
    sys.exit(mirrored_digits.main())
