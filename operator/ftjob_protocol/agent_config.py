"""What the plan tells an agent: the JSON of ``FTJOB_AGENT_CONFIG`` as frozen dataclasses."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional

from ftjob_protocol import VERSION, Word
from ftjob_protocol.captures import KEEP_LAST, MAX_BYTES, Wanted
from ftjob_protocol.code import Code
from ftjob_protocol.rank_spec import RankSpec, told_once
from ftjob_protocol.values.document import Document, DocumentError
from ftjob_protocol.variables import AGENT_CONFIG, ATTEMPT

ACKNOWLEDGE_SECONDS = 5
"""By then all ranks have to be dead that are to be started again in place."""
PATIENCE_SECONDS = 30
"""How long dead ranks wait for the operator's word, so that a job never holds its GPUs for one that is away.
A little more than a new operator takes when the old one was killed."""
CONTACT_TIMEOUT_SECONDS = 30
STOP_GRACE_SECONDS = 28
"""Kubernetes' default of 30 s for a pod to end, less the time to write the last message."""
HANG_SECONDS = 600
EXCEPTION_GRACE_SECONDS = 60
"""How long a rank may go on after an uncaught exception, unless the job says otherwise."""
LOG_LIMIT = 1 << 30
"""Most bytes of a rank's log, unless the job says otherwise."""


@dataclass(frozen=True)
class Address:
    """Where the leader listens."""

    host: str
    port: int

    def as_json(self) -> dict[str, Any]:
        """Return its part of the document."""
        return {"host": self.host, "port": self.port}


class RendezvousKind(Word):
    """What the ranks meet at."""

    HOROVOD = "Horovod"
    """Horovod's key-value store."""
    HOROVOD_ELASTIC = "HorovodElastic"
    """Horovod's elastic driver."""


@dataclass(frozen=True)
class Rendezvous:
    """What the leader has to serve before any rank starts."""

    kind: str
    port: int
    host_prefix: str = ""
    """Of Horovod's store: what it calls each worker, but for the index at the end."""

    def as_json(self) -> dict[str, Any]:
        """Return its part of the document."""
        return {"kind": self.kind, "port": self.port, "hostPrefix": self.host_prefix}


@dataclass(frozen=True)
class Profiling:
    """Which local ranks are profiled, when and how."""

    mode: str
    schedule: Mapping[str, Any]
    ranks: frozenset[int]
    tools: tuple[str, ...]
    options: Mapping[str, Any]
    max_bytes: int = MAX_BYTES
    """Most bytes of all captures together in the outputs."""
    keep_last: int = KEEP_LAST

    @property
    def wanted(self) -> Wanted:
        """What is captured, when and how."""
        return Wanted(self.schedule, self.tools, self.options)

    def as_json(self) -> dict[str, Any]:
        """Return its part of the document."""
        return {
            "mode": self.mode,
            "schedule": dict(self.schedule),
            "ranks": sorted(self.ranks),
            "tools": list(self.tools),
            "options": dict(self.options),
            **({"maxBytes": self.max_bytes} if self.max_bytes != MAX_BYTES else {}),
            **({"keepLast": self.keep_last} if self.keep_last != KEEP_LAST else {}),
        }


@dataclass(frozen=True)
class Elastic:
    """Between how many agents the ranks may run."""

    min_workers: int
    max_workers: int

    def as_json(self) -> dict[str, Any]:
        """Return its part of the document."""
        return {"minWorkers": self.min_workers, "maxWorkers": self.max_workers}


@dataclass(frozen=True)
class Watchdog:
    """After how long without a step the job hangs."""

    hang_seconds: float
    counts: bool
    """Whether this agent's ranks are those that make steps."""

    def as_json(self) -> dict[str, Any]:
        """Return its part of the document."""
        return {"hangSeconds": self.hang_seconds, "counts": self.counts}


@dataclass(frozen=True)
class InPlace:
    """How long ranks that may be started again in these pods are waited for, and then who starts them."""

    acknowledge: float
    patience: float

    def as_json(self) -> dict[str, Any]:
        """Return its part of the document."""
        return {"acknowledgeSeconds": self.acknowledge, "patienceSeconds": self.patience}


@dataclass(frozen=True)
class AgentConfig:
    """All that the plan tells one agent."""

    job: str
    namespace: str
    uid: str
    strategy: str
    role: str
    index: int
    attempt: int
    world_size: int
    agents: int
    roles: Mapping[str, int]
    port: int
    server_port: Optional[int]
    """Of what the agent's first rank serves; None where nobody has to be told."""
    leader: Address
    ranks: tuple[RankSpec, ...]
    identity: tuple[str, ...]
    unless_set: tuple[str, ...]
    rendezvous: Optional[Rendezvous]
    elastic: Optional[Elastic]
    in_place: Optional[InPlace]
    success_ends_job: bool
    start_timeout: Optional[float]
    """Seconds that the agents may take to meet; None: as long as Kubernetes takes to place their pods."""
    contact_timeout: float
    stop_grace: float
    exception_grace: float
    """How long a rank may visibly work on after an uncaught exception."""
    outputs: str
    keep_logs: bool
    log_limit: int
    """Most bytes of a rank's log in the outputs."""
    mark_ranks: bool
    """Whether lines that ranks write begin with their rank where they leave the agent."""
    has_private_outputs: bool
    """Whether the outputs are those of one user of this machine, and not of all pods of the job."""
    profiling: Optional[Profiling]
    watchdog: Optional[Watchdog]
    code: Optional[Code] = None

    @property
    def name(self) -> str:
        """The agent's name in messages."""
        return f"{self.role}-{self.index}"

    @property
    def is_leader(self) -> bool:
        """Whether this agent serves the star: it is the one that has rank 0."""
        return any(spec.rank == 0 for spec in self.ranks)

    @property
    def is_capturing(self) -> bool:
        """Whether ranks take captures at all, by a schedule or by order."""
        return self.profiling is not None and bool(self.outputs)

    @property
    def is_scheduled(self) -> bool:
        """Whether the hooks capture by themselves."""
        return self.profiling is not None and self.profiling.mode == "Scheduled" and bool(self.outputs)

    def as_json(self) -> dict[str, Any]:
        """Return the document; what a job does not have is left out."""
        optional = {"elastic": self.elastic, "inPlace": self.in_place, "watchdog": self.watchdog}
        document = {
            "version": VERSION,
            "job": self.job,
            "namespace": self.namespace,
            "uid": self.uid,
            "strategy": self.strategy,
            "role": self.role,
            "index": self.index,
            "attempt": self.attempt,
            "worldSize": self.world_size,
            "agents": self.agents,
            "roles": dict(self.roles),
            "port": self.port,
            "leader": self.leader.as_json(),
            **({"serverPort": self.server_port} if self.server_port is not None else {}),
            **told_once(self.ranks),
            "identity": list(self.identity),
            "unlessSet": list(self.unless_set),
            "rendezvous": self.rendezvous.as_json() if self.rendezvous else None,
            "successEndsJob": self.success_ends_job,
            "startTimeoutSeconds": self.start_timeout,
            "contactTimeoutSeconds": self.contact_timeout,
            "stopGraceSeconds": self.stop_grace,
            **(
                {"exceptionGraceSeconds": self.exception_grace}
                if self.exception_grace != EXCEPTION_GRACE_SECONDS
                else {}
            ),
            "outputs": self.outputs,
            "keepLogs": self.keep_logs,
            **({"logLimitBytes": self.log_limit} if self.log_limit != LOG_LIMIT else {}),
            "markRanks": self.mark_ranks,
            "profiling": self.profiling.as_json() if self.profiling else None,
            **({"privateOutputs": True} if self.has_private_outputs else {}),
            **({"code": self.code.as_json()} if self.code is not None else {}),
            **{key: part.as_json() for key, part in optional.items() if part is not None},
        }
        return {
            key: value
            for key, value in document.items()
            if not (value is None or value is False or value == [])
        }

    def of_attempt(self, attempt: int) -> AgentConfig:
        """Return what the same agent is told for another attempt."""
        number = {ATTEMPT: str(attempt)}
        ranks = tuple(replace(spec, env={**spec.env, **number}) for spec in self.ranks)
        return replace(self, attempt=attempt, ranks=ranks)

    def is_profiled(self, spec: RankSpec) -> bool:
        """Whether a rank is profiled, by its place: an elastic job numbers them anew."""
        return self.profiling is not None and spec.local_rank in self.profiling.ranks

    def profiled(self) -> tuple[RankSpec, ...]:
        """Return the ranks of this agent's plan that are profiled."""
        return tuple(spec for spec in self.ranks if self.is_profiled(spec))


def parse(text: str) -> AgentConfig:
    """Read the document.

    Raises
    ------
    DocumentError
        It names the field that is wrong.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DocumentError(
            f"{AGENT_CONFIG} is not JSON ({error}); the agent is started by ftjob's pods, not by hand"
        ) from None
    fields = Document(document, AGENT_CONFIG)
    if fields.integer("version") != VERSION:
        raise fields.disagreement("version", str(VERSION))
    leader = fields.child("leader")
    config = AgentConfig(
        job=fields.text("job"),
        namespace=fields.text("namespace", ""),
        uid=fields.text("uid", ""),
        strategy=fields.text("strategy", ""),
        role=fields.text("role"),
        index=fields.integer("index"),
        attempt=fields.integer("attempt"),
        world_size=fields.integer("worldSize"),
        agents=fields.integer("agents"),
        roles={role: int(count) for role, count in fields.mapping("roles").items()},
        port=fields.integer("port"),
        leader=Address(leader.text("host"), leader.integer("port")),
        server_port=None if fields.limit("serverPort") is None else fields.integer("serverPort"),
        ranks=tuple(_rank(found, fields.mapping("env")) for found in fields.children("ranks")),
        identity=tuple(str(name) for name in fields.items("identity")),
        unless_set=tuple(str(name) for name in fields.items("unlessSet")),
        rendezvous=fields.optional("rendezvous", _rendezvous),
        elastic=fields.optional("elastic", _elastic),
        in_place=fields.optional("inPlace", _in_place),
        success_ends_job=fields.flag("successEndsJob", default=False),
        start_timeout=fields.limit("startTimeoutSeconds"),
        contact_timeout=fields.seconds("contactTimeoutSeconds", CONTACT_TIMEOUT_SECONDS),
        stop_grace=fields.seconds("stopGraceSeconds", STOP_GRACE_SECONDS),
        exception_grace=fields.seconds("exceptionGraceSeconds", EXCEPTION_GRACE_SECONDS),
        outputs=fields.text("outputs", ""),
        keep_logs=fields.flag("keepLogs", default=False),
        log_limit=fields.integer("logLimitBytes", LOG_LIMIT),
        mark_ranks=fields.flag("markRanks", default=False),
        has_private_outputs=fields.flag("privateOutputs", default=False),
        profiling=fields.optional("profiling", _profiling),
        watchdog=fields.optional("watchdog", _watchdog),
        code=fields.optional("code", lambda found: Code(found.text("file"), found.text("sha256"))),
    )
    if not config.ranks:
        raise fields.disagreement("ranks", "a list with at least one rank")
    return config


def _rank(fields: Document, common: Mapping[str, Any]) -> RankSpec:
    return RankSpec.told(fields.integer("rank"), fields.integer("localRank"), common, fields.mapping("env"))


def _profiling(fields: Document) -> Profiling:
    return Profiling(
        mode=fields.text("mode"),
        schedule=fields.mapping("schedule"),
        ranks=frozenset(int(rank) for rank in fields.items("ranks")),
        tools=tuple(str(tool) for tool in fields.items("tools")),
        options=fields.mapping("options"),
        max_bytes=fields.integer("maxBytes", MAX_BYTES),
        keep_last=fields.integer("keepLast", KEEP_LAST),
    )


def _rendezvous(fields: Document) -> Rendezvous:
    return Rendezvous(fields.text("kind"), fields.integer("port"), fields.text("hostPrefix", ""))


def _elastic(fields: Document) -> Elastic:
    return Elastic(fields.integer("minWorkers"), fields.integer("maxWorkers"))


def _in_place(fields: Document) -> InPlace:
    acknowledge = fields.seconds("acknowledgeSeconds", ACKNOWLEDGE_SECONDS)
    return InPlace(acknowledge, fields.seconds("patienceSeconds", PATIENCE_SECONDS))


def _watchdog(fields: Document) -> Watchdog:
    return Watchdog(fields.seconds("hangSeconds", HANG_SECONDS), fields.flag("counts", default=True))
