"""The table as text: pieces with their colours, which a terminal may show or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.cli.top.figures import heat
from ftjob.models.times import age

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftjob.cli.top.figures import Row, Table

Piece = tuple[str, str]
"""A text, and its style."""
Drawn = list[list[Piece]]
"""Lines."""

NAMES = (
    "RANK",
    "NODE",
    "STEP",
    "TIME ms",
    "INPUT ms",
    "OWN ms",
    "BLOCKED ms",
    "CPU %",
    "MEM GB",
    "GPU GB",
    "AGE",
)
LEFT = {"NODE"}
NODE_CHARACTERS = 20
HEAT = 60
"""Characters of the heat map where the width does not say."""
LEAST_HEAT = 8
MISSING = "."
COLOURS = ("green", "yellow", "red")
LEGEND_COLOURS = "steps against the rank's median: green as usual, yellow 10 % slower or more, red 50 %"
LEGEND_DIGITS = "steps against the rank's median, in tenths: 0 as usual, 1 10 % slower, 9 90 % or more"


def draw(table: Table, now: float, *, width: int | None = None, colours: bool = False) -> Drawn:
    """Return the table.

    Parameters
    ----------
    now
        In seconds since 1970.
    width
        Characters that a line may have; None: any number.
    colours
        Whether colours tell what else digits do.
    """
    cells = [NAMES, *(_cells(row, now) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = HEAT if width is None else min(HEAT, width - sum(widths) - 2 * len(widths))
    columns = table.columns[-left:] if left >= LEAST_HEAT else ()
    steps = f"FROM STEP {columns[0]}" if columns else ""
    drawn: Drawn = [[(f"{_line(NAMES, widths)}  {steps}".rstrip(), "dim")]]
    for row, texts in zip(table.rows, cells[1:], strict=True):
        style = "bold red" if row.is_slowest else ""
        drawn.append([(f"{_line(texts, widths)}  ", style), *_map(heat(row, columns), colours=colours)])
    drawn += [[(text, "dim")] for text in _notes(table, colours=colours, has_map=bool(columns))]
    return drawn


def _cells(row: Row, now: float) -> tuple[str, ...]:
    times = (row.step_ms, row.input_ms, row.own_ms, row.blocked_ms)
    return (
        f"{'*' * row.is_slowest}{row.rank}",
        row.node[:NODE_CHARACTERS] or "-",
        str(row.step),
        *(_number(value, 1) for value in times),
        _number(row.cpu_percent, 0),
        _number(row.memory_gb, 2),
        _number(row.gpu_gb, 2),
        age(now - row.end_s),
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    found = zip(NAMES, cells, widths, strict=True)
    return "  ".join(cell.ljust(width) if name in LEFT else cell.rjust(width) for name, cell, width in found)


def _map(tenths: Sequence[int | None], *, colours: bool) -> list[Piece]:
    pieces: list[Piece] = []
    for slower in tenths:
        text, style = MISSING, "dim"
        if slower is not None:
            style = COLOURS[(slower >= 1) + (slower >= 5)]
            text = "█" if colours else str(slower)
        if pieces and pieces[-1][1] == style:
            pieces[-1] = (pieces[-1][0] + text, style)
        else:
            pieces.append((text, style))
    return pieces


def _notes(table: Table, *, colours: bool, has_map: bool) -> list[str]:
    notes = []
    if table.ranks > len(table.rows):
        notes.append(f"and {table.ranks - len(table.rows)} more ranks; these are the slowest")
    slowest = next((row for row in table.rows if row.is_slowest), None)
    if slowest is not None:
        notes.append(
            f"* the slowest: {slowest.took_ms:.1f} ms a step without waiting for others; the median of all "
            f"is {table.usual_ms:.1f} ms"
        )
    if has_map:
        notes.append(LEGEND_COLOURS if colours else LEGEND_DIGITS)
    return notes
