"""Several agents of one job on the loopback: starting together, failing together, and who is blamed."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import is_alive, plan, star_plans, wait_for
from support.builders import decide, job, observed, pod
from support.ports import free_port
from support.wire import Wire

from ftjob.plan.plan import Step

if TYPE_CHECKING:
    from pathlib import Path

    from support.agent_runs import AgentRun, Agents

FAIL = {
    "exception": ("record(ValueError(f'rank {rank} is wrong')); sys.exit(1)", 1, "Exception"),
    "exit": ("os._exit(7)", 7, "Exit"),
    "sigkill": ("os.kill(os.getpid(), signal.SIGKILL)", 137, "Signal"),
}


def first_of(runs: list[AgentRun]) -> dict[str, Any]:
    """Choose as the operator does."""
    order = {"Exception": 0, "Exit": 0, "Signal": 0, "Config": 0, "PeerLost": 1}
    found = [run.failure for run in runs if run.message["failure"] and run.failure["class"] in order]
    return min(found, key=lambda failure: (order[failure["class"]], failure["timeNs"]))


def start(agents: Agents, configs: list[dict[str, Any]], source: str) -> list[AgentRun]:
    return [agents.script(config, source) for config in configs]


@pytest.mark.parametrize("culprit", range(4))
@pytest.mark.parametrize("how", FAIL)
def test_the_rank_that_fails_first_is_named_and_all_is_stopped(
    agents: Agents, how: str, culprit: int
) -> None:
    source, code, kind = FAIL[how]
    script = f"""
mark('pid', os.getpid())
while len([name for agent in os.listdir('..') if agent.startswith('agent-')
           for name in os.listdir(f'../{{agent}}') if name.startswith('pid-')
           and not name.endswith('.tmp')]) < 6: time.sleep(0.01)
if rank == {culprit}:
    open('../gone', 'w').close()
    {source}
if rank == 4:  # a victim in another worker, which ends at once
    while not os.path.exists('../gone'): time.sleep(0.001)
    record(type('HorovodInternalError', (Exception,), {{}})('Connection reset by peer'))
    sys.exit(1)
signal.pause()
"""
    runs = start(agents, star_plans(3, 2, contactTimeoutSeconds=5), script)
    codes = [run.wait(20) for run in runs]
    blamed = first_of(runs)
    assert (blamed["rank"], blamed["class"], blamed["exitCode"]) == (culprit, kind, code)
    assert codes[culprit // 2] == code
    assert codes[1 - culprit // 2] == 143
    pids = [int(path.read_text()) for run in runs for path in run.folder.glob("pid-*")]
    assert len(pids) == 6
    assert not any(is_alive(pid) for pid in pids)
    assert runs[1 - culprit // 2].message["state"] == "Stopped"


def test_of_two_failures_in_two_workers_the_earlier_is_named(agents: Agents) -> None:
    source = """
if rank in (1, 3):
    record(ValueError(f'rank {rank}'), when=10**18 + (5 if rank == 1 else 0))
    mark('recorded')
    while not all(os.path.exists(f'../agent-{agent}/recorded-{rank}') for agent, rank in ((0, 1), (1, 3))):
        time.sleep(0.001)
    sys.exit(1)
signal.pause()
"""
    runs = start(agents, star_plans(2, 2), source)
    assert [run.wait() for run in runs] == [1, 1]
    assert [run.failure["rank"] for run in runs] == [1, 3]
    assert first_of(runs)["rank"] == 3


def test_no_rank_starts_before_the_last_agent_is_there_in_any_order(agents: Agents) -> None:
    first, second, leader = (star_plans(3, 1))[::-1]
    source = "mark('up', time.monotonic_ns()); sys.exit(0)"
    runs = [agents.script(first, source), agents.script(second, source)]
    late = agents.script(leader, source)
    assert [run.wait() for run in [*runs, late]] == [0, 0, 0]


def test_alone_an_agent_waits_for_its_peers(agents: Agents) -> None:
    leader, follower = star_plans(2, 1)
    run = agents.script(leader, "mark('up')")
    wait_for(lambda: run.progress().get("state") == "Waiting", "the leader's answer")
    assert run.progress()["ranks"] == {"total": 2, "running": 0, "succeeded": 0, "failed": 0}
    assert not (run.folder / "up-0").exists()
    other = agents.script(follower, "mark('up')")
    assert (run.wait(), other.wait()) == (0, 0)


def test_a_leader_whose_success_ends_the_job_stops_the_others(agents: Agents) -> None:
    leader, other = star_plans(2, 1)
    waiting = agents.script(other, "mark('up'); signal.pause()")
    until_the_other_runs = f"while not os.path.exists({str(waiting.folder / 'up-1')!r}): time.sleep(0.01)"
    first = agents.script(leader | {"successEndsJob": True}, until_the_other_runs)
    assert first.wait() == 0
    assert waiting.wait() == 143
    assert waiting.failure["type"] == "JobSucceeded"


def test_a_leader_that_never_comes_is_named(agents: Agents) -> None:
    run = agents.script(star_plans(2, 1, startTimeoutSeconds=0.5)[1], "mark('up')")
    assert run.wait() == 143
    assert run.failure["type"] == "PeersAbsent"
    assert f"127.0.0.1:{run.config['port']}" in run.failure["message"]
    assert "after 0.5 s" in run.failure["message"]


def test_peers_that_never_come_are_named(agents: Agents) -> None:
    configs = star_plans(4, 1, startTimeoutSeconds=1.5)
    runs = start(agents, [configs[0], configs[2]], "mark('up')")
    assert [run.wait() for run in runs] == [143, 143]
    assert [run.failure["type"] for run in runs] == ["PeersAbsent", "PeersAbsent"]
    assert "worker-1, worker-3" in runs[0].failure["message"]


def test_it_is_the_leader_who_says_that_peers_are_absent_even_to_one_that_has_waited_longer(
    agents: Agents,
) -> None:
    leader, other, _ = star_plans(3, 1, startTimeoutSeconds=3)
    first = agents.script(leader, "mark('up')")
    wait_for(first.progress, "the leader's answer")
    second = agents.script(other | {"startTimeoutSeconds": 0.5}, "mark('up')")
    assert [first.wait(), second.wait()] == [143, 143]
    assert "peers absent: worker-2" in first.failure["message"]


def test_an_agent_that_loses_the_leader_ends_its_ranks(agents: Agents) -> None:
    runs = start(
        agents, star_plans(2, 1, contactTimeoutSeconds=1.5), "mark('up', os.getpid()); signal.pause()"
    )
    for rank, run in enumerate(runs):
        wait_for((run.folder / f"up-{rank}").exists, "the ranks' start")
    orphan = int(runs[0].text("up-0"))
    runs[0].process.kill()
    try:
        assert runs[1].wait() == 143
        assert runs[1].failure["type"] == "LostContact"
        assert not is_alive(int(runs[1].text("up-1")))
    finally:
        os.kill(orphan, signal.SIGKILL)  # in a pod it would have died with the agent


def test_a_cut_network_costs_a_free_restart_and_the_job_succeeds(agents: Agents) -> None:
    """Both ends say whom they do not hear; the operator starts the next attempt at a limit of 0."""
    configs = star_plans(2, 1, contactTimeoutSeconds=1.5, startTimeoutSeconds=None)
    hosts = [
        {"FTJOB_POD_NAME": f"digits-worker-0-{index}", "FTJOB_NODE_NAME": f"node-{index}"} for index in (0, 1)
    ]
    with Wire(configs[0]["port"]) as wire:
        configs[1]["leader"] = {"host": "127.0.0.1", "port": wire.port}
        runs = [
            agents.script(config, "mark('up'); signal.pause()", env=env)
            for config, env in zip(configs, hosts, strict=True)
        ]
        for rank, run in enumerate(runs):
            wait_for((run.folder / f"up-{rank}").exists, "the ranks' start")
        wire.cut.set()
        assert [run.wait() for run in runs] == [143, 143]
        assert "no word from worker-1 (pod digits-worker-0-1 on node-1)" in runs[0].failure["message"]
        assert "(pod digits-worker-0-0 on node-0)" in runs[1].failure["message"]
        pods = [pod(index).running().ended(143, run.log.read_text()) for index, run in enumerate(runs)]
        decision = decide(job().workers(2).running(), observed(*pods))
        assert (decision.step, decision.reason) == (Step.RESTART, "LostContact")
        assert decision.status.restart is not None
        assert decision.status.restart.disruption

        again = [agents.script(config | {"attempt": 1}, "mark('up')") for config in configs]
        wait_for(lambda: again[0].progress().get("state") == "Waiting", "the leader's answer")
        assert again[0].progress()["absent"] == ["worker-1"]
        wire.cut.clear()
        assert [run.wait() for run in again] == [0, 0]


LOSES_A_PEER = """
mark('up')
while not os.path.exists(f'../cut'): time.sleep(0.01)
record(RuntimeError('gloo/transport/tcp/unbound_buffer.cc: Timed out waiting for recv')); sys.exit(1)
"""


@pytest.mark.parametrize("seconds", [0, 4], ids=["for good", "for a while"])
def test_ranks_that_give_up_before_their_agents_do_are_no_failure_while_the_network_is_cut(
    agents: Agents, seconds: float
) -> None:
    configs = star_plans(2, 1, contactTimeoutSeconds=9, startTimeoutSeconds=None)
    with Wire(configs[0]["port"]) as wire:
        configs[1]["leader"] = {"host": "127.0.0.1", "port": wire.port}
        env = {"FTJOB_POD_NAME": "digits-worker-0-1", "FTJOB_NODE_NAME": "node-1"}
        runs = [agents.script(config, LOSES_A_PEER, env=env) for config in configs]
        for rank, run in enumerate(runs):
            wait_for((run.folder / f"up-{rank}").exists, "the ranks' start")
        wire.cut.set()
        (runs[0].folder.parent / "cut").touch()
        if seconds:
            time.sleep(seconds)
            wire.cut.clear()
        assert [run.wait() for run in runs] == [143, 143]
    assert [run.failure["type"] for run in runs] == ["LostContact", "LostContact"]
    assert "no word from worker-1 (pod digits-worker-0-1 on node-1)" in runs[0].failure["message"]
    assert "no word from the leader at 127.0.0.1" in runs[1].failure["message"]
    pods = [pod(index).running().ended(143, run.log.read_text()) for index, run in enumerate(runs)]
    decision = decide(job().workers(2).running(), observed(*pods))
    assert (decision.step, decision.reason) == (Step.RESTART, "LostContact")


def test_ranks_that_lose_their_peers_while_all_agents_are_there_have_failed(agents: Agents) -> None:
    runs = start(agents, star_plans(3, 1), LOSES_A_PEER)
    for rank, run in enumerate(runs):
        wait_for((run.folder / f"up-{rank}").exists, "the ranks' start")
    (runs[0].folder.parent / "cut").touch()
    assert [run.wait() for run in runs] == [1, 1, 1]
    assert {run.failure["class"] for run in runs} == {"PeerLost"}


def test_the_leader_ends_the_attempt_when_an_agent_falls_silent(agents: Agents) -> None:
    runs = start(
        agents, star_plans(2, 1, contactTimeoutSeconds=1.5), "mark('up', os.getpid()); signal.pause()"
    )
    for rank, run in enumerate(runs):
        wait_for((run.folder / f"up-{rank}").exists, "the ranks' start")
    runs[1].process.send_signal(signal.SIGSTOP)
    assert runs[0].wait() == 143
    assert "no word from worker-1" in runs[0].failure["message"]
    runs[1].process.send_signal(signal.SIGCONT)  # it comes back, finds no leader, and gives up
    assert runs[1].wait() == 143


def test_sigterm_at_one_worker_ends_all_and_each_may_save(agents: Agents) -> None:
    source = """
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1.5), mark('saved'), os._exit(0)))
mark('up')
while True: signal.pause()
"""
    runs = start(agents, star_plans(2, 1), source)
    for rank, run in enumerate(runs):
        wait_for((run.folder / f"up-{rank}").exists, "the ranks' start")
    runs[1].terminate()
    assert [run.wait() for run in runs] == [143, 143]
    assert all((run.folder / f"saved-{rank}").exists() for rank, run in enumerate(runs))
    assert all(run.message["state"] == "Stopped" for run in runs)


def test_the_leader_stays_until_all_have_ended(agents: Agents) -> None:
    runs = start(
        agents, star_plans(2, 1), "mark('up')\nif rank: \n  while not os.path.exists('go'): time.sleep(0.01)"
    )
    wait_for(lambda: runs[0].progress().get("ranks", {}).get("succeeded") == 1, "rank 0's success")
    assert runs[0].progress()["state"] == "Running"
    (runs[1].folder / "go").touch()
    assert [run.wait() for run in runs] == [0, 0]


def test_the_others_are_told_when_one_cannot_start(agents: Agents) -> None:
    leader, follower = star_plans(2, 1)
    runs = [agents.script(leader, "signal.pause()"), agents.start(follower, ["no-such-program"])]
    assert [run.wait() for run in runs] == [143, 127]
    assert "no-such-program" in runs[0].failure["message"]


@pytest.fixture
def leader(agents: Agents) -> AgentRun:
    source = "mark('up')\nwhile not os.path.exists('go'): time.sleep(0.01)\nos._exit(int(open('go').read()))"
    run = agents.script(plan(ranks=[{"rank": 0, "localRank": 0, "env": {}}]), source)
    wait_for((run.folder / "up-0").exists, "the rank's start")
    return run


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/progress", b"", 200),
        ("POST", "/v1/progress", b"{}", 405),
        ("GET", "/v1/nothing", b"", 404),
        ("GET", "/v1/progress?version=1&wait=x", b"", 400),
        ("POST", "/v1/agents/worker/1", b"{", 400),
        ("POST", "/v1/agents/worker/1", b"[1]", 400),
        ("POST", "/v1/agents/worker/1", b"[" * 100000, 400),
        ("POST", "/v1/agents/worker/0", b"{}", 409),
        ("POST", "/v1/agents/worker/1", json.dumps({"attempt": 9}).encode(), 409),
        ("POST", "/v1/agents/worker/1", json.dumps({"attempt": 0}).encode(), 409),
        ("POST", "/v1/agents/worker/x", b"{}", 404),
        ("POST", "/v1/agents/worker/1", b" " * (2 << 20), 413),
    ],
)
def test_requests_that_are_not_sound_are_refused_and_hurt_nobody(
    leader: AgentRun, method: str, path: str, body: bytes, status: int
) -> None:
    try:
        answered = leader.request(method, path, body)[0]
    except (BrokenPipeError, ConnectionResetError):
        assert status == 413  # it hung up on what it would not take
    else:
        assert answered == status
    assert leader.progress()["state"] == "Running"


def test_the_operator_learns_of_a_failure_at_once(leader: AgentRun) -> None:
    wait_for(lambda: leader.progress()["state"] == "Running", "word of the rank")
    with leader.asking("GET", f"/v1/progress?version={leader.progress()['version']}&wait=50") as answer:
        leader.progress()  # the agent, which takes requests in their order, holds the first one by now
        (leader.folder / "go.tmp").write_text("3")
        (leader.folder / "go.tmp").rename(leader.folder / "go")
        status, told = answer()
    assert (status, told["failure"]["exitCode"]) == (200, 3)
    assert leader.wait() == 3


def test_steps_of_all_ranks_reach_the_leader(agents: Agents) -> None:
    source = """
with open(os.environ['FTJOB_PROGRESS_FILE'], 'w') as file:
    metrics = {'loss': 0.25, 'bad': float('nan')}
    file.write(json.dumps({'step': 5 + rank, 'totalSteps': 10, 'epoch': 0.5, 'metrics': metrics}) + '\\n')
if rank == 1:
    while not os.path.exists('go'): time.sleep(0.01)
"""
    runs = start(agents, star_plans(2, 1), source)
    known = {"step": 5, "totalSteps": 10, "epoch": 0.5, "metrics": {"loss": 0.25}}

    def told() -> dict[str, Any]:
        return runs[0].progress().get("progress") or {}

    wait_for(lambda: known.items() <= told().items(), f"{known} of rank 0")
    (runs[1].folder / "go").touch()
    assert [run.wait() for run in runs] == [0, 0]
    assert [run.message["progress"]["step"] for run in runs] == [5, 6]


def test_finished_captures_are_counted_and_their_request_is_written(agents: Agents, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    profiling = {
        "mode": "Scheduled",
        "schedule": {"active": 2},
        "ranks": [0, 1],
        "tools": ["System"],
        "options": {},
    }
    source = """
folder = os.path.join(json.loads(os.environ['FTJOB_PROFILE'])['captureDir'], 's0', 'raw', f'rank-{rank:05d}')
os.makedirs(folder)
open(os.path.join(folder, 'done.json'), 'w').close()
with open(os.path.join(os.environ['FTJOB_RANK_DIR'], 'captured.json'), 'w') as file:
    json.dump(['s0', '../x', 7], file)
while not os.path.exists('go'): time.sleep(0.01)
"""
    runs = start(agents, star_plans(2, 2, outputs=str(outputs), profiling=profiling), source)
    done = {"s0": "0-3"}
    wait_for(lambda: runs[0].progress().get("captures") == done, "the capture's end")
    request = outputs / "captures/s0/request.json"
    wait_for(request.exists, "the request")
    assert json.loads(request.read_text())["ranks"] == [0, 1, 2, 3]
    samples = [outputs / f"system/rank-{rank:05d}.jsonl" for rank in range(4)]
    for path in samples:
        wait_for(path.exists, "a system sample")
    for run in runs:
        (run.folder / "go").touch()
    assert [run.wait() for run in runs] == [0, 0]
    assert [run.message["captures"] for run in runs] == [{"s0": "0-1"}, {"s0": "2-3"}]
    sample = json.loads(samples[3].read_text().splitlines()[0])
    assert set(sample) == {"timeNs", "cpuSeconds", "rssBytes", "threads", "readBytes", "writeBytes", "pod"}
    assert sample["rssBytes"] > 0
    assert sample["threads"] >= 1


def test_a_name_that_is_not_known_yet_is_asked_for_again(agents: Agents) -> None:
    config = plan(index=1, agents=2, ranks=[{"rank": 1, "localRank": 0, "env": {}}], startTimeoutSeconds=1)
    config["leader"] = {"host": "no-such-host.invalid", "port": free_port()}
    run = agents.script(config, "")
    assert run.wait() == 143
    assert "no-such-host.invalid" in run.failure["message"]


def test_agents_that_wait_say_for_whom_and_why_in_their_logs_and_to_the_operator(agents: Agents) -> None:
    """The leader can't tell the operator what keeps others from it, so they are asked themselves."""
    port, own = free_port(), free_port()
    leader, other, lost = star_plans(3, 1)[0] | {"port": port}, *star_plans(3, 1)[1:]
    there = {"leader": {"host": "127.0.0.1", "port": port}}
    first = agents.script(leader | there, "")
    second = agents.script(other | there | {"port": own}, "")
    nowhere = {"host": "no-such-host.invalid", "port": port}
    third = agents.script(lost | {"leader": nowhere, "port": free_port()}, "")
    wait_for(lambda: third.progress().get("state") == "Waiting", "the answer of one that waits")
    assert third.progress()["waits"] == "can't resolve no-such-host.invalid"
    assert third.request("POST", "/v1/start", b"{}")[0] == 404
    assert first.progress()["absent"] == ["worker-2"]
    said = (
        (first, "ftjob: worker-0 waits for worker-2: 2 of 3 agents are there"),
        (second, "ftjob: worker-1 waits for the leader at 127.0.0.1 to have heard of all agents"),
        (third, "ftjob: worker-2 can't resolve no-such-host.invalid"),
    )
    for run, line in said:
        wait_for(partial(run.text, "stderr"), "a line in its log")
        assert run.text("stderr").splitlines() == [line]
    third.terminate()
    third.wait()
    found = agents.script(lost | there | {"port": free_port()}, "")
    assert [run.wait() for run in (first, second, found)] == [0, 0, 0]
    assert not second.progress(), "nobody listens there any more"
