"""What one side says the other understands: operator and agent, each by the code that it really runs."""

from __future__ import annotations

import ast
import functools
import json
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.agent_zipapp import OPERATOR
from support.builders import CONFIG, job

from ftjob.plan.build.agent_config import agent_command
from ftjob.plan.layout import cluster_layout
from ftjob_agent import termination_log
from ftjob_agent.star.book import Book
from ftjob_agent.watching.account import Account
from ftjob_agent.watching.rank_folder import RankProgress
from ftjob_protocol import captures, orders, steps, variables
from ftjob_protocol.agent_config import parse
from ftjob_protocol.failures import Failure, FailureClass, FailureType, first
from ftjob_protocol.leader_state import LeaderState
from ftjob_protocol.orders import Order, OrderKind
from ftjob_protocol.reasons import Reason
from ftjob_protocol.states import State
from ftjob_protocol.termination import parse_termination_message
from ftjob_protocol.values.ranges import to_ranges

if TYPE_CHECKING:
    from pathlib import Path

    from support.builders import JobBuilder

    from ftjob.plan.build.agent_config import AgentCommand
    from ftjob_protocol.agent_config import AgentConfig

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=40)
NUMBERS = st.integers(0, 2**40)
FAILURES = st.builds(
    Failure,
    failure_class=st.sampled_from(FailureClass),
    message=WORDS,
    rank=st.none() | st.integers(0, 10**6),
    time_ns=NUMBERS,
    type=st.sampled_from(FailureType) | WORDS,
    exit_code=st.none() | st.integers(0, 255),
    log_tail=WORDS,
)
PROGRESS = st.builds(
    RankProgress,
    step=NUMBERS,
    total_steps=st.none() | NUMBERS,
    epoch=st.none() | st.floats(0, 1e9),
    metrics=st.dictionaries(
        st.text("abc", min_size=1), st.floats(allow_nan=False, allow_infinity=False), max_size=3
    ),
)
CAPTURES = st.dictionaries(st.sampled_from(["s0", "s1"]), st.lists(st.integers(0, 10**6), max_size=8))
JOBS: dict[str, JobBuilder] = {
    "one rank": job(),
    "Horovod, profiled": job().strategy("Horovod").workers(2).processes(2).with_spec(
        profiling={"mode": "Scheduled"}, watchdog={"hangSeconds": 60}, outputs={}
    ),
    "elastic Horovod": job().strategy("Horovod").workers(2).with_spec(
        elastic={"minWorkers": 1, "maxWorkers": 4}
    ),
    "started again in place": job().strategy("Torchrun").workers(2).with_spec(restart={"limit": 3}),
    "parameter servers": job().strategy("ParameterServer").workers(1).roles(chief=1, ps=1).success("Chief"),
}  # fmt: skip


def told(wanted: JobBuilder) -> list[AgentCommand]:
    """Return what the planner tells each agent of a job."""
    built = wanted.build()
    layout = cluster_layout(built, 0)
    return [agent_command(built, layout, worker, CONFIG) for worker in layout.workers]


@pytest.mark.parametrize("wanted", JOBS.values(), ids=JOBS)
def test_an_agent_reads_what_the_planner_has_written(wanted: JobBuilder) -> None:
    for worker in told(wanted):
        assert parse(worker.config_json) == worker.config


@functools.cache
def config_of(name: str, index: int = 0) -> AgentConfig:
    return parse(told(JOBS[name])[index].config_json)


@given(
    FAILURES,
    PROGRESS,
    st.dictionaries(st.sampled_from(["s0", "s1"]), st.lists(st.integers(0, 10**6), max_size=8)),
    st.lists(WORDS),
)
def test_the_operator_reads_the_last_word_of_an_agent(
    failure: Failure, progress: RankProgress, done: dict[str, list[int]], notes: list[str]
) -> None:
    config, account = config_of("one rank"), Account()
    account.captures, account.progress = done, {0: progress}
    for note in notes:
        account.note(note)
    written = account.termination_message(config, State.FAILED, failure)
    read = parse_termination_message(termination_log.encode(written.as_json()).decode())
    assert read is not None
    assert read.failure == Failure.from_json(failure.as_json())
    assert (read.attempt, read.role, read.index, read.state) == (0, "worker", 0, "Failed")
    assert (read.progress, dict(read.captures)) == (
        progress.as_json(),
        {capture: to_ranges(ranks) for capture, ranks in done.items()},
    )


@given(FAILURES, PROGRESS)
def test_the_operator_reads_what_the_leader_makes_of_its_agents_messages(
    failure: Failure, progress: RankProgress
) -> None:
    name = "Horovod, profiled"
    book = Book(config_of(name), now=0.0)
    for index in range(2):
        config, account = config_of(name, index), Account()
        account.captures, account.progress = {"s0": [2 * index]}, {2 * index: progress}
        account.note("a note")
        ranks: list[Any] = [SimpleNamespace(spec=spec, state=State.RUNNING) for spec in config.ranks]
        message = account.message(config, State.RUNNING, failure if index else None, ranks)
        book.hear((config.role, config.index), json.loads(json.dumps(message)), now=1.0)
    said = book.leader_state()
    read = LeaderState.read(json.loads(json.dumps(said.as_json())))
    assert read == replace(said, failure=read.failure)
    assert read.failure == Failure.from_json(failure.as_json())
    assert said.ranks == {"total": 4, "running": 4, "succeeded": 0, "failed": 0}
    assert list(said.notes) == ["a note"]
    assert read.captures == {"s0": (range(1), range(2, 3))}
    assert read.progress == progress.as_json()


@pytest.mark.parametrize("order", [Order(OrderKind.START, 3, 4.5), Order(OrderKind.END, 2)])
def test_the_leader_reads_an_order(order: Order) -> None:
    assert Order.read(order.path, json.loads(json.dumps(order.as_json()))) == order


def test_the_leader_knows_an_agent_by_its_path() -> None:
    assert orders.read_agent_path(orders.agent_path("worker", 17)) == ("worker", 17)
    for other in (orders.PROGRESS, "/v1/agents/worker", "/v1/agents/worker/x", "/v1/agents/worker/12345678"):
        assert orders.read_agent_path(other) is None


def test_the_hooks_read_which_captures_the_agent_wants() -> None:
    profiling = config_of("Horovod, profiled").profiling
    assert profiling is not None
    written = json.loads(json.dumps(captures.profile(profiling.wanted, "/out")))
    read = captures.Profile.read(written)
    assert (read.prefix, read.capture_dir, read.plugins_dir) == ("s", "/out/captures", "/out/plugins/profile")
    assert captures.Wanted(*map(_plain, read.wanted)) == captures.Wanted(*map(_plain, profiling.wanted))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("is_partial", [False, True])
def test_readers_of_outputs_read_what_a_rank_has_captured(is_partial: bool) -> None:
    done = captures.Done(3, 11, 13, ("a.xplane.pb",), is_partial)
    assert captures.Done.read(json.loads(json.dumps(done.as_json()))) == done
    assert captures.Done.read({"rank": 3}) is None


def test_a_file_of_steps_that_nobody_has_written_to_tells_of_none(tmp_path: Path) -> None:
    path = tmp_path / "steps.bin"
    path.write_bytes(steps.BLANK)
    assert steps.read(str(path)) == steps.Steps(0, None, 0, 0, None, is_exact=False)
    path.write_bytes(steps.BLANK[:-1])
    assert steps.read(str(path)) is None


def test_the_cause_comes_before_its_consequences_and_what_nobody_knows_is_no_consequence() -> None:
    lost, other = Failure("PeerLost", "", time_ns=1), Failure("SomethingNew", "", time_ns=2)
    assert first([Failure("Stopped", "", time_ns=0), lost, other]) is other
    assert [kind for kind in FailureClass if not Failure(kind, "").is_primary] == ["PeerLost", "Stopped"]


def test_lost_contact_explains_lost_peers_and_is_no_exception_of_that_name() -> None:
    silence = Failure("Stopped", "", time_ns=9, type="LostContact")
    assert first([Failure("PeerLost", "", time_ns=1), silence, Failure("Stopped", "", time_ns=0)]) is silence
    assert first([silence, Failure("Exit", "", time_ns=10)]) is not silence
    assert Failure("Exception", "", type="LostContact").is_primary


def test_each_class_of_failures_is_a_reason() -> None:
    assert set(FailureClass) | {FailureType.OOM_KILLED} <= set(Reason)


def test_reasons_are_spelt_in_one_place() -> None:
    own = {str(word) for word in (*Reason, *FailureType) if re.match("[A-Z][a-z]+[A-Z]|OOM", word)}
    for package in ("ftjob", "ftjob_agent"):
        for path in (OPERATOR / package).rglob("*.py"):
            said = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
            assert not own & {word for word in said if isinstance(word, str)}, path


def test_what_every_process_of_a_rank_pays_for_spells_the_variables_as_they_are() -> None:
    # Without the protocol, which would cost each of them a millisecond.
    known = {value for name, value in vars(variables).items() if name.isupper()}
    hooks = OPERATOR / "ftjob_agent" / "hooks"
    for path in (hooks / "sitecustomize.py", hooks / "ftjob_hooks" / "start.py"):
        said = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
        named = {value for value in said if isinstance(value, str) and value.startswith("FTJOB_")}
        assert named
        assert named <= known
