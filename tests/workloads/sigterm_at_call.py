"""A program that gets a SIGTERM: `MODULE FUNCTION CALL ARGS...`, at the CALL-th call of one of its functions.

The signal comes from inside, so that the test knows the moment; the program can't tell the difference.
"""

import os
import signal
import sys
from importlib import import_module
from typing import Any

MODULE = import_module(f"ftjob_workloads.{sys.argv.pop(1)}")
*OWNERS, NAME = sys.argv.pop(1).split(".")
CALL = int(sys.argv.pop(1))
calls = 0


def signalled(*args: Any, **kwargs: Any) -> Any:
    global calls  # noqa: PLW0603
    calls += 1
    if calls == CALL:
        os.kill(os.getpid(), signal.SIGTERM)
    return original(*args, **kwargs)


owner: Any = MODULE
for part in OWNERS:
    owner = getattr(owner, part)
original = getattr(owner, NAME)
setattr(owner, NAME, signalled)
if __name__ == "__main__":
    sys.exit(MODULE.main())
