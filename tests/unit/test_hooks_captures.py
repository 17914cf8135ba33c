"""Where a rank leaves what it has captured: nowhere but in its own folder, whatever links there are."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ftjob_agent.hooks.ftjob_hooks import notes
from ftjob_agent.hooks.ftjob_hooks.captures import profiler
from ftjob_agent.hooks.ftjob_hooks.captures.series import Ordered
from ftjob_agent.hooks.ftjob_hooks.captures.tracers.tracer import Save, Tracer
from ftjob_protocol.captures import Profile, Wanted
from ftjob_protocol.captures.schedule import Windows
from ftjob_protocol.captures.window import RankCapture, Told, Window

FILE = "rank-00000.xplane.pb"


class Written(Tracer):
    """Writes a file as a framework's profiler does."""

    def start(self, folder: str) -> None:
        pass

    def step(self, number: int) -> None:
        pass

    def stop(self) -> Save:
        def save(folder: str) -> None:
            (Path(folder) / FILE).write_text("new")

        return save


@pytest.fixture
def rank_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "rank"
    folder.mkdir()
    monkeypatch.setenv("FTJOB_RANK_DIR", str(folder))
    monkeypatch.setattr(profiler, "_tracer", lambda series, _framework, name: Written(series.options, name))
    monkeypatch.setattr(notes, "_notes", [])
    return folder


def capture(outputs: Path, repeat: int = 1) -> None:
    """Take all captures of a short training."""
    (outputs / "captures").mkdir(parents=True, exist_ok=True)
    (outputs / "captures").chmod(0o2770)
    profile = {
        "id": "s0",
        "captureDir": str(outputs / "captures"),
        "pluginsDir": str(outputs / "plugins" / "profile"),
        "schedule": {"active": 1, "repeat": repeat},
        "tools": ["Framework"],
    }
    captures = profiler.Captures(Profile.read(profile), rank=0)
    for step in range(2 * repeat + 1):
        captures.advance(step, step, "torch")
    captures.end()


def test_a_capture_has_its_files_and_folders_as_the_agent_makes_them(tmp_path: Path, rank_dir: Path) -> None:
    capture(tmp_path)
    folder = tmp_path / "captures" / "s0" / "raw" / "rank-00000"
    assert json.loads((folder / "done.json").read_text())["files"] == ["rank-00000.xplane.pb"]
    assert (folder / "rank-00000.xplane.pb").read_text() == "new"
    profile = tmp_path / "plugins" / "profile" / "s0" / "rank-00000.xplane.pb"
    assert profile.read_text() == "new"
    assert stat.S_IMODE(profile.stat().st_mode) == 0o644
    for path in (folder, folder.parent, folder.parent.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o2770
    assert sorted(path.name for path in folder.parent.iterdir()) == ["rank-00000"]


def test_a_later_attempts_capture_replaces_the_earlier_ones(tmp_path: Path, rank_dir: Path) -> None:
    folder = tmp_path / "captures" / "s0" / "raw" / "rank-00000"
    folder.mkdir(parents=True)
    (folder / "old.xplane.pb").write_text("old")
    capture(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["done.json", "rank-00000.xplane.pb"]


@pytest.mark.parametrize("link", ["s0", "s0/raw", "s0/raw/rank-00000"])
def test_a_link_on_the_way_clears_and_fills_nothing_elsewhere(
    tmp_path: Path, rank_dir: Path, link: str
) -> None:
    home = tmp_path / "home"
    (home / "rank-00000").mkdir(parents=True)
    (home / "thesis").write_text("mine")
    (home / "rank-00000" / "thesis").write_text("mine")
    before = sorted(home.rglob("*"))
    path = tmp_path / "outputs" / "captures" / link
    path.parent.mkdir(parents=True)
    path.symlink_to(home)
    capture(tmp_path / "outputs")
    assert sorted(home.rglob("*")) == before
    assert "a link or no folder" in " ".join(notes._notes)


@pytest.mark.parametrize("has_links", [True, False])
def test_another_name_of_a_file_costs_that_file_nothing(
    tmp_path: Path, rank_dir: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """Whoever may write to the volume knows the names of what is renamed later: pods have the same pids."""
    thesis = tmp_path / "thesis"
    thesis.write_text("mine")
    thesis.chmod(0o600)
    plugins = tmp_path / "outputs" / "plugins" / "profile" / "s0"
    folder = tmp_path / "outputs" / "captures" / "s0" / "raw" / "rank-00000"
    for path in (plugins, folder):
        path.mkdir(parents=True)
        for name in (FILE, "done.json"):
            for link in (name, f".{name}.{os.getpid()}.tmp"):
                (path / link).hardlink_to(thesis)
    if not has_links:

        def refuse(*_args: object, **_options: object) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "link", refuse)
    capture(tmp_path / "outputs")
    assert thesis.read_text() == "mine"
    assert stat.S_IMODE(thesis.stat().st_mode) == 0o600
    assert [(path / FILE).read_text() for path in (plugins, folder)] == ["new", "new"]
    assert not notes._notes


def test_what_has_another_name_is_not_opened_to_others(
    tmp_path: Path, rank_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    secret.chmod(0o600)

    class Surrounded(Written):
        def stop(self) -> Save:
            save = super().stop()

            def save_and_link(folder: str) -> None:
                save(folder)
                (Path(folder) / "a").hardlink_to(secret)

            return save_and_link

    def tracer(series: Any, _framework: str, name: str) -> Tracer:
        return Surrounded(series.options, name)

    monkeypatch.setattr(profiler, "_tracer", tracer)
    capture(tmp_path / "outputs")
    folder = tmp_path / "outputs" / "captures" / "s0" / "raw" / "rank-00000"
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o644
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def ordered(outputs: Path, at_step: int, steps: int = 2, name: str = "c1") -> Ordered:
    """What the thread that looks for orders makes of one."""
    (outputs / "captures").mkdir(parents=True, exist_ok=True)
    window = Window(name, (range(1),), at_step=at_step, steps=steps)
    told = Told(window, str(outputs / "captures"), "", Wanted({}, ("Framework",), {}))
    return Ordered(told, window, Windows.at(at_step, steps, 2))


def said(rank_dir: Path) -> RankCapture:
    found = RankCapture.read(json.loads((rank_dir / "capturing.json").read_text()))
    assert found is not None
    return found


def train(captures: profiler.Captures, *steps: int) -> None:
    """Make these steps, as a program that has resumed at step 100."""
    for step in steps:
        if captures.is_wanted:
            captures.advance(step - 100, step, "torch")
    for thread in captures._saving:
        thread.join()


def test_an_order_is_followed_by_the_trainings_own_steps(tmp_path: Path, rank_dir: Path) -> None:
    captures = profiler.Captures(None, rank=0)
    assert not captures.is_wanted
    captures.order(ordered(tmp_path, at_step=104))
    assert (captures.is_wanted, said(rank_dir).phase) == (True, "Armed")
    train(captures, 101, 102, 103)
    assert said(rank_dir) == RankCapture("c1", "Capturing", 104)
    train(captures, 104, 105)
    assert said(rank_dir) == RankCapture("c1", "Done", 104)
    assert not captures.is_wanted
    done = json.loads((tmp_path / "captures" / "c1" / "raw" / "rank-00000" / "done.json").read_text())
    assert (done["firstStep"], done["lastStep"], done["startNs"] <= done["endNs"]) == (104, 105, True)
    assert json.loads((rank_dir / "captured.json").read_text()) == ["c1"]


def test_a_rank_that_is_told_late_says_so(tmp_path: Path, rank_dir: Path) -> None:
    captures = profiler.Captures(None, rank=0)
    captures.order(ordered(tmp_path, at_step=104))
    train(captures, 106, 107, 108)
    assert said(rank_dir) == RankCapture("c1", "Done", 107, "begun at step 107 instead of 104")


def test_an_order_that_is_withdrawn_before_it_begins_captures_nothing(tmp_path: Path, rank_dir: Path) -> None:
    captures = profiler.Captures(None, rank=0)
    captures.order(ordered(tmp_path, at_step=110))
    train(captures, 101)
    captures.withdraw("it was given up")
    assert (said(rank_dir).phase, said(rank_dir).note) == ("Failed", "it was given up")
    assert not captures.is_wanted
    train(captures, 109, 110, 111, 112)
    assert not list((tmp_path / "captures").iterdir())
    captures.order(ordered(tmp_path, at_step=120, name="c2"))
    train(captures, 119, 120, 121)
    assert said(rank_dir) == RankCapture("c2", "Done", 120)


def test_the_scripts_own_profiler_wins_and_later_orders_are_told_so(tmp_path: Path, rank_dir: Path) -> None:
    captures = profiler.Captures(None, rank=0)
    captures.order(ordered(tmp_path, at_step=104, steps=50))
    train(captures, 103, 104)
    captures.give_way()
    assert said(rank_dir) == RankCapture(
        "c1", "Done", 104, "the script uses the profiler itself", is_whole=False
    )
    captures.order(ordered(tmp_path, at_step=200, name="c2"))
    assert said(rank_dir) == RankCapture("c2", "Failed", 0, "the script uses the profiler itself")
    assert not captures.is_wanted


def test_a_volume_that_takes_nothing_costs_the_capture_alone(tmp_path: Path, rank_dir: Path) -> None:
    captures = profiler.Captures(None, rank=0)
    captures.order(ordered(tmp_path, at_step=104))
    (tmp_path / "captures" / "c1").touch()  # in place of a folder
    train(captures, 103, 104, 105, 106)
    assert said(rank_dir).phase == "Failed"
    captures.order(ordered(tmp_path, at_step=110, name="c2"))
    train(captures, 109, 110, 111)
    assert said(rank_dir) == RankCapture("c2", "Done", 110)


def test_the_end_of_the_script_ends_an_order_that_waits(tmp_path: Path, rank_dir: Path) -> None:
    captures = profiler.Captures(None, rank=0)
    captures.order(ordered(tmp_path, at_step=104))
    train(captures, 101)
    captures.end()
    assert (said(rank_dir).phase, said(rank_dir).note) == ("Failed", "the script has ended")
