"""Where a rank leaves a capture: in its own folder of the volume, whatever links there are."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from typing import Tuple

from .. import notes
from ..protocol import Done, files, nofollow


class Place:
    """The folders of one capture of one rank.

    Parameters
    ----------
    capture
        Its id.
    dirs
        Those of all captures, and of the xplane files that TensorBoard looks for; empty for none.
    """

    def __init__(self, capture: str, dirs: Tuple[str, str], rank: int) -> None:
        self.capture = capture
        self._captures, self._plugins = dirs
        self._rank_name = files.rank_name(rank)
        temporary = f".{self._rank_name}.{os.getpid()}.tmp"
        with _enter(self._captures, f"{capture}/{files.RAW}/{temporary}"):
            self.temporary = os.path.join(self._captures, capture, files.RAW, temporary)
            """The folder that the profiler writes to."""

    def publish(self, done: Done) -> bool:
        """Move the files to their names, the mark that they are complete last; say whether there are any."""
        raw = f"{self.capture}/{files.RAW}"
        with (
            _enter(self._captures, f"{raw}/{os.path.basename(self.temporary)}") as source,
            _enter(self._captures, f"{raw}/{self._rank_name}") as target,
        ):
            target.clear()  # of an earlier attempt
            written = list(source.names())
            if not written:
                notes.note(f"capture {self.capture}: the profiler wrote nothing")
                return False
            for file in written:
                _let_all_read(source, file)
                source.rename(file, target, file)
                if file.endswith(".xplane.pb") and self._plugins:
                    with _enter(self._plugins, self.capture) as plugins:
                        _link(target, file, plugins)
            self.clear()
            target.write(files.DONE, json.dumps(done._replace(files=written).as_json()).encode())
        return True

    def clear(self) -> None:
        """Leave nothing of what the profiler wrote to; it is still there if something failed."""
        shutil.rmtree(self.temporary, ignore_errors=True)


def _enter(top: str, path: str) -> nofollow.Folder:
    """Open a folder, and make what is missing as the agent has made `top`: others read it and clean up."""
    os.makedirs(top, exist_ok=True)
    with nofollow.Folder(top) as folder:
        return folder.enter(path, stat.S_IMODE(os.fstat(folder.fd).st_mode))


def _let_all_read(folder: nofollow.Folder, name: str) -> None:
    file = folder.open(name)
    try:
        if os.fstat(file).st_nlink == 1:  # what the profiler has just written has no second name
            os.fchmod(file, nofollow.FILE_MODE)
    finally:
        os.close(file)


def _link(source: nofollow.Folder, name: str, target: nofollow.Folder) -> None:
    temporary = f".{name}.{os.getpid()}.tmp"
    with contextlib.suppress(FileNotFoundError):
        target.remove(temporary)  # of a life that was killed, or another name of a file that is not ours
    try:
        os.link(name, temporary, src_dir_fd=source.fd, dst_dir_fd=target.fd)
    except OSError:  # a file system without links
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(source.open(name), "rb") as old, os.fdopen(target.open(temporary, flags), "wb") as new:
            shutil.copyfileobj(old, new, 1 << 20)
    target.rename(temporary, target, name)
