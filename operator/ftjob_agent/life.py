"""The agent's life: named states, each a function that returns the next.

preparing → gathering → starting → running → (examining) → stopping → ending → the end. Elastic jobs attend
instead of starting and running. Where ranks may be started again in place, stopping → halting → resuming →
starting. A state ends early by raising ConfigError, which leads to stopping.
"""

from __future__ import annotations

import sys
import time
import traceback
from typing import TYPE_CHECKING, Callable, Mapping, Optional, Sequence

from ftjob_agent import outputs
from ftjob_agent.agent import Agent
from ftjob_agent.config import ConfigError, check_identity, read
from ftjob_agent.exit import FAREWELL_SECONDS, stopped_by_signal, stopped_by_success
from ftjob_agent.ranks import environment
from ftjob_protocol.failures import Failure, FailureClass, FailureType
from ftjob_protocol.states import Command, State

if TYPE_CHECKING:
    from ftjob_agent.ranks.supervise import Rank

TICK = 1.0
EVIDENCE_SECONDS = 1.0
NOTICE_SECONDS = 10.0
"""An agent that has waited for so long for others says why, and then more and more rarely."""
LONGEST_NOTICE_SECONDS = 3600.0

Stage = Callable[[Agent], "Optional[Stage]"]


def run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Live one attempt; return the exit code."""
    agent = Agent(command, environ)
    state: Optional[Stage] = preparing
    while state is not None:
        try:
            state = state(agent)
        except ConfigError as error:
            state = fail(agent, str(error), error.exit_code, "")
        except Exception as error:  # a defect of ours must not leave ranks or their peers behind
            traceback.print_exc()
            text = f"the agent failed: {type(error).__name__}: {error}"
            state = fail(agent, text, 70, FailureType.AGENT_ERROR)
    return agent.end()


def fail(agent: Agent, text: str, exit_code: int, failure_type: str) -> Optional[Stage]:
    """Note why the agent can't go on; return the state that follows."""
    sys.stderr.write(f"ftjob: {text}\n")
    known = agent.facts.failure
    if known is not None and known.type == FailureType.AGENT_ERROR:
        return None  # once is enough
    agent.facts.fail(
        Failure(FailureClass.CONFIG, text, time_ns=time.time_ns(), type=failure_type, exit_code=exit_code)
    )
    return stopping


def preparing(agent: Agent) -> Optional[Stage]:
    """Read the plan, get in touch, and see that ranks could run."""
    config = read(agent.environ)
    agent.get_in_touch(config)
    check_identity(config, agent.environ)
    outputs.make_folders(config, agent.environ)
    environment.make_run_dir(config, agent.environ)
    agent.unpack_code()
    if config.rendezvous is not None:
        agent.start_rendezvous()
    agent.start_watch()
    agent.tell()
    return gathering


def gathering(agent: Agent) -> Optional[Stage]:
    """Wait until all agents that the ranks need are there."""
    pause, notice = NOTICE_SECONDS, time.monotonic() + NOTICE_SECONDS
    while True:
        now = time.monotonic()
        if agent.is_told_to_stop(now):
            return stopping
        if agent.rendezvous is not None and agent.rendezvous.error:
            raise ConfigError(agent.rendezvous.error)
        if agent.contact.command == Command.START:
            return starting if agent.config.elastic is None else attending
        if now >= notice:
            sys.stderr.write(f"ftjob: {agent.config.name} {agent.contact.why_waiting()}\n")
            agent.contact.tell_why()
            pause = min(6 * pause, LONGEST_NOTICE_SECONDS)
            notice = now + pause
        agent.loop.wait(min(notice, agent.contact.next_look(now)))


def starting(agent: Agent) -> Optional[Stage]:
    """Start the ranks."""
    agent.enter(State.RUNNING)
    for spec in agent.config.ranks:
        agent.start(spec)
    agent.start_sampler()
    agent.tell()
    return running


def running(agent: Agent) -> Optional[Stage]:
    """Watch the ranks."""
    contact, supervisor = agent.contact, agent.supervisor
    next_tick = 0.0
    while True:
        now = time.monotonic()
        if contact.command in {Command.STOP, Command.HALT} and not agent.facts.signals:
            return examining
        if agent.is_told_to_stop(now):
            return stopping
        agent.look_at_exceptions(now)
        if any(rank.has_failed for rank in supervisor.ranks):
            return examining
        if not supervisor.running:
            return ending
        next_tick = _look_or_tell(agent, now, next_tick)
        agent.loop.wait(min(next_tick, contact.next_look(now)))


def attending(agent: Agent) -> Optional[Stage]:
    """Run what the leader of an elastic job wants."""
    contact, slots = agent.contact, agent.serve_slots()
    agent.enter(State.RUNNING)
    agent.start_sampler()
    next_tick = 0.0
    while True:
        now = time.monotonic()
        if agent.is_told_to_stop(now):
            return stopping
        agent.look_at_exceptions(now)
        slots.follow(contact.slots, now)
        if slots.have_failed:
            return examining
        if slots.have_succeeded:
            return ending
        next_tick = _look_or_tell(agent, now, next_tick)
        agent.loop.wait(min(next_tick, contact.next_look(now), slots.next_look() or next_tick))


def _look_or_tell(agent: Agent, now: float, next_tick: float) -> float:
    """Look once a second, and in between tell at once what is new; return when the next look is due."""
    if now < next_tick:
        if agent.has_news:
            agent.tell()
        return next_tick
    agent.look()
    return now + TICK


def examining(agent: Agent) -> Optional[Stage]:
    """Find the rank that failed first, before those that it takes along are killed.

    A victim often ends before the culprit does: it sees a connection closed while the culprit still runs
    its atexit handlers. So as long as only victims are known, records and exits are waited for.
    """
    contact = agent.contact
    limit = time.monotonic() + EVIDENCE_SECONDS
    agent.examine()
    agent.tell()
    while time.monotonic() < limit and not agent.facts.signals and agent.supervisor.running:
        local = agent.first_local()
        known = contact.reason if contact.command in {Command.STOP, Command.HALT} else None
        if (local and local.is_primary) or (known and known.failure_class != FailureClass.PEER_LOST):
            break
        # A record appears as a file, which wakes nobody.
        agent.loop.wait(min(limit, time.monotonic() + 0.05))
        agent.look_at_exceptions(time.monotonic())
    _hear_whether_all_are_there(agent)
    agent.is_told_to_stop(time.monotonic())
    return stopping


def _hear_whether_all_are_there(agent: Agent) -> None:
    """Let the leader find out whether a network failed, if all that is known is that peers were lost."""
    contact, now = agent.contact, time.monotonic()
    limit = now + agent.config.contact_timeout
    contact.doubt(now)
    while now < limit and contact.command == Command.START and not agent.is_told_to_stop(now):
        local = agent.first_local()
        if local is None or local.failure_class != FailureClass.PEER_LOST:
            return
        agent.loop.wait(min(limit, contact.next_look(now)))
        now = time.monotonic()


def stopping(agent: Agent) -> Optional[Stage]:
    """End the ranks that still run; one that has raised may go on for as long as it visibly works."""
    supervisor, facts = agent.supervisor, agent.facts
    supervisor.reap()
    left = supervisor.running
    if not left:
        return _ended(agent)
    agent.examine()
    left = _still_there(agent, left)
    if not agent.may_resume():
        agent.enter(State.FAILED if facts.failure or agent.first_local() else State.STOPPED)
    agent.tell()
    if facts.signals:
        agent.write_message()  # the kubelet may kill us before the ranks have ended
    while left:
        now = time.monotonic()
        # A restarted kubelet sends SIGTERM again: it says nothing new, and a checkpoint may be half written.
        limits = [
            rank.told_at + facts.grace(agent.config.stop_grace) for rank in left if rank.told_at is not None
        ]
        if len(limits) == len(left) and all(now >= limit + FAREWELL_SECONDS for limit in limits):
            agent.account.note(
                "a rank did not end even by SIGKILL: it hangs in the kernel, in a driver or a volume"
            )
            return ending
        agent.loop.wait(min([limit for limit in limits if limit > now] + [now + TICK]))
        left = _still_there(agent, left)
    return _ended(agent)


def _still_there(agent: Agent, ranks: Sequence[Rank]) -> list[Rank]:
    """Take the next step to the end of these ranks; return those that are not at it."""
    now, config = time.monotonic(), agent.config
    grace = agent.facts.grace(config.stop_grace)
    agent.look_at_exceptions(now)
    left = []
    for rank in ranks:
        may_go_on = rank.code is None and rank.told_at is None and not agent.facts.signals
        goes_on = may_go_on and rank.goes_on(now, config.exception_grace)
        if goes_on or not agent.supervisor.end(rank, now, grace):
            left.append(rank)
    return left


def _ended(agent: Agent) -> Stage:
    agent.keep_last_steps()
    return halting if agent.may_resume() else ending


def halting(agent: Agent) -> Optional[Stage]:
    """Say that the ranks are dead, and wait for the word that starts them again, or ends the agent."""
    contact, leader = agent.contact, agent.leader
    agent.forget_rendezvous()
    if not agent.supervisor.kill_leftovers():
        return ending
    agent.examine()
    agent.enter(State.HALTED)
    agent.look()
    while True:
        now = time.monotonic()
        if contact.trouble(now) or contact.command == Command.STOP or agent.facts.signals:
            return ending
        if contact.command == Command.START and contact.attempt > agent.config.attempt:
            return resuming
        if leader is not None:
            if leader.is_halted and agent.rendezvous is None and agent.config.rendezvous is not None:
                agent.start_rendezvous()  # a fresh one, and not before no rank is left that could speak to it
            if agent.rendezvous is not None and agent.rendezvous.error:
                leader.give_up(agent.rendezvous.error)
                continue
        agent.loop.wait(contact.next_look(now))


def resuming(agent: Agent) -> Optional[Stage]:
    """Become what a new agent would be in the attempt that follows."""
    agent.begin_anew(agent.contact.attempt)
    return starting


def ending(agent: Agent) -> Optional[Stage]:
    """Say how it ended; the leader stays until all others have said so."""
    agent.look_for_the_last_time()
    facts, end = agent.facts, agent.conclude()
    if not agent.is_in_touch:
        return None
    contact, leader, config = agent.contact, agent.leader, agent.config
    agent.tell()
    if leader is not None and end.state == State.STOPPED and end.failure is not None:
        leader.stop(end.failure)
    if leader is not None and end.state == State.SUCCEEDED and config.success_ends_job:
        leader.stop(stopped_by_success(config))
    patience = facts.patience(end.state, config)
    limit = None if patience is None else time.monotonic() + patience
    while not contact.is_done():
        now = time.monotonic()
        if limit is None and (facts.signals or contact.trouble(now) or contact.command == Command.STOP):
            limit = now + FAREWELL_SECONDS
            if facts.signals and leader is not None:
                leader.stop(stopped_by_signal())
        if limit is not None and now >= limit:
            break
        agent.loop.wait(limit if limit is not None else contact.next_look(now))
    return None
