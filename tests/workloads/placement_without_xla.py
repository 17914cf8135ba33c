"""The device_placement program, in which the mode that is called XLA is a plain graph."""

import sys
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ftjob_workloads import device_placement


def modes(task: device_placement.Task) -> Mapping[str, Any]:
    return {
        "eager": task.compute,
        "graph": tf.function(task.compute),
        "xla": tf.function(task.compute, jit_compile=None),
    }


if __name__ == "__main__":
    device_placement.Task.modes = modes  # type: ignore[assignment,method-assign]
    sys.exit(device_placement.main())
