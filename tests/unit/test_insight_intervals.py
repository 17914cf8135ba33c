"""Sets of times."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ftjob.insight.intervals import Intervals, length, minus, union

END = 40
PAIRS = st.lists(st.tuples(st.integers(0, END), st.integers(0, END)).map(lambda pair: (min(pair), max(pair))))


def cells(intervals: Intervals | list[tuple[int, int]]) -> set[int]:
    return {cell for start, end in intervals for cell in range(int(start), int(end))}


@given(PAIRS, PAIRS, st.integers(0, END), st.integers(0, END))
def test_sets_of_times_are_those_of_their_cells(
    these: list[tuple[int, int]], those: list[tuple[int, int]], start: int, end: int
) -> None:
    first, second = union(these), union(those)
    assert cells(first) == cells(these)
    assert all(a[1] < b[0] for a, b in pairwise(first))
    assert cells(minus(first, second)) == cells(these) - cells(those)
    assert length(first, start, end) == len(cells(these) & set(range(start, end)))
