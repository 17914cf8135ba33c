"""A capture by TensorFlow's profiler: one xplane file with a mark for each step."""

from __future__ import annotations

import glob
import os
import shutil
from typing import Any

from .capture import Save, Tracer


class TensorFlowTracer(Tracer):
    """One profiler session of the process; what its threads do, it sees."""

    _mark: Any = None
    _warmed = False

    def warm(self, folder: str) -> None:
        """Start and drop a session, so that CUPTI is loaded on GPUs."""
        from tensorflow.python.profiler import profiler_v2

        profiler_v2.warmup()

    def start(self, folder: str) -> None:
        """Begin to record."""
        from tensorflow.python.profiler import profiler_v2

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

        def save(folder: str) -> None:
            from tensorflow.python.profiler import profiler_v2

            profiler_v2.stop()
            # TensorFlow names the file after the host, which ranks of a pod share.
            (written,) = glob.glob(
                os.path.join(glob.escape(folder), "plugins", "profile", "*", "*.xplane.pb")
            )
            os.replace(written, os.path.join(folder, f"{self.worker}.xplane.pb"))
            shutil.rmtree(os.path.join(folder, "plugins"))

        return save

    def _end_step(self) -> None:
        mark, self._mark = self._mark, None
        if mark is not None:
            mark.__exit__(None, None, None)
