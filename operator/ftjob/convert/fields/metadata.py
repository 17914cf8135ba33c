"""Name, labels and annotations, which stay."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ftjob.convert.draft import refused
from ftjob.convert.read import mapping_in
from ftjob.models import patterns
from ftjob.models.names import JOB_NAME_MAX

if TYPE_CHECKING:
    from ftjob.convert.draft import Draft

GENERATED = 5
"""Characters that an API server adds to a ``generateName``."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def metadata(draft: Draft) -> dict[str, Any]:
    """Return what stays of the metadata: what users write."""
    given = mapping_in(draft.source, "metadata", "")
    kept: dict[str, Any] = {}
    for key in ("name", "generateName", "namespace"):
        if given.get(key) is not None:
            if not isinstance(given[key], str):
                raise refused(f"metadata.{key}", "it is not a text", "quote it")
            kept[key] = given[key]
    if not re.fullmatch(patterns.SUBDOMAIN, kept.get("namespace", "default")):
        said = f"{kept['namespace']!r} is no name of a namespace"
        raise refused(
            "metadata.namespace", said, "write one; fill a placeholder in first, such as by envsubst"
        )
    _check_length(kept)
    for key in ("labels", "annotations"):
        texts = {k: v for k, v in mapping_in(given, key, "metadata").items() if k != LAST_APPLIED}
        if any(not isinstance(value, str) for value in texts.values()):
            raise refused(f"metadata.{key}", "its values are not texts", "quote numbers, true and false")
        if texts:
            kept[key] = texts
    return kept


def _check_length(kept: dict[str, Any]) -> None:
    if "name" in kept:
        name, limit = kept["name"], JOB_NAME_MAX
    elif "generateName" in kept:
        name, limit = kept["generateName"], JOB_NAME_MAX - GENERATED
    else:
        raise refused("metadata.name", "it is missing", "write metadata: {name: my-job}")
    if len(name) > limit:
        shorter = name[:limit].rstrip("-")
        raise refused(
            "metadata.name",
            f"{name!r} has {len(name)} characters, and names of pods and hosts leave room for {limit}",
            f"write a shorter one, such as {shorter}",
        )
