"""The jax_digits program; one process gets a SIGTERM before a step: `PROGRAM RANK STEP ARGS...`.

The signal comes from inside, so that the test knows the step; the program can't tell the difference.
"""

import os
import signal
import sys

from ftjob_workloads import digits, jax_digits
from ftjob_workloads.shards import Shard

RANK, STEP = int(sys.argv.pop(1)), int(sys.argv.pop(1))
batch_of = Shard.at


def at(shard: Shard, step: int) -> digits.Ints:
    if step == STEP and int(os.environ["JAX_PROCESS_ID"]) == RANK:
        os.kill(os.getpid(), signal.SIGTERM)
    return batch_of(shard, step)


if __name__ == "__main__":
    Shard.at = at  # type: ignore[assignment,method-assign]
    sys.exit(jax_digits.main())
