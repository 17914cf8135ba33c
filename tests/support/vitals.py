"""Vitals of a training that never ran: ranks that work, arrive, and wait for the last one, each step."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ftjob_diagnosis.window import Block, Line, RankBlock, Seen, Step, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Extra:
    """What a rank does in a step beside the usual work, in ms."""

    input: float = 0.0
    compute: float = 0.0
    sleep: float = 0.0
    host: float = 0.0
    throttled: float = 0.0
    save: float = 0.0

    @property
    def total(self) -> float:
        return self.input + self.compute + self.sleep + self.host + self.throttled + self.save


NOTHING = Extra()
SEES_ALL = Seen()
LINES = {
    "input": "load.py:31 decode",
    "compute": "train.py:60 forward",
    "sleep": "train.py:61 wait",
    "save": "train.py:88 save",
}


@dataclass(frozen=True)
class Training:
    """A job as it would be without a fault; `more` plants it."""

    ranks: int = 4
    blocks: int = 3
    steps: int = 32
    work_ms: float = 60.0
    input_ms: float = 2.0
    transfer_ms: float = 5.0
    jitter: float = 0.01
    nodes: int = 1
    seed: int = 1
    first: bool = False
    sees: Seen = SEES_ALL
    host: float = 0.01
    rss: int = 200_000_000
    grows: float = 0.0
    """Bytes a second, of rank 0."""
    strategy: str = "Torchrun"
    clock: float = 0.0
    """Offset of a rank's clock per rank, in seconds."""
    drift: float = 0.0

    def run(self, more: Callable[[int, int], Extra] = lambda *_: NOTHING, **window: Any) -> Window:
        """Return the window of this training."""
        chance = random.Random(self.seed)
        now_s = 100.0
        blocks = []
        for number in range(self.blocks):
            steps: list[list[Step]] = [[] for _ in range(self.ranks)]
            extras: list[list[Extra]] = [[] for _ in range(self.ranks)]
            start_s = now_s
            for step in range(1 + number * self.steps, 1 + (number + 1) * self.steps):
                row = [more(rank, step) for rank in range(self.ranks)]
                own = [
                    (self.work_ms + self.input_ms) * chance.gauss(1, self.jitter) + extra.total
                    for extra in row
                ]
                took = max(own) + (self.transfer_ms * chance.gauss(1, 0.05) if self.ranks > 1 else 0.0)
                now_s += took / 1000
                for rank, extra in enumerate(row):
                    extras[rank].append(extra)
                    steps[rank].append(self._step(step, took, own[rank], extra))
            rows = [
                self._rank_block(rank, number, steps[rank], extras[rank], start_s, now_s)
                for rank in range(self.ranks)
            ]
            blocks.append(Block(number, tuple(rows)))
        return Window(tuple(blocks), self.ranks, self.strategy, seen=self.sees, **window)

    def _step(self, number: int, took: float, own: float, extra: Extra) -> Step:
        seen = self.sees
        return Step(
            number,
            took,
            self.input_ms + extra.input if seen.input else None,
            own if seen.collectives else None,
            took - own if seen.collectives else None,
            2 if self.ranks > 1 and seen.collectives else 0,
        )

    def _rank_block(
        self, rank: int, number: int, steps: list[Step], extras: list[Extra], start_s: float, end_s: float
    ) -> RankBlock:
        def mean(name: str) -> float:
            values = [float(getattr(extra, name)) for extra in extras]
            return sum(values) / len(values)

        usual = sum(step.step_ms for step in steps) / len(steps)
        lines = [
            Line(LINES[kind], kind if kind != "sleep" else "other", mean(kind) / usual) for kind in LINES
        ]
        lines.append(Line("train.py:70 step", "step", self.work_ms / usual))
        clock = self.clock * rank, 1 + self.drift * rank
        return RankBlock(
            rank,
            f"node-{rank * self.nodes // self.ranks}",
            tuple(steps),
            cpu_ms=self.work_ms + mean("compute"),
            run_delay_ms=self.host * usual + mean("host"),
            throttled_ms=mean("throttled"),
            rss_bytes=self.rss + (int(self.grows * (end_s - 100)) if rank == 0 else 0),
            where=tuple(line for line in lines if line.share > 0.002),
            start_s=clock[0] + clock[1] * start_s,
            end_s=clock[0] + clock[1] * end_s,
            is_first=self.first and number == 0,
        )


def on_ranks(window: Window, change: Callable[[RankBlock], RankBlock | None]) -> Window:
    """Return the window with each rank's block changed; None leaves it out."""
    blocks = [
        replace(block, ranks=tuple(new for new in map(change, block.ranks) if new is not None))
        for block in window.blocks
    ]
    return replace(window, blocks=tuple(blocks))


def on_steps(window: Window, change: Callable[[Step], Step]) -> Window:
    """Return the window with each step changed."""
    return on_ranks(window, lambda row: replace(row, steps=tuple(map(change, row.steps))))


def one(rank: int, **extra: float) -> Callable[[int, int], Extra]:
    """Plant something in each step of one rank."""
    return lambda each, _: Extra(**extra) if each == rank else NOTHING


def every(**extra: float) -> Callable[[int, int], Extra]:
    """Plant something in each step of each rank."""
    return lambda *_: Extra(**extra)


def at(
    steps: Sequence[int] | range, ranks: Sequence[int] | range, **extra: float
) -> Callable[[int, int], Extra]:
    """Plant something in some steps of some ranks."""
    return lambda rank, step: Extra(**extra) if rank in ranks and step in steps else NOTHING
