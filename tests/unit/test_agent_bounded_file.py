"""A file that never outgrows its limit: head and tail stay, whatever is written, over all lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftjob.local.logs import LogTail
from ftjob_agent.bounded_file import BoundedFile
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    from pathlib import Path

FAREWELL = "ftjob: the rest is elsewhere"
PARTS = ("x.log", "x.tail-1.log", "x.tail.log")


def bounded(folder: Path, limit: int, farewell: str = "") -> BoundedFile:
    return BoundedFile(lambda: Folder(str(folder)), "x.log", limit, farewell=farewell)


def parts(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() if (folder / name).exists() else b"" for name in PARTS]


def write(folder: Path, limit: int, pieces: list[bytes], farewell: str = "") -> None:
    file = bounded(folder, limit, farewell)
    file.open()
    for piece in pieces:
        file.write(piece)
    file.close()


@given(
    lives=st.lists(st.lists(st.binary(max_size=200), max_size=20), min_size=1, max_size=4),
    limit=st.integers(200, 2000),
)
def test_head_and_tail_of_all_lives_stay_within_the_limit(
    tmp_path_factory: pytest.TempPathFactory, lives: list[list[bytes]], limit: int
) -> None:
    folder = tmp_path_factory.mktemp("bounded")
    for pieces in lives:
        write(folder, limit, pieces)
    said = b"".join(piece for pieces in lives for piece in pieces)
    head, older, newer = parts(folder)
    assert len(head) + len(older) + len(newer) <= limit
    assert said.startswith(head)
    assert said.endswith(older + newer)
    assert not older or len(older) + len(newer) >= min(len(said) - len(head), limit // 4 - 200)


def test_files_end_with_whole_lines_and_the_head_says_where_the_tail_is(tmp_path: Path) -> None:
    lines = [b"%04d\n" % number for number in range(1000)]
    write(tmp_path, 1000, [b"".join(lines[start : start + 7]) for start in range(0, 1000, 7)], FAREWELL)
    head, older, newer = parts(tmp_path)
    assert head.endswith(f"\n{FAREWELL}\n".encode())
    assert head.startswith(b"0000\n0001\n")
    assert b"".join(lines).endswith(older + newer)
    assert all(part.endswith(b"\n") for part in (head, older, newer))
    assert len(head + older + newer) <= 1000


def test_a_line_longer_than_a_file_is_cut_and_not_lost(tmp_path: Path) -> None:
    write(tmp_path, 1000, [b"x" * 1900 + b"\n", b"end\n"])
    assert sum(map(len, parts(tmp_path))) <= 1000
    assert parts(tmp_path)[2].endswith(b"x\nend\n")


@pytest.mark.parametrize("name", PARTS[1:])
def test_the_tail_is_not_written_through_a_link(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of another")
    file = bounded(tmp_path, 400)
    file.open()
    (tmp_path / name).symlink_to(secret)
    if name == PARTS[2]:
        with pytest.raises(OSError, match="links are not followed"):
            file.write(b"line\n" * 1000)
    else:
        file.write(b"line\n" * 1000)
    file.close()
    assert secret.read_text() == "of another"


def test_a_reader_follows_into_the_tail(tmp_path: Path) -> None:
    file, tail, seen = bounded(tmp_path, 4000, FAREWELL), LogTail(tmp_path / "x.log"), list[str]()
    file.open()
    for number in range(1000):
        file.write(b"%04d\n" % number)
        if number % 50 == 0:
            seen += tail.lines()
    file.close()
    seen += tail.end()
    assert [line for line in seen if line != FAREWELL] == [f"{number:04d}" for number in range(1000)]


def test_a_reader_that_is_too_slow_has_the_head_and_the_tail(tmp_path: Path) -> None:
    write(tmp_path, 4000, [b"%04d\n" % number for number in range(5000)])
    seen = list(LogTail(tmp_path / "x.log").end())
    assert seen == b"".join(parts(tmp_path)).decode().splitlines()
    assert (seen[0], seen[-1]) == ("0000", "4999")


def test_to_open_it_again_forgets_no_size(tmp_path: Path) -> None:
    for number in range(300):
        write(tmp_path, 500, [b"%04d\n" % number])
    assert sum(map(len, parts(tmp_path))) <= 500
    assert parts(tmp_path)[2].endswith(b"0299\n")


def test_a_log_goes_on_after_a_snapshot_by_hard_links(tmp_path: Path) -> None:
    """As ``cp -al`` makes them: refused, they would cost the log of all later attempts."""
    outputs, snapshot = tmp_path / "outputs", tmp_path / "snapshot"
    outputs.mkdir()
    snapshot.mkdir()
    write(outputs, 1000, [b"first\n"])
    (snapshot / "x.log").hardlink_to(outputs / "x.log")
    write(outputs, 1000, [b"second\n"])
    assert (outputs / "x.log").read_bytes() == b"first\nsecond\n"
