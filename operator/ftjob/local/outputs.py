"""The folder that stands for the outputs volume: one run at a time, and the job with its status in it."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import tempfile
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import yaml

from ftjob.insight.marked import is_ours
from ftjob.local.errors import CannotRun
from ftjob.models.names import KIND
from ftjob_protocol import files
from ftjob_protocol.captures.order import may_ask_for
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from ftjob.models.status import JobStatus

MODE = 0o700
"""Of new folders: other users of this machine are strangers."""
JOB_LIMIT = 1 << 24
ORDER_LIMIT = 1 << 14
LOCK_FILE = ".ftjob-lock"
EARLIER = "earlier"
OF_ONE_RUN = (files.JOB, files.CAPTURES, files.LOGS, files.PLUGINS, files.SYSTEM, files.VITALS)
"""What a run leaves beside the script's own files. In the cluster each job has a folder of its own; here the
same folder is used again, so that a script finds its checkpoints, and these move out of the way."""


class OutputsFolder:
    """The outputs of one run, held by a lock until the last agent is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = -1
        self._written: dict[str, Any] | None = None
        self._open = ExitStack()

    @property
    def lock(self) -> int:
        """The lock's descriptor. Agents inherit it: who is killed leaves the folder locked until they end."""
        return self._lock

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    self.path.mkdir(mode=MODE)
                self._folder = opened.enter_context(Folder(str(self.path)))
                self._lock = self._folder.open(LOCK_FILE, os.O_CREAT | os.O_RDWR)
                opened.callback(os.close, self._lock)
            except OSError as error:
                raise CannotRun(
                    "--outputs",
                    f"cannot write to {self.path} ({error.strerror})",
                    "name another folder with --outputs DIR",
                ) from None
            self._keep_strangers_out()
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotRun(
                    "--outputs",
                    f"another `ftjob run` writes to {self.path}",
                    "wait for its end, or name another folder with --outputs DIR",
                ) from None
            self._open = opened.pop_all()
        return self

    def _keep_strangers_out(self) -> None:
        """See that not everyone on this machine may write to the folder, and put code into a checkpoint."""
        found = os.fstat(self._folder.fd)
        mode = stat.S_IMODE(found.st_mode)
        if not mode & stat.S_IWOTH:
            return
        if found.st_uid != os.geteuid() or mode & stat.S_ISVTX:  # such as /tmp
            raise CannotRun(
                "--outputs",
                f"everyone on this machine may write to {self.path}",
                "name a folder of your own with --outputs DIR",
            )
        os.fchmod(self._folder.fd, mode & ~stat.S_IWOTH)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def make_room(self) -> Path | None:
        """Move what an earlier run left into a folder of its own, and return that."""
        try:
            body = yaml.safe_load(self._folder.read(files.JOB, JOB_LIMIT))
            if body["kind"] != KIND:
                return None
            uid = str(UUID(body["metadata"]["uid"]))  # it names a folder, and anyone may have written it
        except (OSError, ValueError, RecursionError, yaml.YAMLError, AttributeError, TypeError, KeyError):
            return None  # not a run's folder: whatever lies here is not ours to move
        path = f"{EARLIER}/{uid}"
        try:
            with self._folder.enter(path, MODE) as target:
                for name in OF_ONE_RUN:
                    if self._folder.has(name) and not target.has(name):
                        self._folder.rename(name, target, name)
                if is_ours(self._folder) and not target.has(files.REPORT):
                    self._folder.rename(files.REPORT, target, files.REPORT)
        except OSError as error:
            raise CannotRun(
                "--outputs",
                f"cannot move an earlier run's files to {self.path / path} ({error.strerror})",
                f"remove {self.path / EARLIER}, or name another folder with --outputs DIR",
            ) from None
        return self.path / path

    def capture_orders(self, known: Collection[str]) -> dict[str, str]:
        """Return what was asked for beside the captures that are known, by id, as `ftjob profile` writes it.

        A request that has its attempt is none: the leader has written down what became of it.
        """
        found = {}
        with suppress(OSError), self._folder.enter(files.CAPTURES) as captures:
            for name in captures.names():
                if name not in known and may_ask_for(name):
                    text = _order_in(captures, name)
                    if text is not None:
                        found[name] = text
        return found

    def log(self, rank: int) -> Path:
        """Return where a rank's output is."""
        return self.path / files.log(rank)

    @property
    def has_report(self) -> bool:
        """Whether there is a report of this run."""
        return is_ours(self._folder)

    def write_job(self, body: dict[str, Any]) -> None:
        """Write the job with its status, if it has changed, so that nobody reads half of it."""
        if body == self._written:
            return
        self._folder.write(files.JOB, to_yaml(body).encode())
        self._written = body


def _order_in(captures: Folder, name: str) -> str | None:
    """Return the order in the folder of a capture, with the id of that folder."""
    try:
        with captures.enter(name) as folder:
            body = json.loads(folder.read(files.REQUEST, ORDER_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or "attempt" in body:
        return None
    return json.dumps({**body, "id": name})


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


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for the agents' files.

    Raises
    ------
    CannotRun
        There is no place for one.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="ftjob-", ignore_cleanup_errors=True)
    except OSError as error:
        raise CannotRun(
            "TMPDIR", f"no folder for the agents' files ({error})", "set it to one that can be written"
        ) from None


def complete_captures(status: JobStatus) -> list[str]:
    """Return the captures of which there is something to read."""
    captures = status.profile.captures if status.profile is not None else []
    return [found.id for found in captures if found.phase in {"Ready", "Partial"} and found.path]
