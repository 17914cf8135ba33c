"""The leader's child that serves what ranks need to find each other."""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from ftjob_agent.config import ConfigError
from ftjob_agent.linux import is_loopback
from ftjob_agent.ranks.pump import Pump, RankLog
from ftjob_protocol.agent_config import AgentConfig, RendezvousKind

if TYPE_CHECKING:
    from ftjob_agent.loop import Loop
    from ftjob_agent.ranks.supervise import Supervisor

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The zipapp, or the folder that this package is in."""
_START = """\
import os, runpy, sys
sys.path = [place for place in sys.path if place]
sys.path += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
source, module = sys.argv[1:3]
del sys.argv[1:3]
sys.path.append(source)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Finds Horovod wherever the ranks do, but Python's own modules first: a file in their folder or on their
PYTHONPATH may have the name of one that they don't need, and the rendezvous does."""
SLOTS_SECONDS = 600
"""How long Horovod's elastic driver waits for slots; before that the leader ends an attempt with too few."""


class Rendezvous:
    """A child of the trainer's own Python, since its imports are in the user's image."""

    def __init__(
        self,
        loop: Loop,
        supervisor: Supervisor,
        config: AgentConfig,
        *,
        command: Sequence[str],
        env: Mapping[str, str],
        on_ready: Callable[[], None],
        on_word: Callable[[dict[str, Any]], None],
    ) -> None:
        assert config.rendezvous is not None
        self._loop, self._on_ready, self._on_word = loop, on_ready, on_word
        self._said = b""
        self._is_ready = False
        self.error = ""
        self._process = supervisor.spawn(
            [interpreter(command, env), "-E", "-c", _START, SOURCE, *_program(config)],
            env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        stderr, stdout = self._process.stderr, self._process.stdout
        assert stderr is not None
        assert stdout is not None
        self._pump = Pump(os.dup(stderr.fileno()), 2, RankLog(None))
        self._pump.start()
        loop.watch(stdout, selectors.EVENT_READ, self._on_output)

    def _on_output(self, _events: int) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        data = os.read(stdout.fileno(), 65536)
        *lines, self._said = (self._said + data).split(b"\n")
        for line in lines:
            self._take(line)
        if not data:
            self._loop.watch(stdout, 0, self._on_output)
            self._on_end()

    def say(self, word: dict[str, Any]) -> None:
        """Send a message to the child; one that has ended misses nothing."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(word).encode() + b"\n")
            stdin.flush()
        except OSError:
            pass

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            said = {"error": line.decode("utf-8", "replace")}
        if self._is_ready:
            self._on_word(said)
        elif said.get("ready"):
            self._is_ready = True
            self._on_ready()
        else:
            self.error = f"Horovod's rendezvous could not be served: {said.get('error')}"

    def _on_end(self) -> None:
        self._pump.join(1)
        why = f"its program ended: {self._pump.tail.strip()[-2000:] or 'it said nothing'}"
        if self._is_ready:
            self._on_word({"ended": why})
        elif not self.error:
            self.error = f"Horovod's rendezvous could not be served: {why}"


def _program(config: AgentConfig) -> list[str]:
    """Return the module that serves the rendezvous, and its arguments."""
    rendezvous = config.rendezvous
    assert rendezvous is not None
    host, port = config.leader.host if is_loopback(config.leader.host) else "", str(rendezvous.port)
    if rendezvous.kind == RendezvousKind.HOROVOD_ELASTIC and config.elastic is not None:
        bounds = (config.elastic.min_workers, config.elastic.max_workers)
        least, most = (str(workers * len(config.ranks)) for workers in bounds)
        return [
            "ftjob_agent.rendezvous.horovod_elastic_driver",
            host,
            port,
            least,
            most,
            str(SLOTS_SECONDS),
        ]
    if rendezvous.kind == RendezvousKind.HOROVOD:
        sizes = (str(config.agents), str(len(config.ranks)))
        return ["ftjob_agent.rendezvous.horovod_store", rendezvous.host_prefix, *sizes, host, port]
    raise ConfigError(f"rendezvous {rendezvous.kind!r} is not known to this agent; update its image")


def interpreter(command: Sequence[str], env: Mapping[str, str]) -> str:
    """Return the Python that the trainer's command runs, or else the first `python3` on its PATH."""
    program = command[0]
    name = program if re.fullmatch(r"python[\d.]*", os.path.basename(program)) else "python3"
    found = shutil.which(name, path=env.get("PATH", os.defpath))
    if found is None:
        raise ConfigError(
            f"Horovod's rendezvous needs {name} on PATH {env.get('PATH', '')}; use an image that has it", 127
        )
    return found
