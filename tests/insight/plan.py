"""Draws placements of faults at random: which fault, how large, on which rank, in which program."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insight.planted import QUIET

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
FAULTS, PROGRAMS = HERE / "faults", HERE / "programs"
BLOCK = 16
"""Steps of a block; two make a finding."""
SPREAD = 1.5
"""A fault has at least so many times its threshold; or it is small, and must be left alone."""


@dataclass(frozen=True)
class Program:
    """One training, and how its ranks are started."""

    name: str
    arguments: Sequence[str]
    ranks: Sequence[int]
    faults: Sequence[str]
    launcher: str = "torch"


ONE_RANK = (
    "slow_input",
    "decoding",
    "slow_pipe",
    "slow_forward",
    "slow_backward",
    "slow_optimizer",
    "more_work",
)
TOGETHER = ("large_exchange", "many_exchanges", "wandering_work")
OVER_TIME = ("checkpoints", "becomes_slower", "leak")
BAIT = ("one_pause", "jitter", "chatter", "")
EVERYTHING = (*ONE_RANK, *TOGETHER, *OVER_TIME, *BAIT)
INSIDE = tuple(each for each in EVERYTHING if each != "slow_optimizer")
PROGRAMS_KNOWN = (
    Program("torch_ranks.py", ("ddp",), (2, 4), EVERYTHING),
    Program("torch_ranks.py", ("dist",), (2, 4), EVERYTHING),
    Program("torch_ranks.py", ("fsdp2",), (2, 4), EVERYTHING),
    Program("torch_ranks.py", ("horovod",), (2, 4), EVERYTHING, "horovod"),
)
REAL_WORK = ("decoding", "more_work")
"""These need a core for each rank."""


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

    def as_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("id", "fault", "ranks", "ms", "work", "steps")}
        return plain | self.more


def draw(
    count: int, seed: int, healthy: bool = False, programs: Sequence[Program] = PROGRAMS_KNOWN
) -> list[Placement]:
    """Return so many placements; the same for the same seed."""
    chance = random.Random(seed)
    return [_one(number, chance, healthy, programs) for number in range(count)]


def _one(number: int, chance: random.Random, healthy: bool, programs: Sequence[Program]) -> Placement:
    program = chance.choice(programs)
    known = [each for each in program.faults if (each in BAIT) == healthy]
    fault = chance.choice(known or list(program.faults))
    size = min(program.ranks) if fault in REAL_WORK else chance.choice(program.ranks)
    work = chance.uniform(50, 100)
    share = 0.01 * 80 ** chance.random() if chance.random() < 0.2 else 0.1 * 8 ** chance.random()
    ms = work * share
    ranks = [chance.randrange(size)]
    if fault in {"slow_input", "decoding", "slow_pipe"} and chance.random() < 0.4:
        ranks = []
        ms *= 1.5
    steps = QUIET + 3 * BLOCK
    more: dict[str, float] = {}
    if fault == "large_exchange":
        more = {"floats": round(2e5 * 20 ** chance.random())}
    elif fault == "many_exchanges":
        more = {"count": chance.randint(20, 150)}
    elif fault == "wandering_work":
        ms = work * chance.uniform(0.4, 0.9)
    elif fault == "checkpoints":
        ranks = chance.choice([[0], []])
        more = {"every": chance.randint(12, 20), "pause": chance.uniform(700, 1500)}
        steps = QUIET + 4 * BLOCK
    elif fault == "becomes_slower":
        ranks, ms = [], work * chance.uniform(0.5, 1.0)
        steps = QUIET + 6 * BLOCK
        more = {"from": QUIET + 4 * BLOCK}
    elif fault == "leak":
        more = {"bytes": 1e6 * chance.uniform(2, 4)}
        steps = QUIET + 10 * BLOCK
        work = 25.0
    return Placement(number, program, size, fault, ranks, ms, work, steps, more)
