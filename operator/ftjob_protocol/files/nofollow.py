"""Opening what others may have put into a folder: regular files alone, and no links on the way.

A link would have us read or write elsewhere in another's stead; a FIFO or a device would hang us. Folders are
held by descriptors, and each name is looked up in one of them (openat(2)), so that nobody can put a link into
the way between the check and the use.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Iterator, Optional, Type, final

if TYPE_CHECKING:
    from types import TracebackType

FILE_MODE = 0o644
"""Of new files: readable by whoever may enter the folder."""


def open_regular(
    path: str,
    flags: int = os.O_RDONLY,
    *,
    mode: int = FILE_MODE,
    dir_fd: Optional[int] = None,
    follow: bool = False,
) -> int:
    """Open a regular file at once, or not at all.

    Parameters
    ----------
    follow
        Whether `path` may be a link, to a regular file.

    Raises
    ------
    OSError
        Its `strerror` says so if it is a link, a FIFO or another thing that is no regular file.
    """
    # O_NONBLOCK: a FIFO opens at once. O_NOCTTY: a terminal does not become ours. Regular files heed neither.
    flags |= os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    try:
        file = os.open(path, flags, mode, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link, and links are not followed", path) from None
        if error.errno in {errno.ENXIO, errno.ENODEV}:  # a FIFO that nobody reads, a socket, a device
            raise _not_regular(path) from None
        raise
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _not_regular(path)
    return file


def read(
    path: str, limit: int, offset: int = 0, *, dir_fd: Optional[int] = None, follow: bool = False
) -> bytes:
    """Return a part of a regular file, from `offset` on and at most `limit` bytes."""
    with os.fdopen(open_regular(path, dir_fd=dir_fd, follow=follow), "rb") as file:
        file.seek(offset)
        return file.read(limit)


def size(path: str) -> Optional[int]:
    """Return the size of a regular file; None if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def write_all(file: int, data: bytes) -> None:
    """Write all of the data, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


@final
class Folder:
    """A folder that stays the same one, whatever its path leads to later."""

    def __init__(self, path: str) -> None:
        """Open a folder whose own path is trusted: a mount, or what the user has named."""
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        os.close(self.fd)

    def enter(self, path: str, mode: Optional[int] = None) -> Folder:
        """Open a folder below this one.

        Parameters
        ----------
        path
            Names with a slash between them; none of them may be a link, or lead upwards.
        mode
            Make what is missing, and give our own folders this mode.
        """
        found = Folder.__new__(Folder)
        found.fd = os.dup(self.fd)
        try:
            for name in path.split("/"):
                inner = _enter(found.fd, plain(name), mode)
                os.close(found.fd)
                found.fd = inner
        except BaseException:
            os.close(found.fd)
            raise
        return found

    def open(self, name: str, flags: int = os.O_RDONLY, mode: int = FILE_MODE) -> int:
        """Open a regular file of this folder."""
        return open_regular(plain(name), flags, mode=mode, dir_fd=self.fd)

    def read(self, name: str, limit: int) -> bytes:
        """Return the first bytes of a regular file of this folder."""
        return read(plain(name), limit, dir_fd=self.fd)

    def has(self, name: str) -> bool:
        """Whether there is anything by this name."""
        try:
            os.lstat(plain(name), dir_fd=self.fd)
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def replacing(self, name: str, mode: int = FILE_MODE) -> Iterator[int]:
        """Open a file that takes the place of another once it is whole: no reader ever sees half of it."""
        temporary = f".{plain(name)}.{os.getpid()}.tmp"
        with contextlib.suppress(FileNotFoundError):
            self.remove(temporary)  # of a life that was killed
        file = self.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            try:
                os.fchmod(file, mode)
                yield file
            finally:
                os.close(file)
            self.rename(temporary, self, name)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(temporary)  # a full volume has no room for halves
            raise

    def write(self, name: str, data: bytes, mode: int = FILE_MODE) -> None:
        """Replace a file in one go."""
        with self.replacing(name, mode) as file:
            write_all(file, data)

    def rename(self, name: str, target: Folder, new: str) -> None:
        """Move a thing, in place of what has its new name."""
        os.replace(plain(name), plain(new), src_dir_fd=self.fd, dst_dir_fd=target.fd)

    def remove(self, name: str) -> None:
        """Remove what is no folder."""
        os.unlink(plain(name), dir_fd=self.fd)

    def clear(self) -> None:
        """Remove all but folders."""
        for name in self.names():
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                self.remove(name)

    def names(self) -> Iterator[str]:
        """Return what is in it."""
        return iter(sorted(os.listdir(self.fd)))


def _enter(parent: int, name: str, mode: Optional[int]) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        try:
            fd = os.open(name, flags, dir_fd=parent)
        except FileNotFoundError:
            if mode is None:
                raise
            _make(parent, name, mode)
            fd = os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise NotADirectoryError(errno.ENOTDIR, "it is a link or no folder", name) from None
        raise
    if mode is not None and stat.S_IMODE(os.fstat(fd).st_mode) != mode:
        with contextlib.suppress(PermissionError):  # someone else's; whether we may write shows later
            os.fchmod(fd, mode)
    return fd


def _make(parent: int, name: str, mode: int) -> None:
    umask = os.umask(0)  # others may come in between mkdir and chmod, so mkdir has to be right but for setgid
    try:
        os.mkdir(name, mode & 0o777, dir_fd=parent)
    except FileExistsError:
        pass  # another was faster
    finally:
        os.umask(umask)


def plain(name: str) -> str:
    """Return a name that is no path.

    Raises
    ------
    OSError
        It would lead elsewhere.
    """
    if "/" in name or "\0" in name or name in {"", ".", ".."}:
        raise OSError(errno.EINVAL, "it is a path where a name is expected", name)
    return name


def _not_regular(path: str) -> OSError:
    return OSError(errno.EINVAL, "it is not a regular file", path)
