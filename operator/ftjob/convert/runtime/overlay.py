"""Laying one part of a pod template over another, as an API server does: named items by name."""

from __future__ import annotations

import copy
from typing import Any

KEYS = ("name", "mountPath", "containerPort", "key")
"""What tells items of lists apart, the first that all of them have."""


def overlay(under: Any, over: Any) -> Any:
    """Return data with other data laid over it.

    Parameters
    ----------
    under
        What is there already; it stays as it is.
    over
        What wins where both say something.
    """
    if isinstance(under, dict) and isinstance(over, dict):
        both = {key: overlay(under[key], over[key]) for key in under.keys() & over.keys()}
        return {**copy.deepcopy(under), **copy.deepcopy(over), **both}
    if isinstance(under, list) and isinstance(over, list):
        return _lists(under, over)
    return copy.deepcopy(over)


def _lists(under: list[Any], over: list[Any]) -> list[Any]:
    all_items = [*under, *over]
    key = next((k for k in KEYS if all(isinstance(one, dict) and k in one for one in all_items)), None)
    if key is None:
        return copy.deepcopy(over)
    own = {one[key]: one for one in over if isinstance(one[key], str | int)}
    there = {one[key] for one in under if isinstance(one[key], str | int)}
    kept = [overlay(one, own.get(one[key], {})) if isinstance(one[key], str | int) else one for one in under]
    return [*kept, *(copy.deepcopy(one) for name, one in own.items() if name not in there)]
