"""mpirun and horovodrun in front of a command: ftjob starts the ranks itself, so that they are taken off.

Options as in Open MPI 4.1's and MPICH's (Intel's) manuals of mpirun, and horovod/runner/launch.py.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ftjob.convert.draft import refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MPI = frozenset({"mpirun", "mpiexec", "mpiexec.hydra", "orterun", "prterun"})
HOROVOD = frozenset({"horovodrun"})
PROBES = ("readinessProbe", "livenessProbe", "startupProbe", "lifecycle")
"""Fields of a container that ask the sshd by which mpirun starts the ranks."""
SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh"})

PROCESSES = frozenset({"np", "n", "c"})
PER_NODE = frozenset({"N", "npernode", "ppn", "perhost"})
_MPI_ONE = frozenset(
    {
        *(PROCESSES | PER_NODE),
        *("bind-to", "map-by", "rank-by", "x", "H", "host", "hosts", "hostfile", "machinefile", "f"),
        *("default-hostfile", "wdir", "wd", "path", "prefix", "am", "report-pid", "output-filename"),
        *("timeout", "max-restarts", "iface", "launcher", "genvlist", "envlist", "npersocket", "stdin"),
        *("mca-base-env-list", "tune", "bootstrap", "personality", "hosts-group"),
    }
)
_MPI_TWO = frozenset({"mca", "omca", "gmca", "prtemca", "genv", "env", "pmixmca"})
_MPI_NONE = frozenset(
    {
        *("allow-run-as-root", "tag-output", "timestamp-output", "oversubscribe", "nooversubscribe"),
        *("report-bindings", "display-map", "display-allocation", "verbose", "v", "quiet", "q", "bynode"),
        *("byslot", "pernode", "nolocal", "use-hwthread-cpus", "prepend-rank", "l", "genvall", "envall"),
        *("bind-to-core", "bind-to-none", "enable-recovery", "disable-recovery", "novm", "xterm"),
        *("merge-stderr-to-stdout", "forward-signals", "continuous", "print-rank-map"),
    }
)
_HOROVOD_ONE = frozenset(
    {
        *("np", "num-proc", "min-np", "min-num-proc", "max-np", "max-num-proc", "H", "hosts", "hostfile"),
        *("host-discovery-script", "slots", "slots-per-host", "p", "ssh-port", "ssh-identity-file"),
        *("fusion-threshold-mb", "cycle-time-ms", "cache-capacity", "log-level", "timeline-filename"),
        *("start-timeout", "elastic-timeout", "reset-limit", "network-interfaces", "network-interface"),
        *("output-filename", "mpi-args", "config-file", "autotune-log-file", "blacklist-cooldown-range"),
        *("gloo-timeout-seconds", "stall-check-warning-time-seconds", "stall-check-shutdown-time-seconds"),
    }
)
_HOROVOD_NONE = frozenset(
    {
        *("verbose", "gloo", "mpi", "jsrun", "disable-cache", "autotune", "tcp", "no-stall-check"),
        *("prefix-output-with-timestamp", "hierarchical-allreduce", "no-hierarchical-allreduce"),
        *("hierarchical-allgather", "no-hierarchical-allgather", "timeline-mark-cycles"),
        *("log-with-timestamp", "log-without-timestamp", "log-hide-timestamp"),
    }
)


@dataclass(frozen=True)
class Launched:
    """A command without its launcher."""

    launcher: str
    before: Sequence[str]
    """What starts the launcher, such as an entry point."""
    program: Sequence[str]
    options: Mapping[str, str]
    """The launcher's options of one value, without dashes in front."""
    env: Mapping[str, str | None] = field(default_factory=dict)
    """Variables that it passes on; None: as the launcher's container has them."""

    @property
    def command(self) -> list[str]:
        """What a rank runs."""
        return [*self.before, *self.program]


def is_launcher(word: object) -> bool:
    """Whether a word of a command is mpirun or horovodrun."""
    return isinstance(word, str) and _name(word) in MPI | HOROVOD


def take_off(words: Sequence[str], where: str) -> Launched:
    """Return a command without mpirun or horovodrun in front of it.

    Parameters
    ----------
    where
        The field with the command, for messages.
    """
    words = _out_of_the_shell(list(words), where)
    at = next((i for i, word in enumerate(words) if is_launcher(word)), None)
    if at is None:
        raise refused(
            where,
            "it starts neither mpirun nor horovodrun, so what the ranks run is not to be seen",
            "write the command with mpirun in it, such as [mpirun, -np, '4', python, train.py]",
        )
    launcher, rest, options, env = _name(words[at]), words[at + 1 :], {}, {}
    while rest and rest[0].startswith("-"):
        name, values = _option(launcher, rest, where)
        if name in {"x", "genv", "env"}:
            key, equals, value = values[0].partition("=")
            env[key] = value if equals else (values[1] if len(values) > 1 else None)
        elif len(values) == 1:
            options[name] = values[0]
        if name == "pernode":
            options["N"] = "1"
    if ":" in rest:
        raise refused(where, f"{launcher} starts several programs", "write one program for all ranks")
    if not rest:
        raise refused(where, f"{launcher} starts no program", "write it behind the options")
    return Launched(launcher, words[:at], rest, options, env)


def _option(launcher: str, rest: list[str], where: str) -> tuple[str, list[str]]:
    """Take one option with its values from the front of words."""
    word = rest.pop(0)
    name, equals, value = word.lstrip("-").partition("=")
    one = _HOROVOD_ONE if launcher in HOROVOD else _MPI_ONE
    none = _HOROVOD_NONE if launcher in HOROVOD else _MPI_NONE
    two = frozenset() if launcher in HOROVOD else _MPI_TWO
    short = name if name in one | none | two else name.replace("_", "-")
    if short in one:
        if equals:
            return short, [value]
        count = 1
    elif short in two:
        count = 2
    elif short in none and not equals:
        count = 0
    else:
        raise refused(
            where, f"{word} is no known option of {launcher}", "leave it out, if ranks do not need it"
        )
    if len(rest) < count:
        raise refused(where, f"{word} has no value", "write one")
    values, rest[:count] = rest[:count], []
    return short, values


def _out_of_the_shell(words: list[str], where: str) -> list[str]:
    """Return the words of a shell's text that is one call of a launcher; other words as they are."""
    if not words or _name(words[0]) not in SHELLS:
        return words
    text = words[-1].replace("\\\n", " ").strip()
    lines = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "set "))
    ]
    try:
        split = shlex.split(lines[0]) if len(lines) == 1 else []
    except ValueError:
        split = []
    if split[:1] == ["exec"]:
        split = split[1:]
    if not split or not is_launcher(split[0]) or re.search(r"[;&|`$<>]", lines[0]):
        raise refused(
            where,
            "the shell's text is more than one plain call of mpirun",
            "write the command without the shell: [mpirun, -np, '4', python, train.py]",
        )
    return split


def _name(word: str) -> str:
    return word.rpartition("/")[2]
