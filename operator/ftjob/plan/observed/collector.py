"""Collectors as they are read from the API server: pods that write reports into a job's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftjob.models.names import LABEL_COLLECTS
from ftjob.plan.observed.pod import read_pod
from ftjob_protocol.values.text import clean

if TYPE_CHECKING:
    from ftjob.models.manifest import Manifest

CONTAINER = "collector"
WHOLE_JOB = "whole.job"
"""The label's value for the job's own report; no capture has a dot in its id."""
WORDS_BYTES = 512


@dataclass(frozen=True)
class CollectorState:
    """One collector, or the refusal of its pod."""

    about: str
    """Id of a capture, or `WHOLE_JOB`."""
    name: str
    uid: str
    """Empty if the API server did not take the pod."""
    seen: float
    """Unix time at which the operator first saw it."""
    ended: bool = False
    succeeded: bool = False
    deleting: bool = False
    why: str = ""
    """Why it does not run, or has failed."""


def is_collector(body: Manifest) -> bool:
    """Whether a pod is a collector, by its label."""
    return LABEL_COLLECTS in (body["metadata"].get("labels") or {})


def read_collector(body: Manifest, *, seen: float) -> CollectorState:
    """Read a collector's pod as the API server gives it."""
    pod = read_pod(body, trainer=CONTAINER, seen=seen)
    end = pod.terminated
    said = "" if end is None else end.log_tail or f"it ended with {end.exit_code} ({end.reason})"
    why = pod.waiting or "" if end is None else "" if pod.succeeded else pod.words or _last_line(said)
    return CollectorState(
        about=body["metadata"]["labels"][LABEL_COLLECTS],
        name=pod.name,
        uid=pod.uid,
        seen=seen,
        ended=end is not None,
        succeeded=pod.succeeded,
        deleting=pod.deleting,
        why=clean(why, WORDS_BYTES),
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
