"""`failure.json`: the uncaught exception of a rank, on record before anything at exit can block or be killed.

Only the main thread's exception ends a process, so other threads' are not recorded, nor what a program shows
by calling `sys.excepthook` itself.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as type checkers understand it, without the cost of `typing`
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Optional, Type

# Set by the first Python process of a rank, inherited by all Python processes below it.
MAIN_PID = "FTJOB_HOOKS_PID"

_MOST_CHARACTERS = 16384

# Exceptions by which a launcher says that its child failed: the child's own record tells more.
_CHILD_FAILED = frozenset(
    ("CalledProcessError", "ChildFailedError", "ProcessRaisedException", "ProcessExitedException")
)


_ONE_FAILURE_SECONDS = 30.0
"""Children that fail within this time fail for one reason, that of the first."""


def begin() -> None:
    """Become the rank's main process, unless that is above."""
    if MAIN_PID in os.environ:
        return
    os.environ[MAIN_PID] = str(os.getpid())
    own = os.path.join(os.environ.get("FTJOB_RANK_DIR", ""), "failure.json")
    if os.path.exists(own):
        _set_aside(own)


def _set_aside(own: str) -> None:
    """Take an exception for tolerated whose shell has waited for the process, and has started this one."""
    import json

    from .protocol import files

    try:
        with open(own, "rb") as file:
            data = json.load(file)
        # A shell becomes the last of its programs, which then is the parent of those before.
        if _began_ns() < int(data["timeNs"]) and data.get("parentPid") != os.getpid():
            return  # it ran beside us, as the other end of a pipe
        os.kill(int(data["pid"]), 0)  # also when it has ended, and nobody has waited for it
    except ProcessLookupError:
        os.replace(own, os.path.join(os.path.dirname(own), files.EARLIER_FAILURE))
    except Exception as problem:
        sys.stderr.write(f"ftjob: {own} can't be read: {problem!r}\n")


def _began_ns() -> int:
    """Return when this process began, at the latest; the kernel counts in ticks of 10 ms (proc(5))."""
    import time

    with open("/proc/self/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - (ticks + 1) / os.sysconf("SC_CLK_TCK")
    return time.time_ns() - int(age * 1e9)


def install() -> None:
    """Put a recorder before the present `sys.excepthook`, and a second chance at exit."""
    recorder = _Recorder()
    previous = sys.excepthook

    def excepthook(kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
        if error is getattr(sys, "last_value", None):  # which Python sets before it calls us
            recorder.record(kind, error, trace)
        previous(kind, error, trace)

    sys.excepthook = excepthook

    import atexit

    # Registered first, so it runs last. Some libraries replace sys.excepthook without calling ours.
    atexit.register(recorder.record_at_exit)


class _Recorder:
    def __init__(self) -> None:
        self._pid = os.getpid()
        self._done = False

    def record(self, kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
        try:
            if self._done or issubclass(kind, KeyboardInterrupt):
                return
            self._done = True
            # The record says that the rank is ending, so a helper process, which the rank may outlive, writes
            # another; it becomes the rank's if the rank ends because of it.
            from .protocol import files, variables

            folder = os.environ[variables.RANK_DIR]
            own, child = os.path.join(folder, files.FAILURE), os.path.join(folder, files.CHILD_FAILURE)
            if os.environ.get(MAIN_PID) != str(os.getpid()):
                if not _is_recent(child):
                    _write(child, kind, error, trace)
            elif kind.__name__ in _CHILD_FAILED and os.path.exists(child):
                _take_over(child, own)
            else:
                _write(own, kind, error, trace)
        except Exception as problem:
            sys.stderr.write(f"ftjob: no record of the failure: {problem!r}\n")

    def record_at_exit(self) -> None:
        error: Any = getattr(sys, "last_value", None)
        if error is not None and os.getpid() == self._pid and not hasattr(sys, "ps1"):
            self.record(type(error), error, error.__traceback__)


def _is_recent(path: str) -> bool:
    import time

    try:
        return time.time() - os.stat(path).st_mtime < _ONE_FAILURE_SECONDS
    except OSError:
        return False


def _take_over(child: str, own: str) -> None:
    """Make the child's record that of this process, which ends for the same reason."""
    import json

    from . import json_file

    with open(child, "rb") as file:
        data = json.load(file)
    json_file.write(own, {**data, "pid": os.getpid(), "parentPid": os.getppid()})
    os.remove(child)


def _write(
    path: str, kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]
) -> None:
    import time
    import traceback

    from . import json_file
    from .protocol import variables, whole

    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    rank = os.environ.get(variables.RANK, "")
    json_file.write(
        path,
        {
            "rank": whole(rank),
            "pid": os.getpid(),
            "parentPid": os.getppid(),
            "timeNs": time.time_ns(),
            "type": name,
            "message": str(error)[:_MOST_CHARACTERS],
            "traceback": "".join(traceback.format_exception(kind, error, trace))[-_MOST_CHARACTERS:],
        },
    )
