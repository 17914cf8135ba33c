"""Rules about the pod template: what would collide with what ftjob adds to each pod."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ftjob.api.defaults import containers_of, items, trainer_of
from ftjob.api.identity import IDENTITY_NAMES, IDENTITY_PREFIXES
from ftjob.api.names import GROUP
from ftjob.api.rules import Rule
from ftjob.api.spec import JobSpec
from ftjob.api.template import AGENT_NAME, MOUNT_ROOT, OUTPUTS_VOLUME, TRAINER

OUR_VOLUMES = (AGENT_NAME, OUTPUTS_VOLUME)

# CEL. The API server estimates what a rule costs at worst, and refuses what it can't bound: lists have to be
# walked where they stand, since the bound is lost behind filter() and orValue().
_IS_TRAINER = f"((has(c.name) && c.name == '{TRAINER}') || self.spec.containers.size() == 1)"
_IS_OURS = f"(m.mountPath == '{MOUNT_ROOT}' || m.mountPath.startsWith('{MOUNT_ROOT}/'))"


def _pod(spec: JobSpec) -> dict[str, Any]:
    pod = spec.template.get("spec")
    return pod if isinstance(pod, dict) else {}


def _any(objects: Iterable[dict[str, Any]], key: str, is_bad: Callable[[str], bool]) -> bool:
    values = (item.get(key) for item in objects)
    return any(isinstance(value, str) and is_bad(value) for value in values)


def _has_one_trainer(spec: JobSpec) -> bool:
    names = [container.get("name") for container in containers_of(spec.template)]
    return len(names) == 1 or names.count(TRAINER) == 1


def _has_our_labels(spec: JobSpec) -> bool:
    metadata = spec.template.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return isinstance(labels, dict) and any(str(key).startswith(f"{GROUP}/") for key in labels)


def _starts_with(prefix: str, name: str) -> bool:
    return name.startswith(prefix)


def _is_below_our_root(path: str) -> bool:
    return path == MOUNT_ROOT or path.startswith(f"{MOUNT_ROOT}/")


def _identity(shown: str, cel: str, is_bad: Callable[[str], bool]) -> Rule:
    """Return the rule that keeps one identity variable out of the trainer's env; one each, to name it."""
    return Rule(
        at="spec.template",
        field="spec.template.spec.containers",
        message=f"the trainer's env sets {shown}, which tells a rank who it is and is ftjob's alone to set",
        remedy="remove it from env",
        cel=f"self.spec.containers.all(c, !{_IS_TRAINER} || !has(c.env) || "
        f"!c.env.exists(e, has(e.name) && {cel}))",
        broken=lambda spec: _any(items(trainer_of(spec), "env"), "name", is_bad),
    )


TEMPLATE_RULES: tuple[Rule, ...] = (
    Rule(
        at="spec.template",
        field="spec.template.spec.containers",
        message=f"of several containers exactly one must be named {TRAINER}, to say which one trains",
        remedy=f"write name: {TRAINER} into the container that trains",
        cel=f"self.spec.containers.size() == 1 || "
        f"self.spec.containers.exists_one(c, has(c.name) && c.name == '{TRAINER}')",
        broken=lambda spec: not _has_one_trainer(spec),
    ),
    Rule(
        at="spec.template",
        field="spec.template.spec.containers",
        message="the trainer has no command; ftjob starts it once for each rank and can't see what the "
        "image would run",
        remedy="write the program into the trainer's command, such as command: [python, train.py]",
        cel=f"self.spec.containers.all(c, !{_IS_TRAINER} || (has(c.command) && c.command.size() > 0))",
        broken=lambda spec: bool(trainer_of(spec)) and not trainer_of(spec).get("command"),
        required=True,
    ),
    *(_identity(name, f"e.name == '{name}'", name.__eq__) for name in IDENTITY_NAMES),
    *(
        _identity(f"a {prefix}*", f"e.name.startsWith('{prefix}')", partial(_starts_with, prefix))
        for prefix in IDENTITY_PREFIXES
    ),
    Rule(
        at="spec.template",
        field="spec.template.spec.containers",
        message=f"the trainer mounts a volume at or below {MOUNT_ROOT}, where ftjob has its own mounts",
        remedy="mount it elsewhere, such as /data",
        cel=f"self.spec.containers.all(c, !{_IS_TRAINER} || !has(c.volumeMounts) || "
        f"!c.volumeMounts.exists(m, has(m.mountPath) && {_IS_OURS}))",
        broken=lambda spec: _any(items(trainer_of(spec), "volumeMounts"), "mountPath", _is_below_our_root),
    ),
    Rule(
        at="spec.template",
        field="spec.template.spec.containers",
        message="the trainer has a restartPolicy of its own, but ftjob restarts all ranks together",
        remedy="remove restartPolicy from the trainer",
        cel=f"self.spec.containers.all(c, !{_IS_TRAINER} || !has(c.restartPolicy))",
        broken=lambda spec: "restartPolicy" in trainer_of(spec),
    ),
    Rule(
        at="spec.template",
        field="spec.template.spec.containers",
        message=f"{AGENT_NAME} is the name of a container that ftjob adds",
        remedy="give yours another name",
        cel=f"!self.spec.containers.exists(c, has(c.name) && c.name == '{AGENT_NAME}')",
        broken=lambda spec: _any(containers_of(spec.template), "name", AGENT_NAME.__eq__),
    ),
    Rule(
        at="spec.template",
        field="spec.template.spec.initContainers",
        message=f"{AGENT_NAME} is the name of an init container that ftjob adds",
        remedy="give yours another name",
        cel=f"!has(self.spec.initContainers) || "
        f"!self.spec.initContainers.exists(c, has(c.name) && c.name == '{AGENT_NAME}')",
        broken=lambda spec: _any(items(_pod(spec), "initContainers"), "name", AGENT_NAME.__eq__),
    ),
    Rule(
        at="spec.template",
        field="spec.template.spec.volumes",
        message=f"{' and '.join(OUR_VOLUMES)} are the names of volumes that ftjob adds",
        remedy="give yours another name",
        cel=f"!has(self.spec.volumes) || "
        f"!self.spec.volumes.exists(v, has(v.name) && v.name in {list(OUR_VOLUMES)})",
        broken=lambda spec: _any(items(_pod(spec), "volumes"), "name", OUR_VOLUMES.__contains__),
    ),
    Rule(
        at="spec.template",
        field="spec.template.spec.restartPolicy",
        message="a pod can't restart its trainer by itself: ftjob restarts all ranks together",
        remedy="remove restartPolicy, or set it to Never",
        cel="self.spec.?restartPolicy.orValue('Never') == 'Never'",
        broken=lambda spec: _pod(spec).get("restartPolicy", "Never") != "Never",
    ),
    Rule(
        at="spec.template",
        field="spec.template.spec.hostname",
        message="the host name of each pod is set by ftjob, so that the ranks find each other",
        remedy="remove hostname",
        cel="!has(self.spec.hostname)",
        broken=lambda spec: "hostname" in _pod(spec),
    ),
    Rule(
        at="spec.template",
        field="spec.template.spec.subdomain",
        message="the subdomain of each pod is set by ftjob, so that the ranks find each other",
        remedy="remove subdomain",
        cel="!has(self.spec.subdomain)",
        broken=lambda spec: "subdomain" in _pod(spec),
    ),
    Rule(
        at="spec.template",
        field="spec.template.metadata.labels",
        message=f"a label of the pods begins with {GROUP}/; by these labels ftjob finds its own pods",
        remedy="remove the label, or use another prefix",
        cel=f"!has(self.metadata) || !has(self.metadata.labels) || "
        f"!self.metadata.labels.exists(k, k.startsWith('{GROUP}/'))",
        broken=_has_our_labels,
    ),
)
