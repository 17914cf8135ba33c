"""The ranks as processes: each in a session of its own, all of them waited for, none left behind."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from ftjob_agent import linux
from ftjob_agent.config import ConfigError
from ftjob_agent.ranks import diagnosis
from ftjob_agent.ranks.logtail import last_lines
from ftjob_agent.ranks.pump import TAIL, Pump, RankLog
from ftjob_agent.ranks.raised import Raised
from ftjob_agent.ranks.tree import Tree
from ftjob_protocol.failures import Failure
from ftjob_protocol.states import State

if TYPE_CHECKING:
    from ftjob_protocol.failures import Failure
    from ftjob_protocol.rank_spec import RankSpec

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
DRAIN_SECONDS = 0.3
"""How long to wait for the end of a dead rank's output: a child of it may hold it open for ever."""
HANGING_SECONDS = 5.0
"""How long a rank may visibly do nothing after an uncaught exception: in a framework's atexit, say."""
VICTIM_SECONDS = 2.0
"""The same for one that has lost a peer: its end is not worth much waiting."""


class Rank:
    """One rank, running or ended."""

    def __init__(self, spec: RankSpec, rank_dir: str, process: subprocess.Popen[bytes], log: RankLog) -> None:
        self.spec = spec
        self.dir = rank_dir
        self.process = process
        self.tree = Tree(process.pid, rank_dir)
        self.log = log
        self.pumps: list[Pump] = []
        self.ended_ns = 0
        self.stopped_ns = 0
        self.has_left = False
        """Whether its first process has ended, and others that it has left behind have not."""
        self.saw_oom = False
        self.drain_until = 0.0
        self.raised = Raised(rank_dir, process.pid)
        self.told_at: Optional[float] = None
        self._is_drained = False

    @property
    def code(self) -> Optional[int]:
        """The exit code as `subprocess` has it; None while it runs."""
        return self.process.returncode

    @property
    def state(self) -> str:
        """The rank's state in the words of the protocol."""
        if self.code is None or self.has_left:
            return State.RUNNING
        if self.failure() is not None:
            return State.FAILED
        return State.STOPPED if self.stopped_ns else State.SUCCEEDED

    @property
    def has_failed(self) -> bool:
        """Whether it has ended badly, or will: its first process has raised what nobody caught."""
        return self.raised.is_final if self.code is None else self.code != 0

    def goes_on(self, now: float, limit: float) -> bool:
        """Whether it has raised something, and may do what it does at its end."""
        if not self.raised.is_raising:
            return False
        found = self.failure()
        patience = VICTIM_SECONDS if found is not None and not found.is_primary else HANGING_SECONDS
        return self.raised.goes_on(now, limit=limit, patience=patience)

    def failure(self) -> Optional[Failure]:
        """Say why the rank failed; None while it runs, when it ended well, and when it was stopped before."""
        if self.code == 0:
            return None
        ended_itself = self.code is not None and (not self.stopped_ns or 0 < self.ended_ns < self.stopped_ns)
        record = self.raised.explanation(
            self.code if ended_itself else None, ended_ns=self.ended_ns, stopped_ns=self.stopped_ns
        )
        if not ended_itself and record is None:
            return None
        # Whoever raised before the signal was sent failed by itself; what comes after is our doing.
        is_late = record is not None and not 0 < record.time_ns < self.stopped_ns
        if self.stopped_ns and not ended_itself and is_late:
            return None
        ended_ns = self.ended_ns or time.time_ns()
        code = None if self.stopped_ns and record is not None else self.code
        self._drain()
        tail, oom = self.pumps[0].tail, self.saw_oom
        data = record.data if record is not None else None
        found = diagnosis.of_rank(
            self.spec.rank, code=code, ended_ns=ended_ns, tail=tail, record=data, oom=oom
        )
        return replace(found, log_tail=self.log_tail(known=found.message))

    def survived(self) -> str:
        """Return what somebody should know of a rank that has succeeded; nothing, as a rule."""
        record = self.raised.survived() if self.code == 0 and not self.stopped_ns else None
        if record is None:
            return ""
        return f"rank {self.spec.rank} ended with code 0 after an uncaught exception: {record.in_short}"

    def log_tail(self, *, known: str = "") -> str:
        """Return the rank's last lines, without those that are known."""
        raw = self.log.tail
        is_cut = len(raw) >= TAIL
        for pump in self.pumps:
            raw += pump.unfinished + b"\n"
        return last_lines(raw, known=known, is_cut=is_cut)

    def _drain(self) -> None:
        if self.code is None or self._is_drained:
            return
        for pump in self.pumps:
            pump.join(max(0.0, self.drain_until - time.monotonic()))
        self._is_drained = True


class Supervisor:
    """Starts, reaps and ends the agent's children."""

    def __init__(self) -> None:
        self.ranks: list[Rank] = []
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._cgroup = linux.Cgroup()
        self._oom_kills = self._cgroup.oom_kills()
        if os.getpid() != 1:
            # Children of dead children become ours, as they do for the first process of a container.
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    @property
    def pids(self) -> dict[int, int]:
        """Process of each rank that runs."""
        return {rank.spec.rank: rank.process.pid for rank in self.ranks if rank.code is None}

    @property
    def running(self) -> list[Rank]:
        """The ranks that have not ended."""
        return [rank for rank in self.ranks if rank.code is None]

    @property
    def have_succeeded(self) -> bool:
        """Whether there are ranks, and all have ended well without being told to."""
        return bool(self.ranks) and all(rank.code == 0 and not rank.stopped_ns for rank in self.ranks)

    def start(
        self,
        spec: RankSpec,
        rank_dir: str,
        command: Sequence[str],
        env: Mapping[str, str],
        log: RankLog,
        *,
        mark: bytes = b"",
    ) -> Rank:
        """Start one rank; ConfigError when its command can't be run."""
        process = self.spawn(
            command,
            env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        rank = Rank(spec, rank_dir, process, log)
        for stream, sink in ((process.stderr, 2), (process.stdout, 1)):
            if stream is not None:
                rank.pumps.append(Pump(os.dup(stream.fileno()), sink, log, mark))
                stream.close()
        for pump in rank.pumps:
            pump.start()
        self.ranks.append(rank)
        return rank

    def spawn(
        self, command: Sequence[str], env: Mapping[str, str], **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a child that `reap` knows."""
        try:
            child = subprocess.Popen(list(command), env=dict(env), **options)
        except OSError as error:
            raise _cannot_run(command[0], env, error) from None
        except ValueError as error:  # a null byte in an argument or a variable
            raise ConfigError(
                f"command {command[0]!r} cannot be started: {error}; mend spec.template"
            ) from None
        self._children[child.pid] = child
        return child

    def reap(self) -> None:
        """Wait for all children that have ended: ours through Popen, orphans that became ours directly."""
        while True:
            try:
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if info is None:
                return
            child = self._children.pop(info.si_pid, None)
            if child is None:
                with suppress(ChildProcessError):  # py-spy, which another thread waits for
                    os.waitpid(info.si_pid, 0)
                continue
            child.wait()
            for rank in self.ranks:
                if rank.process is child:
                    rank.ended_ns = time.time_ns()
                    # From its end, not from when it is asked for: many that end at once cost this once.
                    rank.drain_until = time.monotonic() + DRAIN_SECONDS
                    rank.saw_oom = self._cgroup.oom_kills() > self._oom_kills

    def forward(self, number: int) -> None:
        """Pass a signal on to the ranks alone."""
        for rank in self.running:
            os.kill(rank.process.pid, number)

    def look(self, now: float, limit: float) -> None:
        """Look at what the ranks have raised; end what hangs after that behind a shell.

        `limit` is how many seconds a rank may go on after an exception.
        """
        for rank in self.running:
            rank.raised.look(now)
            if not rank.goes_on(now, limit):
                rank.raised.end(now)

    def end(self, rank: Rank, now: float, grace: float) -> bool:
        """Take the next step to a rank's end; return whether nothing is left of it.

        `grace` is how many seconds there are between SIGTERM and SIGKILL.
        """
        rank.told_at = now if rank.told_at is None else rank.told_at
        if self.stop(rank):
            return True
        if now >= rank.told_at + grace:
            self.kill(rank)
        return False

    def stop(self, rank: Rank) -> bool:
        """Take the next step to a rank's end; return whether nothing is left of it.

        Its first process gets SIGTERM, as from a kubelet. What that one leaves behind gets it afterwards: a
        shell dies of it at once, and the program behind it would otherwise never hear of it.
        """
        self.reap()  # what has ended by itself must not count as stopped by us
        if rank.code is None:
            if not rank.stopped_ns:
                rank.raised.look(time.monotonic())
                rank.stopped_ns = time.time_ns()
                with suppress(PermissionError):  # it runs as another user; the end of the container ends it
                    os.kill(rank.process.pid, signal.SIGTERM)  # not reaped yet, so the number is its own
            return False
        rank.has_left = rank.tree.end_the_rest(self._children)
        return not rank.has_left

    def kill(self, rank: Rank) -> None:
        """Send SIGKILL to all of a rank."""
        self.reap()
        rank.stopped_ns = rank.stopped_ns or (time.time_ns() if rank.code is None else 0)
        rank.tree.kill(self._children)

    def forget(self) -> None:
        """Forget the ranks, which are dead, so that others can be started in their place."""
        self.drain(DRAIN_SECONDS)
        self.ranks = []
        self._oom_kills = self._cgroup.oom_kills()

    def kill_leftovers(self) -> bool:
        """Kill whatever is still below this process; return whether nothing is left."""
        limit = time.monotonic() + 2
        while time.monotonic() < limit:
            self.reap()
            left = linux.children().get(os.getpid(), [])
            if not left:
                return True
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)
        return False

    def drain(self, seconds: float) -> None:
        """Wait until the ranks' output has been passed on."""
        limit = time.monotonic() + seconds
        for rank in self.ranks:
            for pump in rank.pumps:
                pump.join(max(0.0, limit - time.monotonic()))
            rank.log.join(max(0.0, limit - time.monotonic()))
        sys.stderr.flush()


def _cannot_run(program: str, env: Mapping[str, str], error: OSError) -> ConfigError:
    where = f"on PATH {env.get('PATH', os.defpath)}" if "/" not in program else "in the image"
    remedy = "; set the trainer's command in spec.template to a program that the image has"
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        if "/" in program and os.path.exists(program):
            return ConfigError(
                f"command {program!r} names an interpreter in its first line that is not there{remedy}", 127
            )
        return ConfigError(f"command {program!r} not found {where}{remedy}", 127)
    if error.errno == errno.ENOEXEC:
        return ConfigError(
            f"command {program!r} is neither a script with a #! line nor a program for this CPU{remedy}", 126
        )
    if isinstance(error, PermissionError):
        return ConfigError(
            f"command {program!r} may not be executed by uid {os.getuid()}; chmod +x it{remedy}", 126
        )
    return ConfigError(f"command {program!r} cannot be started: {error.strerror}{remedy}", 126)
