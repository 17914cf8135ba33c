"""A job without a YAML file: from an image, a command and a few options of `ftjob submit`."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ftjob.api.rules.command import started_by
from ftjob.client import JobInvalid
from ftjob.models.names import API_VERSION, KIND, KUEUE_LABEL
from ftjob.models.template import TRAINER

if TYPE_CHECKING:
    import argparse

_VARIABLE = re.compile(r"[^=\0]+")


@dataclass(frozen=True)
class Options:
    """What `ftjob submit --image` says, each by the name of its option."""

    image: str
    command: tuple[str, ...]
    strategy: str | None = None
    workers: int | None = None
    processes: int | None = None
    gpus: int | None = None
    cpu: str | None = None
    memory: str | None = None
    env: tuple[str, ...] = ()
    queue: str | None = None
    claim: str | None = None
    name: str | None = None


def options(args: argparse.Namespace) -> Options | None:
    """Return the options of a job without a file; None if there is a file.

    Raises
    ------
    JobInvalid
        There are both, or neither.
    """
    words = tuple(args.words)
    said = {each.name: getattr(args, each.name) for each in fields(Options) if each.name != "command"}
    if args.image is None:
        extra = [name for name, value in said.items() if value is not None and name != "name"]
        if extra:
            raise JobInvalid(f"--{extra[0]} goes with --image; change a field of a file by --set")
        if len(words) != 1:
            raise JobInvalid("give one FILE with a job, or --image IMAGE -- COMMAND")
        return None
    if not words:
        raise JobInvalid(
            f"--image {args.image}: say what the ranks run, behind --: ftjob submit --image {args.image} -- "
            "python train.py"
        )
    return Options(**said | {"command": words, "env": tuple(args.env or ())})


def script_of(command: tuple[str, ...]) -> str:
    """Return what a job that runs this is named after."""
    programs = [found.program for found in started_by(command, ())]
    return next((name for name in programs if "." in name), (*programs, command[0])[0])


def build(wanted: Options) -> dict[str, Any]:
    """Return the job; it may still lack a name.

    Raises
    ------
    JobInvalid
        Its strategy can't be told, or a variable has no value.
    """
    trainer: dict[str, Any] = {"name": TRAINER, "image": wanted.image, "command": list(wanted.command)}
    if wanted.env:
        trainer["env"] = [_variable(text) for text in wanted.env]
    amounts = {"cpu": wanted.cpu, "memory": wanted.memory, "nvidia.com/gpu": wanted.gpus or None}
    resources = {name: str(amount) for name, amount in amounts.items() if amount is not None}
    if resources:
        trainer["resources"] = {"requests": resources, "limits": dict(resources)}
    spec: dict[str, Any] = {"strategy": _strategy(wanted), "workers": wanted.workers or 1}
    if wanted.processes is not None:
        spec["processesPerWorker"] = wanted.processes
    spec["template"] = {"spec": {"containers": [trainer]}}
    if wanted.claim is not None:
        spec["outputs"] = {"claimName": wanted.claim}
    meta: dict[str, Any] = {"name": wanted.name} if wanted.name is not None else {}
    if wanted.queue is not None:
        meta["labels"] = {KUEUE_LABEL: wanted.queue}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "spec": spec}


def _strategy(wanted: Options) -> str:
    if wanted.strategy is not None:
        return wanted.strategy
    counts = {"workers": wanted.workers, "processes": wanted.processes, "gpus": wanted.gpus}
    several = [f"--{name} {count}" for name, count in counts.items() if count is not None and count > 1]
    if several:
        raise JobInvalid(
            f"{several[0]} needs --strategy, which says how the ranks work together: Torchrun for "
            "torch.distributed, or Horovod, MultiWorkerMirrored, Mirrored, JAX; Plain if they don't"
        )
    return "Plain"


def _variable(text: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _VARIABLE.fullmatch(name):
        raise JobInvalid(f"--env {text}: write a variable and its value, as --env LR=0.1")
    return {"name": name, "value": value}
