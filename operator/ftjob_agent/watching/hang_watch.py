"""An agent's side of the watchdog: it tells the ages of steps, and collects stacks when the leader asks."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Sequence

from ftjob_agent import outputs
from ftjob_agent.watching import stacks
from ftjob_agent.watching.rank_folder import has_optimizer
from ftjob_protocol import files

if TYPE_CHECKING:
    from ftjob_agent.loop import Loop
    from ftjob_agent.ranks.supervise import Rank, Supervisor
    from ftjob_agent.watching.account import Account
    from ftjob_agent.watching.rank_folder import RankProgress
    from ftjob_protocol.agent_config import AgentConfig


class Clock:
    """For how long one agent's ranks have made no step, as far as can be seen."""

    def __init__(self) -> None:
        self._marks: dict[int, object] = {}
        self._stepping: set[int] = set()
        self._since: Optional[float] = None

    def look(self, ranks: Sequence[Rank], progress: Mapping[int, RankProgress], now: float) -> None:
        """Note which ranks have moved; a rank that was started anew begins anew."""
        running = [rank for rank in ranks if rank.code is None]
        for rank in running:
            pid, made = rank.process.pid, progress.get(rank.spec.rank)
            # Any word of progress counts, and any optimizer's step, whatever a script says of its own.
            # Times alone would not do, since wall clocks can jump back.
            mark = (
                (made.step, made.epoch, made.time_ns, made.seen_ns)
                if made is not None and (made.is_known or made.seen_ns)
                else None
            )
            if pid not in self._marks or self._marks[pid] != mark:
                self._marks[pid], self._since = mark, now
            if mark is not None:
                self._stepping.add(pid)
        alive = {rank.process.pid for rank in running}
        self._marks = {pid: mark for pid, mark in self._marks.items() if pid in alive}
        self._stepping &= alive
        if not running:
            self._since = None

    def idle(self, now: float, *, hooked: bool) -> Optional[dict[str, Any]]:
        """Return what the leader is told; None while nothing runs.

        Parameters
        ----------
        hooked
            Whether the program has an optimizer whose steps the hooks see.
        """
        if self._since is None:
            return None
        return {"seconds": round(now - self._since, 3), "stepped": bool(self._stepping), "hooked": hooked}


class Watch:
    """Runs in the agent's loop, but for what takes time."""

    def __init__(
        self,
        config: AgentConfig,
        loop: Loop,
        *,
        supervisor: Supervisor,
        account: Account,
        path: str,
        tell: Callable[[], None],
    ) -> None:
        self._config, self._loop, self._supervisor = config, loop, supervisor
        self._account, self._path, self._tell = account, path, tell
        self._counts = config.watchdog is not None and config.watchdog.counts
        self._clock = Clock()
        self._hooked: set[int] = set()
        self._asked = 0
        self._found: Optional[dict[str, Any]] = None
        self._thread: Optional[threading.Thread] = None

    def look(self) -> None:
        """Note how far the ranks are; once a second."""
        running = self._supervisor.running
        self._clock.look(running, self._account.progress, time.monotonic())
        pids = {rank.process.pid for rank in running}
        self._hooked &= pids
        for rank in running:
            if rank.process.pid not in self._hooked and has_optimizer(rank.dir):
                self._hooked.add(rank.process.pid)

    def follow(self, asked: int) -> None:
        """Collect stacks if the leader has asked for them anew."""
        if asked == self._asked:
            return
        self._asked, self._found = asked, None
        if asked:
            ranks = list(self._supervisor.running)
            self._thread = threading.Thread(
                target=self._collect, args=(asked, ranks), name="ftjob-stacks", daemon=True
            )
            self._thread.start()

    def told(self) -> dict[str, Any]:
        """Return what the leader is told beside the rest."""
        idle = self._clock.idle(time.monotonic(), hooked=bool(self._hooked)) if self._counts else None
        return {"idle": idle, "stacks": self._found}

    def end(self, seconds: float) -> None:
        """Wait for the stacks to be written down, as long as the volume lets us."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _collect(self, asked: int, ranks: list[Rank]) -> None:
        py_spy = stacks.find_py_spy(self._path, self._config.outputs)
        texts: dict[int, str] = {}
        told: list[dict[str, Any]] = []

        def collect(rank: Rank) -> None:
            number, pid = rank.spec.rank, rank.process.pid
            processes = stacks.collect(rank.dir, pid, py_spy)
            trainer = stacks.trainer_of(rank.dir, pid)
            step = self._account.progress[number].step if number in self._account.progress else None
            told.append({**stacks.summary(number, step, processes, trainer), "counts": self._counts})
            texts[number] = stacks.text_of(number, processes)

        threads = [threading.Thread(target=collect, args=(rank,), daemon=True) for rank in ranks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._loop.post(lambda: self._take(asked, told))
        self._keep({rank.spec.rank: rank.spec.label for rank in ranks}, texts)

    def _take(self, asked: int, told: list[dict[str, Any]]) -> None:
        if asked == self._asked:
            self._found = {"asked": asked, "ranks": told, "folder": self._folder()}
            self._tell()

    def _folder(self) -> str:
        """Return where the stacks lie in the outputs that outlive the pods; nothing if there are none."""
        return files.capture(files.hang(self._config.attempt)) if self._config.keep_logs else ""

    def _keep(self, labels: Mapping[int, str], texts: Mapping[int, str]) -> None:
        """Write the stacks down as they are; without outputs that stay, into the log."""
        try:
            for number, text in sorted(texts.items()):
                if not self._folder():
                    sys.stderr.write(f"ftjob: stacks of {text}")
                    continue
                path = f"{self._folder()}/{files.RAW}/{labels[number]}/{files.STACKS}"
                outputs.write_file(self._config, path, text)
        except OSError as error:
            self._account.note(f"the stacks could not be written: {error.strerror}")
