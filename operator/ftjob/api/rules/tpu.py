"""Rules about TPUs: which one, how many hosts it has, and what the pod template may not say otherwise."""

from __future__ import annotations

import math
from functools import partial

from ftjob.api.defaults import WORKERS_MAX
from ftjob.api.rules.rule import Rule
from ftjob.api.rules.scheduling import requires_neighbours
from ftjob.models.manifest import mapping
from ftjob.models.spec import JobSpec, TpuLibrary, trainer_of
from ftjob.strategies.tpu import ACCELERATOR_LABEL, TOPOLOGY_LABEL, TPU_RESOURCE, Tpu, tpu_hosts

_WITH_ENDPOINTS = "(has(self.endpoints) && self.endpoints.size() > 0)"
_SIDES = "self.topology.split('x')"
_CHIPS = f"int({_SIDES}[0]) * int({_SIDES}[1]) * ({_SIDES}.size() > 2 ? int({_SIDES}[2]) : 1)"
_HOSTS = f"{_CHIPS} / self.chipsPerWorker * self.?slices.orValue(1)"
# Longer numbers would overflow; they are far beyond the largest TPU, so that our own checks see to them.
_UNKNOWN = (
    "!has(self.topology) || !has(self.chipsPerWorker) || "
    "!self.topology.matches('^[0-9]{1,4}(x[0-9]{1,4}){1,2}$')"
)


def _of_spec(cel: str) -> str:
    """Return an expression about the TPU as one about the spec."""
    return cel.replace("self.", "self.tpu.")


def _lacks(attribute: str, spec: JobSpec) -> bool:
    return spec.tpu is not None and not spec.tpu.endpoints and getattr(spec.tpu, attribute) is None


def _has_chips_and_endpoints(spec: JobSpec) -> bool:
    tpu = spec.tpu
    if tpu is None or not tpu.endpoints:
        return False
    described = (tpu.accelerator, tpu.topology, tpu.chips_per_worker)
    return any(value is not None for value in described) or tpu.slices != 1


def _has_endpoints_for_another_library(spec: JobSpec) -> bool:
    tpu = spec.tpu
    return tpu is not None and bool(tpu.endpoints) and tpu.library is not TpuLibrary.TENSORFLOW


def _shares_endpoints(spec: JobSpec) -> bool:
    return spec.tpu is not None and bool(spec.tpu.endpoints) and spec.workers not in {None, 1}


def _has_half_a_host(spec: JobSpec) -> bool:
    tpu = spec.tpu
    if tpu is None or tpu.topology is None or tpu.chips_per_worker is None:
        return False
    return math.prod(map(int, tpu.topology.split("x"))) % tpu.chips_per_worker != 0


def _has_other_hosts(spec: JobSpec) -> bool:
    hosts = tpu_hosts(spec)
    return hosts is not None and spec.workers is not None and spec.workers != hosts


def _asks_for_other_chips(spec: JobSpec) -> bool:
    if spec.tpu is None or spec.tpu.chips_per_worker is None:
        return False
    asked = [mapping(trainer_of(spec), "resources", kind) for kind in ("limits", "requests")]
    return any(
        str(r.get(TPU_RESOURCE, spec.tpu.chips_per_worker)) != str(spec.tpu.chips_per_worker) for r in asked
    )


def _selects_other_nodes(spec: JobSpec) -> bool:
    tpu = spec.tpu
    if tpu is None or tpu.endpoints:
        return False
    selector = mapping(spec.template, "spec", "nodeSelector")
    wanted = {ACCELERATOR_LABEL: tpu.accelerator, TOPOLOGY_LABEL: tpu.topology}
    return any(selector.get(label, value) != value for label, value in wanted.items())


def _requires_neighbours(spec: JobSpec) -> bool:
    if spec.tpu is None or (tpu_hosts(spec) or 0) <= spec.tpu.slices:
        return False
    return requires_neighbours(spec)


TPU_RULES: tuple[Rule, ...] = (
    Rule(
        field="spec.tpu",
        message="strategy TPU needs to know which TPU",
        remedy="write tpu: {library: ..., accelerator: ..., topology: ..., chipsPerWorker: ...}",
        cel="self.strategy != 'TPU' || has(self.tpu)",
        broken=lambda spec: spec.strategy == Tpu.name and spec.tpu is None,
        required=True,
    ),
    Rule(
        field="spec.tpu",
        message="only strategy TPU has a tpu section",
        remedy="remove tpu, or set strategy to TPU",
        cel="self.strategy == 'TPU' || !has(self.tpu)",
        broken=lambda spec: spec.strategy != Tpu.name and spec.tpu is not None,
    ),
    *(
        Rule(
            field=f"spec.tpu.{key}",
            message=f"without it nobody knows {what}",
            remedy=f"write tpu.{key}, such as {example}; for a TPU outside the cluster write tpu.endpoints",
            at="spec.tpu",
            cel=f"{_WITH_ENDPOINTS} || has(self.{key})",
            broken=partial(_lacks, attribute),
            required=True,
        )
        for key, attribute, what, example in (
            ("accelerator", "accelerator", "which nodes have the TPU", "tpu-v5-lite-podslice"),
            ("topology", "topology", "how many chips a slice has", "2x4"),
            ("chipsPerWorker", "chips_per_worker", "how many chips a TPU host has", "4"),
        )
    ),
    Rule(
        field="spec.tpu.endpoints",
        message="endpoints are TPUs outside the cluster; accelerator, topology, chipsPerWorker and slices "
        "describe chips in the pods",
        remedy="remove endpoints, or the others",
        at="spec.tpu",
        cel=f"!{_WITH_ENDPOINTS} || !(has(self.accelerator) || has(self.topology) "
        "|| has(self.chipsPerWorker) || self.?slices.orValue(1) != 1)",
        broken=_has_chips_and_endpoints,
    ),
    Rule(
        field="spec.tpu.endpoints",
        message="only TensorFlow drives TPUs outside the cluster",
        remedy="remove endpoints, or set tpu.library to TensorFlow",
        at="spec.tpu",
        cel=f"!{_WITH_ENDPOINTS} || self.library == 'TensorFlow'",
        broken=_has_endpoints_for_another_library,
    ),
    Rule(
        field="spec.tpu.endpoints",
        message="an endpoint is not an address of the form that TensorFlow takes without asking Google Cloud",
        remedy="write each as grpc://10.0.0.2:8470",
        at="spec.tpu",
        cel="!has(self.endpoints) || self.endpoints.all(e, e.startsWith('grpc://') && !e.contains(','))",
        broken=lambda spec: any(
            not e.startswith("grpc://") or "," in e for e in (spec.tpu.endpoints if spec.tpu else ())
        ),
    ),
    Rule(
        field="spec.workers",
        message="one worker drives all endpoints; several would take them from each other",
        remedy="leave workers out, or set it to 1",
        cel=f"!has(self.tpu) || !{_of_spec(_WITH_ENDPOINTS)} || self.?workers.orValue(1) == 1",
        broken=_shares_endpoints,
    ),
    Rule(
        field="spec.tpu.topology",
        message="the chips of the topology are not a multiple of chipsPerWorker",
        remedy="set chipsPerWorker to the chips of one TPU host, such as 4 for a topology of 2x4",
        at="spec.tpu",
        cel=f"{_UNKNOWN} || ({_CHIPS}) % self.chipsPerWorker == 0",
        broken=_has_half_a_host,
    ),
    Rule(
        field="spec.workers",
        message="the TPU has another number of hosts, and each of them is a worker",
        remedy="leave workers out, or set it to the chips of the topology / chipsPerWorker x slices",
        cel=f"!has(self.tpu) || !has(self.workers) || {_of_spec(_UNKNOWN)} || "
        f"self.workers == {_of_spec(_HOSTS)}",
        broken=_has_other_hosts,
    ),
    Rule(
        field="spec.tpu.topology",
        message=f"the TPU has more than {WORKERS_MAX} hosts, and each of them would be a worker",
        remedy="write the topology of one slice, such as 2x4, and chipsPerWorker and slices to go with it",
        at="spec.tpu",
        cel=f"{_UNKNOWN} || {_HOSTS} <= {WORKERS_MAX}",
        broken=lambda spec: (tpu_hosts(spec) or 0) > WORKERS_MAX,
    ),
    Rule(
        field="spec.template.spec.containers",
        message=f"the trainer asks for another number of {TPU_RESOURCE} than tpu.chipsPerWorker",
        remedy=f"remove {TPU_RESOURCE} from the trainer's resources; ftjob adds it",
        broken=_asks_for_other_chips,
    ),
    Rule(
        field="spec.template.spec.nodeSelector",
        message="it selects nodes of another TPU than tpu.accelerator and tpu.topology",
        remedy=f"remove {ACCELERATOR_LABEL} and {TOPOLOGY_LABEL} from it; ftjob adds them",
        broken=_selects_other_nodes,
    ),
    Rule(
        # A term is met only by a pod that meets all of them, and ours is met by the slice alone.
        field="spec.template.spec.affinity.podAffinity",
        message="it requires other pods beside the workers, but a TPU slice of several hosts has a node pool "
        "for itself",
        remedy="remove what is required from it, or write it as preferred",
        broken=_requires_neighbours,
    ),
)
