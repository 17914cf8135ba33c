"""Slow jobs: what ranks' clocks say reaches the leader, which says why the job is slow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.agent_runs import OPERATOR, star_plans, wait_for

from ftjob_protocol.vitals.history import read_line

if TYPE_CHECKING:
    from pathlib import Path

    from support.agent_runs import AgentRun, Agents

PROFILING = {"mode": "OnDemand", "schedule": {}, "ranks": [0, 1], "tools": [], "options": {}}

CLOCK = """
sys.path.insert(0, os.environ["OPERATOR"])
from ftjob_protocol.vitals import clock
import mmap
began, step_us, made = time.time_ns(), 50_000, 0
with open(os.path.join(os.environ["FTJOB_RANK_DIR"], "clock.bin"), "w+b") as file:
    file.truncate(clock.SIZE)
    ring = mmap.mmap(file.fileno(), clock.SIZE)
clock.HEADER.pack_into(ring, 0, clock.MAGIC, clock.VERSION, clock.CAPACITY, 0, began)
def step(own_ms, input_ms=1):
    # All steps take 50 ms: who is slow does more of its own, the others wait.
    global made
    own, spent = own_ms * 1000, input_ms * 1000
    record = (began + (made + 1) * step_us * 1000, made + 1, step_us, spent, own, step_us - own, 1, 0)
    place = clock.HEADER.size + made % clock.CAPACITY * clock.RECORD.size
    clock.RECORD.pack_into(ring, place, *record)
    made += 1
    clock.HEAD.pack_into(ring, clock.HEAD_OFFSET, made)
    with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
        file.write(json.dumps({"step": made, "totalSteps": 100_000}) + "\\n")
    time.sleep(0.05)
"""


def start(agents: Agents, source: str, **changes: Any) -> list[AgentRun]:
    env = {"OPERATOR": str(OPERATOR), "FTJOB_NODE_NAME": "node-a"}
    plans = star_plans(2, 2, profiling=PROFILING, strategy="Torchrun", **changes)
    return [agents.script(config, CLOCK + source, env=env) for config in plans]


def test_blocks_of_all_ranks_are_kept_in_the_outputs(agents: Agents, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    runs = start(agents, "for _ in range(200): step(25)", outputs=str(outputs))
    assert [run.wait() for run in runs] == [0, 0]
    for rank in range(4):
        texts = (outputs / "vitals" / f"rank-{rank:05d}.jsonl").read_bytes().splitlines()
        lines = [found for text in texts if (found := read_line(text)) is not None]
        assert len(lines) == len(texts) >= 2
        assert [line["first"] for line in lines] == [
            sum(line["length"] for line in lines[:place]) + 1 for place in range(len(lines))
        ]
        assert {line["rank"] for line in lines} == {rank}
        assert lines[1]["ownMs"] == [25.0, 25.0, 25.0]
        assert lines[1]["rssBytes"] > 1_000_000


def test_a_volume_that_takes_no_vitals_costs_nothing_else(agents: Agents, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    (outputs / "vitals").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    for rank in range(4):
        (outputs / "vitals" / f"rank-{rank:05d}.jsonl").symlink_to(elsewhere)
    runs = start(agents, "for _ in range(200): step(25)", outputs=str(outputs))
    assert [run.wait() for run in runs] == [0, 0]
    assert not elsewhere.exists()
    assert "vitals/rank-00000.jsonl in the outputs is not written any more" in str(runs[0].message["notes"])


def test_a_job_without_profiling_is_left_alone(agents: Agents, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    (config,) = star_plans(1, 1, outputs=str(outputs))
    run = agents.script(config, CLOCK + "for _ in range(60): step(25)", env={"OPERATOR": str(OPERATOR)})
    assert run.wait() == 0
    assert list((outputs / "vitals").iterdir()) == []


def test_the_rank_that_all_wait_for_is_named_in_the_leader_s_state(agents: Agents, tmp_path: Path) -> None:
    source = "while True: step(45 if rank == 3 else 25, input_ms=24 if rank == 3 else 4)"
    leader, _ = start(agents, source)

    def straggler() -> Any:
        # On a busy machine ranks fall behind each other, and the first words are that nothing can be said.
        verdict = (leader.progress() or {}).get("verdict") or {}
        return verdict if verdict.get("kind") == "Straggler" else None

    verdict = wait_for(straggler, "a verdict on a straggler")
    assert "rank 3" in verdict["text"]
    (found, *_) = verdict["findings"]
    assert (found["ranks"], found["cause"]) == ("3", "Input")
    assert 10 < found["excessMs"] < 30


def test_the_last_steps_of_a_rank_that_dies_are_beside_its_failure(agents: Agents, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    source = """
for number in range(70): step(25 if number < 69 else 49)
if rank == 2: os.kill(os.getpid(), signal.SIGKILL)
while True: step(25)
"""
    runs = start(agents, source, outputs=str(outputs))
    assert [run.wait() for run in runs] == [143, 137]
    (only,) = (outputs / "vitals").glob("*.last.json")
    said = json.loads(only.read_text())
    assert (only.name, said["rank"], said["attempt"]) == ("rank-00002.last.json", 2, 0)
    assert [step["step"] for step in said["steps"]] == list(range(7, 71))
    assert [step["ownMs"] for step in said["steps"][-2:]] == [25.0, 49.0]
