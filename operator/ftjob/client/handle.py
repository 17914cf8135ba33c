"""One job in a cluster."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ftjob.client.errors import ClusterError, JobFailed, NoSuchJob
from ftjob.client.logs.follow import Logs
from ftjob.client.logs.line import wanted_lines
from ftjob.client.patience import Patience
from ftjob.models.manifest import mapping
from ftjob.models.names import ANNOTATION_CAPTURE, GROUP, PLURAL, VERSION
from ftjob.models.status import JobStatus, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ftjob.client.cluster import Body, Cluster
    from ftjob.client.logs.line import LogLine

WATCH_SECONDS = 300
"""So long a watch lasts; then another begins, as with all clients of Kubernetes."""
PAUSE_SECONDS = 1.0
"""After a watch that was cut off."""


def path_of(namespace: str, name: str = "") -> str:
    """Return where the API server has the jobs of a namespace, or one of them."""
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"
    return f"{path}/{name}" if name else path


def status_of(body: Body) -> JobStatus:
    """Return a job's status.

    Raises
    ------
    ClusterError
        Another version of ftjob has written it.
    """
    try:
        return JobStatus.model_validate(mapping(body, "status"))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, ("status", *first["loc"])))
        name = mapping(body, "metadata").get("name")
        raise ClusterError(f"{name}: {field}: {first['msg']}; use the operator's version of ftjob") from None


class JobHandle:
    """A job in a cluster: what it is, and what can be done with it.

    Parameters
    ----------
    cluster
        Where it is.
    body
        The job as the API server has last returned it.
    """

    def __init__(self, cluster: Cluster, body: Body) -> None:
        self._cluster = cluster
        self.body = body

    def __repr__(self) -> str:
        return f"JobHandle({self.namespace}/{self.name}: {self.status.phase or 'new'})"

    @property
    def name(self) -> str:
        """Its name."""
        return str(mapping(self.body, "metadata")["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(mapping(self.body, "metadata")["namespace"])

    @property
    def cluster(self) -> Cluster:
        """Where it is, for requests about what belongs to it."""
        return self._cluster

    @property
    def uid(self) -> str:
        """What tells it from another of its name."""
        return str(mapping(self.body, "metadata").get("uid") or "")

    @property
    def status(self) -> JobStatus:
        """Its status as of the last look; `refresh` looks anew."""
        return status_of(self.body)

    @property
    def _path(self) -> str:
        return path_of(self.namespace, self.name)

    def refresh(self) -> JobStatus:
        """Look at it anew and return its status."""
        self._see(self._cluster.get(self._path))
        return self.status

    def watch(self, timeout: float | None = None) -> Iterator[JobStatus]:
        """Yield its status, now and whenever it changes, to the end of the job.

        Parameters
        ----------
        timeout
            Seconds after which this ends.

        Raises
        ------
        TimeoutError
            They have passed.
        NoSuchJob
            It was deleted.
        ClusterError
            The cluster was out of reach for two minutes.
        """
        end = None if timeout is None else time.monotonic() + timeout
        patience = Patience()
        seen = ""
        while True:
            try:
                for body in self._changes(end):
                    self._see(body)
                    patience.heard()
                    version = str(mapping(body, "metadata").get("resourceVersion"))
                    if version != seen:
                        seen = version
                        yield self.status
                    if self.status.phase is not None and self.status.phase.is_final:
                        return
            except NoSuchJob:
                raise
            except ClusterError as error:
                patience.lost(error)
                time.sleep(PAUSE_SECONDS)
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"{self.name} is {self.status.phase or 'new'} after {timeout:g} s")

    def wait(
        self,
        until: str = "Finished",
        timeout: float | None = None,
        on: Callable[[JobStatus], object] | None = None,
    ) -> JobStatus:
        """Wait until the job runs or has ended, and return its status.

        Parameters
        ----------
        until
            ``Running`` or ``Finished``.
        timeout
            Seconds after which TimeoutError is raised.
        on
            Is called with each new status.

        Raises
        ------
        JobFailed
            It has failed.
        TimeoutError
            It is not so far.
        """
        if until not in {"Running", "Finished"}:
            raise ValueError(f"until is {until!r}; write Running or Finished")
        for status in self.watch(timeout):
            if on is not None:
                on(status)
            if until == "Running" and status.phase is Phase.RUNNING:
                return status
        status = self.status
        if status.phase is Phase.FAILED:
            raise JobFailed(self.name, status)
        return status

    def logs(
        self,
        ranks: str | None = None,
        *,
        follow: bool = True,
        grep: str | None = None,
        since: float | None = None,
        tail: int | None = None,
        attempt: int | None = None,
        on: Callable[[JobStatus], object] | None = None,
        note: Callable[[str], object] | None = None,
    ) -> Iterator[LogLine]:
        """Yield what its ranks write: each line once, over lost connections, restarts and new pods.

        Lines of several pods come by their time, as far as they are there.

        Parameters
        ----------
        ranks
            Whose, such as ``0,3-5``; left out: all, or of more than 50 pods that of rank 0.
        follow
            Wait for pods, and go on to the job's end; else what there is now.
        grep
            Only lines in which this regular expression is found.
        since
            Only lines that are not older than so many seconds.
        tail
            Of what there is now, only so many lines of each rank.
        attempt
            Only of this attempt, counted from 0.
        on
            Is called with each new status, while it follows.
        note
            Is called with what should be known of the lines, such as that some are missing.

        Raises
        ------
        JobInvalid
            The ranks or the regular expression can't be read.
        NoSuchJob
            It was deleted.
        ClusterError
            The cluster can't be asked.
        """
        wanted = wanted_lines(ranks, follow=follow, grep=grep, since=since, tail=tail, attempt=attempt)
        other = JobHandle(self._cluster, self.body)
        logs = Logs(
            replace(self._cluster, namespace=self.namespace),
            self.uid,
            wanted,
            statuses=other.watch(),
            on=on or _nothing,
            note=note or _nothing,
        )
        return logs.lines()

    def stop(self) -> None:
        """Suspend it: its pods end in their grace period, and what was saved is kept. `resume` goes on."""
        self._change({"suspend": True})

    def resume(self) -> None:
        """Let a stopped job go on."""
        self._change({"suspend": False})

    def scale(self, workers: int) -> None:
        """Change the number of workers of an elastic job."""
        self._change({"workers": workers})

    def capture(self, order: Mapping[str, Any]) -> None:
        """Order a capture of some steps.

        Parameters
        ----------
        order
            ``id``, which names its folder; ``steps`` or ``seconds``, ``ranks``, ``stacks``.
        """
        annotations = {ANNOTATION_CAPTURE: json.dumps(order)}
        self._see(
            self._cluster.patch(self._path, {"metadata": {"uid": self.uid, "annotations": annotations}})
        )

    def delete(self) -> None:
        """Delete it with its pods. Claims that it did not make stay."""
        self._cluster.delete(
            self._path, {"preconditions": {"uid": self.uid}, "propagationPolicy": "Background"}
        )

    def _change(self, spec: dict[str, Any]) -> None:
        self._see(self._cluster.patch(self._path, {"metadata": {"uid": self.uid}, "spec": spec}))

    def _changes(self, end: float | None) -> Iterator[Body]:
        """Yield the job now and at each change, for the time of one watch."""
        body = self._cluster.get(self._path)
        yield body
        left = WATCH_SECONDS if end is None else max(1, min(WATCH_SECONDS, round(end - time.monotonic())))
        for event in self._cluster.watch(
            path_of(self.namespace),
            seconds=left,
            fieldSelector=f"metadata.name={self.name}",
            resourceVersion=str(mapping(body, "metadata").get("resourceVersion")),
        ):
            if event["type"] == "DELETED":
                raise NoSuchJob(f"{self.name} was deleted")
            yield event["object"]

    def _see(self, body: Body) -> None:
        uid = str(mapping(body, "metadata").get("uid") or "")
        if self.uid and uid != self.uid:
            raise NoSuchJob(f"{self.name} was deleted, and there is another job of its name")
        self.body = body


def _nothing(_said: object) -> None:
    pass
