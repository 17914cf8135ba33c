"""Which job an object belongs to.

Labels are anybody's to write, in any namespace. So an object belongs to the job that its owner reference
names as its controller, in the object's own namespace: owners in others don't count, and the garbage
collector removes what names an owner that is not there (kubernetes.io, Owners and Dependents). A pod also
has to have the name that the plan gives to its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ftjob.kube.resources import POD
from ftjob.models.manifest import items, mapping
from ftjob.models.names import GROUP, KIND, LABEL_ATTEMPT, LABEL_COLLECTS, LABEL_INDEX, LABEL_ROLE
from ftjob.plan.collector.pod import collector_name
from ftjob.plan.layout import pod_name
from ftjob_protocol.values.digits import whole

if TYPE_CHECKING:
    from ftjob.kube.resources import Resource
    from ftjob.models.manifest import Manifest


class Owner(NamedTuple):
    """A job as the owner of objects."""

    namespace: str
    name: str
    uid: str


def owner_of(resource: Resource, body: Manifest) -> Owner | None:
    """Return the job that an object belongs to, if it belongs to one."""
    meta = body["metadata"]
    for reference in items(meta, "ownerReferences"):
        if reference.get("controller") is not True:
            continue
        group = str(reference.get("apiVersion")).partition("/")[0]
        if (group, reference.get("kind")) != (GROUP, KIND):
            return None
        owner = Owner(meta["namespace"], str(reference.get("name")), str(reference.get("uid")))
        return None if resource is POD and not _has_planned_name(meta, owner) else owner
    return None


def _has_planned_name(meta: Manifest, owner: Owner) -> bool:
    """Whether a pod has the name that the plan gives to the place, or to the report, that its labels say."""
    labels = mapping(meta, "labels")
    about = labels.get(LABEL_COLLECTS)
    if about is not None:
        return bool(meta["name"] == collector_name(owner.name, owner.uid, str(about)))
    attempt, index = (whole(str(labels.get(label))) for label in (LABEL_ATTEMPT, LABEL_INDEX))
    if attempt is None or index is None:
        return False
    planned = pod_name(owner.name, str(labels.get(LABEL_ROLE)), attempt, index)
    return re.fullmatch(re.escape(planned) + r"(-[1-9][0-9]*)?", meta["name"]) is not None
