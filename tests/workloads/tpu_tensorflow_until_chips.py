"""The tpu_tensorflow program on a host of a slice, up to the point where only a real chip helps further.

All is as on such a host, the servers and the driver's connection to them, but that this machine's lack of
chips is not seen, and that the driver ends where it would initialize them: it computes on each host instead.
"""

import sys
from typing import Any

import tensorflow as tf

from ftjob_workloads import tpu_tensorflow
from ftjob_workloads.tpu_host import TpuHost


def compute_on_each_host(resolver: Any) -> None:
    for host in range(resolver.cluster_spec().num_tasks("worker")):
        with tf.device(f"/job:worker/task:{host}"):
            print(f"host {host}: {tf.reduce_sum(tf.fill([4], host)).device}")
    sys.exit(0)


if __name__ == "__main__":
    TpuHost.unusable = lambda self, wait_seconds=5.0: ""  # type: ignore[method-assign]
    tf.tpu.experimental.initialize_tpu_system = compute_on_each_host
    sys.exit(tpu_tensorflow.main())
