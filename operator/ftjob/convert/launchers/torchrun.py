"""torchrun in front of a command: ftjob starts the ranks itself, so that it is taken off.

Options as in torch/distributed/run.py of torch 2.11.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ftjob.api.rules.command import started_by
from ftjob.convert.draft import refused
from ftjob.convert.fields.template import set_command
from ftjob.convert.read import number
from ftjob.models.manifest import Manifest, gpus_of, mapping, trainer_in
from ftjob.models.resources import MILLI, milli

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftjob.convert.draft import Draft

MODULES = ("torch.distributed.run", "torch.distributed.launch")
LAUNCHERS = frozenset(
    {"torchrun", *MODULES, "accelerate", "accelerate-launch", "accelerate.commands.launch", "deepspeed"}
)
FLAGS = frozenset({"m", "module", "no_python", "run_path", "standalone", "use_env", "virtual_local_rank"})
WITH_VALUE = frozenset(
    {
        *("nnodes", "nproc_per_node", "rdzv_backend", "rdzv_endpoint", "rdzv_id", "rdzv_conf"),
        *("max_restarts", "monitor_interval", "start_method", "event_log_handler", "role", "log_dir", "r"),
        *("redirects", "t", "tee", "local_ranks_filter", "node_rank", "master_addr", "master_port"),
        *("local_addr", "logs_specs", "numa_binding", "signals_to_handle", "duplicate_stdout_filters"),
        *("duplicate_stderr_filters", "shutdown_timeout"),
    }
)
SILENT = frozenset(
    {
        *("nnodes", "nproc_per_node", "rdzv_backend", "rdzv_endpoint", "rdzv_id", "rdzv_conf", "node_rank"),
        *("master_addr", "master_port", "standalone", "max_restarts", "m", "module", "no_python", "use_env"),
    }
)
"""Options whose meaning the job keeps, or that have none without torchrun."""
_PYTHON = re.compile(r"python[\d.]*")


@dataclass(frozen=True)
class TakenOff:
    """A command without its launcher."""

    command: Sequence[str]
    options: Mapping[str, str]
    """The launcher's options, with underscores."""


def take_off(words: Sequence[str]) -> TakenOff | None:
    """Return a command without torchrun in front of it; None if there is none."""
    program = words[0].rpartition("/")[2]
    if program == "torchrun":
        python, rest, module = ["python3"], list(words[1:]), ""
    else:
        at = next((i for i, word in enumerate(words) if word == "-m"), len(words))
        module = words[at + 1] if at + 1 < len(words) else ""
        is_flags = all(word.startswith("-") for word in words[1:at])
        if not _PYTHON.fullmatch(program) or module not in MODULES or not is_flags:
            return None
        python, rest = list(words[:at]), list(words[at + 2 :])
    options: dict[str, str] = {}
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        name = name.lstrip("-").replace("-", "_")
        if name in WITH_VALUE:
            if not equals and not rest:
                raise refused("command", f"{word} has no value", "write one")
            options[name] = value if equals else rest.pop(0)
        elif name in FLAGS and not equals:
            options[name] = ""
        else:
            raise refused(
                "command", f"{word} is no known option of torchrun", "leave torchrun out of the command"
            )
    if not rest:
        raise refused("command", "torchrun starts no program", "write the script behind its options")
    if "no_python" in options:
        return TakenOff(rest, options)
    return TakenOff([*python, *(["-m"] if {"m", "module"} & options.keys() else []), *rest], options)


def take_torch_command(
    draft: Draft, template: Manifest, words: Sequence[str], processes: str | None, field: str
) -> TakenOff | None:
    """Set a template's command without its launcher, and the number of processes.

    Parameters
    ----------
    processes
        How many processes of a pod the job itself says; a number, auto, gpu or cpu.
    field
        Where it says so.
    """
    if any(pair == ("--backend", "mpi") for pair in pairwise(words)) or "--backend=mpi" in words:
        raise refused("command", "--backend mpi needs MPI, which ftjob does not start", "use gloo or nccl")
    taken = take_off(words)
    if taken is None:
        draft.spec["processesPerWorker"] = 1
        inside = next(
            (found.program for found in started_by(list(words), LAUNCHERS) if found.program in LAUNCHERS),
            None,
        )
        if inside is not None:
            if "elastic" in draft.spec:
                raise refused(
                    "elasticPolicy",
                    f"{inside} is in a shell's text, where it hears nothing of workers that come and go",
                    "write the command without the shell and torchrun, or remove elasticPolicy",
                )
            draft.check(
                "command", f"{inside} stays and starts the processes of its worker: one rank a worker"
            )
        return None
    set_command(template, taken.command)
    draft.changed("command", "torchrun is taken off: ftjob starts the ranks itself")
    for name in taken.options.keys() - SILENT:
        draft.dropped(f"torchrun --{name}", "ftjob has nothing like it")
    launcher = taken.options.get("nproc_per_node")
    count = count_of(template, launcher or processes, "--nproc_per_node" if launcher else field)
    if count is not None:
        draft.spec["processesPerWorker"] = count
    if taken.options.get("max_restarts"):
        draft.set("restart", limit=number(taken.options["max_restarts"], "--max_restarts"))
    return taken


def count_of(template: Manifest, processes: str | None, field: str) -> int | None:
    """Return the processes of a pod; None: as many as it has GPUs."""
    trainer = trainer_in(template)
    if processes is None or processes in {"auto", "gpu"}:
        return None if gpus_of(trainer) else 1
    if processes == "cpu":
        cores = milli(mapping(trainer, "resources", "limits").get("cpu"))
        if cores is None:
            raise refused(field, "cpu asks for a process a core, and there is no limit", "write the number")
        return max(1, cores // MILLI)
    return number(processes, field)
