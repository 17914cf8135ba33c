"""`ftjob run` of slow jobs: the verdict names the rank and the line, without being asked."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support import cpu_quota
from support.agent_runs import wait_for
from support.local_run import plain_job, run, start

from ftjob_agent.star.captures.automatic import BLIND

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from subprocess import Popen

PROGRAM = Path(__file__).parents[1] / "support" / "programs" / "slow_ranks.py"

# The sleeps stand for work of a device: they leave the cores to others.
TRAIN = """
import os, time
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

class Rows(Dataset):
    def __len__(self):
        return 8 * 400

    def __getitem__(self, place):
        if os.environ["RANK"] == "1":
            time.sleep(0.005)
        return torch.ones(16), torch.ones(1)

dist.init_process_group("gloo")
model = DistributedDataParallel(torch.nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for rows, targets in DataLoader(Rows(), batch_size=8):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(rows), targets)
    time.sleep(0.05)
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
"""


def slow_job(folder: Path, **spec: Any) -> dict[str, Any]:
    script = folder / "train.py"
    script.write_text(TRAIN)
    job = plain_job("", name="slow", workers=2, command=["python3", str(script)], args=[])
    job["spec"] |= {"strategy": "Torchrun", **spec}
    return job


def test_the_rank_whose_data_come_late_is_named_with_its_line(tmp_path: Path) -> None:
    ran = run(slow_job(tmp_path), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    profile = ran.status["profile"]
    (found, *_) = profile["findings"]
    assert (found["kind"], found["ranks"], found["cause"]) == ("Straggler", "1", "Input")
    assert found["line"].startswith("train.py:14 __getitem__")
    assert 0.2 < found["costShare"] < 0.7
    assert [late["rank"] for late in profile["stragglers"]] == [1]
    assert "rank 1" in profile["verdict"]
    assert f"ftjob: {profile['verdict']}\n" in ran.stdout
    assert f"verdict:  {profile['verdict']}\n          {found['next']}\n" in ran.stdout
    lines = (ran.outputs / "vitals" / "rank-00001.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["inputMs"][0] > 30


@pytest.fixture
def quota() -> Iterator[list[str]]:
    """A cgroup that has less of a core than busy neighbours would leave: the words before a command in it."""
    try:
        group = cpu_quota.make(f"ftjob-test-{os.getpid()}", 0.3)
    except OSError as error:
        pytest.skip(f"this machine lets no cgroup have a quota: {error.strerror}")
    yield ["sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"]
    group.rmdir()


def faulty(folder: Path, fault: str, before: Sequence[str] = ()) -> Popen[str]:
    """Start a training of two ranks with a fault."""
    (folder / fault).mkdir()
    (folder / fault / "go").touch()
    command = ["python3", str(PROGRAM), "torch", fault, str(folder / fault / "go"), "180"]
    job = plain_job("", name=fault, workers=2, command=command, args=[])
    job["spec"]["strategy"] = "Torchrun"
    # Data loaders' sockets lie in TMPDIR, and their paths may have 108 bytes.
    return start(job, folder / fault, before=before, TMPDIR=tempfile.gettempdir())


def profile_of(folder: Path) -> dict[str, Any]:
    """Return what the job's status says of its speed so far."""
    try:
        body = yaml.safe_load((folder / "out" / "job.yaml").read_text())
    except FileNotFoundError:
        return {}
    found: dict[str, Any] = body.get("status", {}).get("profile", {})
    return found


def is_called(fault: str, profile: dict[str, Any]) -> bool:
    """Whether a fault is called what it is; what is known first may lack the line."""
    first: dict[str, Any] = next(iter(profile.get("findings", [])), {})
    kind, line, ranks = first.get("kind"), first.get("line", ""), first.get("ranks")
    if fault == "backward":
        return (kind, ranks) == ("Straggler", "1") and line.startswith("slow_ranks.py") and "backward" in line
    if fault == "checkpoint":
        words = "; rank 0 alone, others wait"
        return (kind, ranks) == ("Pauses", "0") and "save_checkpoint" in line and words in first["text"]
    if fault == "quota":
        return kind == "HostContention" and first["next"].startswith("raise resources.limits.cpu")
    return bool(profile.get("verdict"))


def judged(running: dict[str, Popen[str]], folder: Path) -> dict[str, dict[str, Any]]:
    """Wait until each fault is called what it is, end the jobs, and return what their status said last."""
    try:
        for fault, process in running.items():
            until_called(fault, process, folder / fault)
        for fault, process in running.items():
            (folder / fault / "go").unlink()
            out, errors = process.communicate(timeout=120)
            assert process.returncode == 0, out + errors
            assert f"verdict:  {profile_of(folder / fault)['verdict']}\n" in out
    finally:
        for process in running.values():
            process.terminate()
            process.wait()
    return {fault: profile_of(folder / fault) for fault in running}


def until_called(fault: str, process: Popen[str], folder: Path) -> None:
    """Wait until a fault is called what it is; a job that ends before has not been."""

    def is_done() -> bool:
        return is_called(fault, profile_of(folder)) or process.poll() is not None

    with suppress(AssertionError):  # what it is called instead says more
        wait_for(is_done, f"the verdict on {fault}", 180)
    assert is_called(fault, profile_of(folder)), profile_of(folder)


def test_faults_are_called_what_they_are(tmp_path: Path) -> None:
    faults = ("backward", "checkpoint", "prefetch")
    profiles = judged({fault: faulty(tmp_path, fault) for fault in faults}, tmp_path)
    found = {finding["kind"] for finding in profiles["prefetch"].get("findings", [])}
    assert not found & {"InputBound", "Straggler"}, "the data are read ahead"
    captures = [capture for profile in profiles.values() for capture in profile.get("captures", [])]
    assert not [capture for capture in captures if BLIND in (capture.get("reason") or "")], (
        "torch is seen inside"
    )


def test_ranks_that_their_own_limit_holds_back_are_told_so(tmp_path: Path, quota: list[str]) -> None:
    judged({"quota": faulty(tmp_path, "quota", quota)}, tmp_path)


def test_a_job_that_is_not_to_be_profiled_is_not_measured(tmp_path: Path) -> None:
    script = 'import os; print("clock", os.environ.get("FTJOB_CLOCK"))'
    job = plain_job(script)
    job["spec"]["profiling"] = {"mode": "Off"}
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert "clock None\n" in ran.log(0)
    assert "profile" not in ran.status
