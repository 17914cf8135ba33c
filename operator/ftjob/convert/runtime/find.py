"""The runtime of a TrainJob: one that was given, or one of those that Kubeflow Trainer brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.convert.draft import refused
from ftjob.convert.read import mapping_in
from ftjob.models.manifest import Manifest, mapping

if TYPE_CHECKING:
    from ftjob.convert.draft import Draft

KINDS = ("ClusterTrainingRuntime", "TrainingRuntime")
FRAMEWORK = "trainer.kubeflow.org/framework"
IMAGES = {"torch-distributed": ("torch", "pytorch/pytorch"), "jax-distributed": ("jax", "nvcr.io/nvidia/jax")}
"""Framework and image of the runtimes of Kubeflow Trainer's that only say these two."""


def runtime_name(job: Manifest) -> str:
    """Return the name of the runtime that a TrainJob asks for; empty if it asks for none."""
    return str(mapping(job, "spec", "runtimeRef").get("name") or "")


def runtime_kind(job: Manifest) -> str:
    """Return the kind of the runtime that a TrainJob asks for."""
    return str(mapping(job, "spec", "runtimeRef").get("kind") or KINDS[0])


def runtime_of(draft: Draft) -> Manifest:
    """Return the spec of the job's runtime."""
    name = runtime_name(draft.source)
    if not name:
        raise refused("spec.runtimeRef.name", "it is missing", "write the name of the runtime")
    given = draft.options.runtimes.get(name)
    if given is None:
        if name not in IMAGES:
            raise refused(
                f"runtime {name}",
                "it is not known here, and says what the job runs",
                "give its YAML by --runtime FILE, or read it by --from-cluster",
            )
        framework, image = IMAGES[name]
        if not mapping(draft.source, "spec", "trainer").get("image"):
            draft.check("image", f"{image} without a version; write the one that your runtime has")
        return _plain_runtime(framework, image)
    labels = mapping(given, "metadata", "labels")
    if labels.get(FRAMEWORK) == "torchtune":
        raise refused(
            f"runtime {name}", "torchtune's recipes are the runtime's", "keep this job with Kubeflow Trainer"
        )
    return mapping_in(given, "spec", f"runtime {name}")


def _plain_runtime(framework: str, image: str) -> Manifest:
    pod = {"spec": {"containers": [{"name": "node", "image": image}]}}
    group = {"name": "node", "template": {"spec": {"template": pod}}}
    return {"mlPolicy": {"numNodes": 1, framework: {}}, "template": {"spec": {"replicatedJobs": [group]}}}
