"""MPIJob (kubeflow.org v1alpha1 to v2beta1) as Horovod, or as Torchrun: its workers, without MPI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ftjob.convert.draft import refused
from ftjob.convert.fields.policy import ANY_FAILURE, RUN_POLICY, backoff_limit, run_policy
from ftjob.convert.fields.replicas import Replicas, replicas_of
from ftjob.convert.fields.template import add_env, command_of, set_command, take_template
from ftjob.convert.launchers.mpirun import (
    HOROVOD,
    PER_NODE,
    PROBES,
    PROCESSES,
    Launched,
    is_launcher,
    take_off,
)
from ftjob.convert.read import number, number_in, objects_in
from ftjob.models.manifest import Manifest, gpus_of, trainer_in

if TYPE_CHECKING:
    from ftjob.convert.draft import Draft

STRATEGIES = ("Horovod", "Torchrun")
BACKOFF = 6
"""Of a plain Job, which the launcher is."""
OF_MPI = (
    "sshAuthMountPath",
    "mpiImplementation",
    "launcherCreationPolicy",
    "mainContainer",
    "mpiDistribution",
)
KNOWN = frozenset({"mpiReplicaSpecs", "slotsPerWorker", "runPolicy", "runLauncherAsWorker", *OF_MPI})
OLD = frozenset({"template", "replicas", "gpus", "slotsPerWorker", "launcherOnMaster", *RUN_POLICY, *OF_MPI})
TO_HOROVOD = {
    "fusion-threshold-mb": "HOROVOD_FUSION_THRESHOLD",
    "cycle-time-ms": "HOROVOD_CYCLE_TIME",
    "cache-capacity": "HOROVOD_CACHE_CAPACITY",
    "log-level": "HOROVOD_LOG_LEVEL",
}
PYTHON = re.compile(r"python[\d.]*")
OF_IMAGES = frozenset({"PATH", "LD_LIBRARY_PATH", "PYTHONPATH"})


def convert(draft: Draft) -> None:
    """Fill the draft's spec."""
    strategy = draft.options.strategy or "Horovod"
    if strategy not in STRATEGIES:
        raise refused("--strategy", f"an MPIJob can't be {strategy}", f"write {' or '.join(STRATEGIES)}")
    run_policy(draft)
    launcher, worker, slots, workers = _old_roles(draft) if "template" in draft.given else _roles(draft)
    launched = take_off(_words(draft, launcher), f"{launcher.path}.spec.containers")
    _must_be_python(launched, strategy, launcher.path)
    template = worker.template
    _clean_worker(draft, template)
    _count_ranks(draft, launched, workers, slots)
    _take_options(draft, launched, slots)
    _take_environment(draft, launched, launcher.template, template)
    set_command(template, launched.command)
    directory = launched.options.get("wdir") or launched.options.get("wd")
    directory = directory or trainer_in(launcher.template).get("workingDir")
    if directory:
        trainer_in(template)["workingDir"] = directory
    draft.spec["strategy"] = strategy
    draft.spec["template"] = template
    limit = backoff_limit(draft)
    draft.spec["restart"] = {"limit": BACKOFF if limit is None else limit, "retryExitCodes": ANY_FAILURE}
    for key in OF_MPI:
        if draft.given.get(key):
            draft.dropped(f"spec.{key}", "no MPI and no ssh runs")
    draft.changed("Launcher", f"there is none: {launched.launcher} is taken off, and ftjob starts the ranks")
    if strategy == "Horovod":
        draft.check("image", "its Horovod needs gloo: `horovodrun --check-build` says so")
        draft.check(
            "strategy", "the program has to use Horovod; if it uses torch.distributed: --strategy Torchrun"
        )


def _roles(draft: Draft) -> tuple[Replicas, Replicas, int, int]:
    roles = replicas_of(draft, "mpiReplicaSpecs", ("Launcher", "Worker"), ("mpi", "worker"), KNOWN)
    for role in ("Launcher", "Worker"):
        if role.lower() not in roles:
            raise refused(
                f"spec.mpiReplicaSpecs.{role}", "it is missing", "write it, as the MPI operator asks for"
            )
    slots = number_in(draft.given, "slotsPerWorker", "spec", 1)
    extra = 1 if draft.given.get("runLauncherAsWorker") else 0
    return roles["launcher"], roles["worker"], max(1, slots), roles["worker"].replicas + extra


def _old_roles(draft: Draft) -> tuple[Replicas, Replicas, int, int]:
    """Return the roles of v1alpha1, which has one template for both."""
    draft.drop_others(draft.given, "spec", OLD)
    path = "spec.template"
    launcher, worker = (take_template(draft, draft.given["template"], path, ("mpi",)) for _ in range(2))
    if draft.given.get("replicas") is None:
        raise refused("spec.replicas", "it is missing", "write the number of workers instead of gpus")
    workers = number(draft.given["replicas"], "spec.replicas")
    slots = number_in(draft.given, "slotsPerWorker", "spec", gpus_of(trainer_in(worker)) or 1)
    one, two = (Replicas(path, workers, template, None) for template in (launcher, worker))
    return one, two, max(1, slots), workers


def _words(draft: Draft, launcher: Replicas) -> list[str]:
    trainer = trainer_in(launcher.template)
    args = trainer.get("args")
    if not trainer.get("command") and isinstance(args, list) and any(map(is_launcher, args)):
        draft.changed("Launcher", "its arguments are the command; the image's entry point does not run")
        trainer["command"], trainer["args"] = args, None
    return command_of(draft, launcher.template, launcher.path)


def _must_be_python(launched: Launched, strategy: str, path: str) -> None:
    program = launched.program[0].rpartition("/")[2]
    if not PYTHON.fullmatch(program) and not program.endswith(".py"):
        raise refused(
            f"{path}.spec.containers",
            f"{launched.program[0]} is no Python program; ftjob runs no MPI, and {strategy} is for Python",
            "keep this job with the MPI operator; write a Python program as [mpirun, ..., python, train.py]",
        )


def _clean_worker(draft: Draft, template: Manifest) -> None:
    """Take out what belongs to the sshd that workers ran."""
    trainer = trainer_in(template)
    for key in PROBES:
        if trainer.pop(key, None) is not None:
            draft.dropped(f"Worker {key}", "it asked the worker's sshd")
    for key in ("command", "args"):
        trainer.pop(key, None)
    ports = [
        port for port in objects_in(trainer, "ports", "Worker") if port.get("containerPort") not in {22, 2222}
    ]
    trainer.pop("ports", None)
    if ports:
        trainer["ports"] = ports


def _count_ranks(draft: Draft, launched: Launched, workers: int, slots: int) -> None:
    per_node = next((launched.options[name] for name in PER_NODE if name in launched.options), None)
    if per_node is not None:
        slots = number(per_node, "mpirun -N") or slots
    asked = next(
        (launched.options[name] for name in (*PROCESSES, "num-proc") if name in launched.options), None
    )
    ranks = workers * slots if asked is None else number(asked, "mpirun -np")
    if not 1 <= ranks <= workers * slots or (ranks % slots and ranks > slots):
        raise refused(
            "mpirun -np",
            f"{ranks} ranks do not fill whole workers of {slots} slots, of which there are {workers}",
            "write a multiple of slotsPerWorker, or leave -np out",
        )
    slots = min(slots, ranks)
    if ranks // slots < workers:
        draft.changed(
            "workers", f"they are {ranks // slots}: mpirun starts {ranks} ranks, and the rest idled"
        )
    draft.spec |= {"workers": ranks // slots, "processesPerWorker": slots}


def _take_options(draft: Draft, launched: Launched, slots: int) -> None:
    """Take over what horovodrun's options say."""
    options = launched.options
    if launched.launcher not in HOROVOD:
        return
    least = options.get("min-np") or options.get("min-num-proc")
    most = options.get("max-np") or options.get("max-num-proc")
    if least or most or "host-discovery-script" in options:
        workers = draft.spec["workers"]
        bounds = [-(-number(text, "horovodrun") // slots) if text else workers for text in (least, most)]
        draft.spec["elastic"] = {"minWorkers": bounds[0], "maxWorkers": max(bounds[1], workers)}
        if "host-discovery-script" in options:
            draft.dropped("horovodrun --host-discovery-script", "ftjob knows its workers")
    if "timeline-filename" in options:
        draft.changed("horovodrun --timeline-filename", "spec.profiling records Horovod's timeline")
    if "start-timeout" in options:
        draft.set("scheduling", timeoutSeconds=number(options["start-timeout"], "--start-timeout"))


def _take_environment(draft: Draft, launched: Launched, launcher: Manifest, template: Manifest) -> None:
    own: dict[str, dict[str, Any]] = {
        str(item.get("name")): item for item in objects_in(trainer_in(launcher), "env", "Launcher")
    }
    env = {key: value for key, value in launched.env.items() if value is not None}
    passed = (
        own.keys()
        if launched.launcher in HOROVOD
        else [key for key, value in launched.env.items() if value is None]
    )
    for name in passed:
        item = own.get(name, {})
        if isinstance(item.get("value"), str):
            env[name] = item["value"]
        elif name not in OF_IMAGES and name not in env:
            draft.check(
                f"env {name}", "the launcher passed its own; if ranks need it, set it in the template"
            )
    for option, variable in TO_HOROVOD.items():
        if option in launched.options:
            value = launched.options[option]
            scale = 1 << 20 if option == "fusion-threshold-mb" else None
            env[variable] = str(number(value, f"--{option}") * scale) if scale else value
    add_env(template, env)
    left = [name for name in own if name not in env and launched.launcher not in HOROVOD]
    for name in left:
        if name not in launched.env:
            draft.dropped(f"Launcher env {name}", "mpirun did not pass it on")
