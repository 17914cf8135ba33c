"""Jobs in a cluster, as their user may see them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ftjob.api.job import Job, parse_job
from ftjob.cli.look.read import look_at
from ftjob.cli.ui import views
from ftjob.cli.ui.source import UnknownError
from ftjob.cli.ui.trail import extended
from ftjob.client import ClusterError, JobHandle
from ftjob.models.manifest import mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftjob.cli.ui.trail import Trail
    from ftjob.client import Client
    from ftjob.models.status import JobStatus

TAIL = 300
"""Lines of a rank."""
_NO_OUTPUTS = "the outputs of a job in the cluster can't be read here; `ftjob report JOB` fetches them"


class InCluster:
    """The jobs of a namespace.

    Parameters
    ----------
    client
        Asks for them.
    options
        By which other commands go to the same cluster.
    """

    def __init__(self, client: Client, options: Sequence[str]) -> None:
        self._client, self._options = client, options
        self._lock = threading.Lock()
        self._jobs: dict[str, JobHandle] = {}
        self._rows: dict[str, tuple[str, views.Row]] = {}
        """Each as of a version of its job: to read a thousand statuses takes long."""
        self._trails: dict[str, Trail] = {}

    @property
    def title(self) -> str:
        """What the page is about."""
        return f"namespace {self._client.namespace}"

    def listing(self) -> views.Listing:
        """Return all jobs."""
        found = self._client.list()
        with self._lock:
            self._jobs = {_key(job): job for job in found}
            rows = tuple(self._row(key, job) for key, job in self._jobs.items())
            self._rows = {key: known for key, known in self._rows.items() if key in self._jobs}
            self._trails = {key: trail for key, trail in self._trails.items() if key in self._jobs}
        note = f"no jobs in {self.title}; `ftjob submit FILE` makes one, -n names another" if not rows else ""
        return views.Listing(rows, note)

    def _row(self, key: str, job: JobHandle) -> views.Row:
        version = f"{job.uid}/{mapping(job.body, 'metadata').get('resourceVersion')}"
        known = self._rows.get(key)
        if known is None or known[0] != version:
            status = _status(job)
            if status is not None:
                self._trails[key] = extended(self._trails.get(key, ()), status.progress, time.time())
            known = self._rows[key] = (version, views.row(job.body, status, key, job.namespace))
        return known[1]

    def _job(self, key: str) -> JobHandle:
        """Return a job of the list as it was then."""
        with self._lock:
            found = self._jobs.get(key)
        if found is None:
            raise UnknownError(f"there is no job {key} any more")
        return JobHandle(found.cluster, found.body)

    def detail(self, key: str) -> views.Detail:
        """Return one job as it is now."""
        job = self._job(key)
        status = job.refresh()
        seen, known = look_at(job), parse_job(job.body)
        has_outputs = isinstance(known, Job) and known.spec.outputs is not None
        with self._lock:
            trail = self._trails[key] = extended(self._trails.get(key, ()), status.progress, seen.now)
        return views.detail(
            views.row(job.body, status, key, job.namespace),
            seen,
            job.body,
            trail,
            options=self._options,
            missing=views.missing(job.name, job.namespace, self._options, has_outputs=has_outputs),
        )

    def log(self, key: str, rank: int) -> views.Log:
        """Return the last lines of a rank."""
        notes: list[str] = []
        lines = self._job(key).logs(str(rank), follow=False, tail=TAIL, note=notes.append)
        return views.Log(tuple(views.log_text(line.text) for line in lines)[-views.LINES :], tuple(notes))

    def speed(self, key: str) -> bytes:
        """Say where it is."""
        raise UnknownError(_NO_OUTPUTS)

    def report(self, key: str, capture: str) -> str:
        """Say where it is."""
        raise UnknownError(_NO_OUTPUTS)


def _key(job: JobHandle) -> str:
    return f"{job.namespace}/{job.name}"


def _status(job: JobHandle) -> JobStatus | None:
    try:
        return job.status
    except ClusterError:
        return None
