"""JobSet (jobset.x-k8s.io): one group of pods as Torchrun, TPU or another strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.api.rules.command import started_by
from ftjob.convert.draft import refused
from ftjob.convert.fields.policy import ANY_FAILURE, queueing
from ftjob.convert.fields.template import command_of, take_template
from ftjob.convert.launchers.torchrun import MODULES, take_torch_command
from ftjob.convert.read import mapping_in, number, number_in, objects_in
from ftjob.models.manifest import Manifest, mapping, trainer_in
from ftjob.strategies.tpu import ACCELERATOR_LABEL, TOPOLOGY_LABEL, TPU_RESOURCE

if TYPE_CHECKING:
    from ftjob.convert.draft import Draft

KNOWN = frozenset(
    {"replicatedJobs", "failurePolicy", "suspend", "managedBy", "ttlSecondsAfterFinished", "successPolicy"}
)
OF_A_JOB = frozenset(
    {
        *("parallelism", "completions", "completionMode", "backoffLimit", "template"),
        *("activeDeadlineSeconds", "ttlSecondsAfterFinished"),
    }
)
SLICE_TOPOLOGY = "cloud.google.com/gke-tpu-slice-topology"
EXCLUSIVE = "alpha.jobset.sigs.k8s.io/exclusive-topology"
NODE_POOL = "cloud.google.com/gke-nodepool"
BACKOFF = 6
"""Of a plain Job that does not say."""
TORCHRUN = frozenset({"torchrun", *MODULES})


def convert(draft: Draft) -> None:
    """Fill the draft's spec."""
    draft.drop_others(draft.given, "spec", KNOWN)
    queueing(draft, draft.given, "spec")
    group = _only_group(draft)
    path = "spec.replicatedJobs[0].template.spec"
    job = mapping_in(mapping_in(group, "template", "spec.replicatedJobs[0]"), "spec", path)
    draft.drop_others(job, path, OF_A_JOB)
    pods = number_in(job, "parallelism", path, 1)
    if number_in(job, "completions", path, pods) != pods:
        raise refused(f"{path}.completions", "it differs from parallelism", "write the same number in both")
    replicas = number_in(group, "replicas", "spec.replicatedJobs[0]", 1)
    template = take_template(draft, job.get("template"), f"{path}.template", ("node", "trainer"))
    words = command_of(draft, template, f"{path}.template")
    _topology(draft, group)
    _limits(draft, job, path)
    if TPU_RESOURCE in mapping(trainer_in(template), "resources", "limits"):
        _as_tpu(draft, template, replicas, pods)
    else:
        draft.spec |= {"strategy": _strategy(draft, words), "workers": replicas * pods}
        if draft.spec["strategy"] == "Torchrun":
            take_torch_command(draft, template, words, None, "processesPerWorker")
    if draft.given.get("successPolicy"):
        draft.dropped("spec.successPolicy", "the strategy says who decides on success")
    draft.spec["template"] = template


def _only_group(draft: Draft) -> dict[str, Any]:
    groups = objects_in(draft.given, "replicatedJobs", "spec")
    if len(groups) == 1:
        draft.drop_others(groups[0], "spec.replicatedJobs[0]", {"name", "replicas", "template", "groupName"})
        return groups[0]
    if not groups:
        raise refused("spec.replicatedJobs", "there is none", "write the one that trains")
    names = ", ".join(str(group.get("name")) for group in groups)
    first = next((d.get("name") for group in groups for d in objects_in(group, "dependsOn", "spec")), None)
    what = f"{first} runs before the others" if first else f"{names} are several groups of pods"
    raise refused(
        "spec.replicatedJobs",
        f"{what}, and a job of ftjob has one",
        "prepare data by a job or init container of its own; keep groups that work together with JobSet",
    )


def _topology(draft: Draft, group: dict[str, Any]) -> None:
    job = mapping_in(group, "template", "spec.replicatedJobs[0]")
    annotations = {
        **mapping(draft.source, "metadata", "annotations"),
        **mapping(job, "metadata", "annotations"),
    }
    pods = mapping(job, "spec", "template", "metadata", "annotations")
    if SLICE_TOPOLOGY in pods:
        raise refused(
            SLICE_TOPOLOGY, "slices that are made on demand are not served", "use a static node pool"
        )
    key = annotations.get(EXCLUSIVE)
    if key == NODE_POOL:
        draft.dropped(EXCLUSIVE, "ftjob gives each TPU slice a node pool of its own")
    elif key:
        raise refused(EXCLUSIVE, f"{key} can't be exclusive", "scheduling.topologyKey keeps workers together")


def _limits(draft: Draft, job: dict[str, Any], path: str) -> None:
    failure = mapping_in(draft.given, "failurePolicy", "spec")
    draft.drop_others(failure, "spec.failurePolicy", {"maxRestarts"})
    limit = number_in(failure, "maxRestarts", "spec.failurePolicy", 0)
    limit += number_in(job, "backoffLimit", path, BACKOFF)
    if limit:
        draft.spec["restart"] = {"limit": limit, "retryExitCodes": ANY_FAILURE}
    if job.get("activeDeadlineSeconds") is not None:
        draft.spec["activeDeadlineSeconds"] = number(
            job["activeDeadlineSeconds"], f"{path}.activeDeadlineSeconds"
        )
    if draft.given.get("ttlSecondsAfterFinished") is not None:
        draft.spec["ttlSecondsAfterFinished"] = number(
            draft.given["ttlSecondsAfterFinished"], "spec.ttlSecondsAfterFinished"
        )


def _strategy(draft: Draft, words: list[str]) -> str:
    if draft.options.strategy:
        return draft.options.strategy
    if any(found.program in TORCHRUN for found in started_by(words, TORCHRUN)):
        return "Torchrun"
    raise refused(
        "spec.replicatedJobs",
        "the command does not show how its pods train together",
        "say it by --strategy, such as MultiWorkerMirrored, JAX, Torchrun or Plain",
    )


def _as_tpu(draft: Draft, template: Manifest, slices: int, hosts: int) -> None:
    if draft.options.strategy not in {None, "TPU"}:
        raise refused(
            "--strategy", f"a job with {TPU_RESOURCE} is no {draft.options.strategy}", "leave it out"
        )
    trainer, selector = trainer_in(template), mapping(template, "spec", "nodeSelector")
    library = draft.options.library
    if library is None:
        library = "JAX"
        draft.check("spec.tpu.library", "JAX is a guess; say another by --library TorchXLA or TensorFlow")
    tpu: Manifest = {"library": library}
    for key, label in (("accelerator", ACCELERATOR_LABEL), ("topology", TOPOLOGY_LABEL)):
        if selector.get(label):
            tpu[key] = str(selector.pop(label))
    for kind in ("limits", "requests"):
        asked = mapping(trainer, "resources", kind).pop(TPU_RESOURCE, None)
        if asked is not None:
            tpu["chipsPerWorker"] = number(asked, TPU_RESOURCE)
    if slices != 1:
        tpu["slices"] = slices
    draft.spec |= {"strategy": "TPU", "workers": slices * hosts, "tpu": tpu}
    if not selector:
        mapping(template, "spec").pop("nodeSelector", None)
