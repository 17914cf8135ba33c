"""Cloud TPUs: one pod and one process a TPU host, or one pod that drives TPU nodes outside the cluster.

The hosts of one slice share a node pool of GKE and find each other by ``TPU_WORKER_HOSTNAMES``; several
slices find each other by ``MEGASCALE_COORDINATOR_ADDRESS``, the host of rank 0. Where GKE has put its own
identity into a container, that stays. In a local run there are no TPUs: what would make a framework look for
one (``PJRT_DEVICE``, ``KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS``) is left to the program then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from ftjob.models.names import LABEL_SLICE, LABEL_UID
from ftjob.models.spec import JobSpec, TpuLibrary
from ftjob.strategies.base import Family, PodNeeds, Processes, Strategy
from ftjob.strategies.jax import JAX_DISTRIBUTED, coordinator
from ftjob_protocol.values import peers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace
    from ftjob.models.spec import Tpu as TpuSpec

NODE_POOL_LABEL = "cloud.google.com/gke-nodepool"
"""A multi-host slice is a node pool of GKE, and a node pool is one slice."""

V5E = {"accelerator": "tpu-v5-lite-podslice", "topology": "2x4", "chipsPerWorker": 4}


class Tpu(Strategy):
    """TPU hosts, slice by slice in the order of their indexes."""

    name: ClassVar[str] = "TPU"
    processes: ClassVar[Processes] = Processes.ALWAYS_ONE
    identity: ClassVar[tuple[Family, ...]] = (
        JAX_DISTRIBUTED,
        Family("TPU slices", ("TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES"), ("MEGASCALE_",)),
    )
    unless_set: ClassVar[tuple[str, ...]] = ("TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES")
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"tpu": {"library": "TensorFlow", **V5E}},
        {"tpu": {"library": "JAX", **V5E, "slices": 2}},
        {"tpu": {"library": "TorchXLA", **V5E}},
        {"tpu": {"library": "TensorFlow", "endpoints": ["grpc://10.0.0.2:8470"]}},
    )

    def default_workers(self, spec: JobSpec) -> int:
        """Return the number of TPU hosts, or 1 for TPU nodes outside the cluster."""
        return tpu_hosts(spec) or 1

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return the place in the slice, that of the slice among others, and what the library wants."""
        tpu = _tpu(layout)
        env: dict[str, str] = {}
        if not tpu.endpoints:
            env |= _of_slice(layout, worker)
        elif not layout.is_local:
            env["KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS"] = ",".join(tpu.endpoints)
        if tpu.library is TpuLibrary.JAX:
            env |= coordinator(layout, rank)
        if tpu.library is TpuLibrary.TORCH_XLA and not layout.is_local:
            env["PJRT_DEVICE"] = "TPU"
        return env

    def needs(self, layout: Layout, worker: WorkerPlace) -> PodNeeds:
        """Return the chips, the nodes that have them, and the node pool that a slice has for itself."""
        tpu = _tpu(layout)
        if tpu.endpoints:
            return PodNeeds()
        assert tpu.accelerator is not None
        assert tpu.topology is not None
        assert tpu.chips_per_worker is not None
        hosts = _hosts_of_slice(layout)
        number = str(worker.index // hosts)
        return PodNeeds(
            resources={TPU_RESOURCE: tpu.chips_per_worker},
            node_selector={ACCELERATOR_LABEL: tpu.accelerator, TOPOLOGY_LABEL: tpu.topology},
            labels={LABEL_SLICE: number},
            tolerations=({"key": TPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"},),
            # Hosts that are a slice each share their node pool with others.
            affinity=_alone_in_a_node_pool(layout.uid, number) if hosts > 1 else {},
        )


def _tpu(layout: Layout) -> TpuSpec:
    assert layout.spec.tpu is not None
    return layout.spec.tpu


def _hosts_of_slice(layout: Layout) -> int:
    hosts = tpu_hosts(layout.spec)
    assert hosts is not None
    return hosts // _tpu(layout).slices


def _of_slice(layout: Layout, worker: WorkerPlace) -> dict[str, str]:
    slices, hosts = _tpu(layout).slices, _hosts_of_slice(layout)
    number, place = divmod(worker.index, hosts)
    env = {"TPU_WORKER_ID": str(place), "TPU_WORKER_HOSTNAMES": peers.hosts(number * hosts, hosts)}
    if slices > 1:
        env |= {
            "MEGASCALE_COORDINATOR_ADDRESS": f"{layout.leader.host}:{layout.slices_port}",
            "MEGASCALE_NUM_SLICES": str(slices),
            "MEGASCALE_SLICE_ID": str(number),
            "MEGASCALE_PORT": str(layout.slices_port),
        }
    return env


def _alone_in_a_node_pool(uid: str, number: str) -> dict[str, list[dict[str, Any]]]:
    """Return the terms that keep a slice together, and apart from other slices, of this job and of others."""
    has_slice = {"key": LABEL_SLICE, "operator": "Exists"}
    return {
        "podAffinity": [
            {
                "labelSelector": {"matchLabels": {LABEL_UID: uid, LABEL_SLICE: number}},
                "topologyKey": NODE_POOL_LABEL,
            }
        ],
        "podAntiAffinity": [
            {
                "labelSelector": {
                    "matchLabels": {LABEL_UID: uid},
                    "matchExpressions": [
                        has_slice,
                        {"key": LABEL_SLICE, "operator": "NotIn", "values": [number]},
                    ],
                },
                "topologyKey": NODE_POOL_LABEL,
            },
            {
                "labelSelector": {
                    "matchExpressions": [has_slice, {"key": LABEL_UID, "operator": "NotIn", "values": [uid]}]
                },
                "namespaceSelector": {},
                "topologyKey": NODE_POOL_LABEL,
            },
        ],
    }


TPU_RESOURCE = "google.com/tpu"

ACCELERATOR_LABEL = "cloud.google.com/gke-tpu-accelerator"

TOPOLOGY_LABEL = "cloud.google.com/gke-tpu-topology"
"""GKE's resource and node labels (cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus)."""


def tpu_hosts(spec: JobSpec) -> int | None:
    """Return the number of TPU hosts of all slices together; None if the spec does not say it."""
    tpu = spec.tpu
    if tpu is None or tpu.topology is None or tpu.chips_per_worker is None:
        return None
    return math.prod(int(side) for side in tpu.topology.split("x")) // tpu.chips_per_worker * tpu.slices
