"""Stars of real agents whose ranks are started again in place: who halts, who waits, and who gives up."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import is_alive, plan, star_plans, wait_for

from ftjob_protocol.signing.signature import SignatureError

if TYPE_CHECKING:
    from support.agent_runs import AgentRun, Agents

NEXT_LIFE = """
attempt = os.environ["FTJOB_ATTEMPT"]
mark('pid' + attempt, os.getpid())
"""
FAIL_ONCE = """
if attempt == "0" and rank == {culprit}:
    while not all(any(os.path.exists(f'../agent-{{agent}}/pid0-{{rank}}') for agent in range({count}))
                  for rank in range(2 * {count})): time.sleep(0.01)
    while {held} and not os.path.exists('go'): time.sleep(0.01)
    record(ValueError('only once'))
    os._exit({code})
if attempt == "0":
    signal.pause()
"""


def plans(
    agents: int, processes: int, *, acknowledge: float = 20, patience: float = 60, **changes: Any
) -> list[dict[str, Any]]:
    waits = {"acknowledgeSeconds": acknowledge, "patienceSeconds": patience}
    found = star_plans(agents, processes, inPlace=waits, **changes)
    for config in found:
        for rank in config["ranks"]:
            rank["env"]["FTJOB_ATTEMPT"] = "0"
    return found


def fail_once(
    agents: Agents, culprit: int = 0, *, count: int = 2, code: int = 9, held: bool = False, **config: Any
) -> list[AgentRun]:
    """Start agents of two ranks each, of which one fails in the first attempt; `held`: when `go` is there."""
    script = NEXT_LIFE + FAIL_ONCE.format(culprit=culprit, count=count, code=code, held=held)
    return [agents.script(told, script) for told in plans(count, 2, **config)]


def halted(leader: AgentRun) -> dict[str, Any]:
    """Wait until all ranks are known to be dead; return what the operator sees then."""
    found: dict[str, Any] = wait_for(
        lambda: (told := leader.progress()).get("state") == "Halted" and told, "the halt"
    )
    return found


def say(leader: AgentRun, word: str, **data: Any) -> tuple[int, dict[str, Any]]:
    return leader.request("POST", f"/v1/{word}", json.dumps(data).encode())


def pids(runs: list[AgentRun], attempt: int) -> list[int]:
    return [
        int(p.read_text()) for run in runs for p in run.folder.glob(f"pid{attempt}-*") if p.suffix != ".tmp"
    ]


@pytest.mark.parametrize("culprit", range(6))
def test_all_ranks_end_and_start_again_in_the_same_agents(agents: Agents, culprit: int) -> None:
    runs = fail_once(agents, culprit, count=3)
    told = halted(runs[0])
    assert (told["attempt"], told["ordered"], told["ranks"]["running"]) == (0, 0, 0)
    assert (told["failure"]["rank"], told["failure"]["class"]) == (culprit, "Exception")
    assert told["failure"]["message"].endswith("ValueError: only once")
    first = pids(runs, 0)
    assert len(first) == 6
    assert not any(is_alive(pid) for pid in first)
    assert all(run.process.poll() is None for run in runs)
    status, answer = say(runs[0], "start", attempt=1)
    assert (status, answer["ordered"]) == (200, 1)
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert len(pids(runs, 1)) == 6
    assert [run.message["attempt"] for run in runs] == [1, 1, 1]
    assert all(run.message["failure"] is None for run in runs)
    assert all("ftjob: attempt 1" in run.text("stderr").splitlines() for run in runs)


def test_a_word_that_is_repeated_starts_nothing_twice(agents: Agents) -> None:
    runs = [
        agents.script(config, NEXT_LIFE + "\nif attempt == '0': os._exit(9)\nsignal.pause()")
        for config in plans(2, 1)
    ]
    halted(runs[0])
    answers = [say(runs[0], "start", attempt=1)[0] for _ in range(3)]
    assert answers == [200, 200, 200]
    wait_for(lambda: len(pids(runs, 1)) == 2, "the second attempt")
    second = pids(runs, 1)
    assert say(runs[0], "start", attempt=1)[0] == 200
    assert say(runs[0], "end", attempt=0)[0] == 200, "said before, and late"
    assert say(runs[0], "end", attempt=1)[0] == 409, "its ranks run"
    assert say(runs[0], "start", attempt=2)[0] == 409, "its ranks run"
    assert runs[0].progress()["ranks"]["running"] == 2
    assert all(is_alive(pid) for pid in second)
    assert pids(runs, 1) == second


def test_the_agents_wait_out_the_backoff_without_ranks(agents: Agents) -> None:
    runs = fail_once(agents)
    halted(runs[0])
    status, answer = say(runs[0], "start", attempt=1, waitSeconds=1.5)
    assert (status, answer["state"], answer["ordered"]) == (200, "Halted", 1)
    assert say(runs[0], "end", attempt=0)[0] == 200, "what was said first counts"
    assert pids(runs, 1) == []
    assert [run.wait() for run in runs] == [0, 0]


def test_a_rank_may_fail_as_often_as_the_operator_likes(agents: Agents) -> None:
    script = NEXT_LIFE + "\nif attempt in '012' and rank == int(attempt) % 2: sys.exit(int(attempt) + 3)"
    script += "\nif attempt in '012': signal.pause()"
    runs = [agents.script(config, script) for config in plans(2, 1)]
    for attempt in range(3):
        told = wait_for(
            lambda: (t := runs[0].progress()).get("attempt") == attempt and t["state"] == "Halted" and t,  # noqa: B023
            "the halt",
        )
        assert (told["failure"]["rank"], told["failure"]["exitCode"]) == (attempt % 2, attempt + 3)
        say(runs[0], "start", attempt=attempt + 1)
    assert [run.wait() for run in runs] == [0, 0]


def test_the_operators_end_ends_the_agents_at_once_as_a_failure_does(agents: Agents) -> None:
    runs = fail_once(agents, culprit=1, code=42)
    halted(runs[0])
    assert say(runs[0], "end", attempt=0)[0] == 200
    assert [run.wait(20) for run in runs] == [42, 143]
    assert runs[0].failure["rank"] == 1
    assert runs[1].failure["type"] == "PeerFailed"
    assert "rank 1" in runs[1].failure["message"]


def test_without_a_word_the_agents_end_by_themselves(agents: Agents) -> None:
    runs = fail_once(agents, culprit=2, patience=0.5)
    halted(runs[0])
    assert [run.wait() for run in runs] == [143, 9]
    assert "nobody has said so in time" in runs[0].text("stderr")


def test_an_operator_that_never_asked_is_not_waited_for_long(agents: Agents) -> None:
    runs = fail_once(agents, acknowledge=3, patience=10_000)
    assert [run.wait() for run in runs] == [9, 143]


def test_ranks_that_are_not_known_to_be_dead_are_not_followed_by_others(agents: Agents) -> None:
    runs = fail_once(agents, held=True, acknowledge=1, contactTimeoutSeconds=4)
    wait_for(lambda: len(pids(runs, 0)) == 4, "the ranks' start")
    runs[1].process.send_signal(signal.SIGSTOP)
    (runs[0].folder / "go").touch()
    assert runs[0].wait() == 9
    assert "after 1 s the ranks of worker-1 are not known to be dead" in runs[0].text("stderr")
    runs[1].process.send_signal(signal.SIGCONT)
    assert runs[1].wait() == 143


def test_a_pod_that_is_taken_away_meanwhile_ends_the_others(agents: Agents) -> None:
    runs = fail_once(agents, culprit=0)
    halted(runs[0])
    runs[1].terminate()
    assert [run.wait(20) for run in runs] == [9, 143]


def test_a_lost_leader_ends_the_halted_agents(agents: Agents) -> None:
    runs = fail_once(agents, contactTimeoutSeconds=2)
    halted(runs[0])
    runs[0].process.kill()
    assert runs[1].wait() == 143


def test_an_agent_that_has_succeeded_does_not_come_back(agents: Agents) -> None:
    first, second = plans(2, 1)
    leader = agents.script(first, "while not os.path.exists('go'): time.sleep(0.01)\nsys.exit(7)")
    other = agents.script(second, "sys.exit(0)")
    assert other.wait() == 0
    (leader.folder / "go").touch()
    assert leader.wait(20) == 7
    assert leader.message["state"] == "Failed"


def test_a_hang_halts_as_a_failure_does_with_the_last_lines_of_who_holds_up_the_others(
    agents: Agents,
) -> None:
    script = (
        NEXT_LIFE
        + """
for step in range(2):
    with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
        file.write(json.dumps({"step": step}) + "\\n")
print("at step", step, flush=True)
if attempt == "0": time.sleep(600)
"""
    )
    watched = plans(2, 1, watchdog={"hangSeconds": 1, "counts": True})
    runs = [agents.script(config, script) for config in watched]
    told = halted(runs[0])
    assert told["failure"]["class"] == "Hang"
    assert told["failure"]["logTail"].endswith("at step 1")
    say(runs[0], "start", attempt=1)
    assert [run.wait() for run in runs] == [0, 0]


def test_what_a_rank_left_running_is_dead_before_the_next_attempt(agents: Agents) -> None:
    script = (
        NEXT_LIFE
        + """
if attempt == "0":
    if os.fork() == 0:
        os.setsid()
        mark('stray', os.getpid())
        time.sleep(600)
    while not os.path.exists('stray-0'): time.sleep(0.01)
    os._exit(9)
"""
    )
    (config,) = plans(1, 1)
    run = agents.script(config, script)
    halted(run)
    assert not is_alive(int(run.text("stray-0")))
    say(run, "start", attempt=1)
    assert run.wait() == 0


@pytest.mark.parametrize(
    ("word", "body", "status"),
    [
        ("start", b'{"attempt": 1}', 409),
        ("end", b'{"attempt": 0}', 409),
        ("start", b"{}", 400),
        ("start", b'{"attempt": true}', 400),
        ("start", b'{"attempt": 1, "waitSeconds": -1}', 400),
        ("start", b'{"attempt": 1, "waitSeconds": 1e9}', 400),
        ("start", b'{"attempt": 1, "waitSeconds": NaN}', 400),
        ("start", b"[]", 400),
    ],
)
@pytest.mark.parametrize("in_place", [None, {}])
def test_words_that_make_no_sense_change_nothing(
    agents: Agents, word: str, body: bytes, status: int, in_place: dict[str, int] | None
) -> None:
    run = agents.script(plan(inPlace=in_place), "mark('up'); signal.pause()")
    wait_for((run.folder / "up-0").exists, "the rank's start")
    assert run.request("POST", f"/v1/{word}", body)[0] == status
    with pytest.raises(SignatureError, match="401"):
        run.request("POST", f"/v1/{word}", body, token="wrong")
    assert run.request("GET", f"/v1/{word}")[0] == 405
    assert run.progress()["state"] == "Running"


def test_the_next_life_waits_for_a_rank_that_goes_on_after_its_exception(agents: Agents) -> None:
    goes_on = """
if attempt == "0" and rank == 1:
    record(ValueError('only once'))
    for part in range(25):
        time.sleep(0.1)
        with open('parts', 'a') as file: file.write('part\\n')
    sys.exit(1)
if attempt == "0":
    signal.pause()
"""
    runs = [agents.script(told, NEXT_LIFE + goes_on) for told in plans(2, 1, acknowledge=0.5)]
    told = halted(runs[0])
    assert told["failure"]["type"] == "ValueError"
    assert len(runs[1].text("parts").splitlines()) == 25
    assert say(runs[0], "start", attempt=1, waitSeconds=0)[0] == 200
    assert [run.wait() for run in runs] == [0, 0]
