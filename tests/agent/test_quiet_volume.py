"""How often a job that only trains touches the volume that all its ranks share."""

from __future__ import annotations

import ctypes
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import plan, wait_for

from ftjob_agent.watching.sampler import BUFFER, Samples
from ftjob_protocol.agent_config import parse
from ftjob_protocol.files import nofollow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.agent_runs import Agents

IN_ALL_EVENTS = 0xFFF
PROFILING = {"mode": "Scheduled", "schedule": {}, "ranks": [0, 1], "tools": ["System"], "options": {}}
TWO = [{"rank": rank, "localRank": rank, "env": {"FTJOB_RANK": str(rank)}} for rank in range(2)]


@pytest.fixture
def events() -> Iterator[Events]:
    found = Events()
    yield found
    os.close(found.fd)


class Events:
    """What happens in folders, as inotify(7) tells it."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.inotify_init1(os.O_NONBLOCK)
        assert self.fd >= 0

    def watch(self, folder: Path) -> None:
        for path in (folder, *(found for found in folder.rglob("*") if found.is_dir())):
            assert self._libc.inotify_add_watch(self.fd, os.fsencode(path), IN_ALL_EVENTS) > 0

    def any(self) -> bool:
        try:
            return bool(os.read(self.fd, 1 << 16))
        except BlockingIOError:
            return False


def test_ranks_that_only_train_leave_the_volume_alone(agents: Agents, tmp_path: Path, events: Events) -> None:
    outputs = tmp_path / "outputs"
    source = """
step = 0
while not os.path.exists('go'):
    step += 1
    with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file: file.write(json.dumps({"step": step}) + "\\n")
    time.sleep(0.05)
"""
    config = plan(ranks=TWO, worldSize=2, outputs=str(outputs), keepLogs=True, profiling=PROFILING)
    run = agents.script(config, source)
    # The last that an agent opens, and the leader writes, at the start.
    wait_for((outputs / "system" / "rank-00001.jsonl").exists, "the samples' files")
    wait_for((outputs / "captures" / "s0" / "request.json").exists, "the request")
    before = (run.progress()["progress"] or {}).get("step", 0)
    events.watch(outputs)
    wait_for(
        lambda: (run.progress()["progress"] or {}).get("step", 0) >= before + 60, "three looks at the steps"
    )
    assert not events.any()
    (run.folder / "go").touch()
    assert run.wait() == 0
    assert events.any()
    for rank in range(2):
        lines = (outputs / "system" / f"rank-{rank:05d}.jsonl").read_text().splitlines()
        assert len(lines) >= 3
        assert json.loads(lines[-1])["rssBytes"] > 0


@pytest.mark.parametrize(("agents_in_all", "ranks"), [(1000, 1), (125, 8), (1, 2)])
def test_all_samples_together_are_less_than_ten_writes_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agents_in_all: int, ranks: int
) -> None:
    (tmp_path / "system").mkdir()
    writes, write_all = [0], nofollow.write_all

    def counted(file: int, data: bytes) -> None:
        writes[0] += 1
        write_all(file, data)

    told = [{"rank": rank, "localRank": rank, "env": {}} for rank in range(ranks)]
    profiling = {**PROFILING, "ranks": list(range(ranks))}
    most = 0
    for index in range(0, agents_in_all, max(1, agents_in_all // 5)):
        config = parse(
            json.dumps(
                plan(
                    index=index,
                    agents=agents_in_all,
                    ranks=told,
                    worldSize=agents_in_all * ranks,
                    outputs=str(tmp_path),
                    profiling=profiling,
                )
            )
        )
        samples, now, writes[0] = Samples(config, config.profiled()), time.monotonic(), 0
        with monkeypatch.context() as patched:
            patched.setattr(nofollow, "write_all", counted)
            patched.setattr(samples, "_cgroup", Quick())
            for second in range(1000):
                if second % 100 == 0:
                    samples.take(dict.fromkeys(range(ranks), os.getpid()))
                samples.write_if_due(now + second)
        assert writes[0] > 0
        assert samples._period >= 10
        most = max(most, writes[0])
        samples.close()
    assert most * agents_in_all / 1000 <= 10


class Quick:
    """A control group that costs nothing."""

    def sample(self) -> dict[str, Any]:
        return {}


def test_samples_that_become_many_are_written_before_their_time(tmp_path: Path) -> None:
    (tmp_path / "system").mkdir()
    config = parse(json.dumps(plan(worldSize=100_000, outputs=str(tmp_path), profiling=PROFILING)))
    samples, path = Samples(config, config.profiled()), tmp_path / "system" / "rank-00000.jsonl"
    samples.take({0: os.getpid()})
    samples.write_if_due(time.monotonic())
    assert not path.stat().st_size
    samples._waiting[0] *= BUFFER // len(samples._waiting[0][0])
    samples._size = BUFFER
    samples.write_if_due(time.monotonic())
    assert path.stat().st_size
    samples.close()
