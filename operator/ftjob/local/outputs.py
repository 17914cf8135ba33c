"""The folder that stands for the outputs volume: one run at a time, and the job with its status in it."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Any

import yaml

from ftjob.local.errors import CannotRun
from ftjob.models.names import KIND
from ftjob_protocol import files

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

LOCK_FILE = ".ftjob-lock"
EARLIER = "earlier"
OF_ONE_RUN = (files.JOB, files.CAPTURES, files.LOGS, files.PLUGINS, files.SYSTEM)
"""What a run leaves beside the script's own files. In the cluster each job has a folder of its own; here the
same folder is used again, so that a script finds its checkpoints, and these move out of the way."""


class OutputsFolder:
    """The outputs of one run, held by a lock until the last agent is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = -1
        self._written: dict[str, Any] | None = None

    @property
    def lock(self) -> int:
        """The lock's descriptor. Agents inherit it: who is killed leaves the folder locked until they end."""
        return self._lock

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise CannotRun(
                "--outputs",
                f"cannot write to {self.path} ({error.strerror})",
                "name another folder with --outputs DIR",
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise CannotRun(
                "--outputs",
                f"another `ftjob run` writes to {self.path}",
                "wait for its end, or name another folder with --outputs DIR",
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def make_room(self) -> Path | None:
        """Move what an earlier run left into a folder of its own, and return that."""
        previous = self.path / files.JOB
        try:
            body = yaml.safe_load(previous.read_text(encoding="utf-8"))
            if body["kind"] != KIND:
                return None
            uid = str(body["metadata"]["uid"])
        except (OSError, UnicodeError, yaml.YAMLError, TypeError, KeyError):
            return None  # not a run's folder: whatever lies here is not ours to move
        target = self.path / EARLIER / uid
        target.mkdir(parents=True, exist_ok=True)
        for name in OF_ONE_RUN:
            source = self.path / name
            if source.exists() and not (target / name).exists():
                source.rename(target / name)
        return target

    def log(self, rank: int) -> Path:
        """Return where a rank's output is."""
        return self.path / files.log(rank)

    def write_job(self, body: dict[str, Any]) -> None:
        """Write the job with its status, if it has changed, so that nobody reads half of it."""
        if body == self._written:
            return
        temporary = self.path / f".{files.JOB}.tmp"
        temporary.write_text(to_yaml(body), encoding="utf-8")
        temporary.replace(self.path / files.JOB)
        self._written = body


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, as kubectl does, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def to_yaml(*documents: dict[str, Any]) -> str:
    """Return objects as ``kubectl get -o yaml`` writes them."""
    return "---\n".join(yaml.dump(d, Dumper=_Dumper, width=1000, allow_unicode=True) for d in documents)
