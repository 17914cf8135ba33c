"""The leader's child that serves what ranks need to find each other."""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import subprocess
from typing import TYPE_CHECKING, Callable, Mapping, Sequence

from ftjob_agent.config import Config, ConfigError
from ftjob_agent.procfs import is_loopback
from ftjob_agent.pump import Pump

if TYPE_CHECKING:
    from ftjob_agent.loop import Loop
    from ftjob_agent.supervise import Supervisor

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The zipapp, or the folder that this package is in."""


class Rendezvous:
    """A child of the trainer's own Python, since its imports are in the user's image."""

    def __init__(
        self,
        loop: Loop,
        supervisor: Supervisor,
        config: Config,
        *,
        command: Sequence[str],
        env: Mapping[str, str],
        on_ready: Callable[[], None],
    ) -> None:
        assert config.rendezvous is not None
        self._loop, self._on_ready = loop, on_ready
        self._said = b""
        self.error = ""
        if config.rendezvous.kind != "Horovod":
            raise ConfigError(
                f"rendezvous {config.rendezvous.kind!r} is not known to this agent; update its image"
            )
        self._process = supervisor.spawn(
            [
                interpreter(command, env),
                "-m",
                "ftjob_agent.horovod_rendezvous",
                config.rendezvous.hosts,
                str(config.world_size),
                config.leader.host if is_loopback(config.leader.host) else "",
                str(config.rendezvous.port),
            ],
            {**env, "PYTHONPATH": os.pathsep.join(filter(None, [SOURCE, env.get("PYTHONPATH")]))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        stderr, stdout = self._process.stderr, self._process.stdout
        assert stderr is not None
        assert stdout is not None
        self._pump = Pump(os.dup(stderr.fileno()), 2, None)
        self._pump.start()
        loop.watch(stdout, selectors.EVENT_READ, self._on_output)

    def _on_output(self, _events: int) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        data = os.read(stdout.fileno(), 65536)
        self._said += data
        if b"\n" not in self._said and data:
            return
        self._loop.watch(stdout, 0, self._on_output)
        try:
            said = json.loads(self._said.partition(b"\n")[0])
        except ValueError:
            self._pump.join(1)
            said = {
                "error": f"its program ended at once: {self._pump.tail.strip()[-2000:] or 'it said nothing'}"
            }
        if said.get("ready"):
            self._on_ready()
        else:
            self.error = f"Horovod's rendezvous could not be served: {said.get('error')}"


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
