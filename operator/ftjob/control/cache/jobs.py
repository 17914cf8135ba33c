"""The jobs by name. Large ones that have no work keep their spec as compressed JSON."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from ftjob.api.job import Job, JobHead, head_fields
from ftjob.models.spec import JobSpec
from ftjob.models.status import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ftjob.api.job import AnyJob
    from ftjob.control.queue import Key

AT_REST = frozenset({Phase.SUSPENDED, Phase.QUEUED, Phase.SUCCEEDED, Phase.FAILED})
LARGE_BYTES = 4096
"""Of a spec as JSON. A hundred empty objects are 300 bytes there, and 6 kB in memory."""


@dataclass(frozen=True)
class _Packed:
    head: JobHead
    spec: bytes

    def unpack(self) -> Job:
        spec = JobSpec.model_validate_json(zlib.decompress(self.spec), strict=True)
        return Job(**head_fields(self.head), spec=spec)


class Jobs:
    """All jobs, by namespace and name."""

    def __init__(self) -> None:
        self._jobs: dict[Key, AnyJob | _Packed] = {}

    def put(self, job: AnyJob, raw_spec: Any) -> None:
        """Keep a job.

        Parameters
        ----------
        raw_spec
            What its spec was read from.
        """
        self._jobs[job.key] = _packed(job, raw_spec) or job

    def get(self, key: Key) -> AnyJob | None:
        """Return the job of this name."""
        found = self._jobs.get(key)
        return found.unpack() if isinstance(found, _Packed) else found

    def head(self, key: Key) -> JobHead | None:
        """Return what is known of the job of this name beside its spec."""
        found = self._jobs.get(key)
        return found.head if isinstance(found, _Packed) else found

    def remove(self, key: Key) -> None:
        """Forget the job of this name."""
        self._jobs.pop(key, None)

    def heads(self) -> Iterator[JobHead]:
        """Return what is known of all jobs beside their specs."""
        return iter([found.head if isinstance(found, _Packed) else found for found in self._jobs.values()])


def _packed(job: AnyJob, raw_spec: Any) -> _Packed | None:
    """Return a job in its small form, if it has no work and that is worth it."""
    if not isinstance(job, Job) or (job.is_ours and job.status.phase not in AT_REST):
        return None
    text = orjson.dumps(raw_spec)
    if len(text) < LARGE_BYTES:
        return None
    return _Packed(JobHead(**head_fields(job)), zlib.compress(text, 1))
