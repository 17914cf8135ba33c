"""Draws placements of faults at random: which fault, how large, on which rank, in which program."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from enum import Flag, auto
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insight.planted import QUIET
from support import cpu_quota

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
FAULTS, PROGRAMS = HERE / "faults", HERE / "programs"
JOBS, JOB_S = 4, 30.0
"""Every fourth placement is a job. It trains for so many seconds: warm-up, two blocks of five, and more."""
BLOCK = 16
"""Steps of a block; two make a finding."""


class Sees(Flag):
    """What the clock sees of a program (docs/clock.md)."""

    STEPS = auto()
    INPUT = auto()
    WAITS = auto()
    ALL = STEPS | INPUT | WAITS


@dataclass(frozen=True)
class Program:
    """One training, and how its ranks are started."""

    name: str
    arguments: tuple[str, ...]
    ranks: tuple[int, ...]
    faults: tuple[str, ...]
    strategy: str = "Torchrun"
    sees: Sees = Sees.ALL

    @property
    def weight(self) -> int:
        """How often it is drawn: most often where most can be seen."""
        return 1 if Sees.STEPS not in self.sees else 4 if Sees.WAITS in self.sees else 2

    @property
    def label(self) -> str:
        """Its name in tables."""
        return " ".join([self.name.partition("_")[0], *self.arguments])


INPUT = ("slow_input", "decoding", "slow_pipe")
DEVICE = ("slow_forward", "slow_backward", "more_work")
TOGETHER = ("large_exchange", "many_exchanges", "wandering_work")
OF_THE_HOST = ("busy_neighbour", "cpu_quota")
OVER_TIME = ("checkpoints", "becomes_slower", "leak")
BAIT = ("one_pause", "jitter", "chatter", "")
IN_A_GRAPH = (*INPUT, *DEVICE, "wandering_work", *OVER_TIME, *BAIT)
IN_A_LOOP = (*INPUT, "slow_forward", "more_work", "wandering_work", *OVER_TIME, *BAIT)
EVERYTHING = (*INPUT, *DEVICE, "slow_optimizer", *TOGETHER, *OF_THE_HOST, *OVER_TIME, *BAIT)


def _tensorflow(mode: str, strategy: str, sees: Sees, faults: tuple[str, ...] = IN_A_GRAPH) -> Program:
    return Program("tensorflow_ranks.py", tuple(mode.split()), (2,), faults, strategy, sees)


HOROVOD, MULTI_WORKER = "Horovod", "MultiWorkerMirrored"
PROGRAMS_KNOWN = (
    Program("torch_ranks.py", ("ddp",), (2, 4), EVERYTHING),
    Program("torch_ranks.py", ("dist",), (2, 4), EVERYTHING),
    Program("torch_ranks.py", ("fsdp2",), (2, 4), EVERYTHING),
    Program("torch_ranks.py", ("horovod",), (2, 4), EVERYTHING, HOROVOD),
    _tensorflow("horovod", HOROVOD, Sees.STEPS | Sees.INPUT, (*IN_A_GRAPH, "large_exchange")),
    _tensorflow("horovod ahead", HOROVOD, Sees.STEPS | Sees.INPUT, (*INPUT, *BAIT)),
    _tensorflow("horovod_fit", HOROVOD, Sees.STEPS),
    _tensorflow("multiworker", MULTI_WORKER, Sees.STEPS | Sees.INPUT),
    _tensorflow("multiworker_fit", MULTI_WORKER, Sees.STEPS),
    Program("jax_ranks.py", (), (2,), IN_A_LOOP, "JAX", Sees(0)),
)
REAL_WORK = ("decoding", "more_work", *OF_THE_HOST)
"""These need a core for each rank."""
CORES = sorted(os.sched_getaffinity(0))


@dataclass
class Placement:
    """One fault in one stretch of a program."""

    id: int
    program: Program
    size: int
    """How many ranks it has."""
    fault: str
    ranks: list[int]
    ms: float
    work: float
    steps: int
    more: dict[str, float] = field(default_factory=dict)
    cores: Sequence[int] = ()
    """What each rank is to compute on, alone and for real: where the fault is the host's."""
    is_job: bool = False
    """Whether `ftjob run` runs it, and it is judged by `job.yaml`; else in one process after others."""

    def as_json(self) -> dict[str, Any]:
        names = ("id", "fault", "ranks", "ms", "work", "steps", "cores")
        plain = {name: getattr(self, name) for name in names}
        return plain | self.more


def draw(
    count: int,
    seed: int,
    healthy: bool = False,
    programs: Sequence[Program] = PROGRAMS_KNOWN,
    jobs: bool = True,
) -> list[Placement]:
    """Return so many placements, if there are to be jobs each fourth is one; the same for the same seed.

    What is seen of no step can only be judged as a job: there are no windows of it.
    """
    chance = random.Random(seed)
    with_steps = [each for each in programs if Sees.STEPS in each.sees]
    found = []
    for number in range(count):
        is_job = (jobs and number % JOBS == 0) or not with_steps
        found.append(_one(number, chance, healthy, programs if is_job else with_steps, is_job))
    return found


def is_possible(fault: str, ranks: int) -> bool:
    """Whether this machine lets a fault be planted into a program that has so many ranks at least."""
    if fault == "cpu_quota" and not has_quotas():
        return False
    return fault not in REAL_WORK or ranks <= len(CORES)


@cache
def has_quotas() -> bool:
    """Whether this machine lets us limit what a process computes."""
    return cpu_quota.is_possible()


def _one(
    number: int, chance: random.Random, healthy: bool, programs: Sequence[Program], is_job: bool
) -> Placement:
    program = chance.choices(programs, [each.weight for each in programs])[0]
    known = [
        each
        for each in program.faults
        if (each in BAIT) == healthy and is_possible(each, min(program.ranks))
        if not (is_job and each == "leak")  # runs on this machine have no limit of memory
    ]
    fault = chance.choice(known or list(program.faults))
    size = min(program.ranks) if fault in REAL_WORK else chance.choice(program.ranks)
    work = chance.uniform(50, 100)
    share = 0.01 * 80 ** chance.random() if chance.random() < 0.2 else 0.1 * 8 ** chance.random()
    ranks = [chance.randrange(size)]
    placement = Placement(number, program, size, fault, ranks, work * share, work, 0, is_job=is_job)
    if fault in INPUT and chance.random() < 0.4:
        placement.ranks, placement.ms = [], 1.5 * placement.ms
    _shape(placement, chance)
    return placement


def _shape(placement: Placement, chance: random.Random) -> None:
    """Draw what a fault needs beside its size, and for how long it takes to show."""
    fault, work = placement.fault, placement.work
    blocks, part, pause = 3, 1.0, 0.0
    if fault in OF_THE_HOST:
        placement.cores = CORES[: placement.size]
    if fault == "large_exchange":
        placement.more = {"floats": round(2e5 * 20 ** chance.random())}
    elif fault == "many_exchanges":
        placement.more = {"count": chance.randint(20, 150)}
    elif fault == "wandering_work":
        placement.ms = work * chance.uniform(0.4, 0.9)
    elif fault == "checkpoints":
        placement.ranks = chance.choice([[0], []])
        placement.more = {"every": chance.randint(12, 20), "pause": chance.uniform(700, 1500)}
        blocks, pause = 4, placement.more["pause"] / placement.more["every"]
    elif fault == "becomes_slower":
        placement.ranks, placement.ms = [], work * chance.uniform(0.5, 1.0)
        blocks, part = 6, 2 / 3
    elif fault == "leak":
        placement.more = {"bytes": 1e6 * chance.uniform(2, 4)}
        placement.work, blocks = 25.0, 11
    placement.steps = QUIET + blocks * BLOCK
    if placement.is_job:
        step_ms = work + pause + (placement.ms if fault and fault not in BAIT else 0.0)
        placement.steps = int(blocks * JOB_S / 3 * 1000 / step_ms)
    if fault == "becomes_slower":
        placement.more = {"from": QUIET + int(part * (placement.steps - QUIET))}
