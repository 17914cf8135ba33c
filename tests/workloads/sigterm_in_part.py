"""A program made of parts, which gets a SIGTERM in the middle of one: `MODULE PART ARGS...`.

The signal comes from inside, so that the test knows the part; the program can't tell the difference.
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ftjob_workloads import life

MODULE, PART = sys.argv.pop(1), sys.argv.pop(1)
do_parts = life.do_parts


def do_parts_and_stop(args: Any, parts: Mapping[str, Callable[[], Any]], rank: int = 0) -> int:
    def stopping() -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return parts[PART]()

    return do_parts(args, {**parts, PART: stopping}, rank)


if __name__ == "__main__":
    life.do_parts = do_parts_and_stop
    sys.exit(importlib.import_module(f"ftjob_workloads.{MODULE}").main())
