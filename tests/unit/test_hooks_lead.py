"""Which of several optimizers makes the steps of a program."""

from __future__ import annotations

import pytest

from ftjob_agent.hooks.ftjob_hooks.steps.lead import Lead


class Optimizer:
    """Can be referred to weakly, as those of all frameworks can."""


@pytest.mark.parametrize(
    ("called", "steps"),
    [
        ("aaaa", 4),
        ("abababab", 4),
        ("abcabcabc", 3),
        # One after the other, and the first once more.
        ("aaaabbbbb", 9),
        ("aaaabbbbbaaa", 12),
        # Those that follow alternate.
        ("aaaabcbcbcbc", 8),
        # A step of the leader, or of the other one, was skipped.
        ("ababbabab", 4),
        ("abaabab", 4),
        # More steps of one than of the other in each loop.
        ("aaabaaabaaab", 9),
        ("abbabbabb", 3),
    ],
)
def test_steps_are_those_of_the_loop(called: str, steps: int) -> None:
    optimizers = {name: Optimizer() for name in set(called)}
    lead = Lead()
    assert sum(lead.count(optimizers[name]) for name in called) == steps


def test_one_that_is_gone_gives_the_lead_to_the_next_at_once() -> None:
    lead, first, second = Lead(), Optimizer(), Optimizer()
    assert [lead.count(first), lead.count(second)] == [1, 0]
    del first
    assert [lead.count(second), lead.count(second)] == [2, 1]


def test_calls_of_several_steps_count_as_one_call() -> None:
    lead, first, second = Lead(), Optimizer(), Optimizer()
    assert sum(lead.count(optimizer, 4) for _ in range(5) for optimizer in (first, second)) == 20
    assert [lead.count(first, 0), lead.count(second, 4), lead.count(second, 4)] == [0, 0, 12]


def test_a_correction_of_the_leaders_count_is_passed_on() -> None:
    lead, only = Lead(), Optimizer()
    assert [lead.count(only, 5), lead.count(only, -2)] == [5, -2]
