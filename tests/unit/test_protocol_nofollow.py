"""Files that others may have put there: nothing is read or written elsewhere, and nothing hangs."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from ftjob_protocol import steps
from ftjob_protocol.files import nofollow
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    from pathlib import Path


def make(path: Path, kind: str) -> None:
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to a file":
        target = path.with_name("elsewhere")
        target.write_text("of another")
        path.symlink_to(target)
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    else:
        path.symlink_to(path.with_name("nowhere"))


KINDS = ["FIFO", "socket", "folder", "link to a file", "link to a device", "link to nothing"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_neither_read_nor_written(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    make(path, kind)
    before = sorted(tmp_path.iterdir())
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
        with pytest.raises(OSError, match=r"it is|directory"):
            nofollow.open_regular(str(path), flags)
    assert nofollow.size(str(path)) is None
    assert steps.read(str(path)) is None
    assert sorted(tmp_path.iterdir()) == before
    assert [found.read_text() for found in before if found.name == "elsewhere"] in ([], ["of another"])


def test_a_fifo_that_someone_writes_to_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    try:
        os.write(writer, b"words")
        with pytest.raises(OSError, match="not a regular file"):
            nofollow.read(str(path), 10)
    finally:
        os.close(writer)


def test_a_link_may_be_followed_where_that_is_asked_for_and_a_device_still_not(tmp_path: Path) -> None:
    make(tmp_path / "x", "link to a file")
    assert nofollow.read(str(tmp_path / "x"), 100, follow=True) == b"of another"
    make(tmp_path / "y", "link to a device")
    with pytest.raises(OSError, match="not a regular file"):
        nofollow.read(str(tmp_path / "y"), 100, follow=True)


@pytest.mark.parametrize("path", ["..", ".", "", "a/..", "a/../..", "/etc", "a//b", "a\0b"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "top" / "a").mkdir(parents=True)
    with Folder(str(tmp_path / "top")) as top:
        with pytest.raises(OSError, match="a name is expected"):
            top.enter(path, mode=0o700)
        with pytest.raises(OSError, match="a name is expected"):
            top.write(path, b"")
    assert sorted(str(found.relative_to(tmp_path)) for found in tmp_path.rglob("*")) == ["top", "top/a"]


def test_a_link_on_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "raw").mkdir(parents=True, mode=0o700)
    (tmp_path / "top" / "captures").mkdir(parents=True)
    (tmp_path / "top" / "captures" / "s0").symlink_to(tmp_path / "elsewhere")
    with (
        Folder(str(tmp_path / "top")) as top,
        pytest.raises(NotADirectoryError, match="a link or no folder"),
    ):
        top.enter("captures/s0/raw", mode=0o2770)
    assert stat.S_IMODE((tmp_path / "elsewhere" / "raw").stat().st_mode) == 0o700


def test_a_folder_stays_the_same_one_when_a_link_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with Folder(str(tmp_path)) as top, top.enter("logs", mode=0o700) as logs:
        (tmp_path / "logs").rename(tmp_path / "moved")
        (tmp_path / "logs").symlink_to(tmp_path / "elsewhere")
        logs.write("x", b"words")
    assert (tmp_path / "moved" / "x").read_bytes() == b"words"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_is_replaced_and_a_link_in_its_place_too(tmp_path: Path) -> None:
    make(tmp_path / "x", "link to a file")
    (tmp_path / f".x.{os.getpid()}.tmp").symlink_to(tmp_path / "elsewhere")
    with Folder(str(tmp_path)) as top:
        top.write("x", b"ours")
    assert not (tmp_path / "x").is_symlink()
    assert (tmp_path / "x").read_bytes() == b"ours"
    assert (tmp_path / "elsewhere").read_text() == "of another"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "x"]


@pytest.mark.parametrize("mode", [0o700, 0o2770])
def test_new_folders_have_their_mode_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    umask = os.umask(0o077)
    try:
        with Folder(str(tmp_path)) as top, top.enter("a/b", mode=mode):
            pass
    finally:
        os.umask(umask)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b")] == [mode, mode]
