"""The likeliest cause of a job's trouble, from what was seen of it. Pure.

Each cause is a function of what was seen, in the order of `CAUSES`: the first that finds something is it. The
operator's own words come first where it has said any; what only Events, nodes and claims know is added here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftjob.cli.look.seen import MOUNTS, PULLING
from ftjob.cli.words import duration, findings, verdict
from ftjob.deaths.explain import explain_waiting
from ftjob.models.names import KUEUE_LABEL
from ftjob.models.status import ConditionType, Phase
from ftjob.models.times import unix
from ftjob.plan.life.first_failure import sentence
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.cli.look.seen import EventSeen, Seen
    from ftjob.models.status import Condition

UNSEEN_SECONDS = 30.0
"""So soon an operator has looked at a new job."""
STILL_SECONDS = 300.0
STILL_STEPS = 30
"""So long, or so many times as long as a step takes, a job may be without a step before that is said."""
NO_CAUSES = MOUNTS | {"FailedScheduling", PULLING}
"""Reasons of Events that are said better elsewhere, or tell no trouble."""
_HINTED = re.compile(r"(?P<words>[\s\S]*?); (?P<hint>[A-Z][\s\S]*See https?://\S+)")
"""Words of the operator's with one of its hints behind (`ftjob.deaths`)."""
_PREEMPTION = re.compile(r" preemption: [^;]*not helpful for scheduling\.")
"""Of the scheduler's words: it says so of each pod that no other would have to make room for."""
_GANG = re.compile(r"(?:^|; )gang ")
_OF_CLAIM = re.compile(r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim \"")


@dataclass(frozen=True)
class Cause:
    """Why a job is not well."""

    reason: str
    """One word for programs, of ftjob's or of Kubernetes' own (docs/reasons.md)."""
    text: str
    remedy: str = ""
    next: str = ""
    """A command."""

    is_slowness: bool = False
    """Whether it runs, only not as fast as it might."""


def likeliest(seen: Seen) -> Cause | None:
    """Return the likeliest cause; None if the job is well."""
    return next((cause for find in CAUSES if (cause := find(seen)) is not None), None)


def _has_failed(seen: Seen) -> Cause | None:
    status, failed = seen.status, seen.status.condition(ConditionType.FAILED)
    if status.phase is not Phase.FAILED:
        return None
    again = f"ftjob rerun {seen.name} -n {seen.namespace}"
    if status.failure is not None:
        failure = status.failure
        text = _words(failed)[0] or sentence(failure)
        return Cause(failure.reason, text, failure.hint or _remedy(failure.reason), again)
    text, hint = _words(failed)
    reason = failed.reason if failed is not None else Reason.FAILED
    return Cause(reason, text, hint or _remedy(reason), again)


def _lost_node(seen: Seen) -> Cause | None:
    sick = next((node for node in seen.nodes if not node.is_well), None)
    if sick is None or seen.status.phase not in {Phase.STARTING, Phase.RUNNING, Phase.RESTARTING}:
        return None
    lost = [pod.name for pod in seen.pods if pod.node == sick.name and not pod.is_over]
    if not lost:
        return None
    more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    where = f"node {sick.name} of pod {lost[0]}{more}"
    if not sick.exists:
        text, remedy = f"{where} is no longer in the cluster", "The next attempt starts on other nodes."
    else:
        what = "does not answer any more" if sick.ready == "Unknown" else "is not ready"
        text = f"{where} {what}: {sick.words}" if sick.words else f"{where} {what}"
        remedy = (
            "The next attempt starts elsewhere once the old ranks are known to be dead. Bring the node back, "
            "or delete it from the cluster."
        )
    return Cause(Reason.NODE_LOST, text, remedy, f"kubectl describe node {sick.name}")


def _restarting(seen: Seen) -> Cause | None:
    status = seen.status
    if status.phase is not Phase.RESTARTING:
        return None
    waits, hint = _words(status.condition(ConditionType.RUNNING))
    failure = status.failure
    if failure is None:
        return Cause(_reason(seen), waits, hint, _wait(seen))
    why = sentence(failure)
    text = waits if why in waits else f"{why}; {waits}" if waits else why
    return Cause(failure.reason, text, failure.hint or hint or _remedy(failure.reason), _wait(seen))


def _not_seen(seen: Seen) -> Cause | None:
    age = seen.now - seen.created
    if seen.status.phase is not None or age < UNSEEN_SECONDS:
        return None
    return Cause(
        "NotSeen",
        f"no operator has looked at it for {duration(age)}",
        "See that ftjob's operator runs and serves this namespace, and that spec.managedBy names it.",
        "kubectl get pods -A -l app.kubernetes.io/name=ftjob",
    )


def _suspended(seen: Seen) -> Cause | None:
    if seen.status.phase is not Phase.SUSPENDED:
        return None
    said = seen.status.condition(ConditionType.SUSPENDED)
    text = said.message if said is not None else "spec.suspend is true"
    go_on = f"ftjob resume {seen.name} -n {seen.namespace}"
    return Cause(Reason.SUSPENDED, text, "`ftjob resume` lets it go on.", go_on)


def _queued(seen: Seen) -> Cause | None:
    if seen.status.phase is not Phase.QUEUED:
        return None
    said = seen.status.condition(ConditionType.ADMITTED)
    text, hint = _words(said)
    if seen.position is not None:
        text += (
            f"; {seen.position} before it in the queue" if seen.position else "; it is the next in the queue"
        )
    reason = said.reason if said is not None else Reason.QUEUED
    remedy = hint or _remedy(reason)
    if not remedy:
        queue = seen.labels.get(KUEUE_LABEL) or "the queue"
        again = " again" if reason == Reason.EVICTED else ""
        remedy = (
            f"It runs{again} by itself when {queue} lets it in. To be let in sooner, ask for less, for more "
            "quota, or for a higher priority (label kueue.x-k8s.io/priority-class)."
        )
    return Cause(
        reason, text, remedy, _describe(seen, "workload", seen.workload.name if seen.workload else None)
    )


def _refused(seen: Seen) -> Cause | None:
    """Find a quota, a webhook, or an earlier job of its name."""
    said = seen.status.condition(ConditionType.ADMITTED)
    if seen.status.phase is not Phase.PENDING or said is None or said.status == "True":
        return None
    text, hint = _words(said)
    command = _describe(seen, "quota") if "quota" in text else _wait(seen)
    return Cause(said.reason, text, hint or _remedy(said.reason), command)


def _claim(seen: Seen) -> Cause | None:
    waits = [pod for pod in seen.waiting if _OF_CLAIM.search(pod.waiting or "")]
    if seen.status.phase is not Phase.STARTING or not waits:
        return None
    missing = next((claim for claim in seen.claims if not claim.phase), None)
    if missing is not None:
        return Cause(
            "ClaimMissing",
            f"there is no claim {missing.name} in this namespace, and pod {waits[0].name} mounts it",
            "Create it, or correct outputs.claimName or the template's volume.",
            f"kubectl get pvc -n {seen.namespace}",
        )
    unbound = next((claim for claim in seen.claims if claim.phase != "Bound"), None)
    if unbound is None:
        return None
    said = _newest(seen, lambda event: event.kind == "PersistentVolumeClaim" and event.name == unbound.name)
    why = (
        f": {said.message}"
        if said is not None
        else f" (storage class {unbound.storage_class or 'by default'})"
    )
    remedy = (
        "Name a storage class that exists and whose volumes several nodes can mount "
        "(outputs.storageClassName), or an existing claim (outputs.claimName)."
    )
    text = f"the claim {unbound.name} of pod {waits[0].name} has no volume{why}"
    return Cause(
        said.reason if said is not None else "ClaimPending",
        text,
        remedy,
        _describe(seen, "pvc", unbound.name),
    )


def _mount(seen: Seen) -> Cause | None:
    pulled = {event.name: event.last for event in reversed(seen.events) if event.reason == PULLING}
    waits = {pod.name for pod in seen.waiting}

    def is_meant(event: EventSeen) -> bool:
        is_over = event.last <= pulled.get(event.name, 0.0)
        return event.reason in MOUNTS and event.name in waits and not is_over

    said = _newest(seen, is_meant)
    if said is None:
        return None
    more = len({event.name for event in seen.events if is_meant(event)}) - 1
    pod = f"pod {said.name}{f' (and {more} more)' if more else ''}"
    remedy = explain_waiting(said.message) or (
        "See that the volume is there, and that the pod's node can mount it: its CSI driver, its network, "
        "its Secret."
    )
    return Cause(
        said.reason, f"a volume of {pod} can't be mounted: {said.message}", remedy, _pod(seen, said.name)
    )


def _gang(seen: Seen) -> Cause | None:
    said = seen.status.condition(ConditionType.RUNNING)
    text, hint = _words(said)
    if said is None or seen.status.phase is not Phase.STARTING or not _GANG.search(text):
        return None
    remedy = (
        "A gang's pods are placed all together: it starts by itself when there is room for all at once. End "
        "other jobs, or ask for fewer workers."
    )
    command = _pod(seen, seen.waiting[0].name) if seen.waiting else _wait(seen)
    return Cause(said.reason, text, f"{remedy} {hint}".strip(), command)


def _waits(seen: Seen) -> Cause | None:
    """Find what the operator says of pods that do not run."""
    said = seen.status.condition(ConditionType.RUNNING)
    if said is None or seen.status.phase is not Phase.STARTING or said.reason == Reason.STARTING:
        return None
    text, hint = _words(said)
    who, _, words = text.partition(": ")
    if not seen.waiting:
        return Cause(said.reason, text, hint or _remedy(said.reason), _wait(seen))
    first = seen.waiting[0]
    whole = (first.waiting or "").partition(": ")[2]
    if words and whole.startswith(words):  # status has no room for more
        text = f"{who}: {whole}"
    remedy = hint or _explained(seen) or _remedy(said.reason)
    return Cause(said.reason, _PREEMPTION.sub("", text), remedy, _pod(seen, first.name))


def _pod_waits(seen: Seen) -> Cause | None:
    """Find what a pod says, where the operator has not looked at it yet."""
    waits = next((pod for pod in seen.waiting if pod.waiting), None)
    if waits is None:
        return None
    reason, _, text = (waits.waiting or "").partition(": ")
    return Cause(
        reason or Reason.WAITING,
        f"pod {waits.name}: {_PREEMPTION.sub('', text) or reason}",
        _explained(seen),
        _pod(seen, waits.name),
    )


def _warned(seen: Seen) -> Cause | None:
    """Find any other warning about a pod that does not run, such as FailedCreatePodSandBox."""
    waits = {pod.name for pod in seen.waiting}
    said = _newest(
        seen, lambda event: event.kind == "Pod" and event.name in waits and event.reason not in NO_CAUSES
    )
    if said is None:
        return None
    return Cause(said.reason, f"pod {said.name}: {said.message}", _explained(seen), _pod(seen, said.name))


def _stands_still(seen: Seen) -> Cause | None:
    progress = seen.status.progress
    if seen.status.phase is not Phase.RUNNING or progress is None or progress.updated_time is None:
        return None
    still = seen.now - unix(progress.updated_time)
    if still < max(STILL_SECONDS, STILL_STEPS * (progress.step_seconds or 0.0)):
        return None
    return Cause(
        "NoStep",
        f"there was no step for {duration(still)}, since step {progress.step}",
        "If it neither evaluates nor saves, a rank may hang: `watchdog.hangSeconds` finds it, and restarts "
        "or ends the job.",
        f"ftjob profile {seen.name} -n {seen.namespace} --seconds 5 --stacks --wait",
    )


def _no_steps_seen(seen: Seen) -> Cause | None:
    said = seen.status.condition(ConditionType.RUNNING)
    if seen.status.phase is not Phase.RUNNING or said is None or said.reason != Reason.NO_STEPS_SEEN:
        return None
    return Cause(said.reason, said.message, _remedy(said.reason), _wait(seen))


def _slow(seen: Seen) -> Cause | None:
    found = findings(seen.status)
    if seen.status.phase is not Phase.RUNNING or not found:
        return None
    report = f"ftjob report {seen.name} -n {seen.namespace}"
    return Cause(found[0].kind, verdict(seen.status), found[0].next or "", report, is_slowness=True)


CAUSES: tuple[Callable[[Seen], Cause | None], ...] = (
    _not_seen,
    _has_failed,
    _suspended,
    _queued,
    _refused,
    _lost_node,
    _restarting,
    _claim,
    _mount,
    _gang,
    _waits,
    _pod_waits,
    _warned,
    _stands_still,
    _no_steps_seen,
    _slow,
)
"""The likeliest first."""


def _words(said: Condition | None) -> tuple[str, str]:
    """Return what a condition says, and the hint behind it."""
    message = _PREEMPTION.sub("", said.message or said.reason) if said is not None else ""
    found = _HINTED.fullmatch(message)
    return (found["words"], found["hint"]) if found is not None else (message, "")


def _reason(seen: Seen) -> str:
    said = seen.status.condition(ConditionType.RUNNING)
    return said.reason if said is not None else Reason.WAITING


def _remedy(reason: str) -> str:
    """Return what to do about one of ftjob's own reasons."""
    return next((known.remedy for known in Reason if known.value == reason), "")


def _explained(seen: Seen) -> str:
    """Return the hint for all that is said about pods that do not run."""
    waits = {pod.name for pod in seen.waiting}
    said = [pod.waiting or "" for pod in seen.waiting]
    said += [f"{event.reason}: {event.message}" for event in seen.events if event.name in waits]
    return explain_waiting("\n".join(dict.fromkeys(said))) or ""


def _newest(seen: Seen, is_meant: Callable[[EventSeen], bool]) -> EventSeen | None:
    return next((event for event in seen.events if is_meant(event)), None)


def _pod(seen: Seen, name: str) -> str:
    return _describe(seen, "pod", name)


def _describe(seen: Seen, kind: str, name: str | None = None) -> str:
    return " ".join(filter(None, ("kubectl describe", kind, name, f"-n {seen.namespace}")))


def _wait(seen: Seen) -> str:
    return f"ftjob wait {seen.name} -n {seen.namespace}"
