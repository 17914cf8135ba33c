"""What MultiKueue would do between two clusters, by hand; a namespace stands for each.

As in pkg/controller/admissionchecks/multikueue of Kueue v0.19.2: ``cloneForCreate`` and ``reconcileGroup`` in
workload.go for Workloads, externalframeworks/adapter.go for jobs.
"""

from dataclasses import dataclass
from typing import Any

from support.control_cluster import Namespace
from support.kueue import Kueue

from ftjob.models.names import API_VERSION, KIND, KUEUE_PREBUILT, PLURAL

Manifest = dict[str, Any]
ORIGIN = {"kueue.x-k8s.io/multikueue-origin": "management"}
NAMED_IN = {"v1beta1": "labels", "v1beta2": "annotations"}
"""Where a copied job names its Workload: before Kueue 0.18, and since. Both served both versions."""


@dataclass
class MultiKueue:
    """MultiKueue, as far as one job is concerned."""

    here: Kueue
    """The management cluster."""
    there: Kueue
    """The worker cluster."""

    def send_workload(self, **spec: Any) -> Manifest:
        """Copy the Workload, once there is one; with other pods if a test says so."""
        original = self.here.until_there()
        body = _copy(original, self.there.space)
        body["metadata"]["labels"] |= ORIGIN
        body["spec"] |= spec
        return self.there.space.create(self.there.plural, body)

    def send_job(self) -> Manifest:
        """Copy the job, as soon as the copy of its Workload has been admitted."""
        body = _copy(self.here.space.job(), self.there.space)
        del body["spec"]["managedBy"]
        meta = body["metadata"]
        meta["labels"] |= ORIGIN
        meta[NAMED_IN[self.there.version]] |= {KUEUE_PREBUILT: self.here.workload()["metadata"]["name"]}
        return self.there.space.create(PLURAL, body)

    def bring_status(self, found: Manifest | None = None) -> None:
        """Copy the copy's status to the original, or another status: as a whole."""
        found = self.there.space.job()["status"] if found is None else found
        old = self.here.space.job().get("status", {})
        self.here.space.patch(PLURAL, "digits", {"status": _in_place_of(old, found)}, "status")


def _in_place_of(old: Any, new: Any) -> Any:
    """Return the merge patch after which nothing of the old is left."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return dict.fromkeys(old.keys() - new.keys()) | {
        key: _in_place_of(old.get(key), value) for key, value in new.items()
    }


def _copy(original: Manifest, space: Namespace) -> Manifest:
    meta = original["metadata"]
    kind = {"apiVersion": API_VERSION, "kind": KIND} | {
        key: original[key] for key in ("apiVersion", "kind") if key in original
    }
    return {
        **kind,
        "metadata": {
            "name": meta["name"],
            "namespace": space.name,
            "labels": dict(meta.get("labels", {})),
            "annotations": dict(meta.get("annotations", {})),
        },
        "spec": dict(original["spec"]),
    }
