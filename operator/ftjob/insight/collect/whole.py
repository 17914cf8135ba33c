"""The whole job, from what its ranks have left over time."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

from ftjob.insight.collect.curves import curves, heat, marks
from ftjob.insight.collect.figures import Figures, StepFigures
from ftjob.insight.collect.job import body_of, job_of, part
from ftjob.insight.collect.judge import Shown, from_diagnosis, judge, verdict_of
from ftjob.insight.collect.past import diagnosis_of
from ftjob.insight.collect.together import Excess, excesses
from ftjob.insight.collect.told import told_findings
from ftjob.insight.collect.vitals import NODE_BYTES, Line, Vitals, read
from ftjob.insight.summary import SCHEMA, VERSION, Finding, Phase, Rank, Spread, Summary, Verdict, Window
from ftjob_diagnosis.findings import Kind
from ftjob_protocol.values.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ftjob_protocol.files.nofollow import Folder

TEXT_BYTES = 400
PHASES = (
    "queued",
    "suspended",
    "starting",
    "compiling",
    "stepping",
    "input",
    "blocked",
    "pauses",
    "lost",
    "idle",
    "uncounted",
)
"""As in ``status.timeline``."""
_LONGEST_S = 1e12
_UNSEEN = {"input": False, "collectives": False}


def whole_job(outputs: Folder, captures: Sequence[Summary]) -> Summary | None:
    """Return the summary of a job: of its vitals, else of its last capture; None if there is neither."""
    vitals, body = read(outputs), body_of(outputs)
    if not vitals.ranks:
        if captures:
            return captures[-1]
        return _empty(body) if body else None
    return _of_vitals(vitals, body, captures)


def _empty(body: dict[str, Any]) -> Summary:
    return Summary(
        schema=SCHEMA,  # type: ignore[arg-type]  # the one literal
        version=VERSION,  # type: ignore[arg-type]
        job=job_of(body).named(""),
        capture=None,
        window=Window(steps=[], blocks=0, excluded={}),
        step_ms=None,
        ranks=[],
        collectives=[],
        findings=[],
        verdict=_told(body)
        or Verdict(
            text="nothing was measured: there are no vitals and no captures in these outputs",
            findings=[],
            seen=_UNSEEN,
        ),
        timeline=_phases(body),
    )


def _of_vitals(vitals: Vitals, body: dict[str, Any], captures: Sequence[Summary]) -> Summary:
    last = max(line.attempt for lines in vitals.ranks.values() for line in lines)
    present = {rank: kept for rank, lines in vitals.ranks.items() if (kept := _usual(lines, last))}
    over = excesses([_as_figures(rank, lines) for rank, lines in present.items()])
    transfer = _transfer(present)
    rows = [_rank(rank, lines, over.get(rank), transfer) for rank, lines in sorted(present.items())]
    every = [line for lines in present.values() for line in lines]
    steps = [line.step_ms[0] for line in every]
    shown = Shown(
        ranks=rows,
        step_ms=median(steps),
        steps=sum(line.length for line in next(iter(present.values()))),
        is_whole=True,
        idle_share=None,
        kernel_us=0.0,
    )
    seen = {
        "input": any(row.input_ms is not None for row in rows),
        "collectives": any(row.blocked_ms is not None for row in rows) or len(rows) == 1,
    }
    findings, verdict = _judged(present, body, shown, seen)
    pauses = sum(len(line.pauses) for line in every)
    frameworks = {capture.job.framework for capture in captures} - {""}
    return Summary(
        schema=SCHEMA,  # type: ignore[arg-type]  # the one literal
        version=VERSION,  # type: ignore[arg-type]
        job=replace_attempt(body, last, " and ".join(sorted(frameworks))),
        capture=None,
        window=Window(
            steps=[min(line.first for line in every), max(line.first + line.length - 1 for line in every)],
            blocks=max(len(lines) for lines in present.values()),
            excluded={"pauses": pauses} if pauses else {},
        ),
        step_ms=Spread(p50=round(median(steps), 3), p95=round(median(line.step_ms[1] for line in every), 3)),
        ranks=rows,
        collectives=captures[-1].collectives if captures else [],
        findings=findings,
        verdict=verdict,
        curves=curves(vitals.ranks),
        heat=heat(present),
        marks=marks(vitals.ranks, captures),
        timeline=_phases(body),
        notes=_notes(vitals, captures),
    )


def replace_attempt(body: dict[str, Any], attempt: int, framework: str) -> Any:
    """Return the job with the attempt that its lines are of."""
    return replace(job_of(body), attempt=attempt).named(framework)


def _usual(lines: Sequence[Line], attempt: int) -> list[Line]:
    """Return the blocks of an attempt, without the first one: it is a warm-up if there are others."""
    found = [line for line in lines if line.attempt == attempt]
    return found[1:] if len(found) > 2 and found[0].is_first else found


def _as_figures(rank: int, lines: Sequence[Line]) -> Figures:
    """Let each block stand for one step: its typical one."""
    steps = tuple(
        StepFigures(
            line.first,
            round(line.start_s * 1e9),
            line.step_ms[0],
            line.input_ms[0] if line.input_ms else None,
            line.own_ms[0] if line.own_ms else None,
            line.blocked_ms[0] if line.blocked_ms else None,
        )
        for line in lines
    )
    return Figures(rank, "", steps[0].start_ns, steps, (), 0.0, (), None, 0.0, 0)


def _rank(rank: int, lines: Sequence[Line], over: Excess | None, transfer: float | None) -> Rank:
    def typical(of: Callable[[Line], float | None]) -> float | None:
        values = [value for line in lines if (value := of(line)) is not None]
        return round(median(values), 3) if values else None

    last, blocked = lines[-1], typical(lambda line: line.blocked_ms[0] if line.blocked_ms else None)
    return Rank(
        rank=rank,
        node=clean(last.node, NODE_BYTES),
        step_ms=typical(lambda line: line.step_ms[0]),
        input_ms=typical(lambda line: line.input_ms[0] if line.input_ms else None),
        own_ms=typical(lambda line: line.own_ms[0] if line.own_ms else None),
        blocked_ms=blocked,
        transfer_ms=None if blocked is None or transfer is None else round(min(transfer, blocked), 3),
        cpu_ms=typical(lambda line: line.cpu_ms),
        graph_ms=typical(lambda line: line.graph_ms),
        run_delay_ms=typical(lambda line: line.run_delay_ms),
        throttled_ms=typical(lambda line: line.throttled_ms),
        excess_ms=over.ms if over else None,
        persistence=over.persistence if over else None,
        last_share=over.last_share if over else None,
        rss_bytes=last.rss_bytes,
        gpu_bytes=last.gpu_bytes,
        where=_where(lines),
    )


def _transfer(present: dict[int, list[Line]]) -> float | None:
    """Return how long the exchange itself takes: the last rank to arrive is blocked no longer than that."""
    least: dict[int, list[float]] = {}
    for lines in present.values():
        for line in lines:
            if line.blocked_ms is not None:
                least.setdefault(line.first, []).append(line.blocked_ms[0])
    shared = [min(values) for values in least.values() if len(values) == len(present) > 1]
    return median(shared) if shared else None


def _where(lines: Sequence[Line]) -> list[tuple[str, str, float]]:
    """Return the lines of code over all blocks, each by its share of all samples."""
    shares: dict[tuple[str, str], float] = {}
    seen = [line for line in lines if line.where]
    for line in seen:
        for text, doing, share in line.where:
            key = clean(text, 200), clean(doing, 40)
            shares[key] = shares.get(key, 0.0) + share / len(seen)
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:20]
    return [(text, doing, round(min(1.0, share), 4)) for (text, doing), share in ranked]


def _judged(
    present: dict[int, list[Line]], body: dict[str, Any], shown: Shown, seen: dict[str, bool]
) -> tuple[list[Finding], Verdict]:
    """Return the verdict that the job had while it ran; else that of its whole time."""
    spec = part(body, "spec")
    diagnosis = diagnosis_of(present, str(spec.get("strategy") or ""))
    if diagnosis is not None and diagnosis.kind is not Kind.UNKNOWN:
        findings, verdict = from_diagnosis(diagnosis, seen)
    else:
        findings = judge(shown)
        verdict = verdict_of(findings, shown, seen)
    told = _told(body)
    if told is None:
        return findings, verdict
    then = told_findings(body)
    kinds = {finding.kind for finding in then}
    every = [*then, *(finding for finding in findings if finding.kind not in kinds)]
    kind = told.text.partition(":")[0].replace("-", "").lower()
    named = [0] if then else [i for i, finding in enumerate(every) if finding.kind.lower() == kind][:1]
    return every, Verdict(text=told.text, findings=named, seen=seen)


def _told(body: dict[str, Any]) -> Verdict | None:
    text = part(part(body, "status"), "profile").get("verdict")
    if not isinstance(text, str) or not text.strip():
        return None
    return Verdict(text=clean(text, TEXT_BYTES), findings=[], seen=_UNSEEN)


def _phases(body: dict[str, Any]) -> list[Phase]:
    """Return where the job's wall time went, by its status; input and blocked are parts of stepping."""
    found = part(part(body, "status"), "timeline")

    def seconds(name: str) -> float:
        value = found.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return 0.0
        return float(value) if 0 <= value < _LONGEST_S else 0.0

    phases = {name: seconds(name) for name in PHASES}
    phases["stepping"] = max(0.0, phases["stepping"] - phases["input"] - phases["blocked"])
    return [Phase(name=name, seconds=value) for name, value in phases.items() if value]


def _notes(vitals: Vitals, captures: Sequence[Summary]) -> list[str]:
    notes = []
    if vitals.damaged:
        notes.append(f"{vitals.damaged} lines of vitals could not be read")
    notes += [
        f"capture {summary.capture.id}: {summary.verdict.text}"
        for summary in captures
        if summary.capture is not None
    ]
    return notes
