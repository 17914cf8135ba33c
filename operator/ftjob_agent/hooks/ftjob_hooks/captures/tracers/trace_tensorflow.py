"""A capture by TensorFlow's profiler: one xplane file with a mark for each step."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import shutil
import threading
import time
from typing import Any, Iterator

from .tracer import Save, Tracer

_PATIENCE = 60.0

# What xprof groups events by, and the plane where it looks for it.
_STEP = "train"
_HOST = "/host:CPU"

# Whether no session is being written; a process can have one session only.
_free = threading.Event()
_free.set()


class TensorFlowTracer(Tracer):
    """One profiler session of the process; what its threads do, it sees, but for `_host_events_kill`."""

    _mark: Any = None
    _steps: _Steps | None = None

    def warm(self) -> None:
        """Start and drop a session, so that CUPTI is loaded on GPUs."""
        from tensorflow.python.framework import config
        from tensorflow.python.profiler import profiler_v2

        if _free.is_set() and config.list_physical_devices("GPU"):
            _start("", None)
            profiler_v2.stop(save=False)

    def start(self, folder: str) -> None:
        """Begin to record."""
        from tensorflow.python.profiler import profiler_v2

        _free.wait(_PATIENCE)
        # None where the defaults do: TensorFlow 2.21 takes no number as an option and warns of each.
        options = profiler_v2.ProfilerOptions(python_tracer_level=1) if self.options.get("stacks") else None
        self._steps = None if _start(folder, options) else _Steps()

    def step(self, number: int) -> None:
        """Mark a step in the way that xprof groups events by."""
        from tensorflow.python.profiler import trace

        self._end_step()
        steps = self._steps
        self._mark = steps.mark(number) if steps else trace.Trace(_STEP, step_num=number, _r=1)
        self._mark.__enter__()

    def stop(self) -> Save:
        """End the recording later, in the thread that saves: the session stops and writes in one call."""
        self._end_step()
        steps = self._steps
        _free.clear()

        def save(folder: str) -> None:
            from tensorflow.python.profiler import profiler_v2

            try:
                profiler_v2.stop()
            finally:
                _free.set()
            # TensorFlow names the file after the host, which ranks of a pod share.
            profiles = os.path.join(glob.escape(folder), "plugins", "profile")
            (written,) = glob.glob(os.path.join(profiles, "*", "*.xplane.pb"))
            if steps is not None:
                steps.add_to(written)
            os.replace(written, os.path.join(folder, f"{self.rank_name}.xplane.pb"))
            shutil.rmtree(os.path.join(folder, "plugins"))

        return save

    def _end_step(self) -> None:
        mark, self._mark = self._mark, None
        if mark is not None:
            mark.__exit__(None, None, None)


def _start(folder: str, options: Any) -> bool:
    """Start a session and say whether it collects host events, or the devices' only."""
    from tensorflow.python.profiler import profiler_v2

    level = _host_events() if _host_events_kill() else None
    profiler_v2.start(folder, options)
    if level is not None:
        level.value = -1
    return level is None


def _host_events_kill() -> bool:
    """Whether collecting TensorFlow's host events could break the memory of this process.

    TraceMeRecorder::Consume of TensorFlow 2.21 (and earlier) keeps pointers to ends of activities that
    began in another thread, into deques which a growing vector copies and frees, for those of libstdc++ can
    throw when moved. MultiWorkerMirroredStrategy has such activities, where a worker asks the first one for
    the parameters of a collective; some captures in a hundred ended in SIGSEGV or SIGABRT there.
    """
    from tensorflow.python.eager import context

    tensorflow = context.context()
    leader = tensorflow.config.experimental.collective_group_leader  # such as /job:worker/replica:0/task:0
    return bool(leader) and not f"{tensorflow.host_address_space()}/".startswith(f"{leader}/")


def _host_events() -> ctypes.c_int:
    """Return TensorFlow's own variable with the level of its host events, -1 for none.

    A session that finds -1 at its end collects what the devices did, and no host event. The variable is
    exported, since TraceMe is inlined into the libraries of custom ops; the option `host_tracer_level` does
    nothing in TensorFlow 2.21.
    """
    from tensorflow.python.platform import sysconfig

    library = ctypes.CDLL(os.path.join(sysconfig.get_lib(), "libtensorflow_framework.so.2"))
    return ctypes.c_int.in_dll(library, "_ZN3tsl8profiler8internal13g_trace_levelE")


class _Steps:
    """The marks of the steps, written by ourselves as TensorFlow's host events would have them."""

    def __init__(self) -> None:
        self._thread = threading.get_native_id()
        self._done: list[tuple[int, int, int]] = []  # number, begin and end in nanoseconds since 1970

    @contextlib.contextmanager
    def mark(self, number: int) -> Iterator[None]:
        begin = time.time_ns()
        yield
        self._done.append((number, begin, time.time_ns()))

    def add_to(self, path: str) -> None:
        from tensorflow.tsl.profiler.protobuf import xplane_pb2

        if not self._done:
            return
        space = xplane_pb2.XSpace()
        with open(path, "rb") as file:
            space.ParseFromString(file.read())
        plane = next((plane for plane in space.planes if plane.name == _HOST), None)
        if plane is None:
            plane = space.planes.add(name=_HOST)
        step = _new_id(plane.event_metadata, _STEP)
        step_num = _new_id(plane.stat_metadata, "step_num")
        root = _new_id(plane.stat_metadata, "_r")
        line = plane.lines.add(id=self._thread, name="python")
        zero = _started(space, default=self._done[0][1])
        for number, begin, end in self._done:
            event = line.events.add(metadata_id=step)
            event.offset_ps = (begin - zero) * 1000
            event.duration_ps = (end - begin) * 1000
            event.stats.add(metadata_id=step_num, int64_value=number)
            event.stats.add(metadata_id=root, int64_value=1)
        with open(path, "wb") as file:
            file.write(space.SerializeToString())


def _started(space: Any, default: int) -> int:
    """Return when a session began, from which its times count, in nanoseconds since 1970."""
    for plane in space.planes:
        for stat in plane.stats:
            if plane.stat_metadata[stat.metadata_id].name == "profile_start_time":
                return int(stat.uint64_value)
    return default


def _new_id(names: Any, name: str) -> int:
    new = max(names, default=0) + 1
    names[new].id = new
    names[new].name = name
    return int(new)
