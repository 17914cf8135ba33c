"""What ranks find in their environment, and their private folders."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import socket
from typing import TYPE_CHECKING, Mapping, Sequence

from ftjob_agent.config import ConfigError, code_folder, run_dir
from ftjob_protocol import files, variables
from ftjob_protocol.captures import profile
from ftjob_protocol.captures.window import make_word
from ftjob_protocol.files.nofollow import Folder
from ftjob_protocol.values import peers
from ftjob_protocol.variables import ATTEMPT_NOW, IFACE, LEADER_IP, PRIVATE

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig
    from ftjob_protocol.rank_spec import RankSpec

HOOKS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "hooks")
"""Put on the ranks' PYTHONPATH; a folder within the zipapp is as good as one on disk."""
STACKS_SIGNAL = int(signal.SIGRTMAX) - 6
"""Not SIGUSR1 or 2, which programs use and agents pass on; the C libraries' own are at the other end."""

_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
_FOR_A_RANK = (
    variables.LOCAL_WORLD_SIZE,
    variables.RANK_DIR,
    variables.PROGRESS_FILE,
    variables.NODE_NAME,
    variables.POD_NAME,
)


def make_run_dir(config: AgentConfig, environ: Mapping[str, str]) -> None:
    """Create the ranks' folders, without what an earlier attempt left there."""
    for spec in config.ranks:
        make_rank_dir(config, spec, environ)


def make_rank_dir(config: AgentConfig, spec: RankSpec, environ: Mapping[str, str]) -> None:
    """Create the folder of one rank, without what an earlier life left there."""
    top = run_dir(environ)
    path = os.path.join(top, spec.label)
    try:
        os.makedirs(top, mode=0o700, exist_ok=True)
        with Folder(top) as folder, folder.enter(spec.label, mode=0o700) as own:
            own.clear()
            if config.is_capturing:
                make_word(own)
    except OSError as error:
        raise ConfigError(
            f"{variables.RUN_DIR}: cannot write to {path} as uid {os.getuid()} ({error.strerror}); it is an "
            f"emptyDir that ftjob mounts at {files.RUN_DIR}: do not mount anything else there"
        ) from None


def of_container(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the container's environment without what is between agents alone."""
    return {key: value for key, value in environ.items() if key not in PRIVATE}


def of_rank(
    config: AgentConfig,
    spec: RankSpec,
    environ: Mapping[str, str],
    place: tuple[str, str],
    servers: Sequence[str] = (),
) -> dict[str, str]:
    """Return the environment of one rank.

    Parameters
    ----------
    place
        The leader's address and the interface of the route to it, for the plan's placeholders.
    servers
        Host and port of what each worker serves, in rank order, for those of lists.
    """
    address, interface = place
    env = of_container(environ)
    # The plan alone says who a rank is. What else the container has, by whatever way, is the choice of its
    # user, and half of a group that belongs together fits nothing with half of ours.
    left_alone = env.keys() - set(config.identity)
    if any(name in env for name in config.unless_set):
        left_alone |= set(config.unless_set)
    before_port = f"[{address}]:" if ":" in address else f"{address}:"
    for key, planned in spec.env.items():
        if key not in left_alone:
            listed = peers.filled(planned, servers)
            found = listed.replace(f"{LEADER_IP}:", before_port).replace(LEADER_IP, address)
            env[key] = found.replace(IFACE, interface).replace(ATTEMPT_NOW, str(config.attempt))
            _check_size(key, env[key], config)
    rank_dir = os.path.join(run_dir(environ), spec.label)
    code = code_folder(environ) if config.code is not None else None
    env.update(
        PYTHONPATH=os.pathsep.join(filter(None, [HOOKS, code, env.get("PYTHONPATH")])),
        TORCHELASTIC_ERROR_FILE=os.path.join(rank_dir, files.TORCHELASTIC_FAILURE),
    )
    env[variables.RANK_DIR] = rank_dir
    env[variables.LOCAL_WORLD_SIZE] = str(len(config.ranks))
    env[variables.PROGRESS_FILE] = os.path.join(rank_dir, files.PROGRESS)
    for name in (variables.NODE_NAME, variables.POD_NAME):
        env[name] = environ.get(name) or socket.gethostname()
    env.setdefault("PYTHONUNBUFFERED", "1")
    env.setdefault("PYTHONFAULTHANDLER", "1")
    if not _has_name(os.getuid()):
        # Pods run as any user; Python's getpass, and with it torch's compiler, then finds no name and fails.
        env.setdefault("USER", f"uid{os.getuid()}")
    if len(config.ranks) > 1:
        # Where the pod has a CPU limit the plan says so. Elsewhere each rank would start a thread for every
        # core of the node, and all would spin for each other's cores.
        env.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // len(config.ranks))))
    if config.watchdog is not None:
        env[variables.STACKS_SIGNAL] = str(STACKS_SIGNAL)
    _tell_of_profiles(env, config, spec)
    return env


def _tell_of_profiles(env: dict[str, str], config: AgentConfig, spec: RankSpec) -> None:
    if config.profiling is None:
        return
    env[variables.CLOCK] = "1"
    if not config.is_capturing:
        return
    wanted, follows = config.profiling.wanted, config.is_scheduled and config.is_profiled(spec)
    told = wanted if follows else wanted._replace(schedule={})
    env[variables.PROFILE] = json.dumps(profile(told, config.outputs))
    if config.is_scheduled and "Framework" in wanted.tools and "HOROVOD_RANK" in env:
        # Horovod reads it once, when it initializes, and on all ranks: they agree on the timeline in every
        # cycle. From then on a thread of rank 0 spins (`TimelineWriter::WriterLoop`), so only those who ask
        # for captures from the start get it.
        env.setdefault("HOROVOD_TIMELINE", "DYNAMIC")


def filled_in(command: Sequence[str], spec: RankSpec, env: Mapping[str, str]) -> list[str]:
    """Return a rank's command, with ``$(RANK)`` and the like as this rank has them.

    The kubelet fills in what the container's ``env`` defines, and leaves the rest as it stands. We fill in
    what the plan or the agent gives a rank, and nothing else, since ``$(date)`` is a shell's.
    """
    known = {*spec.env, *_FOR_A_RANK}

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        return env[name] if name in known and name in env else match[0]

    return [_REFERENCE.sub(fill, word) for word in command]


def _check_size(key: str, value: str, config: AgentConfig) -> None:
    """Say what Linux would not: how many workers are too many."""
    size = len(key) + 1 + len(value.encode())
    if size > peers.VALUE_MAX:
        fit = config.agents * peers.VALUE_MAX // size
        raise ConfigError(
            f"{key} has {size} bytes with {config.agents} workers, and Linux takes {peers.VALUE_MAX}: "
            f"{fit} workers fit"
        )


def host(environ: Mapping[str, str]) -> str:
    """Return where this agent runs, for people."""
    pod = f"pod {environ.get(variables.POD_NAME) or socket.gethostname()}"
    node = environ.get(variables.NODE_NAME)
    return f"{pod} on {node}" if node else pod


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
