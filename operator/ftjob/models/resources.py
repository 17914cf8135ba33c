"""What pods ask for in all, as Kubernetes counts it (kubernetes.io, init containers: resource sharing)."""

from __future__ import annotations

import math
import re
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ftjob.models.manifest import items, mapping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.models.manifest import Manifest

    Amounts = Counter[str]

QUANTITY = re.compile(
    r"([+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40}))(?:([eE][+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i)?)", re.ASCII
)
"""Of as many digits as any amount has: Python neither reads nor writes a number of very many."""
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
MILLI = 1000


def milli(quantity: Any) -> int | None:
    """Return a Kubernetes quantity in thousandths, rounded up; None if it is none."""
    found = QUANTITY.fullmatch(str(quantity))
    if found is None:
        return None
    number, exponent, suffix = Decimal(found[1]), found[2], found[3]
    if exponent:
        number = number.scaleb(int(exponent[1:]))
    elif suffix in _BINARY:
        number *= 2 ** _BINARY[suffix]
    elif suffix:
        number = number.scaleb(_DECIMAL[suffix])
    return math.ceil(number * MILLI)


def shown(amount: int) -> str:
    """Return so many thousandths as a quantity."""
    return f"{amount}m" if amount % MILLI else str(amount // MILLI)


def requests_of(pods: Iterable[tuple[Manifest, int]]) -> dict[str, str]:
    """Return what pods request together, given one of each kind and how many of it there are."""
    total: Amounts = Counter()
    for pod, number in pods:
        total.update({name: n * number for name, n in amounts_of(mapping(pod, "spec")).items()})
    return {name: shown(amount) for name, amount in sorted(total.items())}


def amounts_of(spec: dict[str, Any]) -> Amounts:
    """Return what a pod requests in thousandths: its containers at once, or more for one that runs before."""
    beside: Amounts = Counter()
    before: Amounts = Counter()
    for container in items(spec, "initContainers"):
        asked = _of_container(container)
        if container.get("restartPolicy") == "Always":  # a sidecar lives on
            beside.update(asked)
            before |= beside
        else:
            before |= beside + asked
    for container in items(spec, "containers"):
        beside.update(_of_container(container))
    overhead = {name: milli(amount) or 0 for name, amount in mapping(spec, "overhead").items()}
    whole = {name: milli(amount) or 0 for name, amount in mapping(spec, "resources", "requests").items()}
    return Counter({**(beside | before), **whole}) + Counter(overhead)


def _of_container(container: dict[str, Any]) -> Amounts:
    resources = mapping(container, "resources")
    asked = {**mapping(resources, "limits"), **mapping(resources, "requests")}
    return Counter({name: milli(amount) or 0 for name, amount in asked.items()})
