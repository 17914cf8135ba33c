"""Rules about where the pods are placed, and by whom."""

from __future__ import annotations

from ftjob.api.defaults import roles_of
from ftjob.api.rules.rule import Rule
from ftjob.models.manifest import mapping
from ftjob.models.names import KUEUE_LABEL, MULTIKUEUE
from ftjob.models.spec import GangMode, JobSpec, template_of
from ftjob.strategies.tpu import tpu_hosts

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def requires_neighbours(spec: JobSpec) -> bool:
    """Whether a pod template demands other pods nearby.

    The scheduler counts only pods that match all the required podAffinity terms of the pod to be placed
    (kubernetes/kubernetes, interpodaffinity/filtering.go), so that no pod is near enough once terms of ours,
    which match the job's own pods, stand beside them.
    """
    templates = (template_of(spec, role) for role in roles_of(spec))
    return any(mapping(template, "spec", "affinity", "podAffinity").get(REQUIRED) for template in templates)


def _has_several_slices_of_several_hosts(spec: JobSpec) -> bool:
    return spec.tpu is not None and spec.tpu.slices > 1 and (tpu_hosts(spec) or 0) > spec.tpu.slices


SCHEDULING_RULES: tuple[Rule, ...] = (
    Rule(
        field="spec.scheduling.queue",
        message="it is a queue of Volcano, and the job does not ask for Volcano",
        remedy="set scheduling.gang to Volcano, or remove queue; for Kueue label the job with "
        f"{KUEUE_LABEL} instead",
        at="spec.scheduling",
        cel="!has(self.queue) || self.?gang.orValue('Auto') == 'Volcano'",
        broken=lambda spec: (
            spec.scheduling.queue is not None and spec.scheduling.gang is not GangMode.VOLCANO
        ),
    ),
    Rule(
        field="spec.scheduling.topologyKey",
        message="the template has required podAffinity terms of its own, and Kubernetes counts only pods "
        "that match all such terms",
        remedy="make the template's podAffinity preferred, or remove topologyKey",
        broken=lambda spec: spec.scheduling.topology_key is not None and requires_neighbours(spec),
    ),
    Rule(
        field="spec.scheduling.topologyKey",
        message="each of several TPU slices has a node pool for itself, and Kubernetes can't bind the first "
        "pods of all slices to one domain besides",
        remedy="remove topologyKey, and select the domain in the template's nodeSelector",
        broken=lambda spec: (
            spec.scheduling.topology_key is not None and _has_several_slices_of_several_hosts(spec)
        ),
    ),
    Rule(
        field="spec.code",
        message="MultiKueue runs the job in another cluster, and does not bring the code's ConfigMap there",
        remedy="put the code into the image, or remove managedBy",
        cel=f"!has(self.code) || self.?managedBy.orValue('') != '{MULTIKUEUE}'",
        broken=lambda spec: spec.code is not None and spec.managed_by == MULTIKUEUE,
    ),
)
