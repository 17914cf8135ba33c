"""What ``diagnose`` looks at: the last blocks of steps of one attempt (or elastic generation) of a job.

Every time in a step is a difference on the rank's own clock: clocks need not agree. None means that it could
not be measured, which is not the same as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional

CAPTURE, COMPILE = 1, 2
"""Flags of a step: a profiler recorded it; something was compiled in it."""


class Step(NamedTuple):
    """One step of one rank. A tuple, since a window of a large job has a million of them."""

    step: int
    step_ms: float
    input_ms: Optional[float]
    """In the data iterator."""
    own_ms: Optional[float]
    """The step less what it was blocked: work up to the arrival at each synchronisation, input included."""
    blocked_ms: Optional[float]
    """In collectives: waiting for other ranks, and the transfer."""
    collectives: int = 0
    flags: int = 0


class Line(NamedTuple):
    """A line of the user's code in which the sampler found the rank's main thread."""

    text: str
    """Such as ``train.py:57 load``."""
    kind: str
    """``input``, ``collective``, ``save``, ``compile``, ``sync``, ``step`` or ``other``."""
    share: float
    """Of all samples, 0 to 1."""


@dataclass(frozen=True)
class RankBlock:
    """What one rank measured in one block. Times of CPU are means of a step."""

    rank: int
    node: str
    steps: tuple[Step, ...]
    """By number: of a long block its last 64, and before them its longest, so that no pause is missed.

    Of an old block only the longest need be kept.
    """
    cpu_ms: Optional[float] = None
    """CPU time of the rank's processes."""
    graph_ms: Optional[float] = None
    """Of that, the part of the threads that run TensorFlow's graphs; None where they are not known."""
    run_delay_ms: Optional[float] = None
    """The main thread was ready to run, and waited for a core."""
    throttled_ms: Optional[float] = None
    """The pod's own CPU limit held it back."""
    rss_bytes: Optional[int] = None
    gpu_bytes: Optional[int] = None
    where: tuple[Line, ...] = ()
    start_s: float = 0.0
    """Begin and end of the block, on any clock of which one rank's blocks are all measured."""
    end_s: float = 0.0
    is_first: bool = False
    """The rank's training begins in this block: its first steps are a warm-up."""
    typical: Optional[Step] = None
    """The block's medians over *all* of its steps; None: those of `steps`. An old block has only these."""


@dataclass(frozen=True)
class Block:
    """The same steps of all ranks that have told of them."""

    number: int
    ranks: tuple[RankBlock, ...]


@dataclass(frozen=True)
class Seen:
    """What the hooks could watch at all. What none of them could is said with the verdict."""

    input: bool = True
    collectives: bool = True


@dataclass(frozen=True)
class Launches:
    """What a capture of a GPU says of its kernels."""

    idle_share: float
    """Of a step, 0 to 1, in which the GPU had nothing to do."""
    median_kernel_us: float


@dataclass(frozen=True)
class Window:
    """The last blocks, oldest first. The last ``MEMORY.whole`` of them have their steps."""

    blocks: tuple[Block, ...]
    ranks: int
    """How many ranks the attempt has."""
    strategy: str
    eta_s: Optional[float] = None
    """Seconds until the job has done all its steps; None: not known."""
    memory_limit_bytes: Optional[int] = None
    """What one rank may use: the pod's limit, divided among its ranks."""
    gpu_limit_bytes: Optional[int] = None
    seen: Seen = Seen()
    launches: Optional[Launches] = None


class Memory(NamedTuple):
    """How many blocks are worth keeping."""

    whole: int
    """With their steps."""
    all: int
    """These, and before them those that have only their longest: for what takes long to see."""


MEMORY = Memory(whole=4, all=120)
