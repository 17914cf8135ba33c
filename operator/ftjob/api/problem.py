"""What is wrong with a job, in words for the one who wrote it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ftjob.api.spec_schema import spec_schema
from ftjob.models.patterns import EXPECTED
from ftjob.models.schema import Schema

Path = tuple[str | int, ...]

SHOWN = 60
"""Longest value that is shown in full."""
PROBLEMS_SHOWN = 5
PROBLEMS_MAX = 1000
"""Of one object; to look for the name that was meant takes its time."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a job: where, what, and what to write instead."""

    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.field}: {self.message}; {self.remedy}" if self.remedy else f"{self.field}: {self.message}"
        )


def summary(problems: tuple[Problem, ...]) -> str:
    """Return problems as one message for a status: the first few, and how many more there are."""
    message = "; ".join(str(problem) for problem in problems[:PROBLEMS_SHOWN])
    more = len(problems) - PROBLEMS_SHOWN
    return f"{message}; and {more} more" if more > 0 else message


def problems_of(error: ValidationError, above: Path) -> tuple[Problem, ...]:
    """Return what pydantic found, in the API server's terms: field paths, and what is expected there.

    Parameters
    ----------
    error
        The error.
    above
        Path of the object that was read.
    """
    found: dict[Path, Problem] = {}
    for detail in islice(error.errors(include_url=False), PROBLEMS_MAX):
        path, node = _locate((*above, *detail["loc"]))
        # The arms of a union each report the same field; once is enough.
        found.setdefault(path, _problem(path, node, detail))
    return tuple(found.values())


def refused(path: Path, value: Any) -> Problem:
    """Return the problem that a value is none of those that may stand at a path."""
    return Problem(_dotted(path), f"{_shown(value)} is not allowed", f"write {_expected(_locate(path)[1])}")


def _problem(path: Path, node: Schema, detail: ErrorDetails) -> Problem:
    kind = detail["type"]
    if kind == "missing":
        return Problem(_dotted(path), "it is missing", f"write {_expected(node)}")
    if kind == "extra_forbidden":
        siblings = _locate(path[:-1])[1].get("properties", {})
        near = get_close_matches(str(path[-1]), siblings, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"remove it, or use one of {', '.join(siblings)}"
        return Problem(_dotted(path), "there is no such field", remedy)
    if kind == "json_invalid":
        return Problem(_dotted(path), f"it can't be read ({detail['msg']})", "write plain YAML or JSON")
    expected = EXPECTED.get(detail.get("ctx", {}).get("pattern", "")) or _expected(node)
    return Problem(_dotted(path), f"{_shown(detail['input'])} is not allowed", f"write {expected}")


@cache
def _schema() -> Schema:
    return {"properties": {"spec": spec_schema()}}


def _locate(loc: Path) -> tuple[Path, Schema]:
    """Return the part of a location that is a path of the schema, and the schema there.

    The rest of it, if any, names arms of a union; but an unknown field is told by its whole path.
    """
    node = _schema()
    for depth, part in enumerate(loc):
        if isinstance(part, int) and "items" in node:
            node = node["items"]
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        elif isinstance(node.get("additionalProperties"), dict):
            node = node["additionalProperties"]
        else:
            return (loc, {}) if "properties" in node else (loc[:depth], node)
    return loc, node


def _expected(node: Schema) -> str:
    """Return what belongs there, in words."""
    if "enum" in node:
        return f"one of {', '.join(node['enum'])}"
    least, most = (
        next((node[key] for key in keys if key in node), None)
        for keys in (("minimum", "minLength", "minItems"), ("maximum", "maxLength", "maxItems"))
    )
    bounds = "" if most is None else f"{least or 0} to {most}"
    words = {
        "integer": f"a whole number from {bounds}" if bounds else "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": f"a string of {bounds} characters" if bounds else "a string",
        "array": f"a list of {bounds} entries" if bounds else "a list",
        "object": "an object with "
        + ", ".join(node.get("required") or node.get("properties") or ["names and values"]),
    }
    return words.get(node.get("type", ""), "what `kubectl explain ftj.spec --recursive` shows")


def _dotted(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
