"""The judge of planted faults is judged."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from insight.plan import FAULTS, Sees, draw
from insight.planted import QUIET
from insight.score import Outcome, Truth, fault_module, summary, table, truth, wilson

SEEN = SimpleNamespace(sees=Sees.ALL, label="torch ddp")


def rows(ms: float, planted: float, point: str, count: int = 48) -> list[dict[str, object]]:
    return [{"ms": ms, "planted": {point: planted}, "delay": 0.0, "rss": 1} for _ in range(QUIET + count)]


@pytest.mark.parametrize(
    ("planted", "kind", "clear"),
    [(0.0, None, True), (2.0, None, True), (5.0, None, False), (9.0, "Straggler", True)],
)
def test_a_fault_counts_by_what_it_did_and_not_by_what_was_asked_for(
    planted: float, kind: str | None, clear: bool
) -> None:
    place = SimpleNamespace(ranks=[1], more={}, program=SEEN)
    found = truth(
        place,
        [rows(100, 0, "forward"), rows(100, planted, "forward")],
        fault_module(FAULTS / "slow_forward.py"),
    )
    assert (found.kind, found.is_clear) == (kind, clear)
    assert found.ranks == ((1,) if kind else ())


def test_slow_input_of_all_ranks_is_another_kind() -> None:
    place = SimpleNamespace(ranks=[], more={}, program=SEEN)
    found = truth(
        place, [rows(100, 30, "input"), rows(100, 25, "input")], fault_module(FAULTS / "slow_input.py")
    )
    assert (found.kind, found.share) == ("InputBound", 0.25)


def outcome(true: str | None, said: str, ranks: tuple[int, ...] = (), busy: float = 0.0) -> Outcome:
    place = SimpleNamespace(ranks=[], fault="", program=SEEN)
    return Outcome(place, Truth(true, ranks, 0.5, True, 60.0), said, ranks, None, "", busy)


def test_precision_and_recall_count_what_they_should() -> None:
    found = [
        outcome("Straggler", "Straggler", (1,)),
        outcome("Straggler", "NoProblem"),
        outcome(None, "InputBound"),
        outcome(None, "NoProblem"),
        outcome(None, "HostContention", busy=0.5),
    ]
    assert summary(found).startswith("precision 1/2 (0.095 to 0.905), recall 1/2 (0.095 to 0.905)")
    assert summary(found).endswith("0 near their threshold, 1 on a busy machine")
    assert "| Straggler | 2 | 1 | 1 | 0 |" in table(found)
    assert "| none, or too small | 2 | 1 | 0 | 1 |" in table(found)


def test_the_wrong_rank_is_not_right() -> None:
    place = SimpleNamespace(ranks=[], fault="", program=SEEN)
    wrong = Outcome(place, Truth("Straggler", (1,), 0.5, True, 60.0), "Straggler", (0,), None, "", 0.0)
    assert not wrong.is_right


def test_wilson_bounds_are_those_of_the_books() -> None:
    assert wilson(95, 100) == pytest.approx((0.8882, 0.9785), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_same_seed_draws_the_same_placements() -> None:
    assert [each.as_json() for each in draw(30, 7)] == [each.as_json() for each in draw(30, 7)]
    assert [each.as_json() for each in draw(30, 7)] != [each.as_json() for each in draw(30, 8)]
