"""Where a rank leaves what it has captured: nowhere but in its own folder, whatever links there are."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from ftjob_agent.hooks.ftjob_hooks import notes
from ftjob_agent.hooks.ftjob_hooks.captures import scheduled
from ftjob_agent.hooks.ftjob_hooks.captures.tracer import Save, Tracer
from ftjob_protocol.captures import Profile


class Written(Tracer):
    """Writes a file as a framework's profiler does."""

    def start(self, folder: str) -> None:
        pass

    def step(self, number: int) -> None:
        pass

    def stop(self) -> Save:
        def save(folder: str) -> None:
            (Path(folder) / "rank-00000.xplane.pb").write_text("new")

        return save


@pytest.fixture
def rank_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "rank"
    folder.mkdir()
    monkeypatch.setenv("FTJOB_RANK_DIR", str(folder))
    monkeypatch.setattr(scheduled, "_tracer", lambda _framework, options, name: Written(options, name))
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
    captures = scheduled.Captures(Profile.read(profile), rank=0)
    for step in range(2 * repeat + 1):
        captures.advance(step, "torch")
    captures.end(2 * repeat)


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
