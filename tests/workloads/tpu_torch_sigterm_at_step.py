"""The tpu_torch program, which gets a SIGTERM at the step that the first argument names.

The signal comes from inside, so that the test knows the step; the program can't tell the difference.
"""

import os
import signal
import sys
from collections.abc import Mapping

from ftjob_workloads import life, tpu_torch

STEP = int(sys.argv.pop(1))
report = life.report


def stopped(step: int, steps: int, metrics: Mapping[str, float] | None = None) -> None:
    report(step, steps, metrics)
    if step == STEP:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    life.report = stopped
    sys.exit(tpu_torch.main())
