"""The job's shared volume: its folders, and which captures are done."""

from __future__ import annotations

import json
import os
from typing import Any, Iterable, Mapping

from ftjob_agent.config import Config, ConfigError, RankSpec

FOLDER_MODE = 0o2777
"""The volume is the job's own, and the collector merges a root trainer's files as another user."""


def make_folders(config: Config, environ: Mapping[str, str]) -> None:
    """Create the folders that ranks and agent write to; ConfigError when that can't be."""
    if not config.outputs:
        return
    folders = [config.outputs]
    folders += [os.path.join(config.outputs, name) for name in ("checkpoints", "captures", "system")]
    folders += [os.path.join(config.outputs, "plugins"), os.path.join(config.outputs, "plugins", "profile")]
    folders += [os.path.join(config.outputs, "logs")] if config.keep_logs else []
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


def profile_request(config: Config) -> str:
    """Return what ``FTJOB_PROFILE`` says to the hooks of a rank that takes part."""
    assert config.profiling is not None
    return json.dumps(
        {
            "id": "s0",
            "captureDir": os.path.join(config.outputs, "captures"),
            "pluginsDir": os.path.join(config.outputs, "plugins", "profile"),
            "schedule": dict(config.profiling.schedule),
            "tools": list(config.profiling.tools),
            "options": dict(config.profiling.options),
        }
    )


def write_request(config: Config, capture: str, ranks: Iterable[int]) -> None:
    """Write down what was asked for, unless it is there."""
    assert config.profiling is not None
    folder = os.path.join(config.outputs, "captures", capture)
    path = os.path.join(folder, "request.json")
    if os.path.exists(path):
        return
    make_folder(folder)
    write_json(
        path,
        {
            "version": 1,
            "id": capture,
            "attempt": config.attempt,
            "mode": config.profiling.mode,
            "schedule": dict(config.profiling.schedule),
            "tools": list(config.profiling.tools),
            "options": dict(config.profiling.options),
            "ranks": sorted(ranks),
        },
    )


def write_json(path: str, data: Any) -> None:
    """Write a document so that nobody sees half of it."""
    write_text(path, json.dumps(data))


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


def captures_done(config: Config, specs: Iterable[RankSpec]) -> dict[str, list[int]]:
    """Return, for each capture, which of these ranks have finished it."""
    found: dict[str, list[int]] = {}
    captures = os.path.join(config.outputs, "captures")
    chosen = list(specs)
    try:
        names = sorted(os.listdir(captures)) if chosen else []
    except OSError:
        return {}
    for name in names:
        done = [
            spec.rank
            for spec in chosen
            if os.path.exists(os.path.join(captures, name, "raw", spec.label, "done.json"))
        ]
        if done:
            found[name] = done
    return found
