"""Agents of elastic jobs as real processes: who joins, who is lost, and what the others do then."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from support.agent_runs import elastic_plan, wait_for
from support.ports import free_port
from support.wire import Wire

if TYPE_CHECKING:
    from support.agent_runs import AgentRun, Agents

ENV = {"FTJOB_RANK": "@RANK@", "RANK": "@RANK@", "SIZE": "@SIZE@", "GENERATION": "@GENERATION@"}
SOURCE = """
me = f"{os.environ['GENERATION']}:{rank}/{os.environ['SIZE']}"
with open('lives', 'a') as file: file.write(me + '\\n')
signal.signal(signal.SIGTERM, lambda *_: (mark('saved-' + os.environ['GENERATION']), os._exit(143)))
"""
UNTIL_DONE = SOURCE + "while not os.path.exists('../done'): time.sleep(0.01)"


worker = partial(elastic_plan, env=ENV, least=1)


def lives(run: AgentRun) -> list[str]:
    return run.lines("lives")()


def wait_for_place(run: AgentRun, place: str) -> None:
    """Wait until the newest life of an agent's rank has this rank and size, in whatever generation."""
    wait_for(lambda: ["", *lives(run)][-1].endswith(f":{place}"), f"{place} in {run.folder}")


def test_a_group_grows_and_loses_one_and_goes_on(agents: Agents) -> None:
    port = free_port()
    runs = [agents.script(worker(index, port), UNTIL_DONE) for index in range(2)]
    for index, run in enumerate(runs):
        wait_for_place(run, f"{index}/2")
    runs += [agents.script(worker(index, port, wanted=4), UNTIL_DONE) for index in (2, 3)]
    for index, run in enumerate(runs):
        wait_for_place(run, f"{index}/4")
    assert all((run.folder / f"saved-0-{index}").exists() for index, run in enumerate(runs[:2]))
    runs[1].terminate()
    assert runs[1].wait() == 143
    for rank, run in enumerate([runs[0], runs[2], runs[3]]):
        wait_for_place(run, f"{rank}/3")
    (runs[0].folder.parent / "done").touch()
    assert [run.wait() for run in (runs[0], runs[2], runs[3])] == [0, 0, 0]
    generations = [life.partition(":")[0] for life in lives(runs[0])]
    assert generations == [str(number) for number in range(len(generations))]
    assert len(generations) <= 4  # one more than needed where the two that joined came far apart


def test_an_agent_that_is_killed_is_replaced_by_another_of_its_index(agents: Agents) -> None:
    port = free_port()
    # The first group finds out that a peer is gone, as a framework does.
    peers = """
if os.environ['GENERATION'] == '0':
    while not os.path.exists('../killed'): time.sleep(0.01)
    record(type('DistNetworkError', (Exception,), {})('Connection closed by peer'))
    sys.exit(1)
"""
    source = SOURCE + peers + "while not os.path.exists('../done'): time.sleep(0.01)"
    runs = [agents.script(worker(index, port, contactTimeoutSeconds=3), source) for index in range(2)]
    for index, run in enumerate(runs):
        wait_for_place(run, f"{index}/2")
    runs[1].vanish()
    (runs[0].folder.parent / "killed").touch()
    wait_for_place(runs[0], "0/1")
    heir = agents.script(worker(1, port, contactTimeoutSeconds=3), source)
    wait_for_place(heir, "1/2")
    (runs[0].folder.parent / "done").touch()
    assert [runs[0].wait(), heir.wait()] == [0, 0]


def test_an_heir_waits_for_as_long_as_the_other_has_ranks(agents: Agents) -> None:
    """The operator took the first one for lost, since its kubelet is, though its ranks train on."""
    port = free_port()
    runs = [agents.script(worker(index, port, contactTimeoutSeconds=3), UNTIL_DONE) for index in range(2)]
    wait_for_place(runs[1], "1/2")
    heir = agents.script(worker(1, port, contactTimeoutSeconds=3, startTimeoutSeconds=1.5), UNTIL_DONE)
    asked = time.monotonic() + 5
    wait_for(lambda: time.monotonic() > asked or heir.process.poll() is not None, "five seconds")
    assert heir.process.poll() is None, heir.failure
    runs[1].terminate()
    wait_for_place(heir, "1/2")
    (runs[0].folder.parent / "done").touch()
    assert [run.wait() for run in (runs[0], heir)] == [0, 0]


def test_a_newcomer_that_can_not_reach_the_leader_makes_room_for_another(agents: Agents) -> None:
    port = free_port()
    leader = agents.script(worker(0, port, wanted=1), UNTIL_DONE)
    wait_for_place(leader, "0/1")
    patient: dict[str, Any] = {"contactTimeoutSeconds": 0.3, "startTimeoutSeconds": None}
    with Wire(port) as wire:
        wire.cut.set()
        cut_off = worker(1, port, **patient) | {"leader": {"host": "127.0.0.1", "port": wire.port}}
        run = agents.script(cut_off, UNTIL_DONE)
        early = agents.script(worker(2, free_port(), **patient), UNTIL_DONE)  # whose leader is not there yet
        assert run.wait() == 143
    assert run.failure["type"] == "PeersAbsent"
    assert f"the leader at 127.0.0.1:{wire.port} did not answer (timed out)" in run.failure["message"]
    assert early.process.poll() is None
    heir = agents.script(worker(1, port), UNTIL_DONE)
    wait_for_place(heir, "1/2")
    (leader.folder.parent / "done").touch()
    assert [leader.wait(), heir.wait()] == [0, 0]


def test_a_rank_that_fails_by_itself_ends_its_agent_alone(agents: Agents) -> None:
    port = free_port()
    source = SOURCE + "while not os.path.exists('../agent-0/lives'): time.sleep(0.01)\n"
    source += "if rank == 1 and os.environ['SIZE'] == '2': os._exit(7)\n"
    source += "while os.environ['SIZE'] == '2': time.sleep(0.01)"
    runs = [agents.script(worker(index, port), source) for index in range(2)]
    assert runs[1].wait() == 7
    assert runs[1].failure["class"] == "Exit"
    assert runs[0].wait() == 0
    assert lives(runs[0]) == ["0:0/2", "1:0/1"]


def test_below_the_least_number_of_workers_the_attempt_ends(agents: Agents) -> None:
    port = free_port()
    runs = [agents.script(worker(index, port, least=2), UNTIL_DONE) for index in range(2)]
    wait_for_place(runs[1], "1/2")
    runs[1].terminate()
    assert [run.wait() for run in runs] == [143, 143]
    assert runs[0].message["state"] == "Stopped"


def test_the_loss_of_the_leader_ends_the_attempt(agents: Agents) -> None:
    port = free_port()
    runs = [agents.script(worker(index, port), UNTIL_DONE) for index in range(2)]
    wait_for_place(runs[1], "1/2")
    runs[0].terminate()
    assert [run.wait() for run in runs] == [143, 143]


def test_enough_workers_start_without_those_that_do_not_come(agents: Agents) -> None:
    port = free_port()
    run = agents.script(worker(0, port, wanted=3), "mark('up')")
    wait_for(lambda: run.progress().get("state") == "Waiting", "the leader's answer")
    assert run.wait() == 0  # after ten seconds


def test_who_comes_when_the_training_ends_is_let_go(agents: Agents) -> None:
    port = free_port()
    source = SOURCE + "while rank and not os.path.exists('../done'): time.sleep(0.01)"
    runs = [agents.script(worker(index, port), source) for index in range(2)]
    wait_for(lambda: runs[0].progress().get("ranks", {}).get("succeeded") == 1, "rank 0's success")
    late = agents.script(worker(2, port), source)
    assert late.wait() == 143
    assert late.failure["type"] == "JobSucceeded"
    (runs[0].folder.parent / "done").touch()
    assert [run.wait() for run in runs] == [0, 0]


def test_ranks_that_lose_each_other_for_no_reason_do_not_begin_for_ever(agents: Agents) -> None:
    port = free_port()
    lost = "record(type('DistNetworkError', (Exception,), {})('Connection closed by peer')); sys.exit(1)"
    runs = [agents.script(worker(index, port), SOURCE + lost) for index in range(2)]
    codes = [run.wait() for run in runs]
    assert codes[0] in {1, 143}
    assert json.dumps(runs[0].message).count("while every agent stayed") + (codes[0] == 1) >= 1
    # A rank may be told to end before it has said anything, since its peer was faster to fail.
    generations = {life.partition(":")[0] for run in runs for life in lives(run)}
    assert 2 <= len(generations) <= 5
