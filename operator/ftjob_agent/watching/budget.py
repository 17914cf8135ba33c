"""How much captures may take in the outputs: the oldest complete ones go when that is used up.

Never the newest complete one, and never one that is being written. Only the leader removes anything.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Collection, Iterator, NamedTuple, Sequence

from ftjob_protocol import files
from ftjob_protocol.captures.order import AUTOMATIC_PREFIX, is_id
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig

DEPTH = 8
HANG = files.hang(0).rstrip("0")
"""The stacks of hangs are no captures of anybody's asking: they are small, and stay."""


class Kept(NamedTuple):
    """A capture in the outputs."""

    id: str
    size: int
    time_ns: int
    """When it was asked for."""

    @property
    def is_asked_for(self) -> bool:
        """Whether the job has not taken it by itself: of those there are few, and they push out no others."""
        return not self.id.startswith(AUTOMATIC_PREFIX)


class Outcome(NamedTuple):
    """What became of the captures."""

    removed: tuple[str, ...] = ()
    problem: str = ""
    """Why there can be no more of them, and what to do about it."""


def to_remove(kept: Sequence[Kept], busy: Collection[str], *, most: int, count: int) -> list[str]:
    """Return which captures have to go, oldest first.

    Parameters
    ----------
    busy
        Those that are being written.
    most
        Bytes of all together.
    count
        So many captures that were asked for.
    """
    complete = sorted((one for one in kept if one.id not in busy), key=lambda one: (one.time_ns, one.id))
    size, left = sum(one.size for one in kept), sum(one.is_asked_for for one in kept)
    gone = []
    for one in complete[:-1]:
        if size > most or (left > count and one.is_asked_for):
            gone.append(one.id)
            size, left = size - one.size, left - one.is_asked_for
    return gone


def keep(config: AgentConfig, busy: Collection[str]) -> Outcome:
    """Remove what is too much; it may take as long as the volume does."""
    assert config.profiling is not None
    most, count = config.profiling.max_bytes, config.profiling.keep_last
    try:
        with Folder(config.outputs) as top:
            kept = list(_captures(top))
            gone = to_remove(kept, busy, most=most, count=count)
            removed = tuple(name for name in gone if _remove(top, name))
    except OSError:
        return Outcome()  # there is no volume, or no capture yet
    size = sum(one.size for one in kept if one.id not in removed)
    if size <= most:
        return Outcome(removed)
    text = (
        f"captures take {_mebi(size)} of profiling.budget.maxBytes, {_mebi(most)}; raise it, or remove some"
    )
    return Outcome(removed, text)


def _captures(top: Folder) -> Iterator[Kept]:
    with top.enter(files.CAPTURES) as captures:
        for name in captures.names():
            if not is_id(name) or name.startswith(HANG):
                continue
            with contextlib.suppress(OSError), captures.enter(name) as folder:
                found = _time(folder)
                yield Kept(name, _size(folder, DEPTH), found)


def _time(folder: Folder) -> int:
    try:
        return os.stat(files.REQUEST, dir_fd=folder.fd, follow_symlinks=False).st_mtime_ns
    except OSError:
        return os.fstat(folder.fd).st_mtime_ns


def _size(folder: Folder, depth: int) -> int:
    """Return how many bytes a folder holds; links count as what they are."""
    size = 0
    for name in folder.names():
        with contextlib.suppress(OSError):
            found = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                size += found.st_size
            elif depth:
                with folder.enter(name) as inner:
                    size += _size(inner, depth - 1)
    return size


def _remove(top: Folder, capture: str) -> bool:
    """Remove a capture, and the second names of its files; say whether all is gone."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), top.enter(files.XPLANES) as plugins:
        _clear(plugins, capture, DEPTH)
    with top.enter(files.CAPTURES) as captures:
        return _clear(captures, capture, DEPTH)


def _clear(parent: Folder, name: str, depth: int) -> bool:
    """Remove a folder with what is in it, without following links."""
    try:
        with parent.enter(name) as folder:
            for inner in folder.names():
                if stat.S_ISDIR(os.stat(inner, dir_fd=folder.fd, follow_symlinks=False).st_mode) and depth:
                    _clear(folder, inner, depth - 1)
                else:
                    folder.remove(inner)
        os.rmdir(name, dir_fd=parent.fd)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # somebody else's, or still in use
    return True


def _mebi(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
