"""A capture by torch's profiler: a gzipped Chrome trace with a mark for each step."""

from __future__ import annotations

import gzip
import os
import shutil
import threading
import time
from contextlib import contextmanager
from typing import Any, Iterator

from .tracer import Save, Tracer


class TorchTracer(Tracer):
    """torch.profiler without its own schedule, so that steps are marked by their number in the script."""

    _profile: Any = None
    _mark: Any = None
    _thread = 0  # which has begun: torch keeps what it records for each thread

    def hindrance(self) -> str:
        """Look where we are: in the backward pass torch undoes at its end what was begun."""
        import torch

        if torch._C._current_graph_task_id() != -1:
            return "optimizers step within the backward pass, where torch's profiler can't begin or end"
        if self._thread not in (0, threading.get_ident()):
            return "steps are made by several threads, of which torch's profiler sees one"
        return ""

    def warm(self) -> None:
        """Let Kineto set up its buffers, and CUPTI on GPUs."""
        from torch import autograd, profiler

        state: Any = autograd
        if state._profiler_enabled():
            raise RuntimeError("a profiler of torch's is on that has begun in a way unknown to us")
        # Without `acc_events`, for which torch would make an object of each event while the training waits.
        self._profile = profiler.profile(
            record_shapes=bool(self.options.get("shapes")),
            profile_memory=bool(self.options.get("memory")),
            with_stack=bool(self.options.get("stacks")),
        )
        self._thread = threading.get_ident()
        with _no_warnings():
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


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Keep some releases from warning the user that the next cycle would drop the events of this one.

    Not by a filter: after each change of the filters Python shows again what the script was warned of.
    """
    from torch.profiler import profiler

    module: Any = profiler
    replaced = {name: getattr(module, name) for name in ("warn", "_warn_once") if hasattr(module, name)}
    for name in replaced:
        setattr(module, name, lambda *_args, **_kwargs: None)
    try:
        yield
    finally:
        for name, original in replaced.items():
            setattr(module, name, original)
