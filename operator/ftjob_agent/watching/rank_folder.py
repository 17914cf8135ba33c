"""What the hooks and the script leave in a rank's folder: how far it has come, and what was hooked.

The hooks write ``steps.bin``, ``metrics.json`` and ``hooks.json``; a script may append lines to
``progress.jsonl``, and what it says wins. Numbers that are not finite never get past this module.
"""

from __future__ import annotations

import collections
import json
import math
import os
import re
import time
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

from ftjob_protocol import files, steps
from ftjob_protocol.files import nofollow

READ_LIMIT = 1 << 20
HOOKS_LIMIT = 1 << 16
METRICS_LIMIT = 32
CAPTURES_LIMIT = 100
"""As many as a schedule can repeat."""
WINDOW = 16

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Of a capture: it names a folder."""


@dataclass(frozen=True)
class RankProgress:
    """One look at a rank."""

    step: Optional[int] = None
    total_steps: Optional[int] = None
    epoch: Optional[float] = None
    step_seconds: Optional[float] = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    time_ns: int = 0
    first_ns: int = 0
    """When its first step ended, in this life of the rank."""
    seen_ns: int = 0
    """When any optimizer of the rank stepped, whatever counts as its steps."""
    counted: Optional[int] = None
    """Steps that the hooks count, whatever the script says."""

    @property
    def is_known(self) -> bool:
        """Whether the rank has told anything yet."""
        return self.step is not None or self.epoch is not None or bool(self.metrics)

    def as_json(self) -> dict[str, Any]:
        """Return the form of the protocol, without what is unknown."""
        known = {
            "step": self.step,
            "totalSteps": self.total_steps,
            "epoch": self.epoch,
            "stepSeconds": self.step_seconds,
            "metrics": dict(self.metrics) or None,
            "timeNs": self.time_ns or None,
            "firstNs": self.first_ns or None,
        }
        return {key: value for key, value in known.items() if value is not None}


class Reader:
    """Reads the files of one rank again and again."""

    def __init__(self, rank_dir: str) -> None:
        self._dir = rank_dir
        self._offset = 0
        self._partial = b""
        self._said: dict[str, Any] = {}
        self._said_metrics: dict[str, float] = {}
        self._said_ns = self._said_first_ns = 0
        self._window: collections.deque[tuple[int, int]] = collections.deque(maxlen=WINDOW)

    def read(self) -> RankProgress:
        """Look at the files now."""
        self._read_lines()
        hooked = self._read_steps()
        said = self._said
        step, when = (said["step"], self._said_ns) if "step" in said else (hooked.step, hooked.time_ns)
        pace = self._pace(step, when)
        if pace is None and "step" not in said:
            pace = hooked.step_seconds
        return RankProgress(
            step=step,
            total_steps=said.get("totalSteps", hooked.total_steps),
            epoch=said.get("epoch", hooked.epoch),
            step_seconds=pace,
            metrics={**self._read_metrics(), **self._said_metrics},
            time_ns=max(when, self._said_ns),
            first_ns=hooked.first_ns or self._said_first_ns,
            seen_ns=hooked.seen_ns,
            counted=hooked.step,
        )

    def _pace(self, step: Optional[int], when: int) -> Optional[float]:
        """Return seconds a step over the last looks at which it had moved."""
        if step is None:
            return None
        if self._window and step < self._window[-1][0]:
            self._window.clear()  # a script that starts to count anew
        if not self._window or step > self._window[-1][0]:
            self._window.append((step, when))
        (first_step, first_ns), (last_step, last_ns) = self._window[0], self._window[-1]
        if last_step == first_step or last_ns <= first_ns:
            return None
        return (last_ns - first_ns) / 1e9 / (last_step - first_step)

    def _read_steps(self) -> RankProgress:
        found = steps.read(os.path.join(self._dir, files.STEPS))
        if found is None or found.step == 0:
            return RankProgress(seen_ns=found.seen_ns if found is not None else 0)
        has_pace = found.step > 1 and found.last_ns > found.first_ns
        return RankProgress(
            step=found.step,
            total_steps=found.total,
            epoch=found.epoch,
            step_seconds=(found.last_ns - found.first_ns) / 1e9 / (found.step - 1) if has_pace else None,
            time_ns=found.last_ns,
            first_ns=found.first_ns,
            seen_ns=found.seen_ns,
        )

    def _read_metrics(self) -> dict[str, float]:
        return _metrics(_parse(_read(os.path.join(self._dir, files.METRICS), READ_LIMIT)))

    def _read_lines(self) -> None:
        path = os.path.join(self._dir, files.PROGRESS)
        size = nofollow.size(path)
        if size is None:
            return
        if size < self._offset:  # written anew
            self._offset, self._partial = 0, b""
        if size == self._offset:
            return
        start = max(self._offset, size - READ_LIMIT)
        if start > self._offset:
            self._partial = b""  # the first line after the gap is cut and will be dropped
        data = self._partial + _read(path, READ_LIMIT, start)
        self._offset = start + len(data) - len(self._partial)
        *lines, self._partial = data.split(b"\n")
        self._partial = self._partial[-READ_LIMIT:]
        for line in lines:
            self._take(_parse(line))

    def _take(self, said: Any) -> None:
        if not isinstance(said, dict):
            return
        found = {key: said[key] for key in ("step", "totalSteps") if _is_count(said.get(key))}
        epoch = _finite(said.get("epoch"))
        if epoch is not None:
            found["epoch"] = epoch
        metrics = _metrics(said.get("metrics"))
        if found or metrics:
            self._said.update(found)
            self._said_metrics = _metrics({**self._said_metrics, **metrics})
            self._said_ns = time.time_ns()
            if "step" in said and not self._said_first_ns:
                self._said_first_ns = self._said_ns


def captured(rank_dir: str) -> list[str]:
    """Return the captures that the rank has finished."""
    said = _parse(_read(os.path.join(rank_dir, files.CAPTURED), HOOKS_LIMIT))
    names = said if isinstance(said, list) else []
    return [name for name in names[-CAPTURES_LIMIT:] if isinstance(name, str) and _ID.fullmatch(name)]


def hook_notes(rank_dir: str) -> list[str]:
    """Return what the hooks have to say about what they could not hook."""
    return _hooks(rank_dir, "notes")


def has_optimizer(rank_dir: str) -> bool:
    """Whether the program has an optimizer whose steps the hooks see."""
    return nofollow.size(os.path.join(rank_dir, files.OPTIMIZER)) is not None


def steady_seconds(rank_dir: str) -> Optional[float]:
    """Return for how long JAX has compiled nothing more; None if the program is none on JAX."""
    try:
        return max(0.0, time.time() - os.lstat(os.path.join(rank_dir, files.COMPILED)).st_mtime)
    except OSError:
        return None


def _hooks(rank_dir: str, key: str) -> list[str]:
    said = _parse(_read(os.path.join(rank_dir, files.HOOKS), HOOKS_LIMIT))
    found = said.get(key) if isinstance(said, dict) else None
    return [str(text) for text in found[:8]] if isinstance(found, list) else []


def _read(path: str, limit: int, offset: int = 0) -> bytes:
    try:
        return nofollow.read(path, limit, offset)
    except OSError:
        return b""


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _finite(value: Any) -> Optional[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _metrics(data: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in data.items() if isinstance(data, dict) else ():
        number = _finite(value)
        if number is not None and len(name) <= 63 and len(found) < METRICS_LIMIT:
            found[name] = number
    return found
