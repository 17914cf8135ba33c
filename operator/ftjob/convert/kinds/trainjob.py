"""TrainJob (trainer.kubeflow.org): its runtime with what the job lays over it, by the runtime's framework."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ftjob.convert.draft import refused
from ftjob.convert.fields.policy import ANY_FAILURE, queueing
from ftjob.convert.fields.template import command_of, set_command, take_template
from ftjob.convert.launchers.mpirun import PROBES
from ftjob.convert.launchers.mpirun import take_off as take_mpirun_off
from ftjob.convert.launchers.torchrun import count_of, take_torch_command
from ftjob.convert.read import mapping_in, number, number_in, objects_in, words_in
from ftjob.convert.runtime.find import runtime_of
from ftjob.convert.runtime.overlay import overlay
from ftjob.models.manifest import Manifest, items, mapping, trainer_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ftjob.convert.draft import Draft

STEP = "trainer.kubeflow.org/trainjob-ancestor-step"
NODE = "node"
BACKOFF = 6
"""Of a plain Job that does not say."""
KNOWN = frozenset(
    {
        *("runtimeRef", "trainer", "initializer", "suspend", "managedBy", "labels", "annotations"),
        *("runtimePatches", "podTemplateOverrides", "activeDeadlineSeconds", "ttlSecondsAfterFinished"),
    }
)
OF_TRAINER = frozenset({"image", "command", "args", "env", "numNodes", "numProcPerNode", "resourcesPerNode"})
FRAMEWORKS = {"torch": "Torchrun", "jax": "JAX"}
UNSERVED = {"flux": "Flux starts MPI programs", "xgboost": "there is no strategy for XGBoost"}


def convert(draft: Draft) -> None:
    """Fill the draft's spec."""
    draft.drop_others(draft.given, "spec", KNOWN)
    if draft.given.get("initializer"):
        raise refused(
            "spec.initializer",
            "ftjob has no initializers of data and models",
            "fetch them by an init container of runtimePatches, or by a job before, and remove it",
        )
    queueing(draft, draft.given, "spec")
    runtime = runtime_of(draft)
    policy = mapping_in(runtime, "mlPolicy", "runtime.spec")
    strategy = _strategy(draft, policy)
    group, spec = _trainer_group(draft, runtime, is_mpi="mpi" in policy)
    template = take_template(draft, _laid_over(draft, group, spec), "runtime.spec.template", (NODE,))
    trainer = mapping_in(draft.given, "trainer", "spec")
    draft.drop_others(trainer, "spec.trainer", OF_TRAINER)
    if "mpi" in policy:
        for key in PROBES:
            trainer_in(template).pop(key, None)
    words = command_of(draft, template, "spec.trainer")
    nodes = number_in(policy, "numNodes", "runtime.spec.mlPolicy", 1)
    draft.spec |= {"strategy": strategy, "workers": number_in(trainer, "numNodes", "spec.trainer", nodes)}
    _limits(draft, runtime, group)
    _processes(draft, policy, template, words)
    _gang(draft, mapping_in(runtime, "podGroupPolicy", "runtime.spec"))
    draft.spec["template"] = template


def _strategy(draft: Draft, policy: dict[str, Any]) -> str:
    for name, why in UNSERVED.items():
        if name in policy:
            raise refused(f"runtime.spec.mlPolicy.{name}", why, "keep this job with Kubeflow Trainer")
    asked = draft.options.strategy
    if "mpi" in policy:
        if asked not in {"Horovod", "Torchrun"}:
            raise refused(
                "runtime.spec.mlPolicy.mpi",
                "ftjob runs no MPI, and what the program trains with is not to be seen",
                "say it: --strategy Horovod, or --strategy Torchrun for torch.distributed and DeepSpeed",
            )
        return asked
    found = next((strategy for name, strategy in FRAMEWORKS.items() if name in policy), "Plain")
    if asked and found not in {asked, "Plain"}:
        raise refused("--strategy", f"the runtime is one for {found}", "leave it out")
    return asked or found


def _trainer_group(draft: Draft, runtime: Manifest, *, is_mpi: bool) -> tuple[str, dict[str, Any]]:
    """Return the name and the Job's spec of the runtime's pods that train."""
    spec = mapping_in(mapping_in(runtime, "template", "runtime.spec"), "spec", "runtime.spec.template")
    draft.drop_others(
        spec, "runtime.spec.template.spec", {"replicatedJobs", "failurePolicy", "network", "successPolicy"}
    )
    found: dict[str, dict[str, Any]] = {}
    for group in objects_in(spec, "replicatedJobs", "runtime.spec.template.spec"):
        template = mapping(group, "template")
        step = str(mapping(template, "metadata", "labels").get(STEP) or "")
        if step.endswith("initializer"):
            raise refused(
                f"runtime {group.get('name')}",
                "ftjob has no initializers",
                "use a runtime without, or fetch data before",
            )
        if step == "trainer" or group.get("name") == NODE:
            found[str(group.get("name"))] = mapping(template, "spec")
    if NODE in found and (is_mpi or len(found) == 1):
        return NODE, found[NODE]
    if len(found) == 1:
        return found.popitem()
    raise refused("runtime.spec.template", "which of its replicatedJobs trains?", f"call that one {NODE}")


def _laid_over(draft: Draft, group: str, job: dict[str, Any]) -> Manifest:
    """Return the runtime's pod template with the patches and the job's trainer laid over it."""
    template: Manifest = copy.deepcopy(mapping(job, "template"))
    for patch in _patches(draft, group):
        template = overlay(template, patch)
    trainer = mapping_in(draft.given, "trainer", "spec")
    container = next(
        (one for one in items(template.get("spec"), "containers") if one.get("name") == NODE), None
    )
    if container is None:
        raise refused(
            "runtime.spec.template", f"no container is called {NODE}", f"call the one that trains {NODE}"
        )
    if trainer.get("image") is not None:
        container["image"] = trainer["image"]
    for key in ("command", "args"):
        if trainer.get(key) is not None:
            container[key] = words_in(trainer, key, "spec.trainer")
    if trainer.get("command") is not None and trainer.get("args") is None:
        container.pop("args", None)
    if trainer.get("resourcesPerNode") is not None:
        container["resources"] = copy.deepcopy(mapping_in(trainer, "resourcesPerNode", "spec.trainer"))
    if env := objects_in(trainer, "env", "spec.trainer"):
        container["env"] = overlay(objects_in(container, "env", "runtime"), env)
    return template


def _patches(draft: Draft, group: str) -> Iterator[Manifest]:
    """Yield what the job lays over the pod template of a group."""
    for patch in objects_in(draft.given, "runtimePatches", "spec"):
        spec = mapping(patch, "trainingRuntimeSpec", "template", "spec")
        for one in items(spec, "replicatedJobs"):
            if one.get("name") == group:
                yield mapping(one, "template", "spec", "template")
    for patch in objects_in(draft.given, "podTemplateOverrides", "spec"):
        if any(target.get("name") == group for target in items(patch, "targetJobs")):
            yield {key: patch[key] for key in ("metadata", "spec") if key in patch}
    for key in ("labels", "annotations"):
        if own := mapping_in(draft.given, key, "spec"):
            yield {"metadata": {key: own}}


def _processes(draft: Draft, policy: dict[str, Any], template: Manifest, words: list[str]) -> None:
    trainer = mapping(draft.given, "trainer")
    framework = next((mapping(policy, name) for name in ("torch", "mpi") if name in policy), {})
    said = trainer.get("numProcPerNode", framework.get("numProcPerNode"))
    processes = None if said is None else str(said)
    if "mpi" in policy:
        launched = take_mpirun_off(words, "spec.trainer.command")
        set_command(template, launched.command)
        draft.changed("command", f"{launched.launcher} is taken off: ftjob starts the ranks itself")
        count = count_of(template, processes or "1", "numProcPerNode")
        draft.spec["processesPerWorker"] = count or 1
    elif draft.spec["strategy"] == "Torchrun":
        take_torch_command(draft, template, words, processes, "spec.trainer.numProcPerNode")


def _limits(draft: Draft, runtime: Manifest, group: str) -> None:
    spec = mapping(runtime, "template", "spec")
    failure = mapping_in(spec, "failurePolicy", "runtime.spec.template.spec")
    limit = number_in(failure, "maxRestarts", "runtime.spec.template.spec.failurePolicy", 0)
    job = next(
        (
            mapping(one, "template", "spec")
            for one in items(spec, "replicatedJobs")
            if one.get("name") == group
        ),
        {},
    )
    limit += number_in(job, "backoffLimit", "runtime.spec.template", BACKOFF)
    if limit:
        draft.spec["restart"] = {"limit": limit, "retryExitCodes": ANY_FAILURE}
    for key in ("activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        if draft.given.get(key) is not None:
            draft.spec[key] = number(draft.given[key], f"spec.{key}")


def _gang(draft: Draft, policy: dict[str, Any]) -> None:
    if "volcano" in policy:
        draft.set("scheduling", gang="Volcano")
    elif "coscheduling" in policy:
        draft.set("scheduling", gang="Coscheduling")
        if mapping(policy, "coscheduling").get("scheduleTimeoutSeconds") is not None:
            draft.dropped("podGroupPolicy.scheduleTimeoutSeconds", "scheduling.timeoutSeconds fails the job")
