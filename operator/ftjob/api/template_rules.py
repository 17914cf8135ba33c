"""Rules about pod templates: what would collide with what ftjob adds to each pod."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ftjob.api.defaults import ROLES, WORKER, containers_of, items, mapping, trainer_in
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

Template = dict[str, Any]
Read = Callable[[JobSpec], Template | None]
"""Which template of a job; None if it has none there."""


def _any(objects: Iterable[dict[str, Any]], key: str, is_bad: Callable[[str], bool]) -> bool:
    values = (item.get(key) for item in objects)
    return any(isinstance(value, str) and is_bad(value) for value in values)


def _has_one_trainer(template: Template) -> bool:
    names = [container.get("name") for container in containers_of(template)]
    return len(names) == 1 or names.count(TRAINER) == 1


def _has_our_labels(template: Template) -> bool:
    return any(str(key).startswith(f"{GROUP}/") for key in mapping(template, "metadata", "labels"))


def _starts_with(prefix: str, name: str) -> bool:
    return name.startswith(prefix)


def _is_below_our_root(path: str) -> bool:
    return path == MOUNT_ROOT or path.startswith(f"{MOUNT_ROOT}/")


@dataclass(frozen=True)
class _Check:
    """A rule about any template, with paths from that template."""

    field: str
    message: str
    remedy: str
    cel: str
    broken: Callable[[Template], bool]
    required: bool = False

    def rule(self, at: str, read: Read) -> Rule:
        """Return the rule about the template at a path of the job."""

        def is_broken(spec: JobSpec) -> bool:
            template = read(spec)
            return template is not None and self.broken(template)

        return Rule(
            at=at,
            field=f"{at}.{self.field}",
            message=self.message,
            remedy=self.remedy,
            cel=self.cel,
            broken=is_broken,
            required=self.required,
        )


def _identity(shown: str, cel: str, is_bad: Callable[[str], bool]) -> _Check:
    """Return the check that keeps one identity variable out of the trainer's env; one each, to name it."""
    return _Check(
        field="spec.containers",
        message=f"the trainer's env sets {shown}, which tells a rank who it is and is ftjob's alone to set",
        remedy="remove it from env",
        cel=f"self.spec.containers.all(c, !{_IS_TRAINER} || !has(c.env) || "
        f"!c.env.exists(e, has(e.name) && {cel}))",
        broken=lambda t: _any(items(trainer_in(t), "env"), "name", is_bad),
    )


_CHECKS = (
    _Check(
        field="spec.containers",
        message=f"of several containers exactly one must be named {TRAINER}, to say which one trains",
        remedy=f"write name: {TRAINER} into the container that trains",
        cel=f"self.spec.containers.size() == 1 || "
        f"self.spec.containers.exists_one(c, has(c.name) && c.name == '{TRAINER}')",
        broken=lambda t: not _has_one_trainer(t),
    ),
    _Check(
        field="spec.containers",
        message="the trainer has no command; ftjob starts it once for each rank and can't see what the "
        "image would run",
        remedy="write the program into the trainer's command, such as command: [python, train.py]",
        cel=f"self.spec.containers.all(c, !{_IS_TRAINER} || (has(c.command) && c.command.size() > 0))",
        broken=lambda t: bool(trainer_in(t)) and not trainer_in(t).get("command"),
        required=True,
    ),
    *(_identity(name, f"e.name == '{name}'", name.__eq__) for name in IDENTITY_NAMES),
    *(
        _identity(f"a {prefix}*", f"e.name.startsWith('{prefix}')", partial(_starts_with, prefix))
        for prefix in IDENTITY_PREFIXES
    ),
    _Check(
        field="spec.containers",
        message=f"the trainer mounts a volume at or below {MOUNT_ROOT}, where ftjob has its own mounts",
        remedy="mount it elsewhere, such as /data",
        cel=f"self.spec.containers.all(c, !{_IS_TRAINER} || !has(c.volumeMounts) || "
        f"!c.volumeMounts.exists(m, has(m.mountPath) && {_IS_OURS}))",
        broken=lambda t: _any(items(trainer_in(t), "volumeMounts"), "mountPath", _is_below_our_root),
    ),
    _Check(
        field="spec.containers",
        message="the trainer has a restartPolicy of its own, but ftjob restarts all ranks together",
        remedy="remove restartPolicy from the trainer",
        cel=f"self.spec.containers.all(c, !{_IS_TRAINER} || !has(c.restartPolicy))",
        broken=lambda t: "restartPolicy" in trainer_in(t),
    ),
    _Check(
        field="spec.containers",
        message=f"{AGENT_NAME} is the name of a container that ftjob adds",
        remedy="give yours another name",
        cel=f"!self.spec.containers.exists(c, has(c.name) && c.name == '{AGENT_NAME}')",
        broken=lambda t: _any(containers_of(t), "name", AGENT_NAME.__eq__),
    ),
    _Check(
        field="spec.initContainers",
        message=f"{AGENT_NAME} is the name of an init container that ftjob adds",
        remedy="give yours another name",
        cel=f"!has(self.spec.initContainers) || "
        f"!self.spec.initContainers.exists(c, has(c.name) && c.name == '{AGENT_NAME}')",
        broken=lambda t: _any(items(mapping(t, "spec"), "initContainers"), "name", AGENT_NAME.__eq__),
    ),
    _Check(
        field="spec.volumes",
        message=f"{' and '.join(OUR_VOLUMES)} are the names of volumes that ftjob adds",
        remedy="give yours another name",
        cel=f"!has(self.spec.volumes) || "
        f"!self.spec.volumes.exists(v, has(v.name) && v.name in {list(OUR_VOLUMES)})",
        broken=lambda t: _any(items(mapping(t, "spec"), "volumes"), "name", OUR_VOLUMES.__contains__),
    ),
    _Check(
        field="spec.restartPolicy",
        message="a pod can't restart its trainer by itself: ftjob restarts all ranks together",
        remedy="remove restartPolicy, or set it to Never",
        cel="self.spec.?restartPolicy.orValue('Never') == 'Never'",
        broken=lambda t: mapping(t, "spec").get("restartPolicy", "Never") != "Never",
    ),
    _Check(
        field="spec.hostname",
        message="the host name of each pod is set by ftjob, so that the ranks find each other",
        remedy="remove hostname",
        cel="!has(self.spec.hostname)",
        broken=lambda t: "hostname" in mapping(t, "spec"),
    ),
    _Check(
        field="spec.subdomain",
        message="the subdomain of each pod is set by ftjob, so that the ranks find each other",
        remedy="remove subdomain",
        cel="!has(self.spec.subdomain)",
        broken=lambda t: "subdomain" in mapping(t, "spec"),
    ),
    _Check(
        field="metadata.labels",
        message=f"a label of the pods begins with {GROUP}/; by these labels ftjob finds its own pods",
        remedy="remove the label, or use another prefix",
        cel=f"!has(self.metadata) || !has(self.metadata.labels) || "
        f"!self.metadata.labels.exists(k, k.startsWith('{GROUP}/'))",
        broken=_has_our_labels,
    ),
)


def _of_role(role: str) -> Read:
    return lambda spec: getattr(spec.roles, role).template if getattr(spec.roles, role, None) else None


_TEMPLATES: dict[str, Read] = {"spec.template": lambda spec: spec.template} | {
    f"spec.roles.{role}.template": _of_role(role) for role in ROLES if role != WORKER
}

TEMPLATE_RULES: tuple[Rule, ...] = tuple(
    check.rule(at, read) for at, read in _TEMPLATES.items() for check in _CHECKS
)
