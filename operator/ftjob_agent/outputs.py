"""The job's shared volume: its folders, and which captures are done."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Iterable, Mapping

from ftjob_agent.config import ConfigError
from ftjob_protocol import files
from ftjob_protocol.captures import request

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig, RankSpec

FOLDER_MODE = 0o2777
"""The volume is the job's own, and the collector merges a root trainer's files as another user."""


def make_folders(config: AgentConfig, environ: Mapping[str, str]) -> None:
    """Create the folders that ranks and agent write to; ConfigError when that can't be."""
    if not config.outputs:
        return
    folders = [config.outputs]
    names = [files.CHECKPOINTS, files.CAPTURES, files.SYSTEM, files.PLUGINS, files.XPLANES]
    names += [files.LOGS] if config.keep_logs else []
    folders += [os.path.join(config.outputs, name) for name in names]
    path = config.outputs
    try:
        for path in folders:
            make_folder(path)
            probe = os.path.join(path, f".ftjob-{config.name}-{os.getpid()}")
            os.close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644))
            os.unlink(probe)
    except OSError as error:
        raise ConfigError(
            f"outputs: cannot write to {path} as uid {os.getuid()}, gid {os.getgid()} ({error.strerror}); "
            "set securityContext.fsGroup in spec.template to a group that may write there, or name another "
            "claim or path in spec.outputs"
        ) from None


def make_folder(path: str) -> None:
    """Create a folder of mode 2777 whatever the umask."""
    umask = os.umask(0)  # others may come in between mkdir and chmod, so mkdir has to be right but for setgid
    try:
        os.makedirs(path, mode=0o777, exist_ok=True)
    finally:
        os.umask(umask)
    if os.stat(path).st_mode & 0o7777 != FOLDER_MODE:
        try:
            os.chmod(path, FOLDER_MODE)
        except PermissionError:
            pass  # it is someone else's; whether we may write is tried next


def write_request(config: AgentConfig, capture: str, ranks: Iterable[int]) -> None:
    """Write down what was asked for, unless it is there."""
    assert config.profiling is not None
    profiling, folder = config.profiling, os.path.join(config.outputs, files.capture(capture))
    path = os.path.join(folder, files.REQUEST)
    if os.path.exists(path):
        return
    make_folder(folder)
    asked = request(
        capture, attempt=config.attempt, mode=profiling.mode, wanted=profiling.wanted, ranks=list(ranks)
    )
    write_text(path, json.dumps(asked))


def write_text(path: str, text: str) -> None:
    """Write a file so that nobody sees half of it."""
    temporary = f"{path}.{os.getpid()}.tmp"
    file = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    try:
        os.fchmod(file, 0o644)
        os.write(file, text.encode("utf-8", "replace"))
    finally:
        os.close(file)
    os.replace(temporary, path)


def captures_done(config: AgentConfig, specs: Iterable[RankSpec]) -> dict[str, list[int]]:
    """Return, for each capture, which of these ranks have finished it."""
    found: dict[str, list[int]] = {}
    captures = os.path.join(config.outputs, files.CAPTURES)
    chosen = list(specs)
    try:
        names = sorted(os.listdir(captures)) if chosen else []
    except OSError:
        return {}
    for name in names:
        done = [
            spec.rank
            for spec in chosen
            if os.path.exists(os.path.join(config.outputs, files.raw(name, spec.rank), files.DONE))
        ]
        if done:
            found[name] = done
    return found
