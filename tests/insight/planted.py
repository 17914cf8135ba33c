"""Plants faults inside a rank, and writes down what it really did: the truth, which the product never sees.

A program calls `at` where a fault may sit and `work` where it computes; it knows nothing of the faults. These
are files of a folder (`INSIGHT_FAULTS`), one function ``plant(place)`` each, so that others can be added.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import time
from collections import defaultdict
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUIET = 6
"""The first steps of a placement, in which the one before may still be felt."""


@dataclass(frozen=True)
class Place:
    """What a fault is told when the program passes a point."""

    point: str
    """``begin``, ``input``, ``forward``, ``backward``, ``optimizer``, ``exchange``, ``between``, ``end``."""
    rank: int
    ranks: int
    step: int
    """Within the placement, from 0 on."""
    placement: dict[str, Any]
    exchange: Callable[[int, int], None]
    """Sum so many tensors of so many floats over all ranks."""

    @property
    def ms(self) -> float:
        """How much is to be planted in a step."""
        return float(self.placement["ms"])

    @property
    def is_culprit(self) -> bool:
        """Whether it is this rank's fault; with no ranks, each one's."""
        ranks = self.placement["ranks"]
        return not ranks or self.rank in ranks


class Planted:
    """The placements of one set of processes, one after another."""

    def __init__(self, rank: int, ranks: int) -> None:
        self.rank, self.ranks = rank, ranks
        self.placements = json.loads(Path(os.environ["INSIGHT_PLAN"]).read_text())
        self.total = sum(each["steps"] for each in self.placements)
        self.chance = random.Random(rank)
        self.current: dict[str, Any] | None = None
        self.number = self.step = 0
        self.spent: dict[str, float] = defaultdict(float)
        self.truth: list[dict[str, Any]] = []
        self.exchange: Callable[[int, int], None] = lambda *_: None
        self.cores = os.sched_getaffinity(0)

    def steps(self) -> Iterator[int]:
        """Pass through all steps of all placements; the program trains in each of them once."""
        for placement in self.placements:
            self.current = placement
            if placement["cores"]:
                os.sched_setaffinity(0, placement["cores"][self.rank : self.rank + 1])
            self._plant("begin", 0)
            for step in range(placement["steps"]):
                self.step, self.number = step, self.number + 1
                self.spent.clear()
                began, used = time.perf_counter(), time.process_time()
                yield self.number
                self._plant("between", step)
                row = {"number": self.number, "ms": 1000 * (time.perf_counter() - began)}
                row["cpu"] = 1000 * (time.process_time() - used)
                row["rss"], row["at"] = rss_bytes(), time.time_ns()
                self.truth.append({"placement": placement["id"], **row, "planted": dict(self.spent)})
            self._plant("end", placement["steps"])
            os.sched_setaffinity(0, self.cores)
        where = Path(os.environ["INSIGHT_TRUTH"]) / f"rank-{self.rank}.json"
        where.with_suffix(".part").write_text(json.dumps(self.truth))
        where.with_suffix(".part").rename(where)

    def at(self, point: str, is_lost: bool = True) -> None:
        """Let a fault sit here; programs call it at each point once a step.

        Where the step goes on meanwhile, it is not lost; the program measures by `lost` what it waits for.
        """
        self._plant(point, self.step, is_lost)

    def work(self, part: float) -> None:
        """Work for a part of the step: as a device does, which leaves the cores free, or for real."""
        if self.current is None:
            return
        ms = part * self.current["work"] * self.chance.gauss(1, 0.01)
        if not self.current["cores"]:
            time.sleep(ms / 1000)
            return
        began, used = time.perf_counter(), time.thread_time()
        burn(ms)
        self.spent["host"] += 1000 * (time.perf_counter() - began - (time.thread_time() - used))

    def _plant(self, point: str, step: int, is_lost: bool = True) -> None:
        if self.current is None or not self.current["fault"]:
            return  # a loader that runs ahead of the first step
        with self.lost(point) if is_lost else nullcontext():
            place = Place(point, self.rank, self.ranks, step, self.current, self.exchange)
            fault(self.current["fault"]).plant(place)

    @contextmanager
    def lost(self, point: str) -> Iterator[None]:
        """Note how long the step stands still here."""
        began = time.perf_counter()
        yield
        self.spent[point] += 1000 * (time.perf_counter() - began)


def fault(name: str, found: dict[str, Any] = {}) -> Any:  # noqa: B006  loaded once
    """Load a fault from its folder."""
    if name not in found:
        for folder in os.environ["INSIGHT_FAULTS"].split(os.pathsep):
            path = Path(folder) / f"{name}.py"
            if path.exists():
                spec = importlib.util.spec_from_file_location(f"fault_{name}", path)
                assert spec is not None
                assert spec.loader is not None
                found[name] = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(found[name])
    return found[name]


def rss_bytes() -> int:
    """What this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def burn(ms: float) -> None:
    """Compute for so many ms of CPU time."""
    until = time.thread_time() + ms / 1000
    value = 0.0
    while time.thread_time() < until:
        for each in range(200):
            value += each * 1.5
