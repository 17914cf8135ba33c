"""What is told of a job: the sentence, the evidence, the table of ranks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.api.job import Job
from ftjob.cli.words import failure_text, findings, progress_line, time_line, verdict
from ftjob.models.status import ConditionType, Phase
from ftjob.models.times import age, unix
from ftjob.plan.layout import cluster_layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ftjob.api.job import AnyJob
    from ftjob.cli.look.causes import Cause
    from ftjob.cli.look.seen import EventSeen, Seen
    from ftjob.models.status import JobStatus
    from ftjob.plan.observed.kueue_admission import WorkloadState
    from ftjob.plan.observed.pod import PodState

EVENTS, PODS, ROWS = 3, 3, 16
"""How many of each are shown."""
WORDS = 300
"""Characters of what others have said, as evidence."""
TOLD = 60
"""So many of the first characters have to be told already for words not to be told again."""
_IS = {None: "is new", Phase.FAILED: "has failed", Phase.SUCCEEDED: "has succeeded"}
_COLUMNS = ("RANKS", "POD", "NODE", "STATE", "STEP")


def says(name: str, status: JobStatus, cause: Cause | None) -> str:
    """Return the first sentence: how a job is, and if it is not well why."""
    text = f"{name} {_IS.get(status.phase, f'is {status.phase}')}"
    if status.phase is Phase.RUNNING and status.progress is not None:
        text = ", ".join(filter(None, (text, progress_line(status.progress))))
    if cause is None:
        return text
    return f"{text} ({cause.reason}): {cause.text}"


def evidence(seen: Seen, cause: Cause | None) -> list[str]:
    """Return what the cause rests on."""
    if cause is None:
        return []
    if cause.is_slowness:
        return [text for found in findings(seen.status)[:1] for text in found.evidence]
    found, told = [], cause.text
    for who, words in _said(seen):
        is_told = words[:TOLD] in told
        if not is_told:
            told += words
        if words and is_told and not who.startswith("Event"):
            continue
        found.append(f"{who}: {words[:WORDS]}" if words and not is_told else who)
    return found


def _said(seen: Seen) -> Iterator[tuple[str, str]]:
    """Yield what is known, each as who says it and in which words."""
    yield from _conditions(seen)
    yield from _events(seen)
    yield from _pods(seen)
    yield from _around(seen)
    if seen.workload is not None:
        yield from _kueue(seen.workload)


def _conditions(seen: Seen) -> Iterator[tuple[str, str]]:
    bad = {
        ConditionType.ADMITTED: "False",
        ConditionType.RUNNING: "False",
        ConditionType.RESTARTING: "True",
        ConditionType.FAILED: "True",
    }
    is_over = seen.status.phase is Phase.FAILED
    for said in seen.status.conditions:
        if bad.get(said.type) == said.status and not (is_over and said.type is ConditionType.RUNNING):
            since = age(seen.now - unix(said.last_transition_time))
            yield f"condition {said.type} is {said.status} for {since} ({said.reason})", ""


def _events(seen: Seen) -> Iterator[tuple[str, str]]:
    first: dict[tuple[str, str], EventSeen] = {}
    for event in seen.events:
        first.setdefault((event.reason, event.message), event)
    for event in list(first.values())[:EVENTS]:
        times = f", {event.count} times, the last" if event.count > 1 else ","
        when = age(seen.now - event.last)
        yield f"Event {event.reason} of {event.kind} {event.name}{times} {when} ago", event.message


def _pods(seen: Seen) -> Iterator[tuple[str, str]]:
    said = [pod for pod in seen.pods if pod.waiting or (pod.is_over and not pod.succeeded) or pod.disruption]
    for pod in said[:PODS]:
        where = f"pod {pod.name}" + (f" on {pod.node}" if pod.node else "")
        if pod.waiting:
            reason, _, text = pod.waiting.partition(": ")
            yield f"{where} waits ({reason})", text
        elif pod.terminated is not None:
            end = pod.terminated
            yield f"{where}: its trainer ended with exit code {end.exit_code} ({end.reason})", ""
        if pod.disruption:
            yield f"{where} was taken away ({pod.disruption})", pod.words
    if len(said) > PODS:
        yield f"and {len(said) - PODS} more pods", ""


def _around(seen: Seen) -> Iterator[tuple[str, str]]:
    for node in seen.nodes:
        if not node.exists:
            yield f"node {node.name} is not in the cluster", ""
        elif not node.is_well:
            since = age(seen.now - node.since)
            yield f"node {node.name}: Ready is {node.ready} for {since}", node.words
    for claim in seen.claims:
        if claim.phase != "Bound":
            kind = f", of storage class {claim.storage_class}" if claim.storage_class else ""
            yield f"claim {claim.name}: {claim.phase or 'none'}{kind}", ""
    for quota in seen.quotas:
        for what, used, allowed in quota.used:
            yield f"quota {quota.name}: {used} of {allowed} {what} used", ""


def _kueue(workload: WorkloadState) -> Iterator[tuple[str, str]]:
    for kind, bad in (("QuotaReserved", "False"), ("Admitted", "False"), ("Evicted", "True")):
        said = workload.conditions.get(kind, {})
        if said.get("status") == bad:
            words = str(said.get("message") or "")
            yield f"Workload {workload.name}: {kind} is {bad} ({said.get('reason')})", words


def rows(seen: Seen, job: AnyJob) -> list[dict[str, Any]]:
    """Return a row for each worker that there is or should be: its ranks, pod, node, state, and step.

    The step is known of rank 0, which tells it.
    """
    progress = seen.status.progress
    step = progress.step if progress is not None else None
    pods = {pod.place: pod for pod in seen.pods}
    if not isinstance(job, Job):
        return [_row("", pod.name, pod, None) for pod in seen.pods]
    workers = cluster_layout(job, seen.status.pod_attempt).workers
    return [
        _row(
            _ranks(worker.ranks),
            worker.name,
            pods.get(worker.place),
            step if worker.first_rank == 0 else None,
        )
        for worker in workers
    ]


def _ranks(ranks: range) -> str:
    return str(ranks.start) if len(ranks) == 1 else f"{ranks.start}-{ranks.stop - 1}"


def _row(ranks: str, name: str, pod: PodState | None, step: int | None) -> dict[str, Any]:
    return {
        "ranks": ranks,
        "pod": pod.name if pod is not None else name,
        "node": pod.node if pod is not None else None,
        "state": _state(pod),
        "step": step,
    }


def _state(pod: PodState | None) -> str:
    if pod is None:
        return "Absent"
    if pod.terminated is not None:
        end = pod.terminated
        return (
            "Succeeded" if pod.succeeded else f"Failed ({end.reason or 'Error'}, exit code {end.exit_code})"
        )
    if pod.deleting:
        return "Lost" if pod.is_lost else "Terminating"
    if pod.running:
        return "Running"
    return pod.waiting.partition(":")[0] if pod.waiting else "ContainerCreating" if pod.node else "Pending"


def cause_as_json(cause: Cause | None) -> dict[str, str] | None:
    """Return a cause for programs."""
    if cause is None:
        return None
    return {"reason": str(cause.reason), "text": cause.text, "remedy": cause.remedy}


def as_json(seen: Seen, cause: Cause | None, table: Sequence[dict[str, Any]], command: str) -> dict[str, Any]:
    """Return all of it for programs."""
    status = seen.status.to_wire()
    profile = status.get("profile")
    known = profile if isinstance(profile, dict) else {}
    return {
        "job": seen.name,
        "namespace": seen.namespace,
        "phase": seen.status.phase.value if seen.status.phase is not None else None,
        "says": says(seen.name, seen.status, cause),
        "cause": cause_as_json(cause),
        "evidence": evidence(seen, cause),
        "next": command,
        "attempt": seen.status.attempt,
        "restarts": status.get("restarts"),
        "workers": list(table),
        "progress": status.get("progress"),
        "failure": status.get("failure"),
        "verdict": known.get("verdict"),
        "findings": known.get("findings", []),
        "timeline": status.get("timeline"),
        "notRead": list(seen.unread),
    }


def head(seen: Seen, cause: Cause | None) -> Iterator[str]:
    """Show the sentence, the remedy and the evidence."""
    yield says(seen.name, seen.status, cause)
    if cause is not None and cause.remedy:
        yield f"  remedy: {cause.remedy}"
    yield from (f"  - {text}" for text in evidence(seen, cause))


def lines(seen: Seen, cause: Cause | None, table: Sequence[dict[str, Any]], command: str) -> Iterator[str]:
    """Show all of it."""
    status = seen.status
    yield from head(seen, cause)
    if command:
        yield f"  next: {command}"
    yield ""
    restarts = f"{status.restarts.failures} after failures, {status.restarts.disruptions} after disruptions"
    soon = f"; the next attempt at {status.next_restart_time}" if status.next_restart_time else ""
    yield f"attempt {status.attempt}, restarts: {restarts}{soon}"
    if status.timeline is not None and time_line(status.timeline):
        yield f"time: {time_line(status.timeline)}"
    if status.failure is not None and status.phase in {Phase.FAILED, Phase.RESTARTING}:
        yield failure_text(status.failure.model_copy(update={"hint": None}))
    if status.phase is not Phase.RUNNING and verdict(status):
        yield f"verdict: {verdict(status)}"
    if table:
        yield ""
        yield from _table(table)
    if seen.unread:
        yield ""
        yield from (f"not read: {text}" for text in seen.unread)


def _table(table: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Show the workers; where there are many, first those that do not run."""
    shown = [
        *(row for row in table if row["state"] != "Running"),
        *(row for row in table if row["state"] == "Running"),
    ]
    picked = {id(row) for row in shown[:ROWS]}
    cells = [_COLUMNS, *(_cells(row) for row in table if id(row) in picked)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
    for row in cells:
        yield "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if len(table) > ROWS:
        left = [row["state"] for row in table if id(row) not in picked]
        yield f"and {len(left)} more: {_counted(left)}"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(
        "" if row[name] is None else str(row[name]) for name in ("ranks", "pod", "node", "state", "step")
    )


def _counted(states: Iterable[str]) -> str:
    found = sorted(states)
    return ", ".join(f"{found.count(state)} {state}" for state in dict.fromkeys(found))
