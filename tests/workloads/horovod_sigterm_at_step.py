"""A Horovod program; one rank gets a SIGTERM before a step: `PROGRAM MODULE RANK STEP ARGS...`.

The signal comes from inside, so that the test knows the step; the program can't tell the difference.
"""

import importlib
import os
import signal
import sys

from ftjob_workloads import digits, shards

MODULE, RANK, STEP = sys.argv.pop(1), int(sys.argv.pop(1)), int(sys.argv.pop(1))
batch_of = shards.Shard.at


def at(shard: shards.Shard, step: int) -> digits.Ints:
    if step == STEP and int(os.environ["HOROVOD_RANK"]) == RANK:
        os.kill(os.getpid(), signal.SIGTERM)
    return batch_of(shard, step)


if __name__ == "__main__":
    shards.Shard.at = at  # type: ignore[assignment,method-assign]
    sys.exit(importlib.import_module(MODULE).main())
