"""The outputs belong to the job and its group; what strangers leave there leads an agent nowhere else."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import plan

from ftjob_agent import outputs
from ftjob_agent.config import ConfigError
from ftjob_protocol.agent_config import parse

if TYPE_CHECKING:
    from pathlib import Path

    from support.agent_runs import Agents


FOLDERS = ("checkpoints", "captures", "system", "logs", "plugins", "plugins/profile")
PROFILING = {
    "mode": "Scheduled",
    "schedule": {"active": 2},
    "ranks": [0],
    "tools": ["System"],
    "options": {},
}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


def with_outputs(folder: Path, **changes: Any) -> dict[str, Any]:
    return plan(outputs=str(folder / "outputs"), keepLogs=True, profiling=PROFILING, **changes)


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE((folder / name).stat().st_mode) for name in FOLDERS}


@pytest.mark.parametrize(("is_private", "mode"), [(False, 0o2770), (True, 0o700)])
def test_folders_are_for_the_group_or_for_one_user_whatever_the_umask(
    agents: Agents, tmp_path: Path, is_private: bool, mode: int
) -> None:
    run = agents.script(with_outputs(tmp_path, privateOutputs=is_private), "", umask=0o022)
    assert run.wait() == 0
    assert modes(tmp_path / "outputs") == {mode}
    assert stat.S_IMODE((tmp_path / "outputs").stat().st_mode) == mode


@pytest.mark.parametrize(("is_private", "mode"), [(False, 0o2770), (True, 0o700)])
def test_folders_that_an_earlier_release_left_open_are_closed(
    agents: Agents, tmp_path: Path, is_private: bool, mode: int
) -> None:
    for name in FOLDERS:
        (tmp_path / "outputs" / name).mkdir(parents=True)
        (tmp_path / "outputs" / name).chmod(0o2777)
    run = agents.script(with_outputs(tmp_path, privateOutputs=is_private), "")
    assert run.wait() == 0
    assert modes(tmp_path / "outputs") == {mode}


@needs_root
def test_folders_have_the_pods_group_even_where_the_volume_gives_them_another(tmp_path: Path) -> None:
    """The kubelet gives fsGroup to the emptyDir with the agent; NFS and the like it leaves alone."""
    agent, volume = tmp_path / "agent", tmp_path / "outputs"
    agent.mkdir()
    volume.mkdir()
    os.chown(agent, -1, 4711)
    agent.chmod(0o2777)
    before = os.getgroups()
    os.setgroups([*before, 4711])
    try:
        config = parse(json.dumps(with_outputs(tmp_path)))
        outputs.make_folders(config, {"FTJOB_RUN_DIR": str(agent / "run")})
    finally:
        os.setgroups(before)
    assert {(volume / name).stat().st_gid for name in FOLDERS} == {4711}
    assert modes(volume) == {0o2770}


@needs_root
def test_a_folder_of_a_stranger_in_the_outputs_of_one_user_is_refused(agents: Agents, tmp_path: Path) -> None:
    (tmp_path / "outputs" / "checkpoints").mkdir(parents=True)
    os.chown(tmp_path / "outputs" / "checkpoints", 4711, -1)
    run = agents.script(with_outputs(tmp_path, privateOutputs=True), "mark('ran')")
    assert run.wait() == 2
    assert "belongs to uid 4711" in run.failure["message"]
    assert not (run.folder / "ran-0").exists()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_link_in_place_of_a_folder_is_refused_and_its_target_left_alone(
    agents: Agents, tmp_path: Path, name: str
) -> None:
    home, link = tmp_path / "home", tmp_path / "outputs" / name
    home.mkdir(mode=0o700)
    link.parent.mkdir(parents=True)
    link.symlink_to(home)
    run = agents.script(with_outputs(tmp_path), "mark('ran')")
    assert run.wait() == 2
    assert f"{link} is a link or no folder" in run.failure["message"]
    assert not (run.folder / "ran-0").exists()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert not list(home.iterdir())


FILES = ["logs/rank-00000.log", "system/rank-00000.jsonl", "captures/s0/request.json"]
WAITS = "print('said', flush=True); time.sleep(1.5)"


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_place_of_a_file_costs_that_file_alone(agents: Agents, tmp_path: Path, name: str) -> None:
    secret, link = tmp_path / "secret", tmp_path / "outputs" / name
    secret.write_text("of another")
    secret.chmod(0o600)
    link.parent.mkdir(parents=True)
    link.symlink_to(secret)
    run = agents.script(with_outputs(tmp_path), WAITS)
    assert run.wait() == 0
    assert secret.read_text() == "of another"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_link_in_place_of_a_captures_folder_is_not_followed(agents: Agents, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (tmp_path / "outputs" / "captures").mkdir(parents=True)
    for name in ("s0", "hang-0"):
        (tmp_path / "outputs" / "captures" / name).symlink_to(home)
    source = """
with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file: file.write('{"step": 1}\\n')
signal.pause()
"""
    run = agents.script(with_outputs(tmp_path, watchdog={"hangSeconds": 1, "counts": True}), source)
    assert run.wait() == 143
    assert run.failure["class"] == "Hang"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert not list(home.iterdir())


@pytest.mark.parametrize("name", FILES)
def test_a_fifo_in_place_of_a_file_hangs_nothing(agents: Agents, tmp_path: Path, name: str) -> None:
    path = tmp_path / "outputs" / name
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    keeper = os.open(path, os.O_RDWR)  # even where there is a reader
    try:
        run = agents.script(with_outputs(tmp_path), WAITS)
        assert run.wait() == 0
        os.set_blocking(keeper, False)
        with pytest.raises(BlockingIOError):
            os.read(keeper, 1)
    finally:
        os.close(keeper)


@pytest.mark.parametrize("capture", ["..", "../../home", "/etc", "a/b", ""])
def test_a_captures_id_is_no_path(tmp_path: Path, capture: str) -> None:
    config = parse(json.dumps(with_outputs(tmp_path)))
    outputs.make_folders(config, {})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="a name is expected"):
        outputs.write_request(config, capture, {"ranks": [0]})
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_missing_says_so(tmp_path: Path) -> None:
    (tmp_path / "outputs").touch()
    with pytest.raises(ConfigError, match=r"link or no folder|cannot write"):
        outputs.make_folders(parse(json.dumps(with_outputs(tmp_path))), {})


def test_a_log_is_opened_below_the_outputs(tmp_path: Path) -> None:
    config = parse(json.dumps(with_outputs(tmp_path)))
    (tmp_path / "outputs").mkdir()
    file = outputs.log_file(config, 0)
    file.open()
    file.write(b"said")
    file.close()
    assert (tmp_path / "outputs" / "logs" / "rank-00000.log").read_bytes() == b"said"
