"""The roles of a Kubeflow job: how many pods of each, and of which template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftjob.convert.draft import refused
from ftjob.convert.fields.policy import RUN_POLICY
from ftjob.convert.fields.template import take_template
from ftjob.convert.read import mapping_in, number_in

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from ftjob.convert.draft import Draft
    from ftjob.models.manifest import Manifest


@dataclass(frozen=True)
class Replicas:
    """One role of a job as it was."""

    path: str
    replicas: int
    template: Manifest
    restart_policy: object


def replicas_of(
    draft: Draft, key: str, roles: Sequence[str], names: Sequence[str], extra: Container[str]
) -> dict[str, Replicas]:
    """Return the roles of a job by their names in lower case; those without pods are left out.

    Parameters
    ----------
    key
        The field of the spec with the roles.
    roles
        The roles that are known.
    names
        What the trainer is called where there are several containers.
    extra
        Fields of the spec that the converter itself takes over.
    """
    given = {name: value for name, value in draft.given.items() if name not in RUN_POLICY}
    draft.drop_others(given, "spec", extra)
    known = {role.lower() for role in roles}
    found: dict[str, Replicas] = {}
    specs = mapping_in(draft.given, key, "spec")
    for role in specs:
        path = f"spec.{key}.{role}"
        if role.lower() not in known:
            raise refused(path, f"{draft.kind} has no such role", f"write {', '.join(roles)}")
        one = mapping_in(specs, role, f"spec.{key}")
        replicas = number_in(one, "replicas", path, 1)
        draft.drop_others(one, path, {"replicas", "template", "restartPolicy"})
        if replicas:
            template = take_template(draft, one.get("template"), f"{path}.template", names)
            found[role.lower()] = Replicas(f"{path}.template", replicas, template, one.get("restartPolicy"))
    if not found:
        raise refused(f"spec.{key}", "there is no role with pods", f"write {' or '.join(roles)}")
    return found
