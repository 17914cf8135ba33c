"""One archive of a folder's code: the same content gives the same bytes, whoever packs it and when."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ftjob.code.errors import CodeError
from ftjob.code.listing import IGNORE, files_of
from ftjob_protocol.code import FILES_MAX, PACKED_MAX, UNPACKED_MAX
from ftjob_protocol.files import nofollow
from ftjob_protocol.values.text import clean

EPOCH = 315_532_800
"""1980-01-01, the first day that a zip file knows: programs may put what they find here into one."""
GZIP = 31
"""What zlib calls a gzip file of the best compression (``wbits``); its header has no time and no name."""
TRIES = 3
LARGEST = 5
NAME_BYTES = 200


@dataclass(frozen=True)
class Archive:
    """The code as it goes to the ranks."""

    content: bytes

    @cached_property
    def sha256(self) -> str:
        """What tells it from all others."""
        return hashlib.sha256(self.content).hexdigest()

    def reference(self, job: str) -> dict[str, str]:
        """Return ``spec.code`` of a job that brings it."""
        return {"configMap": f"{job}-code-{self.sha256[:8]}", "sha256": self.sha256}


def pack(path: str | Path, *, without: Path | None = None) -> Archive:
    """Return the archive of a folder.

    Parameters
    ----------
    without
        What is left out: the outputs of a run on this machine, which may lie in the same folder.

    Raises
    ------
    CodeError
        It is no folder, has something in it that can't be packed, or is too large.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise CodeError(f"--code {path}: it is no folder; name the one with your script")
    try:
        return Archive(_packed(folder.resolve(), without.resolve() if without is not None else None))
    except CodeError as error:
        raise CodeError(f"--code {path}: {error}") from None
    except OSError as error:
        what = _shown(str(error.filename)) if error.filename else "a file"
        raise CodeError(
            f"--code {path}: {what} can't be read ({error.strerror}); mend it, or name it in {IGNORE}"
        ) from None


def _packed(folder: Path, without: Path | None) -> bytes:
    sizes = _sizes(folder, without)
    if not sizes:
        raise CodeError(f"there is nothing in it that git or {IGNORE} does not ignore; name another folder")
    if len(sizes) > FILES_MAX:
        raise CodeError(f"it has {len(sizes)} files, and {FILES_MAX} are allowed; {_remedy(sizes)}")
    if sum(sizes.values()) > UNPACKED_MAX:
        raise CodeError(f"it has {_mib(sum(sizes.values()))}, and {_mib(UNPACKED_MAX)} fit; {_remedy(sizes)}")
    whole = io.BytesIO()
    with tarfile.open(
        fileobj=whole, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for path in sorted(sizes, key=os.fsencode):
            content, is_program = _read(folder / path, path)
            member = tarfile.TarInfo(path)
            member.size, member.mtime = len(content), EPOCH
            member.mode = 0o755 if is_program else 0o644
            archive.addfile(member, io.BytesIO(content))
    packed = zlib.compress(whole.getbuffer(), level=9, wbits=GZIP)
    if len(packed) > PACKED_MAX or whole.tell() > UNPACKED_MAX:
        raise CodeError(
            f"it is too large: {_kib(len(packed))} packed, and {_kib(PACKED_MAX)} fit into a ConfigMap; "
            f"{_remedy(sizes)}"
        )
    return packed


def _sizes(folder: Path, without: Path | None) -> dict[str, int]:
    """Return the files with their sizes; links are followed to files of the same folder."""
    found = {}
    for path in files_of(folder):
        file = folder / path
        if without is not None and file.is_relative_to(without):
            continue
        try:
            mode = file.lstat().st_mode
            if stat.S_ISLNK(mode):
                _see_that_it_stays(file, path, folder)
            state = file.stat()
        except FileNotFoundError:
            continue  # git still knows it, or it has just gone
        if not stat.S_ISREG(state.st_mode):
            raise CodeError(f"{_shown(path)} is no plain file; name it in {IGNORE}")
        found[path] = state.st_size
    return found


def _see_that_it_stays(file: Path, path: str, folder: Path) -> None:
    """Refuse a link that would bring along what nobody has named: a key, or a disk of data."""
    shown = f"{_shown(path)} is a link to {_shown(str(file.readlink()))}"
    remedy = f"put a copy in its place, name the link in {IGNORE}, or name a folder above with --code"
    target = Path(os.path.realpath(file))
    if not target.is_relative_to(folder):
        raise CodeError(f"{shown}, which leads out of the folder; {remedy}")
    if not target.is_file():
        raise CodeError(f"{shown}, which is no file; {remedy}")


def _read(file: Path, path: str) -> tuple[bytes, bool]:
    """Return a file's content as it was at one time, and whether it is a program."""
    for _ in range(TRIES):
        with os.fdopen(nofollow.open_regular(str(file), follow=True), "rb") as opened:
            before = os.fstat(opened.fileno())
            content = opened.read(UNPACKED_MAX + 1)
            after = os.fstat(opened.fileno())
        if len(content) == before.st_size == after.st_size and before.st_mtime_ns == after.st_mtime_ns:
            return content, bool(before.st_mode & stat.S_IXUSR)
    raise CodeError(f"{_shown(path)} changes while it is packed; name it in {IGNORE}, or stop its writer")


def _remedy(sizes: dict[str, int]) -> str:
    largest = sorted(sizes, key=lambda path: (-sizes[path], path))[:LARGEST]
    listed = ", ".join(f"{_shown(path)} ({_kib(sizes[path])})" for path in largest)
    return (
        f"the largest are {listed}. Name in {IGNORE} what the job doesn't need, put the rest into the image, "
        "or read it from a volume such as that of spec.outputs.claimName"
    )


def _kib(size: int) -> str:
    return f"{-(-size >> 10)} KiB" if size < 10 << 20 else _mib(size)


def _mib(size: int) -> str:
    return f"{-(-size >> 20)} MiB"


def _shown(path: str) -> str:
    return clean(path, NAME_BYTES)
