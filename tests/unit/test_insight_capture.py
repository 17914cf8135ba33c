"""From the files of a capture to its summary: what is named, what is broken, and what it costs."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.traces import Planned, torch_trace, write_capture, write_rank, write_request, write_vitals

from ftjob.insight.collect.capture import Collected, NoCaptureError, collect, write_timeline
from ftjob.insight.collect.figures import Figures, figures
from ftjob.insight.collect.judge import Shown, judge, verdict_of
from ftjob.insight.collect.merge import choose
from ftjob.insight.collect.together import aligned, clocks, latest
from ftjob.insight.raw.trace import Call, Step, Trace
from ftjob.insight.summary import Rank
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    from pathlib import Path

    from ftjob.insight.summary import Summary

MEMORY = 512 << 20
SMALL = Planned(operators=6, steps=5)


def collected(outputs: Path, capture: str = "c7") -> Collected:
    with Folder(str(outputs)) as folder:
        found = collect(folder, capture)
        write_timeline(folder, found)
    return found


def summary(outputs: Path) -> Summary:
    return collected(outputs).summary


def test_a_rank_with_slow_input_is_named_with_its_excess_and_cause(tmp_path: Path) -> None:
    write_capture(tmp_path, SMALL)
    found = summary(tmp_path)
    (finding,) = found.findings
    assert (finding.kind, finding.ranks, finding.cause) == ("Straggler", [2], "Input")
    assert found.verdict.text == finding.text
    assert found.ranks[2].excess_ms == pytest.approx(25, abs=0.1)
    assert found.ranks[2].input_ms == pytest.approx(27, abs=0.1)
    (exchange,) = found.collectives
    assert (exchange.operation, exchange.bytes, exchange.last_arrival) == (
        "all_reduce",
        16_000_000,
        {"2": 1.0},
    )
    assert exchange.transfer_ms == pytest.approx(6, abs=0.1)
    assert exchange.wait_ms == pytest.approx(25, abs=0.1)


def test_a_rank_that_works_longer_is_named_without_a_cause(tmp_path: Path) -> None:
    write_capture(tmp_path, replace(SMALL, slow_input=False, slow_rank=0))
    (finding,) = summary(tmp_path).findings
    assert (finding.kind, finding.ranks, finding.cause) == ("Straggler", [0], "Unknown")


def test_ranks_that_are_alike_are_not_accused(tmp_path: Path) -> None:
    write_capture(tmp_path, replace(SMALL, slow_rank=None))
    found = summary(tmp_path)
    assert not found.findings
    assert "nothing stands out in 5 captured steps" in found.verdict.text


def without_steps(outputs: Path, planned: Planned) -> Summary:
    """Return what is made of a capture in which no step was seen, as of programs on JAX."""
    write_capture(outputs, planned)
    for path in (outputs / "captures" / "c7" / "raw").glob("rank-*/*.trace.json.gz"):
        document = json.loads(gzip.decompress(path.read_bytes()))
        document["traceEvents"] = [
            event for event in document["traceEvents"] if not event["name"].startswith("ProfilerStep")
        ]
        path.write_bytes(gzip.compress(json.dumps(document).encode()))
    return summary(outputs)


def test_without_steps_the_rank_that_comes_last_to_the_collectives_is_named(tmp_path: Path) -> None:
    found = without_steps(tmp_path, replace(SMALL, steps=12))
    (finding,) = found.findings
    assert (finding.kind, finding.ranks, finding.confidence) == ("Straggler", [2], "Medium")
    assert finding.text == (
        "straggler: rank 2 comes last to 100 % of 12 collectives; the others wait 25.0 ms for it each time"
    )
    assert finding.cost_share == pytest.approx(25 / 93, abs=0.03)
    assert found.verdict.text == finding.text


def test_without_steps_ranks_that_are_alike_are_not_accused(tmp_path: Path) -> None:
    found = without_steps(tmp_path, replace(SMALL, steps=12, slow_rank=None))
    assert not found.findings
    assert found.verdict.text == "no rank is waited for in most of 12 collectives; steps were not seen"


def test_ranks_whose_work_left_no_events_are_not_called_like_the_others() -> None:
    ranks = [Rank(rank=0, step_ms=100.0, own_ms=30.0, blocked_ms=70.0), Rank(rank=1, step_ms=100.0)]
    shown = Shown(ranks, step_ms=100.0, steps=5, is_whole=True, idle_share=None, kernel_us=0.0)
    assert judge(shown) == []
    assert verdict_of([], shown, {"input": False, "collectives": True}).text == (
        "the work of rank 1 left no events in 5 captured steps, so nobody is compared"
    )


def test_input_that_all_wait_for_is_no_stragglers_fault(tmp_path: Path) -> None:
    write_capture(tmp_path, replace(SMALL, slow_rank=None, input=30))
    (finding,) = summary(tmp_path).findings
    assert (finding.kind, finding.ranks) == ("InputBound", [])


def test_clocks_that_differ_change_nothing_but_the_offsets(tmp_path: Path) -> None:
    write_capture(tmp_path / "same", SMALL)
    write_capture(tmp_path / "off", replace(SMALL, clock_off_ms=5000))
    same, off = summary(tmp_path / "same"), collected(tmp_path / "off")
    assert off.summary == same
    assert off.offsets == {0: 0, 1: -5_000_000_000, 2: -10_000_000_000, 3: -15_000_000_000}


def test_the_timeline_has_every_chosen_rank_on_one_clock(tmp_path: Path) -> None:
    capture = write_capture(tmp_path, replace(SMALL, clock_off_ms=5000))
    collected(tmp_path)
    events = json.loads(gzip.decompress((capture / "merged.trace.json.gz").read_bytes()))["traceEvents"]
    names = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert {name.split(" ·")[0] for name in names} == {"rank 0", "rank 1", "rank 2", "rank 3"}
    steps = [event for event in events if event["name"] == "ProfilerStep#412"]
    assert len({event["pid"] for event in steps}) == 4
    assert max(event["ts"] for event in steps) - min(event["ts"] for event in steps) < 1


def test_of_many_ranks_eight_are_merged_and_the_slow_one_is_among_them(tmp_path: Path) -> None:
    write_capture(tmp_path, replace(SMALL, ranks=20, slow_rank=17))
    found = summary(tmp_path)
    assert found.capture is not None
    assert len(found.capture.merged) == 8
    assert {0, 17} <= set(found.capture.merged)
    assert len(found.ranks) == 20


def test_ranks_have_the_nodes_of_their_vitals(tmp_path: Path) -> None:
    planned = replace(SMALL, ranks=20, slow_rank=17)
    write_capture(tmp_path, planned)
    write_vitals(tmp_path, planned, 2)
    found = summary(tmp_path)
    assert found.capture is not None
    assert [rank.node for rank in found.ranks] == [f"node-{rank // 2}" for rank in range(20)]
    (finding,) = found.findings
    assert "rank 17 (node node-8)" in finding.text, "one rank of two on it"
    assert finding.node is None


def test_a_rank_of_another_node_is_among_the_merged() -> None:
    of_each = dict.fromkeys(range(10), "a") | {10: "b"} | dict.fromkeys(range(11, 20), "c")
    assert 10 in choose([3], range(20), {5: 1.0}, of_each)
    assert 10 not in choose([3], range(20), {5: 1.0}, dict.fromkeys(range(20), "a"))


def cut_gzip(data: bytes) -> bytes:
    return data[: len(data) // 2]


def no_gzip(_: bytes) -> bytes:
    return b"not gzip at all"


def cut_json(data: bytes) -> bytes:
    return gzip.compress(gzip.decompress(data)[:-200])


def absurd_times(data: bytes) -> bytes:
    return gzip.compress(gzip.decompress(data).replace(b'"ts": 5', b'"ts": 5e300, "x": 5'))


def bomb(_: bytes) -> bytes:
    return gzip.compress(b" " * (257 << 20), 1)


BROKEN = {
    cut_gzip: "gzip ends early",
    no_gzip: "no gzip file",
    cut_json: "cut off",
    absurd_times: "times",
    bomb: "256 MiB",
}


@pytest.mark.parametrize("breaking", BROKEN, ids=lambda breaking: breaking.__name__)
def test_a_rank_that_cant_be_read_is_named_and_the_rest_goes_on(tmp_path: Path, breaking: object) -> None:
    assert callable(breaking)
    write_capture(tmp_path, SMALL)
    write_rank(tmp_path, "c7", 1, breaking(torch_trace(SMALL, 1)))
    found = summary(tmp_path)
    assert found.capture is not None
    (broken,) = found.capture.ranks.broken
    assert broken.rank == 1
    assert BROKEN[breaking] in broken.why
    assert found.capture.ranks.read == [0, 2, 3]
    assert found.findings[0].confidence == "Low"


def test_a_rank_that_has_left_nothing_is_missing(tmp_path: Path) -> None:
    capture = write_capture(tmp_path, SMALL)
    write_request(tmp_path, "c7", 6)
    (capture / "raw" / "rank-00003" / "done.json").unlink()
    found = summary(tmp_path)
    assert found.capture is not None
    assert (found.capture.ranks.expected, found.capture.ranks.missing) == (6, [3, 4, 5])


def test_links_and_fifos_are_not_followed(tmp_path: Path) -> None:
    capture = write_capture(tmp_path, SMALL)
    secret = tmp_path / "secret"
    secret.write_bytes(torch_trace(SMALL, 1))
    for rank in (1, 2):
        (trace,) = (capture / "raw" / f"rank-0000{rank}").glob("*.gz")
        trace.unlink()
        if rank == 1:
            trace.symlink_to(secret)
        else:
            os.mkfifo(trace)
    found = summary(tmp_path)
    assert found.capture is not None
    assert [broken.rank for broken in found.capture.ranks.broken] == [1, 2]


def test_an_unknown_capture_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    write_capture(tmp_path, SMALL)
    for name in ("c8", "../c7", "."):
        with Folder(str(tmp_path)) as folder, pytest.raises(NoCaptureError, match=r"there are: c7"):
            collect(folder, name)


SHOWING_ITS_MEMORY = """
import sys
from ftjob.insight.__main__ import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


def run_child(*arguments: str) -> tuple[int, int, str]:
    """Run the collector as a process; return its exit code, its largest memory, and what it said."""
    ran = subprocess.run(
        [sys.executable, "-c", SHOWING_ITS_MEMORY, *arguments], capture_output=True, text=True, check=False
    )
    return ran.returncode, int(ran.stdout or 0) * 1024, ran.stderr


def test_the_collectors_memory_is_bounded_whatever_a_rank_has_written(tmp_path: Path) -> None:
    capture = write_capture(tmp_path, SMALL)
    # The first would need thirty times its own size once it is taken apart.
    bombs = [
        b'{"traceEvents":[' + b"0," * (10 << 20) + b"0]}",
        b'{"traceEvents":[' + b"[[" * (4 << 20),
        b" " * (257 << 20),
    ]
    for rank, data in enumerate(bombs):
        write_rank(tmp_path, "c7", rank, gzip.compress(data, 1))
    code, memory, said = run_child("write", str(tmp_path), "c7")
    assert code == 0, said
    assert memory < MEMORY
    found = json.loads((capture / "summary.json").read_text())
    assert [broken["rank"] for broken in found["capture"]["ranks"]["broken"]] == [0, 1, 2]
    assert found["capture"]["ranks"]["read"] == [3]
    assert (capture / "report.html").stat().st_size < 1 << 20


def test_the_collector_says_in_one_line_why_there_is_nothing(tmp_path: Path) -> None:
    code, _, said = run_child("write", str(tmp_path), "c9")
    assert code == 1
    assert said == "there is no capture c9 (there are: none)\n"


def a_rank(number: int, first: int, *, has_steps: bool) -> Figures:
    """Return a rank whose trace begins with this step of ten, of 100 ms; each has two collectives."""
    steps = [Step(step, 1e5 * step, 1e5 * (step + 1)) for step in range(first, 10)]
    begins = [1e5 * step + at for step in range(first, 10) for at in (5e4, 8e4)]
    late = 1e4 * (number == 0)
    calls = [Call("all_reduce", "", None, begin - late, begin + 1e3, 0) for begin in begins]
    trace = Trace("jax", 0, tuple(steps) if has_steps else (), (), (), False, tuple(calls), ())
    return figures(trace, number, is_alone=False)


@pytest.mark.parametrize("has_steps", [True, False])
def test_traces_that_begin_with_different_steps_are_matched_by_their_steps_or_by_time(
    has_steps: bool,
) -> None:
    ranks = aligned([a_rank(0, 0, has_steps=has_steps), a_rank(1, 1, has_steps=has_steps)])
    found = clocks(ranks)
    assert (found.offsets, found.clock.method, found.clock.matched) == ({0: 0, 1: 0}, "CollectiveEnds", 18)
    late = latest(ranks)
    assert late is not None
    assert (late.rank, late.calls, late.share) == (1, 18, 1.0)


def test_a_capture_that_was_cut_short_is_not_sure_and_says_in_which_ranks(tmp_path: Path) -> None:
    capture = write_capture(tmp_path, SMALL)
    for rank in (0, 1):
        path = capture / "raw" / f"rank-{rank:05d}" / "done.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "partial": True}))
    found = summary(tmp_path)
    assert [finding.confidence for finding in found.findings] == ["Low"]
    assert "the capture was cut short in these ranks: 0-1" in found.notes
