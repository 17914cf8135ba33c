"""One agent process: what a pod is in the cluster."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import ftjob.local.start_agent
from ftjob.plan.build.agent_config import LAST_WORDS_SECONDS
from ftjob.plan.observed.pod import PodState, Terminated
from ftjob_protocol import files, orders, steps, variables
from ftjob_protocol.files import nofollow
from ftjob_protocol.leader_state import LeaderState
from ftjob_protocol.signing.exchange import exchange
from ftjob_protocol.signing.signature import Sender
from ftjob_protocol.termination import LIMIT, TerminationMessage, parse_termination_message

if TYPE_CHECKING:
    from ftjob.local.environment import Trainer
    from ftjob.models.layout import WorkerPlace
    from ftjob.plan.build.agent_config import AgentCommand
    from ftjob_protocol.captures.order import CaptureOrder
    from ftjob_protocol.orders import Order

TAIL = 4096


class Agent:
    """One worker's agent, running or ended."""

    def __init__(self, place: WorkerPlace, attempt: int, folder: Path) -> None:
        self.place = place
        self.attempt = attempt
        self.grace = 0.0
        """Seconds from SIGTERM to SIGKILL, as its pod would have; its ranks have fewer."""
        self._uid = str(uuid.uuid4())
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._sender: Sender | None = None
        self._terminated: Terminated | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Its process while it runs."""
        return self._process.pid if self._process and self._terminated is None else None

    @property
    def message(self) -> TerminationMessage | None:
        """Its termination message, when it has ended with one."""
        return self._terminated.message if self._terminated else None

    def start(self, told: AgentCommand, trainer: Trainer, token: str, python: str, lock: int) -> None:
        """Start the process."""
        self._sender = Sender(token)
        self.grace = told.config.stop_grace + LAST_WORDS_SECONDS
        run = self._folder / "run"
        run.mkdir(parents=True)
        secret = self._folder / files.TOKEN
        secret.touch(mode=0o600)
        secret.write_text(token)
        env = trainer.env | {
            variables.AGENT_CONFIG: told.config_json,
            variables.TOKEN_FILE: str(secret),
            variables.RUN_DIR: str(run),
            variables.TERMINATION_LOG: str(self._folder / "termination-log"),
        }
        # A script beside this module, not `-m`: that interpreter need not have ftjob.
        script = Path(ftjob.local.start_agent.__file__)
        # Isolated, as in a pod: what the ranks' PYTHONPATH or this folder hides, it hides from them alone.
        argv = [python, "-IS", str(script), str(os.getpid()), str(script.parents[2]), "--", *trainer.command]
        with (self._folder / "agent.log").open("wb") as log:
            self._process = subprocess.Popen(
                argv,
                env=env,
                cwd=trainer.folder,
                stdin=subprocess.DEVNULL,
                # What ranks say comes from their logs, where each has its own.
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,  # a terminal's Ctrl-C is ours to pass on
            )

    def poll(self, now: float) -> bool:
        """Look whether it has ended; True when it is found to have."""
        if self._process is None or self._terminated is not None:
            return False
        code = self._process.poll()
        if code is None:
            return False
        try:
            text = nofollow.read(str(self._folder / "termination-log"), LIMIT).decode()
        except (OSError, UnicodeError):
            text = ""
        self._terminated = Terminated(
            exit_code=128 - code if code < 0 else code,
            reason="Completed" if code == 0 else "Error",
            message=parse_termination_message(text),
            seen=now,
        )
        return True

    def stop(self) -> None:
        """Ask it to end its ranks and itself."""
        self._stopping = True
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once; its ranks become ours."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)  # nothing happens if it has been waited for

    def observe(self, node: str) -> PodState:
        """Return it as the pod that it stands for."""
        return PodState(
            name=self.place.name,
            uid=self._uid,
            role=self.place.role,
            index=self.place.index,
            attempt=self.attempt,
            node=node,
            ip=self.place.host,
            running=self._terminated is None,
            terminated=self._terminated,
            deleting=self._stopping and self._terminated is None,
        )

    def steps(self, rank: int) -> tuple[int | None, int | None]:
        """Return step and total steps of a rank: as its script says, else as its hooks count them."""
        folder = self._folder / "run" / files.rank_name(rank)
        return _told_steps(folder / files.PROGRESS) or _counted_steps(folder / files.STEPS) or (None, None)

    def leader_state(self) -> LeaderState | None:
        """Ask the leader what it knows of the whole job; None while it does not answer."""
        return self._ask("GET", orders.PROGRESS)

    def order(self, order: Order | CaptureOrder) -> LeaderState | None:
        """Tell the leader what becomes of dead ranks, or what to capture; None if it can't do it now."""
        return self._ask("POST", order.path, json.dumps(order.as_json()).encode())

    def _ask(self, method: str, path: str, body: bytes = b"") -> LeaderState | None:
        if self._sender is None:
            return None
        connection = http.client.HTTPConnection(self.place.host, self.place.port, timeout=1)
        try:
            status, data = exchange(connection, self._sender, method, path, body)
            return LeaderState.read(json.loads(data)) if status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()


def _counted_steps(path: Path) -> tuple[int, int | None] | None:
    found = steps.read(str(path))
    return (found.step, found.total) if found is not None else None


def _told_steps(path: Path) -> tuple[int, int | None] | None:
    try:
        start = max(0, (nofollow.size(str(path)) or 0) - TAIL)
        # The newest first; what has no end yet is left out.
        lines = nofollow.read(str(path), TAIL, start).split(b"\n")[-2::-1]
        for line in lines:
            data = json.loads(line)
            if isinstance(data.get("step"), int):
                total = data.get("totalSteps")
                return data["step"], total if isinstance(total, int) else None
    except (OSError, ValueError, RecursionError, AttributeError):
        return None
    return None


def wait_until_ended(agents: list[Agent], seconds: float) -> bool:
    """Wait for the end of all agents; False if some still run."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        for agent in agents:
            agent.poll(time.time())
        if all(agent.pid is None for agent in agents):
            return True
        time.sleep(0.02)
    return False
