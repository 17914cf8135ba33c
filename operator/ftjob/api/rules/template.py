"""Rules about pod templates: what would collide with what ftjob adds to each pod."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ftjob.api.identity import FAMILIES
from ftjob.api.rules.rule import Rule
from ftjob.models.manifest import containers_of, items, mapping, trainer_in
from ftjob.models.names import GROUP, ROLES, WORKER
from ftjob.models.spec import JobSpec
from ftjob.models.template import AGENT_VOLUME, MOUNT_ROOT, OUTPUTS_VOLUME, RUN_VOLUME, SHM_VOLUME, TRAINER
from ftjob.strategies.base import Family

OUR_VOLUMES = (AGENT_VOLUME, RUN_VOLUME, OUTPUTS_VOLUME, SHM_VOLUME)

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


def _identity_names(family: Family, template: Template) -> list[str]:
    names = (variable.get("name") for variable in items(trainer_in(template), "env"))
    known = (name for name in names if isinstance(name, str))
    return [name for name in known if name in family.names or name.startswith(family.prefixes)]


def _what_is_started(template: Template) -> str:
    """Say what lacks a command, and what the image would make of the rest."""
    trainer = trainer_in(template)
    args, image = trainer.get("args"), trainer.get("image")
    has = "has args but no command" if args else "has no command"
    named = f"image {image}" if isinstance(image, str) and image else "image"
    return f"the trainer {has}; ftjob starts it once for each rank and can't see what the {named} would run"


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
    precisely: Callable[[Template], str] | None = None

    def rule(self, at: str, read: Read) -> Rule:
        """Return the rule about the template at a path of the job."""

        def is_broken(spec: JobSpec) -> bool:
            template = read(spec)
            return template is not None and self.broken(template)

        def precisely(spec: JobSpec) -> str:
            template = read(spec)
            return self.precisely(template) if self.precisely and template is not None else self.message

        return Rule(
            at=at,
            field=f"{at}.{self.field}",
            message=self.message,
            remedy=self.remedy,
            cel=self.cel,
            broken=is_broken,
            required=self.required,
            precisely=precisely,
        )


def _identity(family: Family) -> _Check:
    """Return the check that keeps a framework's identity variables out of the trainer's env.

    CEL could name the very one only by a rule for each, and the API server evaluates all rules at each write.
    """
    said = "the trainer's env sets {}, which tells a rank who it is and is ftjob's alone to set"
    every = ", ".join((*family.names, *(f"{prefix}*" for prefix in family.prefixes)))
    tests = [f"e.name in {list(family.names)}", *(f"e.name.startsWith('{p}')" for p in family.prefixes)]
    return _Check(
        field="spec.containers",
        message=said.format(f"a variable of {family.owner} ({every})"),
        remedy="remove it from env",
        cel=f"self.spec.containers.all(c, !{_IS_TRAINER} || !has(c.env) || "
        f"!c.env.exists(e, has(e.name) && ({' || '.join(tests)})))",
        broken=lambda t: bool(_identity_names(family, t)),
        precisely=lambda t: said.format(", ".join(_identity_names(family, t))),
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
        remedy="write the program into the trainer's command, such as command: [python, train.py]; where the "
        "image has an ENTRYPOINT, write that into command, and into args what follows it, or else the "
        "image's CMD (`docker inspect` and `crane config` show both)",
        cel=f"self.spec.containers.all(c, !{_IS_TRAINER} || (has(c.command) && c.command.size() > 0))",
        broken=lambda t: bool(trainer_in(t)) and not trainer_in(t).get("command"),
        required=True,
        precisely=_what_is_started,
    ),
    *(_identity(family) for family in FAMILIES),
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
        field="spec.volumes",
        message=f"{', '.join(OUR_VOLUMES)} are the names of volumes that ftjob adds",
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
