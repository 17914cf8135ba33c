"""How long the step under way has taken so far, and of what; at its end a record of it.

Everything is measured in the thread that steps, which also ends the steps: there is nothing to lock, and a
step is whole when it ends.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Optional

from .. import notes
from ..protocol import StepRecord, variables
from ..protocol import clock as layout

if TYPE_CHECKING:
    from .ring import Ring

_TAKES_OVER = 8
"""So many steps in a row that another thread ends make it the one that steps."""
_INPUT_IS_RECENT = 100
"""Steps without any input for which the input is still known: one batch can serve several of them."""
_TELLS_AFTER = 16
_COMPILING = ("tensorflow", "jax")
"""Frameworks whose collectives are a part of what they compile."""
_UNSEEN_INPUT = "input time: no batch came through torch's DataLoader or TensorFlow's iterators in Python"


class StepClock:
    """The clock of this process. Times are nanoseconds of the monotonic clock; 0 is for no time."""

    def __init__(self) -> None:
        self.thread = threading.main_thread().ident or 0
        self._ring: Optional[Ring] = None
        self._wall_ns = 0  # what to add to the monotonic clock for a time since 1970
        self._other = (0, 0)  # a thread that ends steps, too, and how many in a row
        self._steps = 0
        self._began = 0
        self._input = self._blocked = self._collectives = self._waits = self._flags = 0
        self._in_input = self._in_wait = self._in_backward = False
        self._blocked_before = 0  # the input under way began
        self._arrived = 0  # at a collective that nobody has waited for since
        self._since_input = _INPUT_IS_RECENT
        self._sees_input = False
        """After the first step: before it, Keras' fit looks at a batch; it reads all in its graph."""
        self._sees_waits = False
        self._is_alone = True
        self.blind = ""
        """Why waiting can't be seen, whatever else is."""

    def begin(self, ring: Ring, wall_ns: int) -> None:
        """Record steps from now on."""
        self._ring, self._wall_ns = ring, wall_ns
        self._is_alone = os.environ.get(variables.WORLD_SIZE, "1") == "1"

    def input_begins(self) -> int:
        """Say that the script asks for data; 0 unless that is to be measured."""
        if self._in_input or threading.get_ident() != self.thread:
            return 0
        self._in_input = True
        self._blocked_before = self._blocked
        return time.monotonic_ns()

    def input_ends(self, began: int) -> None:
        """Say that it has the data."""
        if began:
            waited = self._blocked - self._blocked_before
            self._input += time.monotonic_ns() - began - waited
            self._since_input = 0
            self._sees_input = self._steps > 0
            self._in_input = False

    def wait_begins(self) -> int:
        """Say that Python waits for a collective; 0 unless that is to be measured."""
        if self._in_wait or threading.get_ident() != self.thread:
            return 0
        self._in_wait = True
        return time.monotonic_ns()

    def wait_ends(self, began: int) -> None:
        """Say that the collective is done."""
        if began:
            self._blocked += time.monotonic_ns() - began
            self._waits += 1
            self._arrived = 0
            self._in_wait = False

    def arrives(self) -> None:
        """Say that a collective is issued."""
        self._collectives += 1
        if threading.get_ident() == self.thread:
            self._arrived = time.monotonic_ns()

    def backward_begins(self) -> bool:
        """Say that a backward pass begins whose gradients a reducer in C++ exchanges."""
        if self._in_backward or threading.get_ident() != self.thread:
            return False
        self._in_backward = True
        self._arrived = 0
        return True

    def backward_ends(self, is_ours: bool) -> None:
        """Say that it is done: from its last collective on the reducer has waited, unless Python has."""
        if is_ours:
            self._in_backward = False
            if self._arrived:
                self._blocked += time.monotonic_ns() - self._arrived
                self._waits += 1
                self._arrived = 0

    def mark(self, flag: int) -> None:
        """Say something of the step under way."""
        self._flags |= flag

    def restart(self) -> None:
        """Forget the step under way: what ends next is no whole step."""
        self._began = 0

    def ended(self, step: int, count: int, framework: str) -> None:
        """Record that `count` steps have ended, the last of them `step`."""
        if self._ring is None:
            return
        self._follow_thread()
        now = time.monotonic_ns()
        began, self._began = self._began, now
        if began:
            flags = self._flags | self._unknown(framework)
            self._ring.write(self._record(now - began, count, step, now + self._wall_ns, flags))
            self._steps += 1
        self._input = self._blocked = self._collectives = self._waits = self._flags = 0
        self._since_input += count

    def _record(self, took: int, count: int, step: int, end_ns: int, flags: int) -> StepRecord:
        whole = _microseconds(took // count)
        blocked = own = 0
        if not flags & layout.BLOCKED_UNKNOWN:
            blocked = min(_microseconds(self._blocked // count), whole)
            own = whole - blocked
        return StepRecord(
            end_ns=end_ns,
            step=min(step, layout.MOST),
            step_us=whole,
            input_us=min(_microseconds(self._input // count), whole - blocked),
            own_us=own,
            blocked_us=blocked,
            collectives=min(max(self._collectives, self._waits) // count, 0xFFFF),
            flags=flags,
        )

    def _unknown(self, framework: str) -> int:
        """Return the flags of what was not seen, and say why if that stays so."""
        flags = 0
        if self._waits:
            self._sees_waits = True
        unseen = self._unseen_waits(framework)
        if unseen:
            flags |= layout.BLOCKED_UNKNOWN
            if framework in _COMPILING and not self._sees_waits:
                flags |= layout.INSIDE
        if self._since_input >= (_INPUT_IS_RECENT if self._sees_input else 1):
            flags |= layout.INPUT_UNKNOWN
        if self._steps == _TELLS_AFTER and flags:
            notes.unseen(
                (f"blocked time: {unseen}" if unseen else ""),
                (_UNSEEN_INPUT if flags & layout.INPUT_UNKNOWN else ""),
            )
        return flags

    def _unseen_waits(self, framework: str) -> str:
        if self._is_alone:
            return ""
        cuda = sys.modules.get("torch.cuda")
        if getattr(cuda, "_initialized", False):
            return "the CPU runs ahead of the GPU, so neither says when it waits for others"
        if self.blind:
            return self.blind
        if not self._sees_waits:
            return f"no collective of this program was seen in Python ({framework})"
        # Those that are waited for in C++, other than by DDP: functional collectives, for one.
        return "collectives that nothing in Python waits for" if self._collectives and not self._waits else ""

    def _follow_thread(self) -> None:
        thread = threading.get_ident()
        if thread == self.thread:
            self._other = (0, 0)
            return
        if threading.current_thread().name.startswith("ftjob-"):
            return  # it only reads a counter
        known, times = self._other
        self._other = thread, times + 1 if known == thread else 1
        if self._other[1] >= _TAKES_OVER:
            self.thread = thread


def _microseconds(nanoseconds: int) -> int:
    return min(nanoseconds // 1000, layout.MOST)


current = StepClock()


def _forget() -> None:
    # In a forked child: the file is the parent's. In place, since what is wrapped knows this object.
    blind = current.blind
    current.__init__()  # type: ignore[misc]
    current.blind = blind


os.register_at_fork(after_in_child=_forget)
