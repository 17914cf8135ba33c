"""The entry point of the zipapp."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

USAGE = "usage: ftjob-agent.pyz -- <command> <args...>   (started by ftjob's pods, with FTJOB_AGENT_CONFIG)"


def main() -> NoReturn:
    """Run the trainer's command as this agent's ranks."""
    from ftjob_agent.life import run
    from ftjob_protocol.variables import PRIVATE

    environ = dict(os.environ)
    for name in PRIVATE:
        os.environ.pop(name, None)  # no child inherits it, whoever starts it
    separator, command = sys.argv[1:2], sys.argv[2:]
    if separator != ["--"] or not command:
        sys.stderr.write(f"{USAGE}\n")
        code = 2
    else:
        code = run(command, environ)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads may still wait for a peer, a pipe or a volume; nothing of theirs is needed
