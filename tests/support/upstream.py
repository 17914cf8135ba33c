"""Jobs of other projects' examples, read where they lie beside this checkout; none of them is copied."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ftjob.convert.convert import Converted, convert, is_known
from ftjob.convert.draft import Options, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[3] / "shared" / "upstream-manifests"
NEEDS_EXAMPLES = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"manifests of other projects are not copied here, and {FOLDER} is absent"
)
ENTRY_POINT = ("python3", "train.py")
RUNTIMES = ("ClusterTrainingRuntime", "TrainingRuntime")
AS_IT_IS, WITH_COMMAND, REFUSED = "as it is", "with `--command`", "refused"

_NUMBERS = ("NUM_", "_PER_NODE", "BATCH", "STEPS", "PARALLEL", "SIZE", "POD_", "ITER")
_PLACEHOLDER = re.compile(r"(?<!\$)\$(?:\{([A-Z_0-9]+)\}|([A-Z][A-Z_0-9]+))")


@dataclass(frozen=True)
class Outcome:
    """What becomes of one job."""

    file: str
    kind: str
    name: str
    how: str
    converted: Converted | None
    reason: str = ""

    @property
    def row(self) -> str:
        """The job's row in the table of outcomes."""
        project, _, path = self.file.removesuffix(".yaml").partition("--")[2].partition("--")
        if self.converted is None:
            said = self.reason.replace("|", "\\|").replace("<", "&lt;")
            return f"| {self.kind} | `{project}` `{path}` | {REFUSED} | {said} |"
        return (
            f"| {self.kind} | `{project}` `{path}` | {self.how} | {self.converted.job['spec']['strategy']} |"
        )


def _filled(text: str) -> str:
    """Fill in placeholders as their authors' users do by ``envsubst``."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name == "GPU_RESOURCE":
            return "nvidia.com/gpu"
        return "4" if any(part in name for part in _NUMBERS) else name.lower().replace("_", "-")

    return _PLACEHOLDER.sub(value, text)


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    yield from (body for body in yaml.safe_load_all(_filled(path.read_text())) if body)


@cache
def outcomes() -> tuple[Outcome, ...]:
    """Return the outcome of every job, with a command where one is missing."""
    bodies = [(path.name, body) for path in sorted(FOLDER.glob("*.yaml")) for body in _documents(path)]
    runtimes = {body["metadata"]["name"]: body for _, body in bodies if body["kind"] in RUNTIMES}
    return tuple(_outcome(file, body, runtimes) for file, body in bodies if is_known(body))


def _outcome(file: str, body: dict[str, Any], runtimes: dict[str, Any]) -> Outcome:
    meta = body["metadata"]
    kind, name, reason = body["kind"], meta.get("name") or meta["generateName"], ""
    for how, command in ((AS_IT_IS, ()), (WITH_COMMAND, ENTRY_POINT)):
        try:
            return Outcome(file, kind, name, how, convert(body, Options(command, runtimes=runtimes)))
        except RefusedError as error:
            problem = error.problems[0]
            reason = f"{problem.field}: {problem.message}"
    return Outcome(file, kind, name, REFUSED, None, reason)


def table() -> list[str]:
    """Return the table of outcomes as it stands in the docs."""
    found = sorted(outcomes(), key=lambda one: (one.kind, one.file))
    head = ["| kind | job | converts | to, or why not |", "| --- | --- | --- | --- |"]
    return [*head, *(one.row for one in found)]


def counts() -> Counter[str]:
    """Return how many jobs have each outcome."""
    return Counter(one.how for one in outcomes())
