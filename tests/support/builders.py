"""Fluent builders of jobs and pods: ``job().workers(2).started()``, ``pod(1).failed(rank=3)``.

Each method returns a changed copy; ``observed`` and ``decide`` take builders as they are.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ftjob.api.job import Job, parse_job
from ftjob.models.brought import AgentFile
from ftjob.models.names import API_VERSION, KIND
from ftjob.models.status import JobStatus, Phase
from ftjob.plan.decide import decide as plan_job
from ftjob.plan.observed.pod import PodState, Terminated
from ftjob.plan.observed.state import Answer, GroupState, Lookup, Observed, Refusal, RefusalKind
from ftjob.plan.plan import Config, OperatorPods, Plan
from ftjob.plan.status.derive import derive_status
from ftjob_protocol.termination import parse_termination_message
from ftjob_protocol.values.ranges import format_indexes

if TYPE_CHECKING:
    from collections.abc import Collection

    from ftjob.api.job import AnyJob
    from ftjob.plan.observed.kueue_admission import WorkloadState
    from ftjob_protocol.leader_state import LeaderState

NOW = 1_800_000_000.0
"""The time at which tests decide, unless they say otherwise."""

UID = "0f0e0d0c-0b0a-4908-8706-050403020100"
CONFIG = Config(agent=AgentFile(b"agent of the tests"), agent_key=b"key of the tests")
WITH_POLICIES = replace(
    CONFIG, network_policy_from=OperatorPods("ftjob-system", {"app.kubernetes.io/name": "ftjob"})
)
"""The settings of an operator that makes a NetworkPolicy for each job."""


def stamp(seconds: float) -> str:
    """Return a time as status holds it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def agent_message(
    *,
    rank: int = 0,
    kind: str = "Exception",
    exit_code: int | None = 1,
    at: float = NOW,
    text: str = "",
    progress: dict[str, Any] | None = None,
    captures: dict[str, list[int]] | None = None,
) -> str:
    """Return the termination message of an agent one of whose ranks failed."""
    failure = {
        "rank": rank,
        "timeNs": int(at * 1e9),
        "class": kind,
        "type": "ValueError" if kind == "Exception" else "",
        "exitCode": exit_code,
        "message": text or f"{kind} of rank {rank}",
        "logTail": f"the last line of rank {rank}",
    }
    return json.dumps(
        {
            "version": 1,
            "attempt": 0,
            "state": "Failed",
            "failure": failure,
            "progress": progress,
            "captures": {name: format_indexes(ranks) for name, ranks in (captures or {}).items()},
        }
    )


def success_message(
    *,
    progress: dict[str, Any] | None = None,
    captures: dict[str, list[int]] | None = None,
    warning: str = "",
    notes: tuple[str, ...] = (),
) -> str:
    """Return the termination message of an agent whose ranks succeeded."""
    return json.dumps(
        {
            "version": 1,
            "attempt": 0,
            "state": "Succeeded",
            "progress": progress,
            "captures": {name: format_indexes(ranks) for name, ranks in (captures or {}).items()},
            "warning": warning,
            "notes": list(notes),
        }
    )


@dataclass(frozen=True)
class PodBuilder:
    """One pod of a job."""

    state: PodState

    def _with(self, **changes: Any) -> PodBuilder:
        return PodBuilder(replace(self.state, **changes))

    def running(self) -> PodBuilder:
        return self._with(running=True, node=f"node-{self.state.index}")

    def placed(self) -> PodBuilder:
        """Wait on a node for what the pod mounts."""
        return self._with(running=False, node=f"node-{self.state.index}")

    def waiting(self, why: str) -> PodBuilder:
        return self._with(waiting=why)

    def succeeded(
        self,
        *,
        progress: dict[str, Any] | None = None,
        captures: dict[str, list[int]] | None = None,
        warning: str = "",
        notes: tuple[str, ...] = (),
        seen: float = NOW,
    ) -> PodBuilder:
        text = success_message(progress=progress, captures=captures, warning=warning, notes=notes)
        return self._ended(0, "Completed", text, seen)

    def failed(
        self,
        exit_code: int = 1,
        *,
        rank: int | None = None,
        kind: str | None = "Exception",
        at: float = NOW,
        seen: float = NOW,
        reason: str = "Error",
        text: str = "",
        progress: dict[str, Any] | None = None,
    ) -> PodBuilder:
        """End the pod's trainer; ``kind=None`` leaves no word of the agent, ``at`` is the node's clock."""
        said = ""
        if kind is not None:
            said = agent_message(
                rank=self.state.index if rank is None else rank,
                kind=kind,
                exit_code=exit_code,
                at=at,
                text=text,
                progress=progress,
            )
        return self._ended(exit_code, reason, said, seen)

    def released(self) -> PodBuilder:
        """End the pod as its agent does when another's success has ended the job."""
        said = json.loads(agent_message(kind="Stopped", exit_code=143)) | {"state": "Stopped"}
        said["failure"]["type"] = "JobSucceeded"
        return self._ended(143, "Error", json.dumps(said), NOW)

    def absent_peers(self) -> PodBuilder:
        """End the pod as its agent does when it has found nobody."""
        return self.without_contact("PeersAbsent")

    def without_contact(self, kind: str = "LostContact", *, seen: float = NOW) -> PodBuilder:
        """End the pod as its agent does when it does not hear the others any more."""
        said = json.loads(agent_message(kind="Stopped", exit_code=143)) | {"state": "Stopped"}
        said["failure"] |= {"type": kind, "rank": None}
        return self._ended(143, "Error", json.dumps(said), seen)

    def ended(self, exit_code: int, said: str) -> PodBuilder:
        """End the pod's trainer with this termination message."""
        return self._ended(exit_code, "Error", said, NOW)

    def _ended(self, exit_code: int, reason: str, said: str, seen: float) -> PodBuilder:
        end = Terminated(exit_code, reason, parse_termination_message(said), seen)
        return self._with(running=False, terminated=end)

    def disrupted(self, reason: str = "EvictionByEvictionAPI") -> PodBuilder:
        return self._with(disruption=reason)

    def deleting(self, seen: float = NOW) -> PodBuilder:
        return self._with(deleting=True, deleting_seen=seen)

    def lost(self, seen: float = NOW) -> PodBuilder:
        """Its node has been given up; the pod object stays."""
        told = self.state.deleting_seen if self.state.deleting else seen
        return self.disrupted("DeletionByTaintManager").deleting(told)._with(lost_seen=seen)

    def gone(self) -> PodBuilder:
        return self._with(gone=True, deleting=True)

    def attempt(self, attempt: int) -> PodBuilder:
        return self._with(attempt=attempt)


def pod(index: int = 0, *, of: str = "digits", role: str = "worker", attempt: int = 0) -> PodBuilder:
    """Return a pod that was created and does not run yet."""
    name = f"{of}-{role}-{attempt}-{index}"
    return PodBuilder(PodState(name=name, uid=f"uid-of-{name}", role=role, index=index, attempt=attempt))


def trainer(**fields: Any) -> dict[str, Any]:
    """Return the trainer container of the tests' jobs."""
    return {
        "name": "trainer",
        "image": "example/train:1",
        "command": ["python3", "-m", "train"],
        **fields,
    }


@dataclass(frozen=True)
class JobBuilder:
    """A job; nothing is wrong with it until a test says so."""

    name: str
    spec: dict[str, Any]
    generation: int = 1
    status: JobStatus = field(default_factory=JobStatus)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    def with_spec(self, **fields: Any) -> JobBuilder:
        """Set fields of spec by their names on the wire."""
        return replace(self, spec={**self.spec, **fields})

    def with_status(self, **fields: Any) -> JobBuilder:
        """Set fields of status by their names in Python."""
        return replace(self, status=self.status.model_copy(update=fields))

    def strategy(self, name: str) -> JobBuilder:
        return self.with_spec(strategy=name)

    def workers(self, count: int) -> JobBuilder:
        return self.with_spec(workers=count)

    def processes(self, count: int) -> JobBuilder:
        return self.with_spec(processesPerWorker=count)

    def roles(self, **roles: int | dict[str, Any]) -> JobBuilder:
        """Set roles by their number of pods, or in full."""
        return self.with_spec(
            roles={
                name: {"replicas": role} if isinstance(role, int) else role for name, role in roles.items()
            }
        )

    def success(self, policy: str) -> JobBuilder:
        return self.with_spec(success=policy)

    def clean_pods(self, policy: str) -> JobBuilder:
        return self.with_spec(cleanPods=policy)

    def outputs(self, **fields: Any) -> JobBuilder:
        return self.with_spec(outputs=fields)

    def template(self, template: dict[str, Any]) -> JobBuilder:
        return self.with_spec(template=template)

    def with_trainer(self, **fields: Any) -> JobBuilder:
        """Set fields of the trainer container."""
        template = copy.deepcopy(self.spec["template"])
        template["spec"]["containers"][0] |= fields
        return self.template(template)

    def env(self, **variables: str) -> JobBuilder:
        return self.with_trainer(env=[{"name": name, "value": value} for name, value in variables.items()])

    def limits(self, **resources: str | int) -> JobBuilder:
        limits = {name.replace("gpu", "nvidia.com/gpu"): amount for name, amount in resources.items()}
        return self.with_trainer(resources={"limits": limits})

    def edited(self, **fields: Any) -> JobBuilder:
        """Change the spec as a user does: the generation goes up."""
        return replace(self.with_spec(**fields), generation=self.generation + 1)

    def started(self, at: float = NOW - 60) -> JobBuilder:
        return self.with_status(
            start_time=stamp(at), attempt_time=stamp(at), active_since=stamp(at), phase=Phase.STARTING
        )

    def running(self, at: float = NOW - 30) -> JobBuilder:
        return self.started().with_status(running_time=stamp(at), phase=Phase.RUNNING)

    def recorded(self, indexes: str) -> JobBuilder:
        """Say in status which workers have succeeded."""
        role = {"name": "worker", "desired": self.spec.get("workers", 1), "succeededIndexes": indexes}
        roles = JobStatus.model_validate({"roles": [role]}).roles
        return self.with_status(roles=roles)

    def after(self, decision: Plan, seen: Observed, *, now: float = NOW) -> JobBuilder:
        """Take over the status that follows from a decision, as it comes back from the API server."""
        wire = derive_status(self.read(), seen, decision, now=now).to_wire()
        return replace(self, status=JobStatus.model_validate(json.loads(json.dumps(wire))))

    def build(self) -> Job:
        found = self.read()
        assert isinstance(found, Job)
        return found

    def read(self) -> AnyJob:
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": self.name,
                "namespace": "team",
                "uid": UID,
                "generation": self.generation,
                "resourceVersion": "1",
                "labels": self.labels,
                "annotations": self.annotations,
            },
            "spec": copy.deepcopy(self.spec),
            "status": self.status.to_wire(),
        }
        return parse_job(body)


def job(name: str = "digits") -> JobBuilder:
    """Return a job of strategy Plain with one worker."""
    return JobBuilder(
        name, {"strategy": "Plain", "workers": 1, "template": {"spec": {"containers": [trainer()]}}}
    )


def refusal(
    kind: RefusalKind, *, object_kind: str = "Pod", name: str = "digits-worker-0-0", left: float = 4.0
) -> Refusal:
    """Return a refusal that may be tried again in ``left`` seconds."""
    return Refusal(kind, object_kind, name, f"{kind.value} says the server", retry_at=NOW + left)


def observed(
    *pods: PodBuilder,
    predecessors: tuple[str, ...] = (),
    existing: frozenset[tuple[str, str]] = frozenset({("Service", "digits")}),
    refused: Refusal | None = None,
    leader: LeaderState | None = None,
    unreached: str = "",
    last_ends: dict[int, float] | None = None,
    groups: tuple[GroupState, ...] = (),
    workloads: tuple[WorkloadState, ...] = (),
    looked_up: dict[Lookup, Answer] | None = None,
    served: Collection[tuple[str, str]] = (),
) -> Observed:
    """Return what is seen of a job; its Service exists unless a test says otherwise."""
    return Observed(
        pods=tuple(pod.state for pod in pods),
        predecessors=predecessors,
        existing=existing,
        refusal=refused,
        leader=leader,
        unreached=unreached,
        last_ends=last_ends or {},
        groups=groups,
        workloads=workloads,
        looked_up=looked_up or {},
        served=frozenset(served),
    )


def decide(job: JobBuilder, seen: Observed, *, now: float = NOW, config: Config = CONFIG) -> Plan:
    """Plan a job, with the tests' settings unless told others."""
    return plan_job(job.read(), seen, now=now, config=config)


def created(decision: Plan, kind: str = "Pod") -> list[str]:
    """Return the names of the objects of a kind that a plan creates."""
    return [new.name for new in decision.changes.create if new.kind == kind]


def manifests(decision: Plan, *kinds: str) -> list[dict[str, Any]]:
    """Return what a plan creates, of some kinds or of all."""
    return [new.build() for new in decision.changes.create if not kinds or new.kind in kinds]


def deleted(decision: Plan) -> list[str]:
    """Return the names of the pods that a plan deletes."""
    return [ref.name for ref in decision.changes.delete]
