"""A capture by JAX's profiler: one xplane file. JAX has no steps that we could see, so it has no marks."""

from __future__ import annotations

import glob
import os
import shutil
from typing import Any

from .tracer import Save, Tracer


class JaxTracer(Tracer):
    """One profiler session of the process, which any thread may begin and end."""

    def start(self, folder: str) -> None:
        """Begin to record."""
        from jax import profiler

        profiler.start_trace(folder)

    def step(self, number: int) -> None:
        """Do nothing: there are no steps."""

    def stop(self) -> Save:
        """End the recording, which JAX does in one call with writing."""
        from jax import profiler

        stop_trace: Any = profiler.stop_trace
        stop_trace()

        def save(folder: str) -> None:
            # JAX names the files after the host, which ranks of a pod share.
            profiles = os.path.join(glob.escape(folder), "plugins", "profile")
            (written,) = glob.glob(os.path.join(profiles, "*", "*.xplane.pb"))
            os.replace(written, os.path.join(folder, f"{self.rank_name}.xplane.pb"))
            shutil.rmtree(os.path.join(folder, "plugins"))

        return save
