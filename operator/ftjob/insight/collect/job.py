"""Whose outputs these are: what ``job.yaml`` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from ftjob.insight.summary import Job
from ftjob_protocol import files
from ftjob_protocol.values.text import clean

if TYPE_CHECKING:
    from ftjob_protocol.files.nofollow import Folder

LIMIT = 1 << 22


@dataclass(frozen=True)
class Named:
    """A job without its framework, which only its ranks know."""

    name: str
    uid: str
    strategy: str
    attempt: int

    def named(self, framework: str) -> Job:
        """Return it whole."""
        return Job(
            name=self.name, uid=self.uid, strategy=self.strategy, attempt=self.attempt, framework=framework
        )


def body_of(outputs: Folder) -> dict[str, Any]:
    """Return ``job.yaml``; empty where there is none, or one that can't be read."""
    try:
        body = yaml.safe_load(outputs.read(files.JOB, LIMIT))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return body if isinstance(body, dict) else {}


def job_of(body: dict[str, Any], attempt: Any = None) -> Named:
    """Return the job of a body; `attempt`, if it is a number, is the one that is looked at."""
    meta, spec = part(body, "metadata"), part(body, "spec")
    if not isinstance(attempt, int):
        attempt = part(body, "status").get("attempt")
    return Named(
        name=clean(str(meta.get("name") or "job"), 253),
        uid=clean(str(meta.get("uid") or ""), 64),
        strategy=clean(str(spec.get("strategy") or ""), 64),
        attempt=attempt if isinstance(attempt, int) else 0,
    )


def part(body: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a mapping inside of another; empty if it is none."""
    found = body.get(key)
    return found if isinstance(found, dict) else {}
