"""Two Horovod ranks: their steps, a trace of each and one timeline."""

import json
from pathlib import Path

import pytest
from support.hook_env import HOROVOD, PROGRAMS, Steps, hooks_in, profile_of, rank_env, record, run

from ftjob_protocol.captures import Wanted
from ftjob_protocol.captures.window import Window, make_word, tell
from ftjob_protocol.files import nofollow

# The first test of a group waits for the run that all look at.
pytestmark = [pytest.mark.xdist_group("hooks-horovod"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, profiled twice by schedule, steps 5, 6 and 9, 10, and by order at step 140."""
    folder = tmp_path_factory.mktemp("horovod")
    hooks = hooks_in(folder / "ftjob-agent.pyz")
    profile = profile_of(folder, skipFirst=2, wait=1, warmup=1, active=2, repeat=2)
    env = rank_env(hooks, folder, FTJOB_PROFILE=profile, RANK_PYTHONPATH=hooks, CUDA_VISIBLE_DEVICES="")
    env["HOROVOD_TIMELINE"] = "DYNAMIC"
    del env["PYTHONPATH"], env["FTJOB_RANK_DIR"]
    window = Window("c1", (range(2),), at_step=140, steps=2)
    for rank in ("rank-00000", "rank-00001"):
        (folder / rank).mkdir()
        with nofollow.Folder(str(folder / rank)) as own:
            make_word(own)
        tell(str(folder / rank), window, Wanted({}, ("Framework",), {}), str(folder))
    run(env, HOROVOD, folder, PROGRAMS / "hvd_torch_loop.py", "--steps", "151", "--step-seconds", "0.01")
    return folder


@pytest.mark.parametrize("rank", ["rank-00000", "rank-00001"])
def test_the_steps_of_a_rank_are_those_of_its_optimizer(ran: Path, rank: str) -> None:
    assert "STEPS=151\n" in (ran / rank / "output.txt").read_text()
    assert Steps.read(ran / rank).step == 151
    assert record(ran / rank, "hooks.json") == {"frameworks": ["torch"], "notes": []}


@pytest.mark.parametrize("capture", ["s0", "s1", "c1"])
def test_every_rank_has_a_trace_and_the_job_one_timeline(ran: Path, capture: str) -> None:
    files = {
        rank: {path.name.split(".")[0] for path in (ran / "captures" / capture / "raw" / rank).iterdir()}
        for rank in ("rank-00000", "rank-00001")
    }
    timeline = {"horovod_timeline"} if capture != "s1" else set()
    assert files == {"rank-00000": {"rank-00000", "done"} | timeline, "rank-00001": {"rank-00001", "done"}}


@pytest.mark.parametrize("capture", ["s0", "c1"])
def test_the_timeline_is_whole_and_shows_the_negotiation(ran: Path, capture: str) -> None:
    events = json.loads(
        (ran / "captures" / capture / "raw" / "rank-00000" / "horovod_timeline.json").read_text()
    )
    assert any(event.get("name", "").startswith("NEGOTIATE_ALLREDUCE") for event in events)


def test_all_ranks_take_the_ordered_capture_at_the_same_step(ran: Path) -> None:
    done = [
        record(ran / "captures" / "c1" / "raw" / rank, "done.json") for rank in ("rank-00000", "rank-00001")
    ]
    assert [(found["firstStep"], found["lastStep"]) for found in done] == [(140, 141)] * 2
    said = [record(ran / rank, "capturing.json") for rank in ("rank-00000", "rank-00001")]
    assert [(word["phase"], word["firstStep"], word["note"]) for word in said] == [("Done", 140, "")] * 2
