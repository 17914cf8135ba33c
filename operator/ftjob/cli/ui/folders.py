"""Jobs whose outputs are in folders of this machine. Nothing is written there."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from ftjob.cli.look.seen import Seen, time_of
from ftjob.cli.speed.find_job import NoJobError, of_folder
from ftjob.cli.terminal import shown
from ftjob.cli.ui import views
from ftjob.cli.ui.source import UnknownError
from ftjob.cli.ui.trail import extended
from ftjob.insight import child
from ftjob.insight.collect.capture import captures
from ftjob.insight.page.render import render
from ftjob.models.manifest import mapping
from ftjob_protocol import files
from ftjob_protocol.files.nofollow import Folder, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ftjob.cli.speed.find_job import FoundJob
    from ftjob.cli.ui.trail import Trail

LOOK_SECONDS = 1.5
"""After so long the folders that are new are left to the next look."""
TAIL_BYTES = 1 << 18
FOLDERS = 10_000
_LOG = re.compile(r"rank-([0-9]{5,7})\.log")
Signature = tuple[int, ...]


class Folders:
    """The jobs in some folders: each one's own outputs, or what holds several.

    Parameters
    ----------
    paths
        As the user has named them.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._read: dict[str, tuple[Signature, FoundJob | str]] = {}
        """What stands in each job's file; a text says why it can't be read."""
        self._trails: dict[str, Trail] = {}
        self._speeds: dict[str, tuple[Signature, bytes]] = {}

    @property
    def title(self) -> str:
        """What the page is about."""
        return ", ".join(map(str, self._paths))

    def listing(self) -> views.Listing:
        """Return all jobs, as far as there was time to read them."""
        with self._lock:
            end, left, rows = time.monotonic() + LOOK_SECONDS, 0, []
            here = dict(self._here())
            for key, (path, signature) in here.items():
                known = self._read.get(key)
                if known is None or known[0] != signature:
                    if known is None and time.monotonic() > end:
                        left += 1
                        continue
                    known = self._read[key] = (signature, _found(path))
                rows.append(self._row(key, path, known[1]))
            self._read = {key: known for key, known in self._read.items() if key in here}
            self._trails = {key: trail for key, trail in self._trails.items() if key in here}
        rows.sort(key=lambda row: -(row.created or 0.0))
        note = f"{left} more are being read" if left else ""
        if not here:
            note = f"no {files.JOB} in {self.title} or in a folder there; `ftjob run FILE` makes outputs"
        return views.Listing(tuple(rows), note)

    def _here(self) -> Iterator[tuple[str, tuple[Path, Signature]]]:
        for path in self._paths:
            for folder in (path, *_inner(path)):
                with suppress(OSError):
                    found = (folder / files.JOB).lstat()
                    signature = (found.st_mtime_ns, found.st_size, found.st_ino)
                    # No path: a name may be anything, and what comes back in a request is looked up.
                    yield hashlib.sha256(os.fsencode(folder)).hexdigest()[:16], (folder, signature)

    def _row(self, key: str, path: Path, found: FoundJob | str) -> views.Row:
        if isinstance(found, str):
            return views.Row(key, path.name, str(path), reason=found)
        trail = self._trails.get(key, ())
        self._trails[key] = extended(trail, found.status.progress, time.time())
        return views.row(found.body, found.status, key, str(path))

    def _path(self, key: str) -> Path:
        """Return where a job is, by what the list calls it."""
        with self._lock:
            known = self._read.get(key)
        if known is None:
            raise UnknownError("there is no such job any more")
        if isinstance(known[1], str):
            raise UnknownError(known[1])
        path = known[1].outputs
        assert path is not None
        return path

    def detail(self, key: str) -> views.Detail:
        """Return one job."""
        path, now = self._path(key), time.time()
        job = of_folder(path)
        created = time_of(mapping(job.body, "metadata").get("creationTimestamp"), now)
        seen = Seen(job.name, job.namespace, created=created, now=now, status=job.status)
        with self._lock:
            trail = self._trails[key] = extended(self._trails.get(key, ()), job.status.progress, now)
        with Folder(str(path)) as outputs:
            present = captures(outputs)
            logs = [int(match[1]) for name in _names(outputs, files.LOGS) if (match := _LOG.fullmatch(name))]
        return views.detail(
            views.row(job.body, job.status, key, str(path)),
            seen,
            job.body,
            trail,
            has_pods=False,
            ranks=max(logs, default=0) + 1,
            present=present,
            has_outputs=True,
        )

    def log(self, key: str, rank: int) -> views.Log:
        """Return the last lines of a rank; of however long a log no more is read."""
        path = self._path(key)
        older, newer = files.tails(f"{files.rank_name(rank)}.log")
        data = b""
        with Folder(str(path)) as outputs, suppress(FileNotFoundError), outputs.enter(files.LOGS) as folder:
            for name in (newer, older, f"{files.rank_name(rank)}.log"):
                data = _tail(folder, name) + data
                if len(data) >= TAIL_BYTES:
                    break
        if not data:
            return views.Log((), (f"rank {rank} has written nothing",))
        whole = data[-TAIL_BYTES:].split(b"\n")
        lines = whole[1:] if len(data) > TAIL_BYTES else whole
        if lines and not lines[-1]:
            lines.pop()
        kept = lines[-views.LINES :]
        return views.Log(tuple(views.log_text(line.decode("utf-8", "replace")) for line in kept))

    def speed(self, key: str) -> bytes:
        """Return the curves and the map that the report has; anew only where the ranks have told more."""
        path = self._path(key)
        with Folder(str(path)) as outputs:
            signature = _signature(outputs)
        known = self._speeds.get(key)
        if known is not None and known[0] == signature:
            return known[1]
        summary = child.summary(path)
        ranks = [{"rank": rank.rank, "node": rank.node} for rank in summary.ranks]
        data = msgspec.json.encode(
            {
                "heat": summary.heat,
                "curves": summary.curves,
                "ranks": ranks,
                "verdict": summary.verdict.text,
            }
        )
        self._speeds = {**dict(list(self._speeds.items())[-7:]), key: (signature, data)}
        return data

    def report(self, key: str, capture: str) -> str:
        """Return a report, made anew: the file in the outputs may be anybody's."""
        path = self._path(key)
        with Folder(str(path)) as outputs:
            if capture and capture not in captures(outputs):
                raise UnknownError(f"there is no capture {capture}")
        return render(child.summary(path, capture))


def _found(path: Path) -> FoundJob | str:
    try:
        return of_folder(path)
    except NoJobError as error:
        return shown(str(error))


def _inner(path: Path) -> Iterator[Path]:
    """Return the folders in a folder; links may lead anywhere, so they are left out."""
    with suppress(OSError), os.scandir(path) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        yield from (path / name for name in sorted(names)[:FOLDERS])


def _names(outputs: Folder, path: str) -> list[str]:
    try:
        with outputs.enter(path) as folder:
            return list(folder.names())
    except OSError:
        return []


def _tail(folder: Folder, name: str) -> bytes:
    """Return the end of a file, with one byte more than is shown."""
    try:
        size = os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_size
        return read(name, TAIL_BYTES + 1, max(0, size - TAIL_BYTES - 1), dir_fd=folder.fd)
    except FileNotFoundError:
        return b""


def _signature(outputs: Folder) -> Signature:
    """Return what changes once ranks have told more, or a capture has come."""
    found: list[int] = []
    for path in (files.VITALS, files.CAPTURES):
        with suppress(OSError), outputs.enter(path) as folder:
            for name in folder.names():
                stat = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
                found += (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return tuple(found)
