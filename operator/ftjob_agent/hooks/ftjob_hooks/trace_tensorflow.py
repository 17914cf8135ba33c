"""A capture by TensorFlow's profiler: one xplane file with a mark for each step."""

from __future__ import annotations

import glob
import os
import shutil
import threading
from typing import Any

from .capture import Save, Tracer

_PATIENCE = 60.0

# Whether no session is being written; a process can have one session only.
_free = threading.Event()
_free.set()


class TensorFlowTracer(Tracer):
    """One profiler session of the process; what its threads do, it sees."""

    _mark: Any = None

    def warm(self) -> None:
        """Start and drop a session, so that CUPTI is loaded on GPUs."""
        from tensorflow.python.framework import config
        from tensorflow.python.profiler import profiler_v2

        if _free.is_set() and config.list_physical_devices("GPU"):
            profiler_v2.warmup()

    def start(self, folder: str) -> None:
        """Begin to record."""
        from tensorflow.python.profiler import profiler_v2

        _free.wait(_PATIENCE)
        options = profiler_v2.ProfilerOptions(python_tracer_level=1 if self.options.get("stacks") else 0)
        profiler_v2.start(folder, options)

    def step(self, number: int) -> None:
        """Mark a step in the way that xprof groups events by."""
        from tensorflow.python.profiler import trace

        self._end_step()
        self._mark = trace.Trace("train", step_num=number, _r=1)
        self._mark.__enter__()

    def stop(self) -> Save:
        """End the recording later, in the thread that saves: the session stops and writes in one call."""
        self._end_step()
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
            os.replace(written, os.path.join(folder, f"{self.worker}.xplane.pb"))
            shutil.rmtree(os.path.join(folder, "plugins"))

        return save

    def _end_step(self) -> None:
        mark, self._mark = self._mark, None
        if mark is not None:
            mark.__exit__(None, None, None)
