"""Progress and profiles of torch trainings, without a change to them."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.hook_env import MODES, Steps, hooks_in, profile_of, rank_env, record, run

# The first test of a group waits for the run that all look at.
pytestmark = [pytest.mark.xdist_group("hooks-torch"), pytest.mark.timeout(600)]

COUNTED = [
    "plain",
    "killed",
    "two_optimizers",
    "the_first_is_used_up",
    "two_more_after_the_first",
    "one_for_each_parameter",
    "gradients_that_overflow",
    "a_state_that_is_filled",
    "accumulation",
    "closure",
    "a_step_that_raises",
    "one_after_the_other",
    "helpers",
    "compiled",
]
# Their own profiler begins before the capture, within its warm-up, within it, and after it.
OWN_PROFILER = ["kineto_1_12", "scheduled_3_6", "legacy_4_8", "old_6_6", "thread_5_8", "kineto_7_8"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of all trainings, each profiled: steps 5, 6 and 9, 10."""
    folder = tmp_path_factory.mktemp("torch")
    hooks = hooks_in(folder / "ftjob-agent.pyz")
    profile = profile_of(folder / "@MODE@", skipFirst=2, wait=1, warmup=1, active=2, repeat=2)
    env = rank_env(hooks, folder, FTJOB_PROFILE=profile, CUDA_VISIBLE_DEVICES="")
    run(env, MODES, "torch,profilers", folder, *COUNTED, *OWN_PROFILER)
    return folder


@pytest.mark.parametrize("mode", [*COUNTED, *OWN_PROFILER])
def test_the_steps_are_those_of_the_script(ran: Path, mode: str) -> None:
    steps = Steps.read(ran / mode)
    assert steps.magic == b"FTJSTEP1"
    assert steps.step == int((ran / mode / "steps.txt").read_text())
    assert 0 < steps.first_ns <= steps.last_ns <= time.time_ns()
    assert (steps.total, steps.flags) == (0, 0)
    assert record(ran / mode, "hooks.json")["frameworks"] == ["torch"]


def test_each_capture_is_a_trace_with_the_steps_of_its_window(ran: Path) -> None:
    assert _steps(ran / "plain", "s0") == (5, 6, {"ProfilerStep#5", "ProfilerStep#6"})
    assert _steps(ran / "plain", "s1") == (9, 10, {"ProfilerStep#9", "ProfilerStep#10"})
    assert sorted(path.name for path in (ran / "plain" / "captures").iterdir()) == ["s0", "s1"]
    assert record(ran / "plain", "hooks.json")["notes"] == []


def test_a_trace_has_the_shapes_that_were_asked_for(ran: Path) -> None:
    events = _trace(ran / "plain", "s0")["traceEvents"]
    assert any("Input Dims" in event.get("args", {}) for event in events)


def test_a_training_that_ends_in_a_capture_leaves_what_there_is(ran: Path) -> None:
    done = record(ran / "closure" / "captures" / "s0" / "raw" / "rank-00000", "done.json")
    assert (done["firstStep"], done["lastStep"], done["partial"]) == (5, 5, True)
    assert _steps(ran / "closure", "s0")[2] >= {"ProfilerStep#5"}


def test_a_script_that_profiles_itself_gets_the_profiler(ran: Path) -> None:
    """The modes look at that profile themselves; `make test-profilers` runs all orders."""
    for mode in OWN_PROFILER:
        (note,) = record(ran / mode, "hooks.json")["notes"]
        assert "profiler itself" in note
        done = _raw(ran / mode, "s0") / "done.json"
        assert done.exists() == (mode in {"old_6_6", "thread_5_8", "kineto_7_8"})
    done = record(_raw(ran / "old_6_6", "s0"), "done.json")
    assert (done["firstStep"], done["lastStep"], done["partial"]) == (5, 5, True)
    assert "partial" not in record(_raw(ran / "kineto_7_8", "s0"), "done.json")


def test_a_capture_never_begins_within_the_backward_pass(ran: Path) -> None:
    (note,) = record(ran / "one_for_each_parameter", "hooks.json")["notes"]
    assert "within the backward pass" in note


def test_nothing_temporary_is_left(ran: Path) -> None:
    # A rank that is killed in the middle of a capture can't tidy up.
    folders = [folder for folder in ran.iterdir() if folder.is_dir() and folder.name != "killed"]
    assert [path for folder in folders for path in folder.rglob("*") if path.name.endswith(".tmp")] == []
    assert folders


def _raw(folder: Path, capture: str) -> Path:
    return folder / "captures" / capture / "raw" / "rank-00000"


def _trace(folder: Path, capture: str) -> Any:
    (path,) = _raw(folder, capture).glob("rank-00000.*.pt.trace.json.gz")
    with gzip.open(path) as file:
        return json.load(file)


def _steps(folder: Path, capture: str) -> tuple[int, int, set[str]]:
    done = record(_raw(folder, capture), "done.json")
    assert done["rank"] == 0
    assert {path.name for path in _raw(folder, capture).iterdir()} == {"done.json", *done["files"]}
    events = _trace(folder, capture)["traceEvents"]
    marks = {event["name"] for event in events if str(event.get("name", "")).startswith("ProfilerStep#")}
    return done["firstStep"], done["lastStep"], marks


UNDESTROYED = """
import torch
from torch import distributed
distributed.init_process_group("gloo", rank=0, world_size=1, store=distributed.HashStore())
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
"""


def test_a_group_that_the_script_never_destroys_ends_without_a_crash(tmp_path: Path) -> None:
    hooks = hooks_in(tmp_path / "ftjob-agent.pyz")
    run(rank_env(hooks, tmp_path, FTJOB_CLOCK=1), "-c", UNDESTROYED)
    assert Steps.read(tmp_path).step == 3
