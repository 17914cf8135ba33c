"""The horovod_digits program; one rank gets a SIGTERM before a step: `PROGRAM RANK STEP ARGS...`.

The signal comes from inside, so that the test knows the step; the program can't tell the difference.
"""

import os
import signal
import sys

from ftjob_workloads import digits, horovod_digits

RANK, STEP = int(sys.argv.pop(1)), int(sys.argv.pop(1))
batch_of = horovod_digits.Shard.at


def at(shard: horovod_digits.Shard, step: int) -> digits.Ints:
    if step == STEP and int(os.environ["HOROVOD_RANK"]) == RANK:
        os.kill(os.getpid(), signal.SIGTERM)
    return batch_of(shard, step)


if __name__ == "__main__":
    horovod_digits.Shard.at = at  # type: ignore[assignment,method-assign]
    sys.exit(horovod_digits.main())
