"""What an agent has, and what it can do; when it does it is said in `life`."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Mapping, Optional, Sequence

from ftjob_agent import outputs, termination_log
from ftjob_agent.config import token as read_token
from ftjob_agent.exit import FAREWELL_SECONDS, Exit, Facts
from ftjob_agent.loop import Loop
from ftjob_agent.ranks import environment
from ftjob_agent.ranks.pump import RankLog
from ftjob_agent.ranks.supervise import Supervisor
from ftjob_agent.watching.account import Account
from ftjob_protocol import variables
from ftjob_protocol.failures import Failure, FailureClass, first
from ftjob_protocol.states import Command, State
from ftjob_protocol.values.marks import mark_of

if TYPE_CHECKING:
    from ftjob_agent.ranks.slots import Slots
    from ftjob_agent.ranks.supervise import Rank
    from ftjob_agent.rendezvous.child import Rendezvous
    from ftjob_agent.star.contact import Contact
    from ftjob_agent.star.leader import Leader
    from ftjob_agent.vitals.vitals import Vitals
    from ftjob_agent.watching.capturing import Capturing
    from ftjob_agent.watching.hang_watch import Watch
    from ftjob_agent.watching.sampler import Sampler
    from ftjob_protocol.agent_config import AgentConfig
    from ftjob_protocol.rank_spec import RankSpec

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
FORWARDED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Agent:
    """One worker's agent."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command, self.environ = command, environ
        self.loop = Loop()
        self.loop.on_signals(_heard(STOP_SIGNALS), self._on_stop_signal)
        self.supervisor = Supervisor()
        self.loop.on_signals(_heard(FORWARDED), self.supervisor.forward)
        self.loop.on_signals((signal.SIGCHLD,), lambda _number: self.supervisor.reap())
        self._config: Optional[AgentConfig] = None
        self._contact: Optional[Contact] = None
        self.leader: Optional[Leader] = None
        """What only the leader's agent can do: the same object as `contact`, or None."""
        self.rendezvous: Optional[Rendezvous] = None
        self._slots: Optional[Slots] = None
        self.account = Account(environment.host(environ))
        self._sampler: Optional[Sampler] = None
        self._watch: Optional[Watch] = None
        self._vitals: Optional[Vitals] = None
        self._capturing: Optional[Capturing] = None
        self.facts = Facts()
        self._state: str = State.WAITING
        self._is_examined = False
        """Whether it is time to say which rank has failed: one that has raised may still run its atexit."""
        self._told: object = None

    @property
    def config(self) -> AgentConfig:
        """What the plan says."""
        assert self._config is not None
        return self._config

    @property
    def contact(self) -> Contact:
        """The star, as this agent sees it."""
        assert self._contact is not None
        return self._contact

    @property
    def is_in_touch(self) -> bool:
        """Whether there is anyone to tell anything."""
        return self._contact is not None

    # What it does.

    def get_in_touch(self, config: AgentConfig) -> None:
        """Become the agent of this plan: the leader, or one of those that report to it."""
        self._config = config
        token = read_token(self.environ)
        if config.is_leader:
            from ftjob_agent.star.leader import Leader

            self._contact = self.leader = Leader(self.loop, config, token)
        else:
            from ftjob_agent.star.client import Client

            self._contact = Client(self.loop, config, token)

    def begin_anew(self, attempt: int) -> None:
        """Become what a new agent would be in this attempt."""
        self._config = self.config.of_attempt(attempt)
        self.facts = Facts()
        self._is_examined = False
        self.supervisor.forget()
        sys.stderr.write(f"ftjob: attempt {attempt}\n")  # parts the lines of this one from those before
        self.account.begin_anew()
        self.start_watch()
        if self._vitals is not None:
            self._vitals.begin_anew(attempt)
        environment.make_run_dir(self._config, self.environ)
        self.unpack_code()

    def unpack_code(self) -> None:
        """Let the ranks begin in a fresh copy of the user's code, if the job brings any."""
        if self.config.code is not None:
            from ftjob_agent.ranks.unpack import enter

            enter(self.config.code, self.environ, attempt=self.config.attempt)

    def start(self, spec: RankSpec) -> Rank:
        """Start one rank."""
        config = self.config
        env = environment.of_rank(config, spec, self.environ, self.contact.place(), self.contact.servers())
        file = outputs.log_file(config, spec.rank) if config.keep_logs else None
        log = RankLog(file, f"ftjob: attempt {config.attempt}")
        command = environment.filled_in(self._command, spec, env)
        mark = mark_of(spec.rank) if config.mark_ranks else b""
        return self.supervisor.start(spec, env[variables.RANK_DIR], command, env, log, mark=mark)

    def enter(self, state: State) -> None:
        """Be in this state from now on, as far as others are told."""
        self._state = state

    def examine(self) -> None:
        """Say from now on which rank has failed."""
        self._is_examined = True

    def serve_slots(self) -> Slots:
        """Run what the leader wants instead of what the plan says."""
        from ftjob_agent.ranks.slots import Slots

        self._slots = Slots(self.config, self.supervisor, self.environ, self.start)
        return self._slots

    def start_rendezvous(self) -> None:
        """Serve what the ranks need to find each other; none of them starts before it is up."""
        from ftjob_agent.rendezvous.child import Rendezvous

        leader = self.leader
        assert leader is not None  # no other's plan has a rendezvous
        leader.set_ready(False)
        self.rendezvous = Rendezvous(
            self.loop,
            self.supervisor,
            self.config,
            command=self._command,
            env=environment.of_container(self.environ),
            on_ready=lambda: leader.set_ready(True),
            on_word=leader.hear,
        )
        leader.conduct(self.rendezvous.say)

    def forget_rendezvous(self) -> None:
        """Forget the child that served it, which ends with the ranks."""
        self.rendezvous = None

    def start_sampler(self) -> None:
        """Look at what the ranks' steps take, and sample those that are profiled."""
        config = self.config
        if config.profiling is not None and self._vitals is None:
            from ftjob_agent.vitals.vitals import Vitals

            self._vitals = Vitals(
                config,
                self.loop,
                node=self.environ.get(variables.NODE_NAME, ""),
                ranks=lambda: self.supervisor.running,
                note=self.account.note,
            )
            self._vitals.start()
        if config.is_capturing and self._sampler is None and (config.profiled() or config.is_leader):
            from ftjob_agent.watching.sampler import Sampler

            self._sampler = Sampler(config, lambda: self.supervisor.pids)
            self._sampler.start()

    def start_watch(self) -> None:
        """Watch whether the ranks make steps, if the job has a watchdog."""
        self._watch = None
        if self.config.watchdog is not None:
            from ftjob_agent.watching.hang_watch import Watch

            self._watch = Watch(
                self.config,
                self.loop,
                supervisor=self.supervisor,
                account=self.account,
                path=self.environ.get("PATH", os.defpath),
                tell=self.tell,
            )

    def follow_captures(self) -> None:
        """Tell the ranks of a capture that the leader wants."""
        if self._capturing is None and self.contact.capture is not None:
            from ftjob_agent.watching.capturing import Capturing

            self._capturing = Capturing(self.config, lambda: self.supervisor.running)
        if self._capturing is not None:
            self._capturing.follow(self.contact.capture)

    def end(self) -> int:
        """Leave nothing behind; return the exit code."""
        self.supervisor.kill_leftovers()
        self.supervisor.drain(FAREWELL_SECONDS)
        for rank in self.supervisor.ranks:
            if rank.log.error:
                self.account.note(f"rank {rank.spec.rank}: {rank.log.error}")
        return self.write_message().exit_code

    # What it knows.

    def is_told_to_stop(self, now: float) -> bool:
        """Whether something from outside ends this agent's ranks; the reason is kept."""
        contact, facts = self.contact, self.facts
        if self._watch is not None:
            self._watch.follow(contact.stacks)
        self.follow_captures()
        if facts.reason is None:
            trouble = contact.trouble(now) if contact.command != Command.STOP else None
            facts.hear(contact.command, contact.reason, trouble)
        return facts.reason is not None

    def may_resume(self) -> bool:
        """Whether the ranks, once they are dead, may be started again by this agent."""
        if self._contact is None or self.config.in_place is None or not self.supervisor.ranks:
            return False
        return self.facts.allow_resuming(self._contact.command) and not self.supervisor.have_succeeded

    def found(self) -> Optional[Failure]:
        """Return what has failed here: the agent, a rank of its own, or the rank that holds up all others."""
        return self.facts.failure or self._first_explained() or self._own_hang()

    def _first_explained(self) -> Optional[Failure]:
        """Return what has failed first here: lost contact explains why ranks have lost their peers."""
        local, reason = self.first_local(), self.facts.reason
        if local is None or reason is None or not (self.facts.is_own_reason and reason.is_without_contact):
            return local
        return first((local, reason))

    def first_local(self) -> Optional[Failure]:
        """Return the first failure of this agent's ranks."""
        return first(rank.failure() for rank in self.supervisor.ranks)

    def _own_hang(self) -> Optional[Failure]:
        reason = self.facts.reason
        if reason is None or reason.failure_class != FailureClass.HANG:
            return None
        own = next((rank for rank in self.supervisor.ranks if rank.spec.rank == reason.rank), None)
        return replace(reason, log_tail=own.log_tail(known=reason.message)) if own is not None else None

    def exit(self) -> Exit:
        """Say how it ends, as things stand."""
        return self.facts.exit(self.found(), have_succeeded=self.supervisor.have_succeeded)

    def conclude(self) -> Exit:
        """Say how it has ended, and stay with it."""
        end = self.exit()
        self._state, self.facts.failure = end.state, end.failure
        return end

    # What is said to others.

    def look(self) -> None:
        """Read how far the ranks are, and pass it on."""
        self.account.look(self.supervisor.ranks)
        if self._watch is not None:
            self._watch.look()
        if self._sampler is not None and self.leader is not None:
            self._sampler.request(self.leader.captures.requests())
            self.leader.captures.count_in(self._sampler.keep(self.leader.captures.unfinished()))
        self.tell()

    def look_at_exceptions(self, now: float) -> None:
        """Look at what the ranks have raised, and end what hangs after that."""
        self.supervisor.look(now, self.config.exception_grace)

    def look_for_the_last_time(self) -> None:
        """Read what the ranks have left; what is being written to the outputs has two seconds each."""
        if self._sampler is not None:
            self._sampler.end()
            self._sampler.join(2)  # the volume may hang
        if self._watch is not None:
            self._watch.end(2)
        if self._vitals is not None:
            self._vitals.end(2)
        self.account.look(self.supervisor.ranks)
        for text in filter(None, (rank.survived() for rank in self.supervisor.ranks)):
            self.account.warn(text)

    def keep_last_steps(self) -> None:
        """Write down what the last steps of those ranks took that have failed by themselves."""
        if self._vitals is not None:
            failed = [rank for rank in self.supervisor.ranks if (why := rank.failure()) and why.is_primary]
            self._vitals.keep_last_steps(failed)

    @property
    def has_news(self) -> bool:
        """Whether ranks have ended, or slots changed, that the leader has not been told of."""
        return self._told != self._news()

    def tell(self) -> None:
        """Tell the leader how it stands here."""
        if self._contact is None:
            return
        self._told = self._news()
        found = self.found() if self._is_examined else self.facts.failure
        message = self.account.message(self.config, self._state, found, self.supervisor.ranks)
        if self._slots is not None:
            message |= self._slots.told()
        if self._watch is not None:
            message |= self._watch.told()
        if self._vitals is not None:
            self._vitals.follow(self._contact.block_lengths)
            message |= self._vitals.told(message["sequence"], self._contact.delivered)
        if self._capturing is not None:
            message |= self._capturing.told()
        self._contact.send(message)

    def write_message(self) -> Exit:
        """Write the termination message; return the exit that it tells of."""
        end = self.exit()
        path = self.environ.get(variables.TERMINATION_LOG, "/dev/termination-log")
        termination_log.write(path, self.account.termination_message(self._config, end.state, end.failure))
        return end

    def _news(self) -> object:
        return len(self.supervisor.running) if self._slots is None else self._slots.told()

    # What comes in.

    def _on_stop_signal(self, _number: int) -> None:
        self.facts.signals += 1


def _heard(signals: Sequence[signal.Signals]) -> list[signal.Signals]:
    """Leave out those that we were started with ignored, as by nohup: the ranks inherit that from us."""
    return [
        number
        for number in signals
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    ]
