"""Agents as real processes on the loopback, with small scripts as ranks."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.ports import free_port

from ftjob_protocol.signing.exchange import exchange, greet, receive, send
from ftjob_protocol.signing.signature import Sender, SignatureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

OPERATOR = Path(__file__).parents[2] / "operator"
TOKEN = "a token of the tests"
TIMEOUT = 60.0


def wait_for(condition: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> Any:
    """Return what `condition` gives as soon as it is true."""
    limit = time.monotonic() + timeout
    while time.monotonic() < limit:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen in {timeout:g} s")


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def plan(**changes: Any) -> dict[str, Any]:
    """Return an agent's config: one agent with one rank, unless changed."""
    port = changes.pop("port", None) or free_port()
    return {
        "version": 1,
        "job": "digits",
        "namespace": "default",
        "uid": "u-1",
        "strategy": "Plain",
        "role": "worker",
        "index": 0,
        "attempt": 0,
        "worldSize": 1,
        "agents": 1,
        "roles": {"worker": changes.get("agents", 1)},
        "port": port,
        "leader": {"host": "127.0.0.1", "port": port},
        "ranks": [{"rank": 0, "localRank": 0, "env": {"FTJOB_RANK": "0"}}],
        "identity": [],
        "startTimeoutSeconds": 60,
        "contactTimeoutSeconds": 30,
        "outputs": "",
        "keepLogs": False,
        "profiling": None,
        **changes,
    }


def elastic_plan(
    index: int, port: int, *, env: Mapping[str, str], wanted: int = 2, least: int = 2, **changes: Any
) -> dict[str, Any]:
    """Return the config of one worker with one rank, of an elastic job that may have up to four."""
    return plan(
        port=port,
        index=index,
        agents=wanted,
        worldSize=4,
        elastic={"minWorkers": least, "maxWorkers": 4},
        ranks=[{"rank": index, "localRank": 0, "env": dict(env)}],
        **changes,
    )


def star_plans(agents: int, processes: int, **changes: Any) -> list[dict[str, Any]]:
    """Return the configs of several agents of one job."""
    port = free_port()
    return [
        plan(
            port=port,
            index=index,
            agents=agents,
            worldSize=agents * processes,
            ranks=[
                {"rank": rank, "localRank": local, "env": {"FTJOB_RANK": str(rank)}}
                for local, rank in enumerate(range(index * processes, (index + 1) * processes))
            ],
            **changes,
        )
        for index in range(agents)
    ]


@dataclass
class AgentRun:
    """One agent that was started."""

    folder: Path
    config: dict[str, Any]
    process: subprocess.Popen[bytes] = field(repr=False)
    asks: Sender = field(default_factory=lambda: Sender(TOKEN), repr=False)
    """Who asks for progress, again and again: a leader remembers only so many that ask once."""

    @property
    def log(self) -> Path:
        """Where the kubelet would look for the termination message."""
        return self.folder / "termination-log"

    @property
    def message(self) -> dict[str, Any]:
        """The termination message."""
        data = json.loads(self.log.read_bytes().decode("utf-8"))
        assert isinstance(data, dict)
        return data

    @property
    def failure(self) -> dict[str, Any]:
        """The failure in the termination message."""
        found = self.message["failure"]
        assert isinstance(found, dict)
        return found

    def text(self, name: str) -> str:
        """Return a file of the agent's folder: ``stdout``, ``stderr``, or what a rank left."""
        return (self.folder / name).read_text(errors="replace")

    def lines(self, name: str) -> Callable[[], list[str]]:
        """Return a condition: the lines of a file once there are any."""
        path = self.folder / name
        return lambda: path.read_text().splitlines() if path.exists() else []

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Return the exit code."""
        return self.process.wait(timeout)

    def terminate(self) -> None:
        """Send what the kubelet sends first."""
        self.process.send_signal(signal.SIGTERM)

    def vanish(self) -> None:
        """Kill the agent and its one rank, which in a pod would die with it."""
        pid = self.process.pid
        [rank] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.process.kill()
        os.kill(int(rank), signal.SIGKILL)

    def request(
        self, method: str, path: str, body: bytes = b"", token: str = TOKEN
    ) -> tuple[int, dict[str, Any]]:
        """Ask the leader."""
        with self.asking(method, path, body, token) as answer:
            return answer()

    @contextmanager
    def asking(
        self, method: str, path: str, body: bytes = b"", token: str = TOKEN
    ) -> Iterator[Callable[[], tuple[int, dict[str, Any]]]]:
        """Send the leader a request; yield what waits for the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.config["port"], timeout=TIMEOUT)
        sender = Sender(token)
        try:
            greet(connection, sender)
            request = send(connection, sender, method, path, body)

            def answer() -> tuple[int, dict[str, Any]]:
                status, data = receive(connection, sender, request)
                return status, json.loads(data)

            yield answer
        finally:
            connection.close()

    def progress(self) -> dict[str, Any]:
        """Return what the operator would see; empty when the leader does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.config["port"], timeout=TIMEOUT)
        try:
            found: dict[str, Any] = json.loads(exchange(connection, self.asks, "GET", "/v1/progress")[1])
        except (OSError, SignatureError):
            return {}
        finally:
            connection.close()
        return found


class Agents:
    """Starts agents and leaves none of them behind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: list[AgentRun] = []

    def start(
        self,
        config: dict[str, Any] | str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        agent: Sequence[str] = (sys.executable, "-m", "ftjob_agent"),
        **options: Any,
    ) -> AgentRun:
        """Start an agent whose ranks run `command`, in a folder of its own."""
        folder = self._folder / f"agent-{len(self._runs)}"
        folder.mkdir()
        folder.chmod(0o777)  # tests may run it as another user
        text = config if isinstance(config, str) else json.dumps(config)
        secret = folder / "token"
        secret.write_text(TOKEN)
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(OPERATOR),
            "FTJOB_AGENT_CONFIG": text,
            "FTJOB_TOKEN_FILE": str(secret),
            "FTJOB_RUN_DIR": str(folder / "run"),
            "FTJOB_TERMINATION_LOG": str(folder / "termination-log"),
            **(env or {}),
        }
        with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
            options = {"stdout": stdout, "stderr": stderr, **options}
            process = subprocess.Popen([*agent, "--", *command], env=environ, cwd=folder, **options)
        run = AgentRun(folder, config if isinstance(config, dict) else {}, process)
        self._runs.append(run)
        return run

    def script(self, config: dict[str, Any] | str, source: str, **options: Any) -> AgentRun:
        """Start an agent whose ranks run a piece of Python."""
        return self.start(config, [sys.executable, "-S", "-c", PRELUDE + source], **options)

    def stop(self) -> None:
        """End what still runs."""
        for run in self._runs:
            if run.process.poll() is None:
                run.process.send_signal(signal.SIGTERM)
        for run in self._runs:
            try:
                run.process.wait(5)
            except subprocess.TimeoutExpired:
                run.process.kill()
                run.process.wait()


# -S: the ranks of these tests do without site packages and hooks, so that they start in 20 ms.
PRELUDE = """
import json, os, signal, sys, time
rank = int(os.environ.get("FTJOB_RANK", 0))
def mark(name, text=""):
    with open(f"{name}-{rank}.tmp", "w") as file:
        file.write(str(text))
    os.rename(f"{name}-{rank}.tmp", f"{name}-{rank}")
def wait_for_signals():
    while True: time.sleep(0.05)  # pause() would miss one that came just before it
def record(error, when=None):
    kind = type(error).__name__
    data = {"rank": rank, "pid": os.getpid(), "timeNs": when or time.time_ns(),
            "type": kind, "message": str(error),
            "traceback": f"Traceback (most recent call last):\\n  in a script\\n{kind}: {error}"}
    path = os.path.join(os.environ["FTJOB_RANK_DIR"], "failure.json")
    with open(path + ".tmp", "w") as file:
        json.dump(data, file)
    os.rename(path + ".tmp", path)
"""


@contextmanager
def agents_in(folder: Path) -> Iterator[Agents]:
    """Give a place to start agents from."""
    agents = Agents(folder)
    try:
        yield agents
    finally:
        agents.stop()
