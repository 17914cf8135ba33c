"""Which kind is converted by what, and what holds for all kinds."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftjob.api.job import parse_job
from ftjob.api.validate import validate
from ftjob.convert.draft import Draft, Note, Options, RefusedError, refused
from ftjob.convert.fields.metadata import GENERATED, metadata
from ftjob.convert.kinds import jaxjob, jobset, mpijob, pytorchjob, tfjob, trainjob
from ftjob.convert.read import mapping_in
from ftjob.models.names import API_VERSION, KIND

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.models.manifest import Manifest

KUBEFLOW, TRAINER, JOBSET = "kubeflow.org", "trainer.kubeflow.org", "jobset.x-k8s.io"
CONVERTERS: dict[str, tuple[str, frozenset[str], Callable[[Draft], None]]] = {
    "TFJob": (KUBEFLOW, frozenset({"v1"}), tfjob.convert),
    "PyTorchJob": (KUBEFLOW, frozenset({"v1"}), pytorchjob.convert),
    "MPIJob": (KUBEFLOW, frozenset({"v1alpha1", "v1alpha2", "v1", "v2beta1"}), mpijob.convert),
    "JAXJob": (KUBEFLOW, frozenset({"v1"}), jaxjob.convert),
    "TrainJob": (TRAINER, frozenset({"v1alpha1", "v2alpha1"}), trainjob.convert),
    "JobSet": (JOBSET, frozenset({"v1alpha2"}), jobset.convert),
}
"""The kinds that are converted: their API group, its versions, and the converter."""
NO_STRATEGY = {
    "XGBoostJob": ("XGBoost", "keep it with Kubeflow, whose Trainer serves XGBoost"),
    "PaddleJob": ("PaddlePaddle", "keep it with Kubeflow"),
    "MXJob": ("MXNet", "MXNet is no longer developed; port the program to another framework"),
}
CHOSEN = frozenset({"MPIJob", "TrainJob", "JobSet"})
"""Kinds that don't say their strategy, so that users may."""
ORDER = ("strategy", "workers", "processesPerWorker", "roles", "tpu", "elastic", "restart")
"""Fields that come first, as people read a job; the template is the last."""


@dataclass(frozen=True)
class Converted:
    """A job of ours, what stands beside it, and what its owner has to know."""

    job: Manifest
    beside: tuple[Manifest, ...]
    notes: tuple[Note, ...]


def is_known(body: Manifest) -> bool:
    """Whether an object is a job of another operator: one to convert, or to refuse by name."""
    return body.get("kind") in CONVERTERS or body.get("kind") in NO_STRATEGY


def convert(body: Manifest, options: Options) -> Converted:
    """Convert one job.

    Parameters
    ----------
    body
        The object as an API server or a file gives it; it stays as it is.

    Raises
    ------
    RefusedError
        It can't be converted, or would not be valid; each problem has its remedy.
    """
    converter = _converter(body)
    draft = Draft(copy.deepcopy(body), options)
    if options.strategy is not None and draft.kind not in CHOSEN:
        raise refused("--strategy", f"a {draft.kind} says itself what it is", "leave it out")
    meta = metadata(draft)
    if not mapping_in(draft.source, "spec", ""):
        raise refused("spec", "it is missing", f"write the whole {draft.kind}")
    converter(draft)
    job = {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "spec": _ordered(draft.spec)}
    _must_be_valid(job)
    return Converted(job, tuple(draft.beside), tuple(draft.notes))


def _converter(body: Manifest) -> Callable[[Draft], None]:
    kind = str(body.get("kind"))
    if kind in NO_STRATEGY:
        framework, remedy = NO_STRATEGY[kind]
        raise refused(f"kind {kind}", f"there is no strategy for {framework}", remedy)
    if kind not in CONVERTERS:
        raise refused(f"kind {kind}", "it is not one that is converted", f"give a {', '.join(CONVERTERS)}")
    group, versions, converter = CONVERTERS[kind]
    said, _, version = str(body.get("apiVersion")).partition("/")
    if said != group or version not in versions:
        served = ", ".join(f"{group}/{one}" for one in sorted(versions))
        raise refused(
            "apiVersion", f"{body.get('apiVersion')} has no {kind} that is known here", f"write {served}"
        )
    return converter


def _ordered(spec: Manifest) -> Manifest:
    last = {"template": spec["template"]}
    first = {key: spec[key] for key in ORDER if key in spec}
    return {**first, **{key: value for key, value in spec.items() if key not in {*first, *last}}, **last}


def _must_be_valid(job: Manifest) -> None:
    meta = job["metadata"]
    name = meta.get("name") or meta["generateName"] + "x" * GENERATED
    problems = validate(parse_job({**job, "metadata": {**meta, "name": name}}))
    if problems:
        raise RefusedError(*problems)
