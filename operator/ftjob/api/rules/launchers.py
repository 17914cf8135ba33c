"""Rules about commands that start a launcher, which in turn starts processes of its own.

ftjob starts one process for each rank. A launcher in each of them would start all ranks again. Where a worker
has one process alone, a launcher may start the worker's others, if it knows of the other workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ftjob.api.defaults import processes_per_worker, workers_of
from ftjob.api.rules.command import Started, started_by
from ftjob.api.rules.rule import Rule
from ftjob.models.spec import JobSpec, trainer_of
from ftjob.strategies.horovod import Horovod
from ftjob.strategies.torchrun import Torchrun

CONTAINERS = "spec.template.spec.containers"


def _by_torchrun(found: Started) -> bool:
    """Whether torchrun is told to ignore ``PET_NNODES``, from which it knows the others otherwise."""
    return found.option("standalone") is not None or found.option("nnodes") in {"1", "1:1"}


def _by_accelerate(found: Started) -> bool:
    """Whether it takes itself for the first machine, whichever it is; on one it asks torchrun."""
    is_told = any(found.option(name) is not None for name in ("machine_rank", "config_file"))
    return found.option("num_machines") not in {None, "1"} and not is_told


def _without_hosts(found: Started) -> bool:
    return not any(found.option(n) is not None for n in ("node_rank", "hostfile", "H", "hosts", "host"))


@dataclass(frozen=True)
class Launcher:
    """A launcher, as it stands in commands."""

    names: tuple[str, ...]
    alone: Callable[[Started], bool]
    """Whether it would train without the other workers."""
    then: tuple[str, ...] = ()
    """The first argument that makes it one, if not every call does."""


LAUNCHERS = (
    Launcher(("torchrun", "torch.distributed.run", "torch.distributed.launch"), _by_torchrun),
    Launcher(("accelerate-launch", "accelerate.commands.launch"), _by_accelerate),
    Launcher(("accelerate", "accelerate.commands.accelerate_cli"), _by_accelerate, ("launch",)),
    Launcher(("deepspeed", "deepspeed.launcher.runner"), _without_hosts),
    Launcher(("horovodrun", "horovod.runner.launch"), _without_hosts),
    Launcher(("mpirun", "mpiexec"), _without_hosts),
    Launcher(("composer", "composer.cli.launcher"), lambda found: found.option("node_rank") is None),
    Launcher(("colossalai",), _without_hosts, ("run",)),
    Launcher(("fabric", "lightning"), lambda found: found.option("node_rank") is None, ("run",)),
)

_NAMES = frozenset(name for launcher in LAUNCHERS for name in launcher.names)


def _launchers(spec: JobSpec) -> Iterator[tuple[Launcher, Started]]:
    trainer = trainer_of(spec)
    words = [str(word) for key in ("command", "args") for word in trainer.get(key) or ()]
    for found in started_by(words, _NAMES):
        for launcher in LAUNCHERS:
            if found.program in launcher.names and (not launcher.then or found.args[:1] == launcher.then):
                yield launcher, found


def _in_every_rank(spec: JobSpec) -> str | None:
    """Return the launcher that each of a worker's several ranks would start."""
    if processes_per_worker(spec) == 1:
        return None
    return next((found.program for _, found in _launchers(spec)), None)


def _alone(spec: JobSpec) -> str | None:
    """Return the launcher that would train in each worker without those that it is to train with."""
    if spec.strategy not in {Torchrun.name, Horovod.name} or workers_of(spec) == 1:
        return None
    if processes_per_worker(spec) > 1:
        return None
    return next((found.program for launcher, found in _launchers(spec) if launcher.alone(found)), None)


_IN_EVERY_RANK = (
    "the trainer's command starts {}, and so each of a worker's several ranks would start several more; "
    "ftjob starts the ranks itself, as {} would"
)
_ALONE = "the trainer's command starts {}, which in each worker would train without the others"

LAUNCHER_RULES = (
    Rule(
        field=CONTAINERS,
        message=_IN_EVERY_RANK.format("a launcher", "it"),
        precisely=lambda spec: _IN_EVERY_RANK.format(_in_every_rank(spec), _in_every_rank(spec)),
        remedy="write the program's own command, such as command: [python, train.py]; or set "
        "processesPerWorker: 1, and the launcher starts the processes of its worker",
        broken=lambda spec: _in_every_rank(spec) is not None,
    ),
    Rule(
        field=CONTAINERS,
        message=_ALONE.format("a launcher"),
        precisely=lambda spec: _ALONE.format(_alone(spec)),
        remedy="write the program's own command, such as command: [python, train.py], and ftjob tells each "
        "rank of the others; or tell the launcher: a plain torchrun knows them already, accelerate takes "
        "--num_machines, --machine_rank $(GROUP_RANK), --main_process_ip $(MASTER_ADDR) and "
        "--main_process_port $(MASTER_PORT)",
        broken=lambda spec: _alone(spec) is not None,
    ),
)
