"""Fields of jobs that anybody has written: a value of another type is refused where it stands."""

from __future__ import annotations

from typing import Any

from ftjob.convert.draft import refused

FILL_IN = "write a number; if it is a placeholder, fill it in first, such as by envsubst"
DIGITS = 9
"""More digits than any count has."""


def number(value: Any, field: str) -> int:
    """Return a count; texts of digits are counts too."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**DIGITS:
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= DIGITS:
        return int(value)
    raise refused(field, f"{value!r} is not a number", FILL_IN)


def number_in(parent: dict[str, Any], key: str, path: str, default: int) -> int:
    """Return a count of an object, or what it is where the object does not say."""
    return default if parent.get(key) is None else number(parent[key], f"{path}.{key}")


def mapping_in(parent: dict[str, Any], key: str, path: str) -> dict[str, Any]:
    """Return an object of an object; empty if it is not there."""
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise refused(f"{path}.{key}", "it is no object", "write names and values below it")
    return value


def objects_in(parent: dict[str, Any], key: str, path: str) -> list[dict[str, Any]]:
    """Return a list of objects; empty if it is not there."""
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise refused(f"{path}.{key}", "it is no list of objects", "begin each with a dash")
    return value


def words_in(parent: dict[str, Any], key: str, path: str) -> list[str]:
    """Return a list of texts, such as a command; empty if it is not there."""
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise refused(f"{path}.{key}", "it is no list of texts", "quote numbers, true and false")
    return list(value)
