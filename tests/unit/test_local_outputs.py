"""The folder of a local run: for one user, and nothing in it leads elsewhere."""

from __future__ import annotations

import os
import stat
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from ftjob.local.errors import CannotRun
from ftjob.local.logs import LogTail
from ftjob.local.outputs import OutputsFolder, to_yaml
from ftjob.models.names import KIND

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

UID = "6d1c2a5e-0f4b-4a3c-9d55-0c5d2f0a7f11"


def body(uid: object = UID) -> dict[str, Any]:
    return {"kind": KIND, "metadata": {"name": "digits", "uid": uid}}


def left_behind(folder: Path, uid: object = UID) -> None:
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "rank-00000.log").write_text("said")
    (folder / "job.yaml").write_text(to_yaml(body(uid)))


def test_a_new_folder_is_its_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        with OutputsFolder(tmp_path / "a" / "b"):
            pass
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


@pytest.mark.parametrize(("before", "after"), [(0o755, 0o755), (0o2775, 0o2775), (0o2777, 0o2775)])
def test_a_folder_that_is_there_is_closed_to_strangers_alone(tmp_path: Path, before: int, after: int) -> None:
    folder = tmp_path / "outputs"
    folder.mkdir()
    folder.chmod(before)
    with OutputsFolder(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == after


@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_a_folder_that_everyone_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "outputs"
    folder.mkdir()
    folder.chmod(mode)
    if mode == 0o777:
        if os.geteuid():
            pytest.skip("only root gives folders to others")
        os.chown(folder, 4711, -1)
    with pytest.raises(CannotRun, match="everyone on this machine may write"), OutputsFolder(folder):
        pass
    assert stat.S_IMODE(folder.stat().st_mode) == mode


def test_what_an_earlier_run_left_moves_into_a_folder_of_its_uid(tmp_path: Path) -> None:
    left_behind(tmp_path)
    with OutputsFolder(tmp_path) as outputs:
        moved = outputs.make_room()
    assert moved == tmp_path / "earlier" / UID
    assert (moved / "logs" / "rank-00000.log").read_text() == "said"
    assert not (tmp_path / "logs").exists()
    assert stat.S_IMODE(moved.stat().st_mode) == 0o700


@pytest.mark.parametrize("uid", ["../../home", "/etc", "..", "", "a/b", None, 7, {"a": 1}, UID + "/.."])
def test_a_uid_that_is_none_moves_nothing(tmp_path: Path, uid: object) -> None:
    folder = tmp_path / "x" / "y"
    left_behind(folder, uid)
    before = sorted(tmp_path.rglob("*"))
    with OutputsFolder(folder) as outputs:
        assert outputs.make_room() is None
        outputs.write_job(body())
    assert sorted(tmp_path.rglob("*")) == sorted([*before, folder / ".ftjob-lock"])


@pytest.mark.parametrize("link", ["earlier", f"earlier/{UID}"])
def test_nothing_moves_through_a_link(tmp_path: Path, link: str) -> None:
    folder, home = tmp_path / "outputs", tmp_path / "home"
    home.mkdir()
    left_behind(folder)
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(home)
    with (
        OutputsFolder(folder) as outputs,
        pytest.raises(CannotRun, match="a link or no folder"),
    ):
        outputs.make_room()
    assert not list(home.iterdir())


@pytest.mark.parametrize("name", [".ftjob-lock", "job.yaml"])
def test_a_link_in_place_of_our_own_files_is_not_followed(tmp_path: Path, name: str) -> None:
    folder, secret = tmp_path / "outputs", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("of another")
    (folder / name).symlink_to(secret)
    (folder / ".job.yaml.tmp").symlink_to(secret)
    refused = pytest.raises(CannotRun, match="links are not followed")
    with refused if name == ".ftjob-lock" else nullcontext(), OutputsFolder(folder) as outputs:
        assert outputs.make_room() is None
        outputs.write_job(body())
    assert secret.read_text() == "of another"


@pytest.mark.parametrize("name", [".ftjob-lock", "job.yaml"])
def test_a_fifo_in_place_of_our_own_files_hangs_nothing(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    refused = pytest.raises(CannotRun, match="not a regular file")
    with refused if name == ".ftjob-lock" else nullcontext(), OutputsFolder(tmp_path) as outputs:
        assert outputs.make_room() is None


def test_a_job_that_is_too_deep_is_no_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("[" * 10_000)
    with OutputsFolder(tmp_path) as outputs:
        assert outputs.make_room() is None


def test_a_log_that_is_a_link_or_a_fifo_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of another\n")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo"):
        tail = LogTail(tmp_path / name)
        assert [*tail.lines(), *tail.end()] == []
