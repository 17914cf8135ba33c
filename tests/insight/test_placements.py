"""A sample of planted faults, drawn anew for each commit; `make test-insight` plants many more."""

from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from insight.plan import FAULTS, OF_THE_HOST, PROGRAMS_KNOWN, Program, Sees, draw
from insight.run import run
from insight.score import summary

if TYPE_CHECKING:
    from pathlib import Path

FAULTY, HEALTHY = 20, 4
AT_LEAST = 0.8
"""Of so few placements. The whole run demands more, on a machine that does nothing else."""


def seed() -> int:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return int(done.stdout[:8], 16)


def few(number: int) -> list[Program]:
    """Return three programs of one size each: few processes start. Other tests load the cores beside."""
    chance = random.Random(number)
    whole = [each for each in PROGRAMS_KNOWN if Sees.WAITS in each.sees]
    return [
        replace(
            each,
            ranks=(chance.choice(each.ranks),),
            faults=tuple(fault for fault in each.faults if fault not in OF_THE_HOST),
        )
        for each in chance.sample(whole, 3)
    ]


@pytest.mark.timeout(900)
def test_planted_faults_are_called_what_they_are_and_nothing_else_is_accused() -> None:
    number = seed()
    print("seed:", number)
    programs = few(number)
    placements = draw(FAULTY, number, programs=programs, jobs=False)
    for each in draw(HEALTHY, number + 1, healthy=True, programs=programs, jobs=False):
        each.id = len(placements)
        placements.append(each)
    outcomes = run(placements, (FAULTS,))
    print(summary(outcomes))
    scored = [each for each in outcomes if each.counts]
    assert len(scored) >= AT_LEAST * len(outcomes) / 2, "nearly all were near their threshold"
    assert sum(each.is_right for each in scored) >= AT_LEAST * len(scored)
    healthy = [each for each in scored if each.truth.kind is None]
    assert all(each.is_right for each in healthy), [each.text for each in healthy]


def test_faults_of_another_folder_are_planted_too(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        'POINT, KIND, CAUSE = "forward", "Straggler", "Unknown"\n\n\n'
        "def plant(place):\n"
        "    import time\n"
        "    if place.point == POINT and place.is_culprit:\n"
        "        time.sleep(place.ms / 1000)\n"
    )
    placement = draw(1, 1, programs=PROGRAMS_KNOWN[:1], jobs=False)[0]
    placement.fault, placement.ranks, placement.ms, placement.steps = "own", [1], 60.0, 40
    outcome = run([placement], (FAULTS, tmp_path))[0]
    assert outcome.is_right
