"""What a capture shows by itself: its steps are few, `diagnose` judges the job."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, median_low
from typing import TYPE_CHECKING, Literal

from ftjob.insight.collect.figures import LAUNCH_BOUND_US
from ftjob.insight.summary import Evidence, Finding, Verdict
from ftjob_protocol.values.ranges import format_indexes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftjob.insight.collect.together import Late
    from ftjob.insight.summary import Rank
    from ftjob_diagnosis.findings import Diagnosis

SLOWER, PERSISTENT, SHARE = 0.05, 0.6, 0.05
INPUT_BOUND, COMMUNICATION_BOUND, IDLE = 0.10, 0.20, 0.15
SURE_STEPS = 5
SURE_CALLS = 10
FEWEST_CALLS = 5


@dataclass(frozen=True)
class Shown:
    """What the judge looks at."""

    ranks: Sequence[Rank]
    step_ms: float
    steps: int
    is_whole: bool
    """All ranks were read."""
    idle_share: float | None
    kernel_us: float
    late: Late | None = None


def judge(shown: Shown) -> list[Finding]:
    """Return what the capture shows, that which costs most first."""
    if not shown.step_ms:
        return _late(shown)
    found = [*_stragglers(shown), *_input_bound(shown), *_communication_bound(shown), *_launch_bound(shown)]
    return sorted(found, key=lambda finding: -finding.cost_share)


def percent(share: float) -> str:
    """Return a share as text."""
    return f"{share * 100:.0f} %"


def _sure(shown: Shown) -> Literal["Medium", "Low"]:
    return "Medium" if shown.is_whole and shown.steps >= SURE_STEPS else "Low"


def _stragglers(shown: Shown) -> list[Finding]:
    step = shown.step_ms
    over = {
        rank.rank: rank
        for rank in shown.ranks
        if rank.excess_ms is not None
        and rank.excess_ms >= max(1.0, SLOWER * step)
        and (rank.persistence or 0) >= PERSISTENT
    }
    if not over or len(over) > len(shown.ranks) / 2:
        return []
    worst = max(over.values(), key=lambda rank: rank.excess_ms or 0)
    excess = worst.excess_ms or 0.0
    others = [rank for rank in shown.ranks if rank.rank not in over]
    cost = min(1.0, excess / step)
    typical = median_low([rank.own_ms for rank in others if rank.own_ms is not None] or [0.0])
    waits = [rank.input_ms for rank in others if rank.input_ms is not None]
    by_input = (worst.input_ms or 0) - (median_low(waits) if waits else 0)
    cause = "Input" if waits and worst.input_ms is not None and by_input >= 0.6 * excess else "Unknown"
    nodes = {rank.node for rank in over.values()}
    node = nodes.pop() if len(nodes) == 1 else ""
    is_node = node and all((rank.node == node) == (rank.rank in over) for rank in shown.ranks)
    named = f"{'rank' if len(over) == 1 else 'ranks'} {', '.join(map(str, sorted(over)))}"
    named += f" (node {node})" if node else ""
    what, more = ("its input", by_input) if cause == "Input" else ("its own work", excess)
    text = f"straggler: {named} costs {percent(cost)} of each step; {what} takes {more:.1f} ms longer"
    evidence = [
        Evidence(
            text=f"own {worst.own_ms or 0:.1f} ms, others {typical:.1f}", ref=f"ranks/{worst.rank}/ownMs"
        )
    ]
    after = (
        "raise num_workers or prefetch on this rank's data; look at its shard"
        if cause == "Input"
        else "compare its operators with those of another rank, below; look at its node"
    )
    return [
        Finding(
            kind="Straggler",
            ranks=sorted(over),
            node=node if is_node else None,
            cause=cause,
            cost_share=round(cost, 3),
            confidence=_sure(shown),
            text=text,
            evidence=evidence,
            next=after,
        )
    ]


def _late(shown: Shown) -> list[Finding]:
    """Return whom the others wait for, where nothing is known but the collectives."""
    late = shown.late
    if late is None or late.calls < FEWEST_CALLS or late.wait_ms < 1.0:
        return []
    if late.share < PERSISTENT or late.cost < SHARE:
        return []
    is_sure = shown.is_whole and late.calls >= SURE_CALLS
    said = f"rank {late.rank} comes last to {percent(late.share)} of {late.calls} collectives"
    return [
        Finding(
            kind="Straggler",
            ranks=[late.rank],
            node=None,
            cause="Unknown",
            cost_share=round(late.cost, 3),
            confidence="Medium" if is_sure else "Low",
            text=f"straggler: {said}; the others wait {late.wait_ms:.1f} ms for it each time",
            evidence=[Evidence(text=f"waiting takes {percent(late.cost)} of the time", ref="collectives")],
            next="compare its operators with those of another rank, below; look at its node",
        )
    ]


def _input_bound(shown: Shown) -> list[Finding]:
    shares = [
        rank.input_ms / rank.step_ms for rank in shown.ranks if rank.input_ms is not None and rank.step_ms
    ]
    if not shares or (share := median(shares)) < INPUT_BOUND:
        return []
    return [
        Finding(
            kind="InputBound",
            ranks=[],
            node=None,
            cause=None,
            cost_share=round(share, 3),
            confidence=_sure(shown),
            text=f"input-bound: {percent(share)} of step time waits for data",
            evidence=[
                Evidence(text=f"{share * shown.step_ms:.1f} of {shown.step_ms:.1f} ms", ref="ranks/0/inputMs")
            ],
            next="raise num_workers or prefetch, cache what is decoded, or move decoding to other cores",
        )
    ]


def _communication_bound(shown: Shown) -> list[Finding]:
    blocked = [rank.blocked_ms for rank in shown.ranks if rank.blocked_ms is not None]
    if len(blocked) < 2 or (share := min(blocked) / shown.step_ms) < COMMUNICATION_BOUND:
        return []
    return [
        Finding(
            kind="CommunicationBound",
            ranks=[],
            node=None,
            cause=None,
            cost_share=round(min(1.0, share), 3),
            confidence=_sure(shown),
            text=f"communication-bound: {percent(share)} of step time, on every rank",
            evidence=[
                Evidence(
                    text=f"at least {min(blocked):.1f} of {shown.step_ms:.1f} ms on every rank",
                    ref="collectives",
                )
            ],
            next="exchange less or less often: larger batches, accumulation; look at the network",
        )
    ]


def _launch_bound(shown: Shown) -> list[Finding]:
    idle = shown.idle_share
    if idle is None or idle < IDLE or shown.kernel_us >= LAUNCH_BOUND_US:
        return []
    return [
        Finding(
            kind="LaunchBound",
            ranks=[],
            node=None,
            cause=None,
            cost_share=round(idle, 3),
            confidence=_sure(shown),
            text=f"launch-bound: the GPU idles {percent(idle)}; kernels of {shown.kernel_us:.0f} µs",
            evidence=[Evidence(text=f"median kernel {shown.kernel_us:.1f} µs, idle {percent(idle)}", ref="")],
            next="fuse small kernels: torch.compile, CUDA graphs, XLA, larger batches",
        )
    ]


def verdict_of(found: Sequence[Finding], shown: Shown, seen: dict[str, bool]) -> Verdict:
    """Return the sentence of a capture that nothing else explains."""
    if found:
        return Verdict(text=found[0].text, findings=[0], seen=seen)
    unseen_ranks = [rank.rank for rank in shown.ranks if rank.own_ms is None]
    if not shown.step_ms and shown.late is not None and shown.late.calls >= FEWEST_CALLS:
        text = f"no rank is waited for in most of {shown.late.calls} collectives; steps were not seen"
    elif not shown.step_ms:
        text = "no steps were found in this capture, so it says nothing of their time; see its operators"
    elif not shown.is_whole:
        text = f"nothing stands out in {shown.steps} captured steps of the ranks that could be read"
    elif 0 < len(unseen_ranks) < len(shown.ranks):
        named = f"rank{'s' * (len(unseen_ranks) > 1)} {format_indexes(unseen_ranks)}"
        text = f"the work of {named} left no events in {shown.steps} captured steps, so nobody is compared"
    else:
        unseen = " and ".join(name for name, is_seen in seen.items() if not is_seen)
        text = f"nothing stands out in {shown.steps} captured steps"
        text += f"; {unseen} could not be seen" if unseen else ""
    return Verdict(text=text, findings=[], seen=seen)


def from_diagnosis(diagnosis: Diagnosis, seen: dict[str, bool]) -> tuple[list[Finding], Verdict]:
    """Return a diagnosis in the words of the file."""
    found = [
        Finding(
            kind=str(one.kind),
            ranks=list(one.ranks),
            node=one.node,
            cause=None if one.cause is None else str(one.cause),
            cost_share=round(one.cost_share, 4),
            confidence=one.confidence.value,
            line=one.line,
            text=one.text,
            evidence=[Evidence(text=part.text, ref=part.ref) for part in one.evidence],
            next=one.next,
        )
        for one in diagnosis.findings
    ]
    first = diagnosis.verdict
    named = [diagnosis.findings.index(first)] if first is not None else []
    return found, Verdict(text=diagnosis.text, findings=named, seen=seen)
