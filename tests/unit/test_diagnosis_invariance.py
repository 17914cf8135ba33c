"""What a verdict must not depend on, and that the checks notice a diagnosis that is subtly wrong."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from support.vitals import Extra, Training, at, every, on_ranks, on_steps, one

from ftjob_diagnosis import diagnose as module
from ftjob_diagnosis import table
from ftjob_diagnosis.diagnose import diagnose
from ftjob_diagnosis.findings import Cause, Confidence, Diagnosis, Kind
from ftjob_diagnosis.kinds import straggler

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob_diagnosis.window import RankBlock, Step, Window

FAULTS = {
    "input": one(2, input=25),
    "compute": one(0, compute=12),
    "two ranks": at(range(999), [1, 4], sleep=20),
    "input of all": every(input=20),
    "imbalance": lambda rank, step: Extra(compute=30.0 * (step * 7 % 6 == rank)),
    "pauses": at(range(0, 999, 25), [3], save=2500),
    "healthy": every(),
}
TRAINING = Training(ranks=6, nodes=3, blocks=4)


def said(found: Diagnosis) -> list[tuple[Kind, tuple[int, ...], Cause | None, Confidence]]:
    return [(each.kind, each.ranks, each.cause, each.confidence) for each in found.findings]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(3))
def test_permuting_the_ranks_permutes_the_accused(fault: str, seed: int) -> None:
    window = TRAINING.run(FAULTS[fault])
    new = list(range(6))
    random.Random(seed).shuffle(new)
    swapped = on_ranks(window, lambda row: replace(row, rank=new[row.rank]))
    swapped = replace(
        swapped,
        blocks=tuple(
            replace(b, ranks=tuple(sorted(b.ranks, key=lambda row: row.rank))) for b in swapped.blocks
        ),
    )
    expected = [(k, tuple(sorted(new[r] for r in ranks)), c, s) for k, ranks, c, s in said(diagnose(window))]
    assert said(diagnose(swapped)) == expected


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("factor", [0.5, 3.0, 10.0])
def test_a_slower_machine_gets_the_same_verdict(fault: str, factor: float) -> None:
    def step(each: Step) -> Step:
        own, blocked, loading = each.own_ms, each.blocked_ms, each.input_ms
        assert own is not None
        assert blocked is not None
        assert loading is not None
        return each._replace(
            step_ms=each.step_ms * factor,
            input_ms=loading * factor,
            own_ms=own * factor,
            blocked_ms=blocked * factor,
        )

    def rank(row: RankBlock) -> RankBlock:
        hosts = {
            name: getattr(row, name) * factor
            for name in ("cpu_ms", "run_delay_ms", "throttled_ms", "start_s", "end_s")
        }
        return replace(row, **hosts)

    window = TRAINING.run(FAULTS[fault])
    assert said(diagnose(on_ranks(on_steps(window, step), rank))) == said(diagnose(window))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("offset", "drift"), [(5.0, 0.0), (-5.0, 5e-5), (0.0, -5e-5)])
def test_clocks_that_disagree_change_nothing(fault: str, offset: float, drift: float) -> None:
    wrong = replace(TRAINING, clock=offset, drift=drift).run(FAULTS[fault])
    assert diagnose(wrong) == diagnose(TRAINING.run(FAULTS[fault]))


@pytest.mark.parametrize("load", [{"compute": 30.0}, {"compute": 300.0}, {"sleep": 7.0}])
def test_the_same_load_on_all_accuses_nobody(load: dict[str, float]) -> None:
    assert diagnose(TRAINING.run(every(**load))).kind is Kind.NO_PROBLEM


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("gone", [0, 3, 17])
def test_a_rank_that_tells_nothing_makes_less_sure_and_accuses_no_other(fault: str, gone: int) -> None:
    large = replace(TRAINING, ranks=18)
    window = large.run(FAULTS[fault])
    found = diagnose(on_ranks(window, lambda row: None if row.rank == gone else row))
    assert found.verdict is None or found.verdict.confidence is not Confidence.HIGH
    accused = {rank for each in diagnose(window).findings for rank in each.ranks}
    assert {rank for each in found.findings for rank in each.ranks} <= accused
    assert not found.is_clear
    assert "1 of 18 ranks" in found.notes


def test_two_healthy_runs_spliced_are_healthy() -> None:
    for seed in range(5):
        first, second = (replace(TRAINING, seed=seed + more).run() for more in (0, 100))
        later = [
            replace(block, number=index + 2)
            for index, block in enumerate(on_steps(second, lambda step: step).blocks[2:])
        ]
        blocks = (*first.blocks[:2], *later)
        assert all(a.number + 1 == b.number for a, b in pairwise(blocks))
        assert diagnose(replace(first, blocks=blocks)).kind is Kind.NO_PROBLEM


def core() -> None:
    """Check what every change of the diagnosis must leave true."""
    names = Training(ranks=4)
    slow = diagnose(names.run(one(1, input=25)))
    assert said(slow) == [(Kind.STRAGGLER, (1,), Cause.INPUT, Confidence.HIGH)]
    two = diagnose(Training(ranks=2).run(one(0, compute=25)))
    assert said(two) == [(Kind.STRAGGLER, (0,), Cause.COMPUTE, Confidence.HIGH)]
    assert [each.kind for each in diagnose(names.run(every(input=25))).findings] == [Kind.INPUT_BOUND]
    seldom = at([step for step in range(999) if step % 20 < 11], [2], compute=9)
    assert not diagnose(names.run(seldom)).findings
    assert diagnose(names.run()).kind is Kind.NO_PROBLEM


def ranks_swapped(patch: pytest.MonkeyPatch) -> None:
    real = table.build

    def build(blocks: Any, ranks: int) -> table.Table:
        found = real(blocks, ranks)
        return replace(found, ranks=found.ranks[::-1])

    patch.setattr(module, "build", build)


def maximum_for_lower_median(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(table, "lower_median", max)


def input_dropped(patch: pytest.MonkeyPatch) -> None:
    real = table.build

    def build(blocks: Any, ranks: int) -> table.Table:
        found = real(blocks, ranks)
        return replace(found, input=tuple([0.0] * found.steps for _ in found.ranks))

    patch.setattr(module, "build", build)


def persistence_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(straggler, "persistence", lambda *_: 1.0)


def test_the_core_holds() -> None:
    core()


@pytest.mark.parametrize(
    "mutant", [ranks_swapped, maximum_for_lower_median, input_dropped, persistence_ignored]
)
def test_a_mutant_of_the_diagnosis_fails_the_core(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        core()


def test_a_window_says_nothing_of_the_order_in_which_ranks_told() -> None:
    window: Window = TRAINING.run(FAULTS["input"])
    turned = replace(window, blocks=tuple(replace(block, ranks=block.ranks[::-1]) for block in window.blocks))
    assert diagnose(turned) == diagnose(window)
