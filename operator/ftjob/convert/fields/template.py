"""Pod templates: the trainer is found and named, and what ftjob itself decides is taken out."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from ftjob.api.identity import is_identity
from ftjob.convert.draft import refused
from ftjob.convert.read import mapping_in, objects_in, words_in
from ftjob.models.manifest import Manifest, items, trainer_in
from ftjob.models.template import TRAINER

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from ftjob.convert.draft import Draft

OF_THE_POD = {
    "restartPolicy": "ftjob restarts ranks by spec.restart",
    "hostname": "the pod's name is its host name",
    "subdomain": "the job's name is the subdomain",
}
PLACEHOLDER = re.compile(r"\$\{\w+\}|\$[A-Z_]{3,}")
SHELL_FIELDS = frozenset({"command", "args", "value"})
"""Texts in which ``${NAME}`` may be a variable of a shell."""


def take_template(draft: Draft, raw: Any, path: str, names: Sequence[str]) -> Manifest:
    """Return a pod template as ftjob takes it; its command is not looked at.

    Parameters
    ----------
    names
        What the trainer is called where there are several containers.
    """
    if not isinstance(raw, dict):
        raise refused(path, "the pod template is missing", "write one, as the job's own operator asks for")
    template = copy.deepcopy(raw)
    for text, field in _texts(template, path):
        if found := PLACEHOLDER.search(text):
            raise refused(field, f"{found[0]} is a placeholder", "fill it in first, such as by envsubst")
    spec = mapping_in(template, "spec", path)
    trainer = _trainer(draft, spec, path, names)
    meta = mapping_in(template, "metadata", path)
    for key in ("creationTimestamp", "name", "namespace"):
        meta.pop(key, None)
    if not meta:
        template.pop("metadata", None)
    for key, why in OF_THE_POD.items():
        if key in spec:
            draft.dropped(f"{path}.spec.{key}", why)
            del spec[key]
    _take_scheduler(draft, spec, path)
    if trainer.pop("restartPolicy", None):
        draft.dropped(f"{path}.spec.containers.restartPolicy", OF_THE_POD["restartPolicy"])
    _take_identity(draft, trainer, path)
    _note_hosts(draft, trainer)
    return template


def command_of(draft: Draft, template: Manifest, path: str) -> list[str]:
    """Return the trainer's command and arguments; the user's command, where the image's entry point ran."""
    trainer = trainer_in(template)
    where = f"{path}.spec.containers[{trainer.get('name')}]"
    command, args = words_in(trainer, "command", where), words_in(trainer, "args", where)
    if not command:
        command = list(draft.options.command)
        if not command:
            raise refused(
                f"{where}.command",
                f"it is missing, so the entry point of {trainer.get('image')} runs, which is not to be seen",
                "say what it is: --command 'python3 train.py'; the arguments follow it",
            )
        draft.changed(f"{where}.command", "it is that of --command, since the job has none")
        trainer["command"] = command
    return [*command, *args]


def set_command(template: Manifest, words: Sequence[str]) -> None:
    """Let the trainer run a command without further arguments."""
    trainer = trainer_in(template)
    trainer.pop("args", None)
    trainer["command"] = list(words)


def add_env(template: Manifest, variables: dict[str, str]) -> None:
    """Set variables of the trainer, in place of those of the same names."""
    trainer = trainer_in(template)
    kept = [item for item in items(trainer, "env") if item.get("name") not in variables]
    env = [*kept, *({"name": name, "value": value} for name, value in variables.items())]
    if env:
        trainer["env"] = env


def difference(one: Any, other: Any, path: str = "") -> str | None:
    """Return the first field in which two templates differ; the trainer's name and ports don't count."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if key != "ports" and (found := difference(one.get(key), other.get(key), f"{path}.{key}")):
                return found
        return None
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next((found for i, (a, b) in pairs if (found := difference(a, b, f"{path}[{i}]"))), None)
    return None if one == other else path.lstrip(".")


def _trainer(draft: Draft, spec: dict[str, Any], path: str, names: Sequence[str]) -> dict[str, Any]:
    containers = objects_in(spec, "containers", f"{path}.spec")
    if not containers:
        raise refused(f"{path}.spec.containers", "there is none", "write the container that trains")
    if len(containers) == 1:
        return containers[0]
    trainer = next((one for name in (TRAINER, *names) for one in containers if one.get("name") == name), None)
    if trainer is None:
        said = ", ".join(str(one.get("name")) for one in containers)
        raise refused(f"{path}.spec.containers", f"which of {said} trains?", f"call that one {TRAINER}")
    if trainer["name"] != TRAINER:
        draft.changed(f"{path}.spec.containers", f"{trainer['name']} is called {TRAINER}")
        trainer["name"] = TRAINER
    return trainer


def _take_scheduler(draft: Draft, spec: dict[str, Any], path: str) -> None:
    if spec.get("schedulerName") == "volcano":
        draft.set("scheduling", gang="Volcano")
        draft.changed(f"{path}.spec.schedulerName", "it is scheduling.gang: Volcano")
        del spec["schedulerName"]


def _take_identity(draft: Draft, trainer: dict[str, Any], path: str) -> None:
    kept = []
    for item in objects_in(trainer, "env", f"{path}.spec.containers"):
        if is_identity(str(item.get("name"))):
            draft.dropped(f"env {item.get('name')}", "ftjob tells each rank itself who it is")
        else:
            kept.append(item)
    if kept:
        trainer["env"] = kept
    else:
        trainer.pop("env", None)


def _note_hosts(draft: Draft, trainer: dict[str, Any]) -> None:
    """Note names of pods, which are others here."""
    host = re.compile(rf"\b{re.escape(draft.name)}-[a-z]+(-\d+)+\b") if draft.name else None
    for text, _ in _texts(trainer, "", skipped=()):
        if host is not None and (found := host.search(text)):
            draft.check(
                found[0], "it is a pod's host name; ftjob's are other ones: use $MASTER_ADDR or its like"
            )
        if "JOB_COMPLETION_INDEX" in text:
            draft.check("JOB_COMPLETION_INDEX", "only strategy Plain sets it; others have RANK or its like")


def _texts(value: Any, path: str, skipped: Container[str] = SHELL_FIELDS) -> Iterator[tuple[str, str]]:
    """Yield texts, and names, with the fields that they stand in."""
    if isinstance(value, str):
        yield value, path
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in skipped:
                yield str(key), path
                yield from _texts(inner, f"{path}.{key}", skipped)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, f"{path}[{index}]", skipped)
