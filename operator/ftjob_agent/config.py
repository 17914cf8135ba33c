"""What the plan tells an agent: the JSON of ``FTJOB_AGENT_CONFIG`` as frozen dataclasses."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Mapping, Optional

VERSION = 1
LEADER_IP = "@LEADER_IP@"
IFACE = "@IFACE@"
PRIVATE = ("FTJOB_TOKEN", "FTJOB_AGENT_CONFIG")
"""Variables that ranks never see."""


class ConfigError(Exception):
    """The ranks could not be started; the text says why and what to do about it."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class RankSpec:
    """One rank of this agent."""

    rank: int
    local_rank: int
    env: Mapping[str, str]

    @property
    def label(self) -> str:
        """Name of the rank's folders and files."""
        return f"rank-{self.rank:05d}"


@dataclass(frozen=True)
class Address:
    """Where the leader listens."""

    host: str
    port: int


@dataclass(frozen=True)
class Rendezvous:
    """What the leader has to serve before any rank starts."""

    kind: str
    port: int
    hosts: str


@dataclass(frozen=True)
class Profiling:
    """Which local ranks are profiled, when and how."""

    mode: str
    schedule: Mapping[str, Any]
    ranks: frozenset[int]
    tools: tuple[str, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Elastic:
    """Between how many agents the ranks may run."""

    min_workers: int
    max_workers: int


@dataclass(frozen=True)
class Watchdog:
    """After how long without a step the job hangs."""

    hang_seconds: float
    counts: bool
    """Whether this agent's ranks are those that make steps."""


@dataclass(frozen=True)
class InPlace:
    """How long ranks that may be started again in these pods are waited for, and then who starts them."""

    acknowledge: float
    patience: float


@dataclass(frozen=True)
class Config:
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
    leader: Address
    ranks: tuple[RankSpec, ...]
    identity: tuple[str, ...]
    unless_set: tuple[str, ...]
    rendezvous: Optional[Rendezvous]
    elastic: Optional[Elastic]
    in_place: Optional[InPlace]
    success_ends_job: bool
    start_timeout: float
    contact_timeout: float
    stop_grace: float
    outputs: str
    keep_logs: bool
    profiling: Optional[Profiling]
    watchdog: Optional[Watchdog]

    @property
    def name(self) -> str:
        """The agent's name in messages."""
        return f"{self.role}-{self.index}"

    @property
    def is_leader(self) -> bool:
        """Whether this agent serves the star: it is the one that has rank 0."""
        return any(spec.rank == 0 for spec in self.ranks)

    @property
    def is_scheduled(self) -> bool:
        """Whether the hooks capture by themselves."""
        return self.profiling is not None and self.profiling.mode == "Scheduled" and bool(self.outputs)

    def of_attempt(self, attempt: int) -> Config:
        """Return what the same agent is told for another attempt."""
        number = {"FTJOB_ATTEMPT": str(attempt)}
        ranks = tuple(replace(spec, env={**spec.env, **number}) for spec in self.ranks)
        return replace(self, attempt=attempt, ranks=ranks)

    def profiled(self) -> tuple[RankSpec, ...]:
        """Return the ranks of this agent that are profiled."""
        if self.profiling is None:
            return ()
        chosen = self.profiling.ranks
        return tuple(spec for spec in self.ranks if spec.local_rank in chosen)


class _Fields:
    """Typed access to one JSON object; a wrong field is named in the error."""

    def __init__(self, data: Any, path: str) -> None:
        if not isinstance(data, dict):
            raise _disagreement(path or "the document", "an object")
        self._data, self._path = data, path

    def text(self, key: str, default: Optional[str] = None) -> str:
        return str(self._get(key, str, "a text", default))

    def integer(self, key: str) -> int:
        return int(self._get(key, int, "a whole number", None))

    def seconds(self, key: str, default: float) -> float:
        return float(self._get(key, (int, float), "a number of seconds", default))

    def flag(self, key: str, *, default: bool) -> bool:
        return bool(self._data.get(key, default))

    def mapping(self, key: str) -> dict[str, Any]:
        value = self._data.get(key)
        return dict(value) if isinstance(value, dict) else {}

    def items(self, key: str) -> list[Any]:
        return list(self._get(key, list, "a list", []))

    def child(self, key: str) -> _Fields:
        return _Fields(self._data.get(key), f"{self._path}{key}.")

    def optional(self, key: str) -> Optional[_Fields]:
        return None if self._data.get(key) is None else self.child(key)

    def _get(self, key: str, kind: Any, words: str, default: Any) -> Any:
        value = self._data.get(key, default)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _disagreement(self._path + key, words)
        return value


def _disagreement(field: str, words: str) -> ConfigError:
    return ConfigError(
        f"FTJOB_AGENT_CONFIG: {field.rstrip('.')} is not {words}; the operator and the agent's image "
        "must be of the same release"
    )


def parse(text: str) -> Config:
    """Read the document; ConfigError names the field that is wrong."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"FTJOB_AGENT_CONFIG is not JSON ({error}); the agent is started by ftjob's pods, not by hand"
        ) from None
    fields = _Fields(document, "")
    if fields.integer("version") != VERSION:
        raise _disagreement("version", str(VERSION))
    rendezvous, profiling, leader, elastic, watchdog, in_place = (
        fields.optional("rendezvous"),
        fields.optional("profiling"),
        fields.child("leader"),
        fields.optional("elastic"),
        fields.optional("watchdog"),
        fields.optional("inPlace"),
    )
    config = Config(
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
        ranks=tuple(_rank(_Fields(item, f"ranks[{i}].")) for i, item in enumerate(fields.items("ranks"))),
        identity=tuple(str(name) for name in fields.items("identity")),
        unless_set=tuple(str(name) for name in fields.items("unlessSet")),
        rendezvous=None
        if rendezvous is None
        else Rendezvous(rendezvous.text("kind"), rendezvous.integer("port"), rendezvous.text("hosts")),
        elastic=None
        if elastic is None
        else Elastic(elastic.integer("minWorkers"), elastic.integer("maxWorkers")),
        in_place=None
        if in_place is None
        else InPlace(in_place.seconds("acknowledgeSeconds", 5), in_place.seconds("patienceSeconds", 30)),
        success_ends_job=fields.flag("successEndsJob", default=False),
        start_timeout=fields.seconds("startTimeoutSeconds", 600),
        contact_timeout=fields.seconds("contactTimeoutSeconds", 30),
        # Kubernetes' default of 30 s for a pod to end, less the time to write the last message.
        stop_grace=fields.seconds("stopGraceSeconds", 28),
        outputs=fields.text("outputs", ""),
        keep_logs=fields.flag("keepLogs", default=False),
        profiling=None if profiling is None else _profiling(profiling),
        watchdog=None
        if watchdog is None
        else Watchdog(watchdog.seconds("hangSeconds", 600), watchdog.flag("counts", default=True)),
    )
    if not config.ranks:
        raise _disagreement("ranks", "a list with at least one rank")
    return config


def _rank(fields: _Fields) -> RankSpec:
    env = {str(key): str(value) for key, value in fields.mapping("env").items()}
    return RankSpec(fields.integer("rank"), fields.integer("localRank"), env)


def _profiling(fields: _Fields) -> Profiling:
    return Profiling(
        mode=fields.text("mode"),
        schedule=fields.mapping("schedule"),
        ranks=frozenset(int(rank) for rank in fields.items("ranks")),
        tools=tuple(str(tool) for tool in fields.items("tools")),
        options=fields.mapping("options"),
    )


def check_identity(config: Config, environ: Mapping[str, str]) -> None:
    """Refuse variables that decide who a rank is when the container brings another value than the plan's.

    A name that ends in ``*`` stands for all that begin with what is before it.
    """
    for name in config.identity:
        found = [key for key in environ if key.startswith(name[:-1])] if name.endswith("*") else [name]
        for key in found:
            for spec in config.ranks:
                if key in environ and environ[key] != spec.env.get(key):
                    planned = (
                        f"the plan says {spec.env[key]!r}" if key in spec.env else "the plan does not set it"
                    )
                    raise ConfigError(
                        f"{key}={environ[key]!r} reaches the trainer by envFrom or from its image, but for "
                        f"rank {spec.rank} {planned}; remove {key} from that ConfigMap, Secret or image: "
                        "ftjob sets what tells a rank who it is"
                    )
