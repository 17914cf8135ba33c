"""The job's shared volume. All that agents open there is opened here, without following links.

Others may write to the volume too: other jobs of the same claim, other users of the same machine.
"""

from __future__ import annotations

import json
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Any, Mapping, Optional

from ftjob_agent.bounded_file import BoundedFile
from ftjob_agent.config import ConfigError, run_dir
from ftjob_protocol import files
from ftjob_protocol.captures import is_scheduled
from ftjob_protocol.files.nofollow import Folder, plain

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig

SHARED_MODE = 0o2770
"""Of folders that all pods of the job use, and who reads its results: they have a group in common."""
PRIVATE_MODE = 0o700
"""Of folders on one machine, whose other users are strangers."""


def make_folders(config: AgentConfig, environ: Mapping[str, str]) -> None:
    """Create the folders that ranks and agent write to; ConfigError when that can't be."""
    if not config.outputs:
        return
    names = [files.CHECKPOINTS, files.CAPTURES, files.SYSTEM, files.VITALS, files.PLUGINS, files.XPLANES]
    names += [files.LOGS] if config.keep_logs else []
    path = config.outputs
    try:
        os.makedirs(path, mode=PRIVATE_MODE, exist_ok=True)
        with Folder(path) as top:
            owners = {os.geteuid(), os.fstat(top.fd).st_uid}
            group = _pods_group(environ)
            if not config.has_private_outputs:
                _share(top, group)
            _try(top, config)
            for name in names:
                path = os.path.join(config.outputs, name)
                with top.enter(name, _mode(config)) as folder:
                    owner = os.fstat(folder.fd).st_uid
                    if config.has_private_outputs and owner not in owners:
                        raise ConfigError(
                            f"outputs: {path} belongs to uid {owner}, who could put anything there; remove "
                            "it, or name another folder with --outputs"
                        )
                    if not config.has_private_outputs:
                        _share(folder, group)
                    _try(folder, config)
    except NotADirectoryError:
        raise ConfigError(
            f"outputs: {path} is a link or no folder, and links in the outputs are not followed; remove it, "
            "or have spec.outputs name the volume and path that it leads to"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"outputs: cannot write to {path} as uid {os.getuid()}, gid {os.getgid()} ({error.strerror}); "
            "set securityContext.fsGroup in spec.template to a group that may write there, or name another "
            "claim or path in spec.outputs"
        ) from None


def bounded_file(config: AgentConfig, path: str, limit: int, *, farewell: str = "") -> BoundedFile:
    """Return what appends to a file of the outputs, in at most `limit` bytes."""
    folder, _, name = path.rpartition("/")
    return BoundedFile(partial(_enter, config, folder), name, limit, farewell=farewell)


def log_file(config: AgentConfig, rank: int) -> BoundedFile:
    """Return what a rank's log is written to."""
    path = files.log(rank)
    older, newer = files.tails(path)
    farewell = f"ftjob: this log has half of its limit; its end is in {older} and {newer}"
    return bounded_file(config, path, config.log_limit, farewell=farewell)


def write_file(config: AgentConfig, path: str, text: str) -> None:
    """Replace a file of the outputs in one go."""
    folder, _, name = path.rpartition("/")
    with _enter(config, folder) as found:
        found.write(name, text.encode("utf-8", "replace"))


def write_request(config: AgentConfig, capture: str, document: Mapping[str, Any]) -> None:
    """Write down what was asked for; what an earlier attempt wrote of its schedule stays."""
    with _enter(config, files.capture(plain(capture))) as folder:
        if not (is_scheduled(capture) and folder.has(files.REQUEST)):
            folder.write(files.REQUEST, json.dumps(document).encode())


def _enter(config: AgentConfig, path: str) -> Folder:
    with Folder(config.outputs) as top:
        return top.enter(path, _mode(config))


def _mode(config: AgentConfig) -> int:
    return PRIVATE_MODE if config.has_private_outputs else SHARED_MODE


def _pods_group(environ: Mapping[str, str]) -> Optional[int]:
    """Return the pod's fsGroup, which the kubelet gives to the emptyDir of the agent; None if it has none."""
    try:
        found = os.stat(os.path.dirname(run_dir(environ)))
    except OSError:
        return None
    return found.st_gid if found.st_mode & stat.S_ISGID and found.st_gid in os.getgroups() else None


def _share(folder: Folder, group: Optional[int]) -> None:
    """Let the pod's group use a folder, if it is ours: the volume may not have given it that group."""
    found = os.fstat(folder.fd)
    is_ours = found.st_gid in {os.getegid(), *os.getgroups()}
    wanted = group if group is not None else found.st_gid if is_ours else os.getegid()
    try:
        if found.st_gid != wanted:
            os.fchown(folder.fd, -1, wanted)
        if stat.S_IMODE(found.st_mode) != SHARED_MODE or found.st_gid != wanted:
            os.fchmod(folder.fd, SHARED_MODE)
    except PermissionError:
        pass  # it is someone else's; whether we may write is tried next


def _try(folder: Folder, config: AgentConfig) -> None:
    probe = f".ftjob-{config.name}-{os.getpid()}"
    os.close(folder.open(probe, os.O_CREAT | os.O_WRONLY | os.O_EXCL))
    folder.remove(probe)
