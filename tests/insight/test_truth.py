"""What is held to be true of a placement, and what of a verdict is held to be right."""

from __future__ import annotations

import random
from typing import Any

import pytest
from insight.plan import FAULTS, JOBS, PROGRAMS_KNOWN, Placement, Program, Sees, draw
from insight.score import Outcome, Truth, fault_module, precision, recall, table, truth

BY_LABEL = {program.label: program for program in PROGRAMS_KNOWN}
KNOWN = ("torch ddp", "tensorflow horovod", "tensorflow multiworker_fit", "jax")


def placed(fault: str, label: str, ranks: tuple[int, ...] = (1,)) -> Placement:
    return Placement(0, BY_LABEL[label], 2, fault, list(ranks), 40.0, 60.0, 40)


def measured(placement: Placement, ms: float) -> Truth:
    """Return the truth if each culprit has lost so many ms, by computing, in steps of 100 ms."""
    module = fault_module(FAULTS / f"{placement.fault}.py")
    culprits = placement.ranks or range(placement.size)

    def row(rank: int) -> dict[str, Any]:
        late = ms if rank in culprits else 0.0
        return {"ms": 100.0, "cpu": 20.0 + late, "planted": {module.POINT: late}}

    return truth(placement, [[row(rank)] * placement.steps for rank in range(placement.size)], module)


def outcome(true: Truth, label: str, kind: str, *ranks: int) -> Outcome:
    return Outcome(placed("slow_forward", label), true, kind, ranks, None, "", 0.0)


@pytest.mark.parametrize(
    ("fault", "ranks", "seen"),
    [
        ("slow_input", (1,), "torch ddp, tensorflow horovod"),
        ("slow_input", (), "torch ddp, tensorflow horovod"),
        ("slow_forward", (1,), "torch ddp"),
        ("more_work", (1,), "torch ddp, tensorflow horovod, tensorflow multiworker_fit"),
        ("decoding", (1,), "torch ddp, tensorflow horovod, tensorflow multiworker_fit"),
        ("decoding", (), "torch ddp, tensorflow horovod"),
        ("large_exchange", (), "torch ddp"),
        ("busy_neighbour", (1,), "torch ddp"),
    ],
)
def test_a_fault_is_hidden_just_where_the_clock_cant_see_it(
    fault: str, ranks: tuple[int, ...], seen: str
) -> None:
    found = {label: measured(placed(fault, label, ranks), 60.0) for label in KNOWN}
    assert all(true.kind is not None for true in found.values())
    assert ", ".join(label for label, true in found.items() if not true.is_hidden) == seen


def test_what_only_cpu_time_shows_must_be_large_to_be_demanded() -> None:
    assert measured(placed("more_work", "torch ddp"), 10.0).kind == "Straggler"
    assert measured(placed("more_work", "tensorflow horovod"), 10.0).kind is None
    assert measured(placed("more_work", "tensorflow horovod"), 30.0).kind == "Straggler"


def test_the_cause_of_what_only_cpu_time_shows_is_computing() -> None:
    assert measured(placed("decoding", "tensorflow horovod"), 60.0).cause == "Input"
    assert measured(placed("decoding", "tensorflow multiworker_fit"), 60.0).cause == "Compute"


def test_of_what_is_hidden_one_may_know_nothing_or_the_truth_and_accuse_nobody_else() -> None:
    true, label = measured(placed("slow_forward", "tensorflow horovod"), 60.0), "tensorflow horovod"
    assert outcome(true, label, "Unknown").is_right
    assert outcome(true, label, "Straggler", 1).is_right
    assert not outcome(true, label, "Straggler", 0).is_right
    assert not outcome(true, label, "InputBound").is_right
    assert not outcome(true, label, "NoProblem").is_right
    assert recall([outcome(true, label, "Unknown")]) == (0, 0)
    assert precision([outcome(true, label, "Straggler", 0)]) == (0, 1)


@pytest.mark.parametrize("label", KNOWN)
def test_no_problem_is_right_only_where_all_is_seen(label: str) -> None:
    healthy = Truth(None, (), 0.0, True, 100.0)
    assert outcome(healthy, label, "NoProblem").is_right == (label == "torch ddp")
    assert outcome(healthy, label, "Unknown").is_right
    assert not outcome(healthy, label, "Straggler", 0).is_right


def test_a_missed_fault_lowers_recall_and_shows_in_both_tables() -> None:
    true = measured(placed("slow_forward", "torch ddp"), 60.0)
    missed, found = outcome(true, "torch ddp", "Unknown"), outcome(true, "torch ddp", "Straggler", 1)
    assert recall([missed, found]) == (1, 2)
    lines = table([missed, found]).splitlines()
    for name in ("Straggler", "torch ddp"):
        assert any(line.startswith(f"| {name} | 2 | 1 | 1 | 0 | 1/1 (") for line in lines)


def test_each_fourth_placement_is_a_job_and_all_programs_and_faults_are_drawn() -> None:
    drawn = draw(400, random.Random(0).randrange(10**6))
    assert sum(each.is_job for each in drawn) == 400 / JOBS
    assert {each.program for each in drawn} == set(PROGRAMS_KNOWN)
    assert {each.program.strategy for each in drawn if each.is_job} >= {"Torchrun", "Horovod", "JAX"}
    assert all(each.is_job for each in drawn if Sees.STEPS not in each.program.sees)
    assert all(each.fault in each.program.faults for each in drawn)


def test_programs_of_other_folders_may_say_what_is_seen_of_them() -> None:
    mine = Program("own.py", (), (2,), ("slow_forward",))
    assert {each.program for each in draw(8, 1, programs=[mine])} == {mine}
