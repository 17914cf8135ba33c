"""The multiworker_digits program; one worker gets a SIGTERM before a step: `PROGRAM RANK STEP ARGS...`.

The signal comes from inside, so that the test knows the step; the program can't tell the difference.
"""

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from ftjob_workloads import multiworker_digits

RANK, STEP = int(sys.argv.pop(1)), int(sys.argv.pop(1))
batches_of = multiworker_digits.batches


def batches(strategy: Any, data: Any, shard: Any, start: int, steps: int) -> Iterator[Any]:
    for step, batch in enumerate(batches_of(strategy, data, shard, start, steps), start):
        if step == STEP and multiworker_digits.rank_of(strategy) == RANK:
            os.kill(os.getpid(), signal.SIGTERM)
        yield batch


if __name__ == "__main__":
    multiworker_digits.batches = batches
    sys.exit(multiworker_digits.main())
