"""How numbers, ranks and lines of code are written in a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

LONGEST = 160
"""Characters of a verdict."""


def percent(share: float) -> str:
    """Write a share of 0 to 1."""
    return f"{100 * share:.0f} %"


def ms(value: float) -> str:
    """Write a time of a step."""
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def seconds(value: float) -> str:
    """Write a time that people wait."""
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h"


def size(count: float) -> str:
    """Write a number of bytes."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def of_ranks(ranks: Sequence[int]) -> str:
    """Write ranks as ranges, at most three: ``rank 2``, ``ranks 0, 4-7``."""
    ranges: list[list[int]] = []
    for rank in sorted(ranks):
        if ranges and rank == ranges[-1][-1] + 1:
            ranges[-1][1:] = [rank]
        else:
            ranges.append([rank])
    shown = ", ".join("-".join(map(str, each)) for each in ranges[:3])
    more = len(ranks) - sum(each[-1] - each[0] + 1 for each in ranges[:3])
    return f"rank{'s' if len(ranks) > 1 else ''} {shown}" + (f" and {more} more" if more else "")


def verdict(kind: str, said: str, line: Optional[str], end: str = "") -> str:
    """Put a verdict together; a long line of code is cut in its middle, so that the whole is short enough."""
    text = f"{kind}: {said}"
    if line:
        room = LONGEST - len(text) - len(end) - 3
        text += f" ({cut(line, room)})" if room >= 12 else ""
    return cut(text + end, LONGEST)


def cut(text: str, most: int) -> str:
    """Return a text of at most so many characters, on one line."""
    text = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    if len(text) <= most:
        return text
    return text[: (most - 1) // 2] + "…" + text[len(text) - most // 2 :]
