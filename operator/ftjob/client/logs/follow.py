"""All logs of a job: which pods there are, and when there is nothing left to wait for."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ftjob.client.errors import ClusterError, JobInvalid, NoSuchJob, Refused
from ftjob.client.logs.merge import Merge
from ftjob.client.logs.pod import read_pod
from ftjob.client.logs.reader import Reader
from ftjob.models.manifest import mapping
from ftjob.models.names import LABEL_ATTEMPT, LABEL_UID
from ftjob_protocol.values.ranges import format_indexes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ftjob.client.cluster import Body, Cluster
    from ftjob.client.logs.line import LogLine, Wanted
    from ftjob.client.logs.pod import LoggedPod
    from ftjob.models.status import JobStatus

STREAMS = 50
"""Logs that are read at a time."""
PAGE = 500
WATCH_SECONDS = 60
PAUSE_SECONDS = 1.0


class Logs:
    """The lines of all pods of a job.

    Parameters
    ----------
    cluster
        With the job's namespace.
    statuses
        The job's status, now and whenever it changes, to its end.
    on, note
        Are called with each status, and with what a user should know, where the lines are taken.
    """

    def __init__(
        self,
        cluster: Cluster,
        uid: str,
        wanted: Wanted,
        *,
        statuses: Iterable[JobStatus],
        on: Callable[[JobStatus], object],
        note: Callable[[str], object],
    ) -> None:
        self._cluster, self._wanted, self._statuses = cluster, wanted, statuses
        self._on, self._note = on, note
        self._path = f"/api/v1/namespaces/{cluster.namespace}/pods"
        self._selector = f"{LABEL_UID}={uid},{LABEL_ATTEMPT}"  # a collector has no attempt
        self._merge = Merge()
        self._lock = threading.Lock()
        self._pods: set[str] = set()
        self._ranks: set[int] = set()
        self._opened: set[str] = set()
        self._noted: set[str] = set()
        self._is_over = threading.Event()
        """Nothing new will come."""
        self._is_closed = threading.Event()
        self._error: Exception | None = None

    def lines(self) -> Iterator[LogLine]:
        """Yield them, the oldest first as far as they are there."""
        try:
            if self._wanted.follow:
                for task in (self._follow_job, self._follow_pods):
                    threading.Thread(target=task, name="ftjob-logs", daemon=True).start()
            else:
                self._list()
                self._end()
            while not (self._is_over.is_set() and self._merge.is_empty):
                yield from self._merge.take()
            if self._error is not None:
                raise self._error
            self._say_if_nothing()
        finally:
            self._is_closed.set()
            self._merge.close()

    def _follow_job(self) -> None:
        """Wait for the end: of the job, or of the attempt that is wanted."""
        try:
            for status in self._statuses:
                if self._is_closed.is_set():
                    return
                self._merge.tell(lambda status=status: self._on(status))  # type: ignore[misc]
                if self._wanted.attempt is not None and status.attempt > self._wanted.attempt:
                    break
            self._list()
        except NoSuchJob as error:  # its pods end, and have their last words
            self._error = error
        except Exception as error:  # noqa: BLE001  # told where the lines are taken
            self._fail(error)
        self._end()

    def _follow_pods(self) -> None:
        while not (self._is_over.is_set() or self._is_closed.is_set()):
            try:
                version = self._list()
                query = {"labelSelector": self._selector, "resourceVersion": version}
                for event in self._cluster.watch(self._path, seconds=WATCH_SECONDS, **query):
                    if self._is_over.is_set() or self._is_closed.is_set():
                        return
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        self._see(event["object"])
            except Refused as error:
                self._fail(error)
                return
            except (ClusterError, JobInvalid):
                time.sleep(PAUSE_SECONDS)

    def _list(self) -> str:
        """Look at all pods; return as of when."""
        query: dict[str, str | int] = {"labelSelector": self._selector, "limit": PAGE}
        while True:
            page = self._cluster.get(self._path, **query)
            for raw in page.get("items") or ():
                self._see(raw)
            meta = mapping(page, "metadata")
            if not meta.get("continue"):
                return str(meta.get("resourceVersion") or "")
            query["continue"] = str(meta["continue"])

    def _see(self, raw: Body) -> None:
        """Read a pod's log, if it has one that is wanted."""
        with self._lock:
            pod = read_pod(raw)
            self._pods.add(pod.uid)
            self._ranks.update(pod.ranks)
            if pod.uid in self._opened or not pod.has_started or not self._wants(pod):
                return
            if self._merge.open >= STREAMS:
                self._tell(f"{STREAMS} pods are read at a time; choose others by their ranks: --ranks 0,8-15")
                return
            self._opened.add(pod.uid)
            Reader(
                self._cluster,
                pod,
                self._wanted,
                self._merge.add(),
                is_over=self._is_over,
                note=self._tell,
                fail=self._fail,
            ).start()

    def _wants(self, pod: LoggedPod) -> bool:
        wanted = self._wanted
        if wanted.attempt is not None and pod.attempt > wanted.attempt:
            return False
        if wanted.ranks is None and pod.agents > STREAMS:
            self._tell(
                f"there are {pod.agents} pods, so only the one of rank 0 is read; "
                "choose up to 50 by their ranks: --ranks 0,8-15"
            )
            return 0 in pod.ranks
        if wanted.ranks is None or not pod.ranks or pod.is_elastic:
            return True
        if not any(map(wanted.has_rank, pod.ranks)):
            return False
        if len(pod.ranks) > 1 and not pod.is_marked:
            ranks = format_indexes(pod.ranks)
            self._tell(f"the lines of {pod.name} have no marks; they are of any of the ranks {ranks}")
        return True

    def _say_if_nothing(self) -> None:
        if self._opened:
            return
        if not self._pods:
            self._note("there are no pods")
        elif not any(map(self._wanted.has_rank, self._ranks)):
            self._note(f"no pod has such a rank; they have {format_indexes(self._ranks)}")
        else:
            self._note("no pod that is wanted has started")

    def _tell(self, text: str) -> None:
        """Say something once."""
        if text not in self._noted:
            self._noted.add(text)
            self._merge.tell(lambda: self._note(text))

    def _end(self) -> None:
        self._is_over.set()
        self._merge.tell(lambda: None)

    def _fail(self, error: Exception) -> None:
        """Raise an error where the lines are taken."""

        def raise_it() -> None:
            raise error

        self._merge.tell(raise_it)
