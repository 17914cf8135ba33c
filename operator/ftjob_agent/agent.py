"""The agent's life: named states, each a method that returns the next.

preparing → gathering → starting → running → (examining) → stopping → reporting → the end. Where ranks may be
started again in place, stopping → halting → resuming → starting. A state ends early by raising ConfigError,
which leads to stopping.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Callable, Mapping, Optional, Sequence, Union

from ftjob_agent import environment, failure, message, outputs
from ftjob_agent.account import Account
from ftjob_agent.config import Config, ConfigError, RankSpec, check_identity, parse
from ftjob_agent.failure import Failure
from ftjob_agent.loop import Loop
from ftjob_agent.pump import RankLog
from ftjob_agent.star import FAILED, HALT, HALTED, RUNNING, START, STOP, STOPPED, SUCCEEDED, WAITING
from ftjob_agent.supervise import Supervisor

if TYPE_CHECKING:
    from ftjob_agent.client import Client
    from ftjob_agent.leader import Leader
    from ftjob_agent.rendezvous import Rendezvous
    from ftjob_agent.sampler import Sampler
    from ftjob_agent.slots import Slots
    from ftjob_agent.supervise import Rank
    from ftjob_agent.watch import Watch

TICK = 1.0
EVIDENCE_SECONDS = 1.0
SIBLING_GRACE = 1.0
FAREWELL_SECONDS = 5.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
FORWARDED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

State = Callable[[], "Optional[State]"]


def run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Live one attempt; return the exit code."""
    agent = Agent(command, environ)
    state: Optional[State] = agent.preparing
    while state is not None:
        try:
            state = state()
        except ConfigError as error:
            state = agent.misconfigured(str(error), error.exit_code, "")
        except Exception as error:  # a defect of ours must not leave ranks or their peers behind
            traceback.print_exc()
            state = agent.misconfigured(
                f"the agent failed: {type(error).__name__}: {error}", 70, "AgentError"
            )
    return agent.end()


class Agent:
    """One worker's agent in one attempt."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command, self._environ = command, environ
        self._loop = Loop()
        self._loop.on_signals(STOP_SIGNALS, self._on_stop_signal)
        self._loop.on_signals(FORWARDED, self._on_forwarded)
        self._supervisor = Supervisor()
        self._loop.on_signals((signal.SIGCHLD,), lambda _number: self._supervisor.reap())
        self._config: Optional[Config] = None
        self._contact: Union[Leader, Client, None] = None
        self._rendezvous: Optional[Rendezvous] = None
        self._sampler: Optional[Sampler] = None
        self._slots: Optional[Slots] = None
        self._watch: Optional[Watch] = None
        self._account = Account()
        self._signals = 0
        self._state = WAITING
        self._failure: Optional[Failure] = None
        self._reason: Optional[Failure] = None
        self._is_own_reason = False
        self._is_examined = False
        self._told_running = 0
        self._told_slots: dict[str, object] = {}

    # The states.

    def preparing(self) -> Optional[State]:
        """Read the plan, get in touch, and see that ranks could run."""
        config = self._config = parse(self._environ.get("FTJOB_AGENT_CONFIG", ""))
        token = self._environ.get("FTJOB_TOKEN", "")
        if not token:
            raise ConfigError("FTJOB_TOKEN is not set; the job's Secret must hold it, see the pod's events")
        if config.is_leader:
            from ftjob_agent.leader import Leader

            self._contact = Leader(self._loop, config, token)
        else:
            from ftjob_agent.client import Client

            self._contact = Client(self._loop, config, token)
        check_identity(config, self._environ)
        outputs.make_folders(config, self._environ)
        environment.make_run_dir(config, self._environ)
        if config.rendezvous is not None:
            self._contact.conduct(self._serve_rendezvous().say)
        self._watch = self._new_watch()
        self._tell()
        return self.gathering

    def gathering(self) -> Optional[State]:
        """Wait for whom the ranks need."""
        contact = self._in_touch()
        while True:
            now = time.monotonic()
            if self._is_told_to_stop(now):
                return self.stopping
            if self._rendezvous is not None and self._rendezvous.error:
                raise ConfigError(self._rendezvous.error)
            if contact.command == START:
                return self.starting if self._planned().elastic is None else self.attending
            self._loop.wait(contact.next_look(now))

    def starting(self) -> Optional[State]:
        """Start the ranks."""
        self._state = RUNNING
        for spec in self._planned().ranks:
            self._start(spec)
        self._start_sampler()
        self._tell()
        return self.running

    def running(self) -> Optional[State]:
        """Watch the ranks."""
        contact = self._in_touch()
        next_tick = 0.0
        while True:
            now = time.monotonic()
            if contact.command in {STOP, HALT} and not self._signals:
                return self.examining
            if self._is_told_to_stop(now):
                return self.stopping
            if any(rank.has_failed(now) for rank in self._supervisor.ranks):
                return self.examining
            if not self._supervisor.running:
                return self.reporting
            if now >= next_tick:
                next_tick = now + TICK
                self._look()
            elif len(self._supervisor.running) != self._told_running:
                self._tell()
            self._loop.wait(min(next_tick, contact.next_look(now)))

    def attending(self) -> Optional[State]:
        """Run what the leader of an elastic job orders."""
        from ftjob_agent.slots import Slots

        contact = self._in_touch()
        slots = self._slots = Slots(self._planned(), self._supervisor, self._environ, self._start)
        self._state = RUNNING
        self._start_sampler()
        next_tick = 0.0
        while True:
            now = time.monotonic()
            if self._is_told_to_stop(now):
                return self.stopping
            slots.follow(contact.slots, now)
            if slots.have_failed:
                return self.examining
            if slots.have_succeeded:
                return self.reporting
            if now >= next_tick:
                next_tick = now + TICK
                self._look()
            elif slots.report() != self._told_slots:
                self._tell()
            looks = [next_tick, contact.next_look(now), slots.next_look() or next_tick]
            self._loop.wait(min(looks))

    def examining(self) -> Optional[State]:
        """Find the rank that failed first, before those that it takes along are killed.

        A victim often ends before the culprit does: it sees a connection closed while the culprit still runs
        its atexit handlers. So as long as only victims are known, records and exits are waited for.
        """
        contact = self._in_touch()
        limit = time.monotonic() + EVIDENCE_SECONDS
        self._is_examined = True
        self._tell()
        while time.monotonic() < limit and not self._signals and self._supervisor.running:
            local = self._first_local()
            known = contact.reason if contact.command in {STOP, HALT} else None
            if (local and local.is_primary) or (known and known.kind != failure.PEER_LOST):
                break
            # A record appears as a file, which wakes nobody.
            self._loop.wait(min(limit, time.monotonic() + 0.05))
        self._is_told_to_stop(time.monotonic())
        return self.stopping

    def stopping(self) -> Optional[State]:
        """End the ranks that still run."""
        if not self._supervisor.running:
            return self.halting if self._may_resume() else self.reporting
        self._is_examined = True
        self._supervisor.signal_ranks(signal.SIGTERM)
        if not self._may_resume():
            self._state = FAILED if self._failure or self._first_local() else STOPPED
        self._tell()
        if self._signals:
            self._write_message()  # the kubelet may kill us before the ranks have ended
        began, signals = time.monotonic(), self._signals
        while self._supervisor.running and self._signals <= max(1, signals):
            limit = began + self._grace()
            if time.monotonic() >= limit:
                break
            self._loop.wait(limit)
        self._supervisor.signal_ranks(signal.SIGKILL)
        limit = time.monotonic() + FAREWELL_SECONDS
        while self._supervisor.running and time.monotonic() < limit:
            self._loop.wait(limit)
        if self._supervisor.running:
            self._account.note(
                "a rank did not end even by SIGKILL: it hangs in the kernel, in a driver or a volume"
            )
            return self.reporting
        return self.halting if self._may_resume() else self.reporting

    def halting(self) -> Optional[State]:
        """Say that the ranks are dead, and wait for the word that starts them again, or ends the agent."""
        contact, self._rendezvous = self._in_touch(), None
        if not self._supervisor.kill_leftovers():
            return self.reporting
        self._is_examined, self._state = True, HALTED
        self._look()
        while True:
            now = time.monotonic()
            if contact.trouble(now) or contact.command == STOP or self._signals:
                return self.reporting
            if contact.command == START and contact.attempt > self._planned().attempt:
                return self.resuming
            if contact.is_halted and self._rendezvous is None and self._planned().rendezvous is not None:
                self._serve_rendezvous()  # a fresh one, and not before no rank is left that could speak to it
            if self._rendezvous is not None and self._rendezvous.error:
                contact.give_up(self._rendezvous.error)
            else:
                self._loop.wait(contact.next_look(now))

    def resuming(self) -> Optional[State]:
        """Become what a new agent would be in the attempt that follows."""
        self._config = self._planned().of_attempt(self._in_touch().attempt)
        self._failure = self._reason = None
        self._is_own_reason = self._is_examined = False
        self._supervisor.forget()
        self._account.begin_anew()
        self._watch = self._new_watch()
        environment.make_run_dir(self._config, self._environ)
        return self.starting

    def reporting(self) -> Optional[State]:
        """Say how it ended; the leader stays until all others have said so."""
        self._look_for_the_last_time()
        self._state, self._failure = self._verdict()
        if self._contact is None or self._config is None:
            return None
        contact = self._contact
        self._tell()
        if self._state == STOPPED and self._failure is not None:
            contact.stop(self._failure)
        if self._state == SUCCEEDED and self._config.success_ends_job:
            contact.stop(_job_succeeded(self._config))
        limit = self._patience()
        while not contact.is_done():
            now = time.monotonic()
            if limit is None and (self._signals or contact.trouble(now) or contact.command == STOP):
                limit = now + FAREWELL_SECONDS
                if self._signals:
                    contact.stop(self._stopped_by_signal())
            if limit is not None and now >= limit:
                break
            self._loop.wait(limit if limit is not None else contact.next_look(now))
        return None

    # What leads out of them.

    def misconfigured(self, text: str, exit_code: int, kind: str) -> Optional[State]:
        """Note why the ranks could not be started; return the state that follows."""
        sys.stderr.write(f"ftjob: {text}\n")
        if self._failure is not None and self._failure.type == "AgentError":
            return None  # once is enough
        self._failure = Failure(failure.CONFIG, text, time_ns=time.time_ns(), type=kind, exit_code=exit_code)
        return self.stopping

    def end(self) -> int:
        """Leave nothing behind; return the exit code."""
        self._supervisor.kill_leftovers()
        self._supervisor.drain(FAREWELL_SECONDS)
        for rank in self._supervisor.ranks:
            if rank.log.error:
                self._account.note(f"rank {rank.spec.rank}: {rank.log.error}")
        self._write_message()
        if self._state == SUCCEEDED:
            return 0
        if self._state == FAILED and self._failure is not None and self._failure.kind != failure.HANG:
            return self._failure.exit_code or 1
        return 143

    def _patience(self) -> Optional[float]:
        """Return until when the others are waited for; None: as long as it takes."""
        config, now = self._planned(), time.monotonic()
        if self._state == SUCCEEDED:
            # A success must be known to the leader, or it would count this agent as lost.
            return None if config.is_leader else now + config.contact_timeout
        if self._is_own_reason and not config.is_leader:
            return now  # contact is what is missing
        is_idle = self._state == STOPPED and not config.is_leader
        return now + (SIBLING_GRACE if is_idle else FAREWELL_SECONDS)

    def _verdict(self) -> tuple[str, Optional[Failure]]:
        if self._failure is not None:
            return STOPPED if self._failure.kind == failure.STOPPED else FAILED, self._failure
        local = self._first_local() or self._own_hang()
        if local is not None:
            return FAILED, local
        ranks = self._supervisor.ranks
        if ranks and all(rank.code == 0 and not rank.stopped_ns for rank in ranks):
            return SUCCEEDED, None
        reason = self._reason or Failure(failure.STOPPED, "the agent ended", time_ns=time.time_ns())
        if reason.kind == failure.CONFIG and self._is_own_reason:
            return FAILED, reason  # this agent has found out that peers are absent
        if reason.kind == failure.STOPPED:
            return STOPPED, reason
        text = f"stopped because of {reason.in_short()}"
        return STOPPED, Failure(
            failure.STOPPED, text, time_ns=time.time_ns(), type="PeerFailed", exit_code=143
        )

    def _is_told_to_stop(self, now: float) -> bool:
        """Whether something from outside ends this agent's ranks; the reason is kept."""
        contact = self._in_touch()
        if self._watch is not None:
            self._watch.follow(contact.stacks)
        if self._reason is None:
            trouble = contact.trouble(now) if contact.command != STOP else None
            if self._signals:
                self._reason = self._stopped_by_signal()
            elif trouble is not None:
                self._reason, self._is_own_reason = trouble, True
            elif contact.command in {STOP, HALT}:
                self._reason = contact.reason
        return self._reason is not None

    def _grace(self) -> float:
        """Return how long ranks may take: when the pod ends they may want to write a checkpoint."""
        reason = self._reason
        told = reason is not None and reason.kind == failure.STOPPED and reason.type == "SIGTERM"
        by_signal = self._signals or told
        return self._planned().stop_grace if by_signal else SIBLING_GRACE

    def _may_resume(self) -> bool:
        """Whether the ranks, once they are dead, may be started again by this agent."""
        contact, ranks = self._contact, self._supervisor.ranks
        if contact is None or self._planned().in_place is None or self._failure is not None:
            return False
        if self._signals or self._is_own_reason or contact.command not in {START, HALT}:
            return False
        return any(rank.code != 0 or rank.stopped_ns for rank in ranks)  # or all have succeeded

    def _new_watch(self) -> Optional[Watch]:
        if self._planned().watchdog is None:
            return None
        from ftjob_agent.watch import Watch

        return Watch(
            self._planned(),
            self._loop,
            supervisor=self._supervisor,
            account=self._account,
            path=self._environ.get("PATH", os.defpath),
            tell=self._tell,
        )

    def _serve_rendezvous(self) -> Rendezvous:
        from ftjob_agent.rendezvous import Rendezvous

        contact = self._in_touch()
        contact.set_ready(False)
        self._rendezvous = Rendezvous(
            self._loop,
            self._supervisor,
            self._planned(),
            command=self._command,
            env=environment.of_container(self._environ),
            on_ready=lambda: contact.set_ready(True),
            on_word=contact.hear,
        )
        return self._rendezvous

    def _start(self, spec: RankSpec) -> Rank:
        config = self._planned()
        env = environment.of_rank(config, spec, self._environ, self._in_touch().place())
        path = os.path.join(config.outputs, "logs", f"{spec.label}.log") if config.keep_logs else None
        log = RankLog(path, f"ftjob: attempt {config.attempt}")
        return self._supervisor.start(spec, env["FTJOB_RANK_DIR"], self._command, env, log)

    def _start_sampler(self) -> None:
        config = self._planned()
        if config.outputs and config.profiled() and self._sampler is None:
            from ftjob_agent.sampler import Sampler

            self._sampler = Sampler(config, lambda: self._supervisor.pids, self._on_captures)
            self._sampler.start()

    def _first_local(self) -> Optional[Failure]:
        return failure.first(rank.failure() for rank in self._supervisor.ranks)

    def _own_hang(self) -> Optional[Failure]:
        """Return the hang if the rank that holds up the others is one of this agent's."""
        reason = self._reason
        if reason is None or reason.kind != failure.HANG:
            return None
        own = next((rank for rank in self._supervisor.ranks if rank.spec.rank == reason.rank), None)
        return replace(reason, log_tail=own.log_tail(known=reason.message)) if own is not None else None

    def _stopped_by_signal(self) -> Failure:
        return Failure(
            failure.STOPPED,
            "the pod was told to end (SIGTERM)",
            time_ns=time.time_ns(),
            type="SIGTERM",
            exit_code=143,
        )

    # What is said to others.

    def _look(self) -> None:
        """Read how far the ranks are, and pass it on."""
        self._account.look(self._supervisor.ranks)
        if self._watch is not None:
            self._watch.look()
        if self._sampler is not None and self._planned().is_leader:
            self._sampler.request(self._in_touch().requests())
        self._tell()

    def _look_for_the_last_time(self) -> None:
        if self._sampler is not None:
            self._sampler.end()
            self._sampler.join(2)  # the volume may hang
            self._loop.wait(time.monotonic())
        if self._watch is not None:
            self._watch.end(2)
        self._account.look(self._supervisor.ranks)

    def _tell(self) -> None:
        if self._contact is None or self._config is None:
            return
        self._told_running = len(self._supervisor.running)
        # A rank that has raised may run its atexit handlers; it is reported when they have had their time.
        found = self._failure
        if self._is_examined:
            found = found or self._first_local() or self._own_hang()
        report = self._account.report(self._config, self._state, found, self._supervisor.ranks)
        if self._slots is not None:
            self._told_slots = self._slots.report()
            report |= self._told_slots
        if self._watch is not None:
            report |= self._watch.report()
        self._contact.report(report)

    def _write_message(self) -> None:
        state, found = self._verdict()
        path = self._environ.get("FTJOB_TERMINATION_LOG", "/dev/termination-log")
        message.write(path, self._account.message(self._config, state, found))

    # What comes in.

    def _on_stop_signal(self, _number: int) -> None:
        self._signals += 1

    def _on_forwarded(self, number: int) -> None:
        self._supervisor.forward(number)

    def _on_captures(self, captures: dict[str, list[int]]) -> None:
        def take() -> None:
            self._account.captures = captures
            self._tell()

        self._loop.post(take)

    def _in_touch(self) -> Union[Leader, Client]:
        assert self._contact is not None
        return self._contact

    def _planned(self) -> Config:
        assert self._config is not None
        return self._config


def _job_succeeded(config: Config) -> Failure:
    """Return why all others are stopped when the success of this agent is the job's."""
    text = f"{config.name} has succeeded, which ends the job"
    return Failure(failure.STOPPED, text, time_ns=time.time_ns(), type="JobSucceeded", exit_code=143)
