"""The code that the user has brought along, unpacked for the ranks of one attempt."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, Mapping

from ftjob_agent.config import ConfigError, code_folder
from ftjob_protocol.code import FILES_MAX, PACKED_MAX, UNPACKED_MAX
from ftjob_protocol.files.nofollow import write_all

if TYPE_CHECKING:
    from ftjob_protocol.code import Code

CHUNK = 1 << 20


def enter(code: Code, environ: Mapping[str, str], *, attempt: int) -> None:
    """Unpack it, and let all that is started from now on begin in its folder.

    Nothing is left of what the ranks of an earlier attempt have written there. ConfigError if it is not what
    the job was submitted with, or can't be unpacked.
    """
    archive, target = _checked(code), code_folder(environ)
    try:
        if os.path.lexists(target):
            # Moved first: what earlier ranks made read-only might not go.
            old = f"{target}.before-{attempt}"
            os.rename(target, old)
            shutil.rmtree(old, ignore_errors=True)
        os.mkdir(target)
        _unpack(archive, os.fsencode(target))
        os.chdir(target)
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        raise ConfigError(
            f"spec.code: can't unpack it into {target} as uid {os.getuid()} ({error}); pack it with "
            "`ftjob submit --code`, and leave room for it in the pod's ephemeral storage"
        ) from None


def _checked(code: Code) -> bytes:
    """Return the archive, if it is the one that the job names."""
    try:
        with open(code.file, "rb") as file:
            archive = file.read(PACKED_MAX + 1)
    except OSError as error:
        raise ConfigError(f"spec.code: {code.file} can't be read ({error.strerror})") from None
    found = hashlib.sha256(archive).hexdigest()
    if found != code.sha256:
        raise ConfigError(
            f"spec.code: {code.file} is not what the job was submitted with: its SHA-256 is {found} and not "
            f"{code.sha256}; somebody has put another archive into its ConfigMap: submit the job anew"
        )
    return archive


class _Bounded(io.RawIOBase):
    """Reads no more than an archive may hold: a few bytes can become gigabytes."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._source, self._left = source, UNPACKED_MAX

    def read(self, size: int = -1) -> bytes:
        found = self._source.read(min(size, CHUNK) if size >= 0 else CHUNK)
        self._left -= len(found)
        if self._left < 0:
            raise ValueError(f"it holds more than {UNPACKED_MAX >> 20} MiB")
        return found


def _unpack(archive: bytes, target: bytes) -> None:
    """Write plain files below a folder that nobody else uses, and nothing else."""
    source = _Bounded(gzip.GzipFile(fileobj=io.BytesIO(archive)))  # type: ignore[arg-type]
    with tarfile.open(fileobj=source, mode="r|", encoding="utf-8", errors="surrogateescape") as members:
        for count, member in enumerate(members):
            if count == FILES_MAX:
                raise ValueError(f"it holds more than {FILES_MAX} files")
            path = _path(member)
            os.makedirs(os.path.join(target, os.path.dirname(path)), exist_ok=True)
            mode = 0o777 if member.mode & 0o100 else 0o666
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            file = os.open(os.path.join(target, path), flags, mode)
            try:
                _copy(members, member, file)
            finally:
                os.close(file)


def _path(member: tarfile.TarInfo) -> bytes:
    """Return where in the folder a member goes; ValueError if it is no plain file within."""
    path = member.name.encode("utf-8", "surrogateescape")
    if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or member.issparse():
        raise ValueError(f"{member.name!r} is no plain file")
    if set(path.split(b"/")) & {b"", b".", b".."} or b"\0" in path:
        raise ValueError(f"{member.name!r} leads out of the folder")
    return path


def _copy(members: tarfile.TarFile, member: tarfile.TarInfo, file: int) -> None:
    content = members.extractfile(member)
    assert content is not None  # it is a plain file
    left = member.size
    while left > 0:
        data = content.read(min(left, CHUNK))
        if not data:
            raise ValueError(f"{member.name!r} is cut off")
        write_all(file, data)
        left -= len(data)
