"""Starts one agent and ties its life to that of ``ftjob run``.

Run as a script by the trainer's interpreter, which need not have ftjob installed: standard library and
Python 3.9 only.

    python -IS start_agent.py <pid of ftjob run> <folder that holds ftjob_agent> -- <command of the ranks>
"""

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Become the agent."""
    parent, folder = int(sys.argv[1]), sys.argv[2]
    # When ftjob is killed without a chance to stop us, the kernel sends what ftjob would have sent.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before that
        sys.exit(128 + signal.SIGTERM)
    sys.path.append(folder)  # the last, so that what lies beside the agent hides nothing
    sys.argv = ["ftjob_agent", *sys.argv[3:]]
    runpy.run_module("ftjob_agent", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
