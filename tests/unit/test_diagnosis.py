"""Verdicts on trainings that never ran; `tests/insight` plants the same faults into real ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.vitals import NOTHING, Extra, Training, at, every, on_ranks, on_steps, one

from ftjob_diagnosis.diagnose import diagnose
from ftjob_diagnosis.findings import Cause, Confidence, Kind
from ftjob_diagnosis.window import CAPTURE, COMPILE, Launches, Line, Seen, Step, Window

if TYPE_CHECKING:
    from ftjob_diagnosis.findings import Diagnosis, Finding
    from ftjob_diagnosis.window import RankBlock

HEALTHY = Training()
EVER = range(10**6)


def but_rank_0(row: RankBlock) -> RankBlock | None:
    return row if row.rank else None


WITHOUT_RANK_0 = on_ranks(HEALTHY.run(), but_rank_0)


def verdict(window: Window, before: Diagnosis | None = None) -> Finding:
    found = diagnose(window, before)
    assert found.verdict is not None, found
    assert len(found.text) <= 160
    assert found.text == found.verdict.text
    return found.verdict


def test_a_healthy_job_is_called_so_with_its_numbers() -> None:
    found = diagnose(HEALTHY.run())
    assert (found.kind, found.findings, found.is_clear) == (Kind.NO_PROBLEM, (), True)
    assert found.text == (
        "no problem found: 89 % own work, 3 % input, 8 % communication; ranks within 0 % (64 steps)"
    )


@pytest.mark.parametrize(
    ("extra", "cause", "words"),
    [
        ({"input": 24.5}, Cause.INPUT, "its input takes 24.5 ms longer (load.py:31 decode)"),
        ({"compute": 25.0}, Cause.COMPUTE, "it computes 2"),
        ({"sleep": 25.0}, Cause.UNKNOWN, "ms longer (train.py:61 wait)"),
        ({"host": 25.0}, Cause.HOST, "it waits 25.0 ms longer for a core of its host"),
        ({"throttled": 25.0}, Cause.HOST, "it is held back 25.0 ms by its own CPU limit"),
    ],
)
def test_a_straggler_is_named_with_its_cause_and_line(
    extra: dict[str, float], cause: Cause, words: str
) -> None:
    found = verdict(Training(nodes=4).run(one(2, **extra)))
    assert (found.kind, found.ranks, found.cause) == (Kind.STRAGGLER, (2,), cause)
    assert found.confidence is Confidence.HIGH
    assert found.text.startswith("straggler: rank 2 (node node-2) costs 2")
    assert words in found.text


def test_an_input_that_computes_is_slow_input() -> None:
    window = on_ranks(
        HEALTHY.run(one(1, input=20)), lambda row: replace(row, cpu_ms=60 + 20.0 * (row.rank == 1))
    )
    assert verdict(window).cause is Cause.INPUT


def test_all_ranks_of_one_node_are_named_as_the_node() -> None:
    found = verdict(Training(nodes=2).run(at(EVER, [2, 3], compute=20)))
    assert (found.node, found.ranks) == ("node-1", (2, 3))
    assert found.text.startswith(
        "straggler: node node-1 (ranks 2-3) costs 23 % of each step; each computes 1"
    )
    assert verdict(Training().run(at(EVER, [2, 3], compute=20))).node is None


def test_who_is_late_less_than_half_as_much_is_not_blamed() -> None:
    found = verdict(HEALTHY.run(lambda rank, _: Extra(compute={1: 40.0, 3: 8.0}.get(rank, 0.0))))
    assert found.ranks == (1,)


def test_never_more_than_half_of_the_ranks_are_stragglers() -> None:
    assert not diagnose(HEALTHY.run(at(EVER, [0, 1, 2], compute=20))).findings


def test_a_rank_late_in_every_other_step_is_not_yet_a_straggler() -> None:
    assert all(
        found.kind is not Kind.STRAGGLER
        for found in diagnose(
            HEALTHY.run(at([i for i in range(999) if i % 20 < 11], [1], compute=9))
        ).findings
    )
    often = verdict(HEALTHY.run(at([i for i in range(999) if i % 10 < 7], [1], compute=20)))
    assert (often.kind, often.ranks, often.confidence) == (Kind.STRAGGLER, (1,), Confidence.MEDIUM)


def test_ranks_that_do_not_wait_for_each_other_are_not_compared() -> None:
    window = on_steps(
        HEALTHY.run(one(1, compute=40)), lambda step: step._replace(collectives=0, blocked_ms=0)
    )
    assert not diagnose(window).findings


def test_a_straggler_whose_waits_are_not_seen_is_found_by_its_cpu_time() -> None:
    blind = Training(sees=Seen(input=False, collectives=False))
    found = verdict(blind.run(one(1, compute=40)))
    assert (found.kind, found.ranks, found.confidence) == (Kind.STRAGGLER, (1,), Confidence.MEDIUM)
    assert found.text == (
        "straggler: rank 1 uses 1.7 times the CPU time of the others, 100 ms a step (train.py:60 forward)"
    )
    assert not diagnose(blind.run(one(1, compute=12))).findings


def test_cpu_time_beside_a_graph_makes_no_straggler() -> None:
    """Horovod's coordinator uses more than others, and so does a rank that decodes ahead."""
    blind = Training(sees=Seen(input=False, collectives=False))

    def in_graphs(window: Window, *ms: float) -> Window:
        blocks = [
            replace(block, ranks=tuple(replace(row, graph_ms=ms[row.rank]) for row in block.ranks))
            for block in window.blocks
        ]
        return replace(window, blocks=tuple(blocks))

    uneven, even = blind.run(one(1, compute=40)), blind.run()
    assert not diagnose(in_graphs(uneven, 50.0, 50.0, 50.0, 50.0)).findings
    found = verdict(in_graphs(even, 50.0, 50.0, 90.0, 50.0))
    assert (found.kind, found.ranks) == (Kind.STRAGGLER, (2,))
    assert found.evidence[0].ref == "ranks/2/graphMs"


def test_a_straggler_whose_waits_are_not_seen_is_found_by_its_input() -> None:
    found = verdict(Training(sees=Seen(collectives=False)).run(one(1, input=40)))
    assert (found.ranks, found.cause) == ((1,), Cause.INPUT)


def test_work_that_wanders_from_rank_to_rank_is_imbalance() -> None:
    found = verdict(HEALTHY.run(lambda rank, step: Extra(compute=30) if step % 4 == rank else NOTHING))
    assert (found.kind, found.ranks) == (Kind.IMBALANCE, ())
    assert found.text.endswith("waits for the slowest rank, each step another (4 of 4)")


@pytest.mark.parametrize(("ranks", "end"), [(4, ", all ranks alike"), (1, "")])
def test_waiting_for_data_on_all_ranks_is_input_bound(ranks: int, end: str) -> None:
    found = verdict(Training(ranks=ranks).run(every(input=30)))
    assert (found.kind, found.ranks, found.line) == (Kind.INPUT_BOUND, (), "load.py:31 decode")
    assert found.text.endswith(f"of step time waits for data (load.py:31 decode){end}")


@pytest.mark.parametrize(("ms", "sure"), [(6.0, Confidence.MEDIUM), (20.0, Confidence.HIGH)])
def test_the_confidence_grows_with_the_share(ms: float, sure: Confidence) -> None:
    assert verdict(HEALTHY.run(every(input=ms + 2))).confidence is sure


def test_of_two_ranks_one_with_slow_input_is_a_straggler_and_not_input_bound() -> None:
    found = diagnose(Training(ranks=2).run(one(1, input=30)))
    assert [(each.kind, each.ranks) for each in found.findings] == [(Kind.STRAGGLER, (1,))]


def test_transfers_that_the_last_rank_waits_for_are_communication() -> None:
    found = verdict(Training(transfer_ms=50).run())
    assert found.kind is Kind.COMMUNICATION_BOUND
    assert found.text == "communication-bound: 45 % of step time, 50.5 ms in 2 collectives a step"


def test_waiting_for_a_straggler_is_not_communication() -> None:
    assert [found.kind for found in diagnose(HEALTHY.run(one(0, compute=60))).findings] == [Kind.STRAGGLER]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"host": 30.0}, "waits for a core of the host"),
        ({"throttled": 30.0}, "the pods' own CPU limit"),
        ({"host": 30.0, "throttled": 18.0}, "the pods' own CPU limit"),
        ({"host": 30.0, "throttled": 6.0}, "waits for a core of the host"),
    ],
)
@pytest.mark.parametrize("ranks", [1, 4])
def test_hosts_that_lend_no_core_are_named(extra: dict[str, float], words: str, ranks: int) -> None:
    found = verdict(Training(ranks=ranks).run(every(**extra)))
    assert found.kind is Kind.HOST_CONTENTION
    assert words in found.text


def test_pauses_name_the_line_and_the_rank_that_makes_the_others_wait() -> None:
    found = verdict(Training(blocks=4).run(at(range(0, 999, 20), [0], save=1000)))
    assert (found.kind, found.ranks) == (Kind.PAUSES, (0,))
    assert found.text == (
        "paused: 41 % of the time, 6 times 999 ms (train.py:88 save); rank 0 alone, others wait"
    )
    assert verdict(Training(blocks=4).run(at(range(0, 999, 20), range(4), save=1000))).ranks == ()


def test_one_pause_is_none_and_pauses_that_are_long_past_are_over() -> None:
    assert diagnose(Training(blocks=4).run(at([30], range(4), save=5000))).kind is Kind.NO_PROBLEM
    assert diagnose(Training(blocks=12).run(at([12, 22, 32], range(4), save=3000))).kind is Kind.NO_PROBLEM


def test_pauses_of_blocks_whose_steps_are_gone_still_count() -> None:
    window = Training(blocks=9).run(at([20, 140, 260], range(4), save=4000))
    typical = Step(0, 67, 2, 62, 5)
    thin = [
        replace(
            block,
            ranks=tuple(
                replace(row, steps=tuple(s for s in row.steps if s.step_ms > 999), typical=typical)
                for row in block.ranks
            ),
        )
        for block in window.blocks[:-2]
    ]
    found = verdict(replace(window, blocks=(*thin, *window.blocks[-2:])))
    assert found.kind is Kind.PAUSES
    assert "3 times 4000 ms" in found.text


def test_steps_that_became_slower_are_a_regression_since_a_step() -> None:
    found = verdict(Training(blocks=6).run(at(range(129, 999), range(4), compute=40)))
    assert found.kind is Kind.REGRESSION
    assert found.text.startswith("regression: steps take 1.6 times as long as before, since step 129 (")
    assert found.text.endswith("own work grew most")
    once = diagnose(Training(blocks=5).run(at(range(129, 999), range(4), compute=40)))
    assert once.verdict is None


def test_a_straggler_explains_the_regression_that_it_causes() -> None:
    found = diagnose(Training(blocks=6).run(at(range(129, 999), [3], compute=40)))
    assert [each.kind for each in found.findings] == [Kind.STRAGGLER, Kind.REGRESSION]


@pytest.mark.parametrize(("eta", "found"), [(7200.0, True), (None, True), (100.0, False)])
def test_memory_that_lasts_until_the_end_is_no_finding(eta: float | None, found: bool) -> None:
    window = Training(blocks=12, grows=1e7).run(memory_limit_bytes=2_000_000_000, eta_s=eta)
    kinds = [(each.kind, each.ranks) for each in diagnose(window).findings]
    assert kinds == ([(Kind.MEMORY_GROWTH, (0,))] if found else [])
    if eta and found:
        assert "rank 0 reaches the limit (2.0 GB) in 3 min, the job needs 2.0 h" in diagnose(window).text


def test_memory_that_only_fills_a_cache_is_no_finding() -> None:
    window = Training(blocks=20).run(memory_limit_bytes=2_000_000_000)
    filling = on_ranks(
        window, lambda row: replace(row, rss_bytes=int(1e9 * (1 - 0.7 ** (row.end_s / 2 - 49))))
    )
    assert not diagnose(filling).findings


def test_a_gpu_that_waits_for_launches_is_named_where_a_capture_saw_it() -> None:
    assert verdict(HEALTHY.run(launches=Launches(0.4, 8.0))).kind is Kind.LAUNCH_BOUND
    assert diagnose(HEALTHY.run(launches=Launches(0.4, 80.0))).kind is Kind.NO_PROBLEM


def test_the_warm_up_is_left_out() -> None:
    assert diagnose(Training(first=True, blocks=2).run(at(range(9), EVER, compute=9000))).verdict is None


@pytest.mark.parametrize(("flag", "left"), [(CAPTURE, 42), (COMPILE, 44)])
def test_captures_and_compilation_are_left_out(flag: int, left: int) -> None:
    def marked(step: Step) -> Step:
        return step._replace(flags=flag) if 40 <= step.step < 60 else step

    found = diagnose(on_steps(HEALTHY.run(at(range(40, 60), range(4), compute=30)), marked))
    assert found.kind is Kind.NO_PROBLEM
    assert f"({left} steps)" in found.text


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (Window((), 4, "Torchrun"), "unknown: no block of steps so far"),
        (Training(blocks=1, steps=12).run(), "unknown: 12 of 16 usual steps so far"),
        (
            WITHOUT_RANK_0,
            "unknown: these steps of 1 of 4 ranks are not known",
        ),
        (
            Training(strategy="ParameterServer").run(one(1, input=90)),
            "unknown: the workers of parameter servers",
        ),
        (
            Training(sees=Seen(input=False, collectives=False)).run(),
            "nothing found; not seen: input time, communication; 67.",
        ),
    ],
)
def test_a_job_that_can_not_be_judged_says_what_is_missing(window: Window, words: str) -> None:
    found = diagnose(window)
    assert (found.kind, found.findings) == (Kind.UNKNOWN, ())
    assert found.text.startswith(words)


def test_no_problem_is_said_only_where_every_signal_was_measured() -> None:
    for blind in (Seen(input=False), Seen(collectives=False)):
        assert diagnose(Training(sees=blind).run()).kind is Kind.UNKNOWN
    hosts = on_ranks(HEALTHY.run(), lambda row: replace(row, run_delay_ms=None))
    assert diagnose(hosts).text.startswith("nothing found; not seen: waiting for cores of the host;")
    near = diagnose(HEALTHY.run(every(input=4)))
    assert (near.kind, near.findings) == (Kind.UNKNOWN, ())
    assert near.text.startswith("no clear problem: ")


def test_what_was_seen_in_one_block_or_without_a_rank_is_not_told() -> None:
    late = at(range(65, 999), [1], compute=30)
    once = diagnose(HEALTHY.run(late))
    assert [(each.kind, each.confidence) for each in once.findings] == [(Kind.STRAGGLER, Confidence.LOW)]
    assert (once.verdict, once.kind) == (None, Kind.UNKNOWN)
    assert once.text.startswith("not sure yet: ")
    gone = on_ranks(Training(ranks=16).run(one(1, compute=30)), lambda row: row if row.rank != 5 else None)
    assert [(each.ranks, each.confidence) for each in diagnose(gone).findings] == [((1,), Confidence.LOW)]


def test_a_verdict_stays_until_two_blocks_are_clearly_below() -> None:
    def until(blocks: int, ms: float = 30.0, rest: float = 0.0) -> Window:
        whole = Training(blocks=8).run(
            lambda rank, step: Extra(compute=ms if step <= 96 else rest) if rank == 1 else NOTHING
        )
        return replace(whole, blocks=whole.blocks[:blocks])

    slow = diagnose(until(3))
    assert slow.kind is Kind.STRAGGLER
    after_one = diagnose(until(4), slow)
    assert after_one.kind is Kind.STRAGGLER
    after_two = diagnose(until(5), after_one)
    assert after_two.kind is Kind.NO_PROBLEM
    halfway = diagnose(until(5, rest=2.9), diagnose(until(4, rest=2.9), slow))
    assert (halfway.kind, halfway.verdict and halfway.verdict.ranks) == (Kind.STRAGGLER, (1,))


def test_a_verdict_stays_while_a_long_pause_leaves_too_few_steps() -> None:
    slow = diagnose(HEALTHY.run(one(1, compute=30)))
    few = Training(blocks=2, steps=7).run(one(1, compute=30))
    assert diagnose(few, slow) == slow


def test_the_costliest_finding_is_the_verdict() -> None:
    found = diagnose(Training(transfer_ms=60).run(one(2, compute=25)))
    assert [each.kind for each in found.findings] == [Kind.COMMUNICATION_BOUND, Kind.STRAGGLER]


def test_a_verdict_is_one_line_of_160_characters_whatever_the_script_is_called() -> None:
    wild = "a\nb\x1b[31m" + "x" * 300 + ".py:7 f"
    window = on_ranks(
        Training(nodes=4).run(one(2, input=24.5)),
        lambda row: replace(
            row, node="n" * 253, where=(Line(wild, "input", 0.3 if row.rank == 2 else 0.01),)
        ),
    )
    text = verdict(window).text
    assert len(text) <= 160
    assert text.isprintable()
    assert "its input takes 24.5 ms longer (a b" in text
