"""TFJob (kubeflow.org/v1) as ParameterServer, MultiWorkerMirrored or Mirrored, by its roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.convert.draft import refused
from ftjob.convert.fields.policy import backoff_limit, restart, run_policy
from ftjob.convert.fields.replicas import Replicas, replicas_of
from ftjob.convert.fields.template import command_of, difference

if TYPE_CHECKING:
    from ftjob.convert.draft import Draft
    from ftjob.models.manifest import Manifest

ROLES = ("PS", "Worker", "Chief", "Master", "Evaluator")
KNOWN = frozenset({"tfReplicaSpecs", "runPolicy", "successPolicy", "enableDynamicWorker"})


def convert(draft: Draft) -> None:
    """Fill the draft's spec."""
    if draft.given.get("enableDynamicWorker"):
        raise refused(
            "spec.enableDynamicWorker",
            "TensorFlow's strategies keep their workers",
            "remove it, or set it to false",
        )
    run_policy(draft)
    roles = replicas_of(draft, "tfReplicaSpecs", ROLES, ("tensorflow",), KNOWN)
    if "master" in roles:
        if "chief" in roles:
            raise refused("spec.tfReplicaSpecs.Master", "it is another name of Chief", "write one of them")
        roles["chief"] = roles.pop("master")
    for role in roles.values():
        command_of(draft, role.template, role.path)
    main = roles.get("worker") or roles.get("chief")
    if main is None:
        raise refused("spec.tfReplicaSpecs.Worker", "there is none, so nothing trains", "write at least one")
    if "ps" in roles:
        _with_parameter_servers(draft, roles, main)
    else:
        _without(draft, roles, main)
    draft.spec["template"] = main.template
    if any(role.restart_policy != main.restart_policy for role in roles.values()):
        draft.changed("restartPolicy", "it is that of the workers for all roles")
    restart(draft, main.restart_policy, backoff_limit(draft))


def _with_parameter_servers(draft: Draft, roles: dict[str, Replicas], main: Replicas) -> None:
    if "worker" not in roles:
        raise refused(
            "spec.tfReplicaSpecs.Worker", "parameter servers have none to serve", "write at least one"
        )
    chief = roles.get("chief")
    own = {"ps": _role(roles["ps"], main), "chief": _role(chief, main) if chief else {"replicas": 0}}
    if "evaluator" in roles:
        own["evaluator"] = _role(roles["evaluator"], main)
    draft.spec |= {"strategy": "ParameterServer", "workers": main.replicas, "roles": own}
    if draft.given.get("successPolicy"):
        draft.dropped("spec.successPolicy", "the chief, or else worker 0, decides")


def _without(draft: Draft, roles: dict[str, Replicas], main: Replicas) -> None:
    if "evaluator" in roles:
        raise refused(
            "spec.tfReplicaSpecs.Evaluator",
            "only ParameterServer has an evaluator",
            "remove it, and evaluate in the training program",
        )
    chief = roles.get("chief")
    if chief is not None and chief is not main:
        field = difference(_named_alike(chief.template), _named_alike(main.template))
        if field is not None:
            raise refused(
                f"{chief.path}.{field}",
                "Chief and Worker differ in it, and without PS they are one group of equal workers",
                "write the same in both",
            )
    workers = sum(role.replicas for role in roles.values())
    if workers == 1:
        draft.spec["strategy"] = "Mirrored"
        return
    draft.spec |= {"strategy": "MultiWorkerMirrored", "workers": workers}
    if chief is not None:
        draft.changed("spec.tfReplicaSpecs.Chief", "it is worker 0: TF_CONFIG has no chief")
    draft.check(
        "strategy", "the program has to use MultiWorkerMirroredStrategy; if not, write strategy: Plain"
    )


def _role(role: Replicas, main: Replicas) -> Manifest:
    """Return a role of ours, with a template only if it is another one than the workers'."""
    own: Manifest = {"replicas": role.replicas}
    if difference(role.template, main.template) is not None:
        own["template"] = role.template
    return own


def _named_alike(template: Manifest) -> Manifest:
    spec = template["spec"]
    first, *others = spec["containers"]
    return {**template, "spec": {**spec, "containers": [{**first, "name": "trainer"}, *others]}}
