"""What one kind of finding looks at and says. Each file in `kinds` has these three functions and a `KIND`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Optional, Protocol

from ftjob_diagnosis.findings import Confidence, Finding, Kind
from ftjob_diagnosis.history import History, joined
from ftjob_diagnosis.table import Table
from ftjob_diagnosis.window import Block, Window


@dataclass(frozen=True)
class View:
    """A part of the window: what is judged at one time."""

    window: Window
    blocks: tuple[Block, ...]
    """All blocks up to the last that counts."""
    table: Table
    """The steps of the last few of them."""
    usual: tuple[float, ...]
    """Of each block, the median step of the median rank, in ms."""
    histories: tuple[History, ...]
    """Of each block, its pauses."""

    @cached_property
    def history(self) -> History:
        """The pauses of all blocks."""
        return joined(self.histories)

    def before(self) -> View:
        """Return the view one block earlier."""
        return replace(self, blocks=self.blocks[:-1], usual=self.usual[:-1], histories=self.histories[:-1])


@dataclass(frozen=True)
class Measure:
    """How near a signal is to its threshold, and by whose fault."""

    ranks: tuple[int, ...]
    """Empty: all alike."""
    strength: float
    """The signal as a multiple of its threshold."""
    persistence: float = 1.0
    """The share of steps that show it."""
    high: float = 1.5
    """The strength from which it is sure."""
    best: Confidence = Confidence.HIGH
    """No finding of this kind is surer."""


class Judge(Protocol):
    """One kind of finding."""

    @property
    def KIND(self) -> Kind:  # noqa: N802  a constant of a module
        """The kind."""

    def measure(self, view: View) -> Optional[Measure]:
        """Look for it. None: not measured, or no question here."""

    def strength(self, view: View, ranks: tuple[int, ...]) -> float:
        """Measure it for ranks that were found before; 0 where they are gone."""

    def describe(self, view: View, ranks: tuple[int, ...], confidence: Confidence) -> Finding:
        """Say it."""
