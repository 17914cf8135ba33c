"""A capture by torch's profiler: a gzipped Chrome trace with a mark for each step."""

from __future__ import annotations

import gzip
import os
import shutil
import time
from typing import Any

from .tracer import Save, Tracer


class TorchTracer(Tracer):
    """torch.profiler without its own schedule, so that steps are marked by their number in the script."""

    _profile: Any = None
    _mark: Any = None

    def warm(self) -> None:
        """Let Kineto set up its buffers, and CUPTI on GPUs."""
        from torch import profiler

        options: dict[str, Any] = {
            "record_shapes": bool(self.options.get("shapes")),
            "profile_memory": bool(self.options.get("memory")),
            "with_stack": bool(self.options.get("stacks")),
        }
        try:
            # There is one cycle; without this some releases warn the user that others would be lost.
            self._profile = profiler.profile(acc_events=True, **options)
        except TypeError:  # an older release
            self._profile = profiler.profile(**options)
        self._profile.prepare_trace()

    def start(self, folder: str) -> None:
        """Begin to record."""
        if self._profile is None:
            self.warm()
        self._profile.start_trace()

    def step(self, number: int) -> None:
        """Mark a step as torch's own schedule does."""
        from torch.autograd.profiler import record_function

        self._end_step()
        self._mark = record_function(f"ProfilerStep#{number}")
        self._mark.__enter__()

    def stop(self) -> Save:
        """End the recording; only the compression is left for later."""
        self._end_step()
        profile, self._profile = self._profile, None
        profile.stop_trace()

        def save(folder: str) -> None:
            name = f"{self.rank_name}.{time.time_ns()}.pt.trace.json"
            plain = os.path.join(folder, name)
            profile.export_chrome_trace(plain)
            # Level 6 takes a third of the time of 9 for a few per cent.
            with open(plain, "rb") as source, gzip.open(plain + ".gz", "wb", compresslevel=6) as target:
                shutil.copyfileobj(source, target, 1 << 20)
            os.remove(plain)

        return save

    def abandon(self) -> None:
        """Throw a warm-up away: Kineto wants it started before it is stopped."""
        profile, self._profile = self._profile, None
        if profile is not None:
            profile.start_trace()
            profile.stop_trace()

    def _end_step(self) -> None:
        mark, self._mark = self._mark, None
        if mark is not None:
            mark.__exit__(None, None, None)
