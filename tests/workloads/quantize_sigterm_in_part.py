"""The quantize_export program, which gets a SIGTERM while it prunes; for this short life its model is small.

The signal comes from inside, so that the test knows when; the program can't tell the difference.
"""

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from ftjob_workloads import quantize_export

prune = quantize_export.Workshop.prune


def stopped(workshop: quantize_export.Workshop) -> Mapping[str, Any]:
    os.kill(os.getpid(), signal.SIGTERM)
    return prune(workshop)


if __name__ == "__main__":
    quantize_export.Workshop.prune = stopped  # type: ignore[assignment,method-assign]
    sys.exit(quantize_export.main())
