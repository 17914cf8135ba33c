"""The environment and command of a worker's trainer, as the kubelet would make them from the pod.

There is no image, so what the image's ``ENV`` would give comes from the environment of ``ftjob run``. Values
that live in Secrets and ConfigMaps come from there too.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftjob.api.identity import is_identity
from ftjob.local.errors import CannotRun
from ftjob.models.names import LABEL_ATTEMPT, LABEL_INDEX
from ftjob.models.resources import MILLI, milli
from ftjob.models.template import AGENT_VOLUME, OUTPUTS_VOLUME, RUN_VOLUME, SHM_VOLUME
from ftjob.plan.build.agent_config import OUTPUTS_DIR
from ftjob_protocol import files, variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.manifest import Manifest

ADDRESS = "127.0.0.1"
PYTHONS = frozenset({"python", "python3"})

_REFERENCE = re.compile(r"\$(\$|\(([^()$\s]+)\))")
"""``$$`` and ``$(NAME)``; a name may hold anything that a variable's name may in Kubernetes."""


@dataclass(frozen=True)
class Trainer:
    """What is started for one worker, and what differs from the cluster."""

    env: dict[str, str]
    command: tuple[str, ...]
    folder: Path
    notes: tuple[str, ...]


@dataclass
class _Builder:
    """Collects the variables of one container in the order in which they are defined."""

    pod: Manifest
    node: str
    container: dict[str, Any]
    caller: Mapping[str, str]
    variables: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        return f"spec.template.spec.containers[{self.container.get('name', '')}]"

    def add(self, item: Mapping[str, Any]) -> None:
        name = str(item.get("name", ""))
        source = item.get("valueFrom")
        if not source:
            self.variables[name] = expand(str(item.get("value") or ""), self.variables)
            return
        value = self._value_from(name, source)
        if value is not None:
            self.variables[name] = value

    def _value_from(self, name: str, source: Mapping[str, Any]) -> str | None:
        thing = f"{self.where}.env[{name}]"
        if "fieldRef" in source:
            return self._field(thing, str(source["fieldRef"].get("fieldPath", "")))
        if "resourceFieldRef" in source:
            return self._resource(thing, source["resourceFieldRef"])
        for key, kind, part in (
            ("secretKeyRef", "Secret", "key"),
            ("configMapKeyRef", "ConfigMap", "key"),
            ("fileKeyRef", "file in volume", "key"),
        ):
            if key not in source:
                continue
            reference = source[key]
            if name in self.caller:
                return self.caller[name]
            if reference.get("optional"):
                return None
            owner = reference.get("name") or reference.get("volumeName")
            raise CannotRun(
                thing,
                f"key {reference.get(part)!r} of {kind} {owner!r} is in the cluster, not on this machine",
                f"set {name} in the environment: {name}=... ftjob run ...",
            )
        raise CannotRun(
            thing, f"valueFrom has no source that is known here ({', '.join(source)})", "write a value"
        )

    def _field(self, thing: str, path: str) -> str:
        meta = self.pod["metadata"]
        fixed = {
            "metadata.name": meta["name"],
            "metadata.namespace": meta["namespace"],
            "metadata.uid": meta.get("uid", ""),
            "spec.nodeName": self.node,
            "spec.serviceAccountName": self.pod["spec"].get("serviceAccountName", "default"),
            **dict.fromkeys(("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"), ADDRESS),
        }
        if path in fixed:
            return str(fixed[path])
        match = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
        if match:
            return str((meta.get(match[1]) or {}).get(match[2], ""))
        raise CannotRun(
            thing, f"fieldPath {path!r} is not one that a pod has", f"use one of {', '.join(fixed)}"
        )

    def _resource(self, thing: str, source: Mapping[str, Any]) -> str:
        kind, _, resource = str(source.get("resource", "")).partition(".")
        resources = self.container.get("resources") or {}
        amount = (resources.get(kind) or {}).get(resource)
        if amount is None and kind == "limits" and resource in {"cpu", "memory"}:
            # Without a limit the kubelet says what the node has.
            cpus = len(os.sched_getaffinity(0))
            amount = cpus if resource == "cpu" else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        divisor = source.get("divisor") or "1"
        whole, unit = (self._milli(thing, value) for value in (0 if amount is None else amount, divisor))
        return str(-(-whole // (unit or MILLI)))

    def _milli(self, thing: str, quantity: object) -> int:
        found = milli(quantity)
        if found is None:
            remedy = "write it as Kubernetes does, e.g. 500m or 2Gi"
            raise CannotRun(thing, f"{quantity!r} is not a quantity", remedy)
        return found


def build_trainer(
    pod: Manifest,
    container: dict[str, Any],
    *,
    node: str,
    outputs: str,
    python: str,
    caller: Mapping[str, str],
    command: tuple[str, ...],
) -> Trainer:
    """Return what is started for the trainer of a pod.

    Parameters
    ----------
    pod
        The pod as the planner builds it; its metadata answers ``fieldRef``.
    container
        The trainer as the user wrote it.
    node
        What stands for the node's name.
    outputs
        The folder that stands for ``/ftjob/outputs``.
    python
        Interpreter that ``python`` and ``python3`` mean.
    caller
        Environment of ``ftjob run``.
    command
        Command and arguments before ``$(NAME)`` is filled in.
    """
    meta = pod["metadata"]
    builder = _Builder(pod, node, container, caller)
    labels = meta["labels"]
    builder.variables |= {
        variables.NODE_NAME: node,
        variables.POD_NAME: meta["name"],
        variables.INDEX: labels[LABEL_INDEX],
        variables.ATTEMPT: labels[LABEL_ATTEMPT],
        variables.OUTPUTS: outputs,
        variables.CHECKPOINT_DIR: f"{outputs}/{files.CHECKPOINTS}",
    }
    for source in container.get("envFrom") or ():
        reference = source.get("configMapRef") or source.get("secretRef") or {}
        builder.notes.append(
            f"{builder.where}.envFrom[{reference.get('name', '')}] is in the cluster: "
            "the ranks get your own environment instead"
        )
    for item in container.get("env") or ():
        builder.add(item)
    argv = tuple(expand(word, builder.variables) for word in command)
    if argv and argv[0] in PYTHONS:
        argv = (python, *argv[1:])
    # The caller's identity variables (he may sit inside another job) would be refused by the agent.
    env = {key: value for key, value in caller.items() if not is_identity(key)} | builder.variables
    env["PATH"] = _with_folder(env.get("PATH", os.defpath), str(Path(python).parent))
    folder = _working_dir(builder)
    _note_differences(builder, outputs, argv)
    return Trainer(env=env, command=argv, folder=folder, notes=tuple(builder.notes))


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Fill in ``$(NAME)`` as the kubelet does: unknown names stay as they are, ``$$`` is a plain ``$``."""

    def fill(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(fill, text)


def _with_folder(path: str, folder: str) -> str:
    """Put the interpreter's folder on PATH, so that programs installed beside it are found in `sh -c` too."""
    return path if folder in path.split(os.pathsep) else os.pathsep.join((folder, path))


def _working_dir(builder: _Builder) -> Path:
    wanted = builder.container.get("workingDir")
    if not wanted:
        return Path.cwd()
    folder = Path(wanted).absolute()
    if folder.is_dir():
        return folder
    builder.notes.append(
        f"{builder.where}.workingDir: {wanted} is not on this machine; the ranks start in {Path.cwd()}"
    )
    return Path.cwd()


def _note_differences(builder: _Builder, outputs: str, argv: tuple[str, ...]) -> None:
    """Say what a pod would have and a process has not."""
    spec = builder.pod["spec"]
    own = {AGENT_VOLUME, RUN_VOLUME, OUTPUTS_VOLUME, SHM_VOLUME}
    for mount in builder.container.get("volumeMounts") or ():
        name, path = mount.get("name", ""), mount.get("mountPath", "")
        if name not in own and not Path(path).exists():
            builder.notes.append(
                f"{builder.where}.volumeMounts[{name}]: nothing is mounted at {path} in a local run; "
                f"create {path} on this machine if the script needs it"
            )
    others = [c.get("name", "") for c in spec.get("initContainers") or ()]
    others += [
        c.get("name", "") for c in spec["containers"] if c.get("name") != builder.container.get("name")
    ]
    if others:
        builder.notes.append(f"only the trainer runs; left out: {', '.join(others)}")
    if outputs != OUTPUTS_DIR and any(OUTPUTS_DIR in text for text in (*argv, *builder.variables.values())):
        builder.notes.append(
            f"{builder.where}: {OUTPUTS_DIR} is {outputs} in a local run; write $(FTJOB_OUTPUTS) instead"
        )
