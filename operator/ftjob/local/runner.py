"""The life of one job on this machine: observe, plan, record, apply, as the operator does in the cluster."""

from __future__ import annotations

import os
import secrets
import select
import signal
import socket
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ftjob.api.job import UnreadableJob, parse_job
from ftjob.api.problem import summary
from ftjob.insight.beside import Collector
from ftjob.local import gpus
from ftjob.local.agent_process import Agent, wait_until_ended
from ftjob.local.ending import Ending, ended_by
from ftjob.local.environment import Trainer, build_trainer
from ftjob.local.errors import CannotRun
from ftjob.local.free_ports import free_ports
from ftjob.local.logs import LogTail
from ftjob.local.orphans import adopt_orphans, kill_children
from ftjob.local.outputs import complete_captures, temporary_folder
from ftjob.models.names import ANNOTATION_CAPTURE, KUEUE_LABEL
from ftjob.models.spec import GangMode, trainer_of
from ftjob.models.status import Phase
from ftjob.plan import on_demand
from ftjob.plan.build.agent_config import agent_command
from ftjob.plan.build.pod import build_pod
from ftjob.plan.build.token import job_token
from ftjob.plan.decide import decide
from ftjob.plan.layout import local_layout, local_port_count
from ftjob.plan.observed.state import Observed
from ftjob.plan.plan import Config, Plan
from ftjob.plan.status.derive import derive_status
from ftjob_protocol.failures import FailureClass
from ftjob_protocol.leader_state import LeaderState
from ftjob_protocol.reasons import Reason
from ftjob_protocol.states import State

if TYPE_CHECKING:
    from types import FrameType

    from ftjob.api.job import AnyJob, Job
    from ftjob.local.outputs import OutputsFolder
    from ftjob.models.layout import Layout, WorkerPlace
    from ftjob.models.status import JobStatus

TICK_SECONDS = 0.1
ASK_SECONDS = 0.5
KILL_SECONDS = 10.0
"""How long agents are waited for after SIGKILL."""


@dataclass(frozen=True)
class RankState:
    """One rank as shown while it runs."""

    rank: int
    worker: str
    state: str
    step: int | None = None
    total_steps: int | None = None


class View(Protocol):
    """Who watches a run."""

    def note(self, text: str) -> None:
        """Tell the user something."""
        ...

    def line(self, rank: int, text: str) -> None:
        """Show one line that a rank wrote."""
        ...

    def update(self, status: JobStatus, ranks: tuple[RankState, ...]) -> None:
        """Show the job as it is now; called several times a second."""
        ...


@dataclass(frozen=True)
class Settings:
    """What the user chose for this run."""

    python: str
    timeout: float | None = None
    code: str = ""
    """The archive that ``spec.code`` means."""


class Runner:
    """Runs one job; use it once."""

    def __init__(self, body: dict[str, Any], outputs: OutputsFolder, settings: Settings, view: View) -> None:
        self._body = _as_created(body)
        self._job = _on_one_machine(parse_job(self._body))
        self._outputs = outputs
        self._settings = settings
        self._view = view
        self._node = socket.gethostname()
        self._config = Config(agent_key=secrets.token_bytes(32))
        self._token = job_token(self._config.agent_key, self._job.uid)
        self._gpus = gpus.find(os.environ)
        self._agents: dict[str, Agent] = {}
        self._ports: dict[int, tuple[int, ...]] = {}
        self._logs: dict[int, LogTail] = {}
        self._existing: set[tuple[str, str]] = set()
        self._deleted: set[str] = set()
        self._leader_state: LeaderState | None = None
        self._warning = ""
        self._next_question = 0.0
        self._next_write = 0.0
        self._next_orders = 0.0
        self._signals = 0
        self._woken, self._wake = os.pipe()
        self._collector = Collector(outputs.path)

    def run(self) -> tuple[JobStatus, Ending | None]:
        """Run the job to its end and return its last status, and who ended it if it was not the job.

        Raises
        ------
        CannotRun
            Before anything is started.
        """
        if self._job.spec.suspend:
            raise CannotRun("spec.suspend", "it is true: nothing would run", "set it to false or remove it")
        with temporary_folder() as folder:
            self._folder = Path(folder)
            layout = self._layout(0)
            for text in (*self._trainer(layout.leader, 0).notes, gpus.note(layout, self._gpus)):
                if text:
                    self._view.note(text)
            earlier = self._outputs.make_room()
            if earlier is not None:
                self._view.note(
                    f"an earlier run's logs and profiles are now in {earlier}; its other files stay, "
                    "so a script that resumes from a checkpoint goes on from there"
                )
            adopt_orphans()
            self._catch_signals()
            try:
                return self._loop()
            finally:
                self._end_all()

    def _loop(self) -> tuple[JobStatus, Ending | None]:
        deadline = time.monotonic() + self._settings.timeout if self._settings.timeout else None
        while True:
            status = self._step()
            if status.phase is not None and status.phase.is_final:
                self._end_all()
                return self._finish(self._step()), None
            if self._signals:
                ending = Ending(Reason.INTERRUPTED, "ftjob run was told to stop")
                self._view.note("stopping the ranks; once more kills them at once")
            elif deadline is not None and time.monotonic() > deadline:
                ending = Ending(
                    Reason.TIMED_OUT, f"the job ran longer than --timeout {self._settings.timeout:g} seconds"
                )
            else:
                self._wait()
                continue
            self._end_all()
            status = self._step()
            if status.phase is Phase.SUCCEEDED:  # it was faster
                return self._finish(status), None
            return self._finish(ended_by(status, ending, time.time())), ending

    def _step(self) -> JobStatus:
        """Look once, decide, write it down, and do it."""
        now = time.time()
        self._hear_orders()
        observed = self._observe(now)
        plan = decide(self._job, observed, now=now, config=self._config)
        status = derive_status(self._job, observed, plan, now=now)
        self._record(status)
        self._apply(plan)
        self._follow()
        self._view.update(status, self._rank_states())
        self._tell(self._collector.look(complete_captures(status)))
        return status

    def report(self, status: JobStatus) -> None:
        """Report on the captures that are left, and on the job: after its end."""
        for text in self._collector.finish(complete_captures(status)):
            self._tell(text)

    def _tell(self, text: str) -> None:
        if text:
            self._view.note(text)

    def _observe(self, now: float) -> Observed:
        for agent in self._agents.values():
            if agent.poll(now):
                # Ranks of an agent that was killed are ours by now.
                spared = {a.pid for a in self._agents.values() if a.pid is not None}
                kill_children(spared | self._collector.pids)
        present = self._job.status.pod_attempt
        for name in [n for n in self._deleted if self._agents[n].pid is None]:
            if self._agents[name].attempt < present:  # the last attempt's ends are what users see at the end
                del self._agents[name]
                self._deleted.discard(name)
        leader = self._agents.get(self._layout(self._job.status.pod_attempt).leader.name)
        if leader is not None:
            self._ask(leader)
        return Observed(
            pods=tuple(agent.observe(self._node) for agent in self._agents.values()),
            existing=frozenset(self._existing),
            leader=self._leader_state,
        )

    def _hear_orders(self) -> None:
        """Take a capture that was asked for in the outputs, as the operator takes one from the annotation."""
        if time.monotonic() < self._next_orders:
            return
        self._next_orders = time.monotonic() + ASK_SECONDS
        profile = self._job.status.profile
        captures = profile.captures if profile is not None else []
        if any(on_demand.is_untold(capture) for capture in captures):
            return  # until the ranks run
        orders = self._outputs.capture_orders({capture.id for capture in captures})
        if orders:
            self._job = replace(self._job, annotations={ANNOTATION_CAPTURE: next(iter(orders.values()))})

    def _ask(self, leader: Agent) -> None:
        if leader.pid is not None and time.monotonic() >= self._next_question:
            self._next_question = time.monotonic() + ASK_SECONDS
            self._leader_state = leader.leader_state() or self._leader_state
            if self._leader_state is not None and self._leader_state.watchdog not in {"", self._warning}:
                self._warning = self._leader_state.watchdog
                self._view.note(self._warning)
        elif leader.message is not None and leader.message.progress:
            known = self._leader_state.progress if self._leader_state else None
            last = LeaderState(attempt=leader.message.attempt, state=leader.message.state, progress=None)
            self._leader_state = replace(
                self._leader_state or last, progress={**(known or {}), **leader.message.progress}
            )

    def _record(self, status: JobStatus) -> None:
        changed = status.phase != self._job.status.phase
        self._job = replace(self._job, status=status, raw_status=status.to_wire())
        if changed or time.monotonic() >= self._next_write:
            self._next_write = time.monotonic() + ASK_SECONDS
            self._outputs.write_job(self._body | {"status": status.to_wire()})

    def _apply(self, plan: Plan) -> None:
        for new in plan.changes.create:
            if new.kind == "Pod":
                self._start(new.name, self._job.status.pod_attempt)
            self._existing.add((new.kind, new.name))
        if plan.order is not None:
            leader = self._agents[self._layout(self._job.status.pod_attempt).leader.name]
            self._leader_state = leader.order(plan.order) or self._leader_state
            self._next_question = 0.0
        for ref in plan.changes.delete:
            self._agents[ref.name].stop()
            self._deleted.add(ref.name)

    def _start(self, name: str, attempt: int) -> None:
        layout = self._layout(attempt)
        place = next(worker for worker in layout.workers if worker.name == name)
        trainer = self._trainer(place, attempt)
        told = agent_command(self._job, layout, place, self._config, outputs=str(self._outputs.path))
        # Logs are kept always: they are where the terminal's lines come from.
        ranks = tuple(replace(spec, env={**_shared_out(layout), **spec.env}) for spec in told.config.ranks)
        code = told.config.code and replace(told.config.code, file=self._settings.code)
        config = replace(
            told.config, ranks=ranks, keep_logs=True, mark_ranks=False, has_private_outputs=True, code=code
        )
        agent = self._agents[name] = Agent(place, attempt, self._folder / name)
        agent.start(
            replace(told, config=config), trainer, self._token, self._settings.python, self._outputs.lock
        )
        for rank in place.ranks:
            self._logs.setdefault(rank, LogTail(self._outputs.log(rank)))

    def _layout(self, attempt: int) -> Layout:
        if attempt not in self._ports:
            self._ports[attempt] = free_ports(local_port_count(self._job))
        return local_layout(self._job, attempt, self._ports[attempt])

    def _trainer(self, place: WorkerPlace, attempt: int) -> Trainer:
        spec = self._job.spec
        layout = self._layout(attempt)
        return build_trainer(
            build_pod(self._job, layout, place, self._config),
            trainer_of(spec, place.role),
            node=self._node,
            outputs=str(self._outputs.path),
            python=self._settings.python,
            caller=os.environ | gpus.visible(layout, self._gpus, place),
            command=agent_command(self._job, layout, place, self._config).command,
        )

    def _rank_states(self) -> tuple[RankState, ...]:
        states = {}
        for agent in self._agents.values():  # of several for one place the last is the present one
            for rank in agent.place.ranks:
                step, total = agent.steps(rank)
                states[rank] = RankState(rank, agent.place.name, _state(agent, rank), step, total)
        return tuple(states.values())

    def _follow(self) -> None:
        for rank, tail in self._logs.items():
            for line in tail.lines():
                self._view.line(rank, line)

    def _finish(self, status: JobStatus) -> JobStatus:
        for rank, tail in self._logs.items():
            for line in tail.end():
                self._view.line(rank, line)
        for agent in self._agents.values():
            if status.phase is Phase.SUCCEEDED and agent.message is not None and agent.message.warning:
                self._view.note(agent.message.warning)
        self._outputs.write_job(self._body | {"status": status.to_wire()})
        self._view.update(status, self._rank_states())
        return status

    def _catch_signals(self) -> None:
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that the end of an agent is seen at once
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # by nohup, or by a shell's `&`
                signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _wait(self) -> None:
        if select.select([self._woken], [], [], TICK_SECONDS)[0]:
            os.read(self._woken, 4096)

    def _end_all(self) -> None:
        """End what still runs: SIGTERM, after the grace period or at a second signal SIGKILL."""
        running = [agent for agent in self._agents.values() if agent.pid is not None]
        signals = self._signals
        limit = time.monotonic() + max((agent.grace for agent in running), default=0.0)
        for agent in running:
            agent.stop()
        while not wait_until_ended(running, TICK_SECONDS):
            self._follow()
            if time.monotonic() > limit or self._signals > signals:
                for agent in running:
                    agent.kill()
                wait_until_ended(running, KILL_SECONDS)
                break
        self._collector.stop()
        kill_children(set())


def _state(agent: Agent, rank: int) -> str:
    if agent.pid is not None:
        return State.RUNNING
    message = agent.message
    if message is None:
        return State.FAILED
    if message.failure is not None and message.failure.rank == rank:
        return State.STOPPED if message.failure.failure_class == FailureClass.STOPPED else State.FAILED
    return State.SUCCEEDED if message.state == State.SUCCEEDED else State.STOPPED


def _on_one_machine(job: AnyJob) -> Job:
    """Return the job as far as one machine is concerned: no scheduler has to place it.

    Raises
    ------
    ValueError
        Its spec can't be read.
    """
    if isinstance(job, UnreadableJob):
        raise ValueError(summary(job.problems))  # noqa: TRY004  its type is right, its spec is not
    placed = job.spec.scheduling.model_copy(update={"gang": GangMode.OFF, "queue": None})
    labels = {key: value for key, value in job.labels.items() if key != KUEUE_LABEL}
    return replace(job, labels=labels, spec=job.spec.model_copy(update={"scheduling": placed}))


def _shared_out(layout: Layout) -> dict[str, str]:
    """Return what keeps each rank from starting a thread for every core, if nobody says better."""
    cores = len(os.sched_getaffinity(0))
    return {"OMP_NUM_THREADS": str(max(1, cores // layout.world_size))}


def _as_created(body: dict[str, Any]) -> dict[str, Any]:
    """Return the job as an API server would keep it."""
    meta = body["metadata"] | {
        "namespace": body["metadata"].get("namespace") or "default",
        "uid": str(uuid.uuid4()),
        "generation": 1,
        "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": meta, "spec": body["spec"]}
