"""Prints the table of failing ranks from what tests/cluster/test_failing_rank.py has written down."""

from __future__ import annotations

import csv
import statistics
import sys
from collections import defaultdict
from pathlib import Path


def main() -> None:
    """Print one line for each framework and kind of failure, as Markdown."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    ranks: dict[tuple[str, str], set[str]] = defaultdict(set)
    with Path(sys.argv[1]).open(encoding="utf-8") as lines:
        for framework, rank, how, seconds in csv.reader(lines):
            times[framework, how].append(float(seconds))
            ranks[framework, how].add(rank)
    print("| framework | failure | ranks | runs | right rank named | until Failed: median | longest |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (framework, how), found in sorted(times.items()):
        print(
            f"| {framework} | {how} | {', '.join(sorted(ranks[framework, how]))} | {len(found)} | all | "
            f"{statistics.median(found):.1f} s | {max(found):.1f} s |"
        )


if __name__ == "__main__":
    main()
