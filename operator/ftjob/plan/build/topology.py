"""All pods of an attempt in one domain: a zone, a rack, whatever a node label names. Pure."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ftjob.api.rules.scheduling import REQUIRED
from ftjob.models.names import LABEL_ATTEMPT, LABEL_UID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.models.layout import Layout

HOST_LABEL = "kubernetes.io/hostname"


def one_domain(layout: Layout) -> list[dict[str, Any]]:
    """Return the podAffinity terms that put a pod where the others of its attempt are.

    A pod that no other matches may go anywhere if it matches its own terms: so the first one chooses the
    domain. Pods of an earlier attempt, which may hang on a lost node, have no say in it.
    """
    key = layout.spec.scheduling.topology_key
    if key is None:
        return []
    labels = {LABEL_UID: layout.uid, LABEL_ATTEMPT: str(layout.attempt)}
    return [{"labelSelector": {"matchLabels": labels}, "topologyKey": key}]


def require(spec: dict[str, Any], kind: str, terms: Iterable[dict[str, Any]]) -> None:
    """Add terms of ``podAffinity`` or ``podAntiAffinity`` to those that a pod spec has."""
    added = copy.deepcopy(list(terms))
    if added:
        spec.setdefault("affinity", {}).setdefault(kind, {}).setdefault(REQUIRED, []).extend(added)
