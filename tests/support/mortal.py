"""An operator that dies, as by SIGKILL, right after so many of its writes were acknowledged."""

import os
import sys
from pathlib import Path
from typing import Any

from ftjob.control.__main__ import main as run_operator
from ftjob.kube.transport import METHODS, Transport

KILLED = 137
"""Its exit code then."""
WRITES = "EXIT_AFTER_WRITE"
"""The variable that holds the number."""


def program() -> str:
    """Return this file, for ``python -c`` and the operator's own arguments: its image has no tests."""
    return Path(__file__).read_text()


def main() -> int:
    """Run the operator until that write."""
    left = int(os.environ[WRITES])
    request = Transport.request

    async def request_and_die(self: Transport, verb: str, *args: Any, **more: Any) -> Any:
        nonlocal left
        answer = await request(self, verb, *args, **more)
        if METHODS[verb] != "GET":
            left -= 1
            if left == 0:
                os._exit(KILLED)
        return answer

    Transport.request = request_and_die  # type: ignore[method-assign]
    return run_operator()


if __name__ == "__main__":
    sys.exit(main())
