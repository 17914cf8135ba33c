"""One pod's log, from its beginning to its end, however often the connection is lost."""

from __future__ import annotations

import collections
import math
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ftjob.client.errors import ClusterError, JobInvalid, NotFound, Refused
from ftjob.client.logs.line import LogLine
from ftjob.client.logs.pod import read_pod
from ftjob.client.logs.replay import Replay
from ftjob_protocol.values.marks import read_mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.client.cluster import Cluster
    from ftjob.client.logs.line import Wanted
    from ftjob.client.logs.merge import Queue
    from ftjob.client.logs.pod import LoggedPod

PAUSE_SECONDS = 1.0
"""After a request that has brought nothing."""
TRIES = 10
"""For the log of a pod that has ended: its node may be gone."""
REPEATS = 3
"""For the same of a pod that has ended, where the node has thrown some of it away."""
LINE_BYTES = 1 << 20
"""A longer line goes on in others."""

_ATTEMPT = b"ftjob: attempt "
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


class Reader(threading.Thread):
    """Reads a pod's log into a queue.

    Parameters
    ----------
    is_over
        Set when nothing new will come, but what pods that still run have to say.
    note
        Gets what a user should know.
    fail
        Gets what ends all reading.
    """

    def __init__(
        self,
        cluster: Cluster,
        pod: LoggedPod,
        wanted: Wanted,
        queue: Queue,
        *,
        is_over: threading.Event,
        note: Callable[[str], object],
        fail: Callable[[Exception], object],
    ) -> None:
        super().__init__(name=f"ftjob-log-{pod.name}", daemon=True)
        self._cluster, self._pod, self._wanted, self._queue = cluster, pod, wanted, queue
        self._is_over, self._note, self._fail = is_over, note, fail
        self._path = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod.name}"
        self._replay = Replay()
        self._is_new = False
        """Whether the present answer has brought anything new."""
        self._rest = b""
        """What stood behind the last end of a line in the answer before."""
        self._attempt = pod.attempt
        self._began = time.monotonic()
        self._not_before = ""
        if wanted.since is not None:
            first = datetime.now(UTC) - timedelta(seconds=wanted.since)
            self._not_before = f"{first:%Y-%m-%dT%H:%M:%S.%f}000Z"
        self._tail: dict[int | None, collections.deque[LogLine]] | None = None
        if wanted.tail is not None:
            self._tail = collections.defaultdict(lambda: collections.deque(maxlen=wanted.tail))

    def run(self) -> None:
        """Read to the end."""
        try:
            self._read()
        except Exception as error:  # noqa: BLE001  # told where the lines are taken
            self._fail(error)
        finally:
            self._queue.end()

    def _read(self) -> None:
        tries = repeats = 0
        while not self._is_past:
            pod = self._look()
            if pod is None:
                if tries:
                    self._note(f"{self._pod.name} is gone before all of its log was read")
                return
            # What there was is counted before any of it is shown.
            follow = self._wanted.follow and not pod.has_ended and self._tail is None
            self._is_new = False
            try:
                self._request(follow=follow, is_last=pod.has_ended)
            except Refused:
                raise
            except (ClusterError, JobInvalid) as error:
                tries = 1 if self._is_new else tries + 1
                if self._gives_up(tries, pod, error):
                    return
                time.sleep(PAUSE_SECONDS)
                continue
            tries, repeats = 0, 0 if self._is_new else repeats + 1
            if self._tail is not None:
                self._show_tail()
            if self._is_done(pod, repeats):
                return
            if repeats:
                time.sleep(PAUSE_SECONDS)

    def _gives_up(self, tries: int, pod: LoggedPod, error: Exception) -> bool:
        if tries == TRIES:
            self._note(f"the log of {pod.name} can't be read: {error}")
        will_not_come = pod.has_ended or not self._wanted.follow or self._is_over.is_set()
        return tries >= TRIES and will_not_come

    def _is_done(self, pod: LoggedPod, repeats: int) -> bool:
        """Return whether the log was read to its end; `repeats` answers have brought nothing new."""
        if not pod.has_ended:
            return not self._wanted.follow
        # An answer that was cut between two lines looks like a whole one; the next will hardly be.
        enough = 1 if self._replay.since else 2
        return repeats >= REPEATS or (repeats >= enough and self._replay.is_whole)

    def _look(self) -> LoggedPod | None:
        """Return the pod as it is now; None if it is gone. One that can't be asked for is as it was."""
        try:
            found = read_pod(self._cluster.get(self._path))
        except NotFound:
            return None
        except Refused:
            raise
        except (ClusterError, JobInvalid):
            return self._pod
        if found.uid != self._pod.uid:
            return None
        self._pod = found
        return found

    def _request(self, *, follow: bool, is_last: bool) -> None:
        """Read what there is, and what comes."""
        query: dict[str, str | int] = {"container": self._pod.container, "timestamps": "true"}
        if follow:
            query["follow"] = "true"
        if self._replay.since:
            query["sinceTime"] = self._replay.since
        elif self._is_cut_there:
            if self._wanted.since is not None:
                query["sinceSeconds"] = math.ceil(self._wanted.since + time.monotonic() - self._began)
            if self._tail is not None and len(self._pod.ranks) == 1 and self._wanted.grep is None:
                query["tailLines"] = self._wanted.tail or 0
        self._replay.begin()
        before, self._rest = self._rest, b""
        rest = b""
        for chunk in self._cluster.stream(f"{self._path}/log", **query):
            raw, rest = _split(rest + chunk)
            self._take(raw)
            if self._is_past:
                return
        if is_last and rest:
            # A last line without its end, or an answer that was cut: the next one will say.
            if rest == before and not self._is_new:
                self._take([rest])
            else:
                self._rest, self._is_new = rest, True

    def _take(self, raw: list[bytes]) -> None:
        lines = [line for each in raw if (line := self._line(each)) is not None]
        self._is_new = self._is_new or bool(lines)
        if self._replay.has_gap:
            self._note(f"the node has cut the log of {self._pod.name}; lines may be missing")
        self._deliver([line for line in lines if self._takes(line)])

    @property
    def _is_past(self) -> bool:
        """Whether nothing is wanted of what comes."""
        attempt = self._wanted.attempt
        return self._queue.is_closed or (attempt is not None and self._attempt > attempt)

    @property
    def _is_cut_there(self) -> bool:
        """Whether the server may leave out what is not wanted; else we would miss where an attempt begins."""
        return self._wanted.attempt is None

    def _line(self, raw: bytes) -> LogLine | None:
        """Return a line that has not been seen before."""
        stamp, _, text = raw.partition(b" ")
        when = _time(stamp)
        if when is None:  # the kubelet's own words
            self._note(f"{self._pod.name}: {raw.decode('utf-8', 'replace')}")
            return None
        if not self._replay.is_new(when):
            return None
        mark = None
        if self._pod.is_marked:
            mark, told = read_mark(text)
            rank = self._pod.rank_of(mark)
            if rank is not None:
                text = told
        else:
            rank = self._pod.rank_of(None)
        if mark is None and text.startswith(_ATTEMPT):
            number = text[len(_ATTEMPT) :]
            if number.isdigit() and len(number) < 10:
                self._attempt = max(self._attempt, int(number))
        return LogLine(rank, self._attempt, text.decode("utf-8", "replace"), self._pod.name, when)

    def _takes(self, line: LogLine) -> bool:
        wanted = self._wanted
        if wanted.attempt is not None and line.attempt != wanted.attempt:
            return False
        if line.time < self._not_before:
            return False
        if wanted.ranks is not None and not (
            not self._pod.is_marked if line.rank is None else wanted.has_rank(line.rank)
        ):
            return False
        return wanted.grep is None or wanted.grep.search(line.text) is not None

    def _deliver(self, lines: list[LogLine]) -> None:
        if self._tail is not None:
            for line in lines:
                self._tail[line.rank].append(line)
        elif lines:
            self._queue.put(lines)

    def _show_tail(self) -> None:
        found, self._tail = self._tail or {}, None
        self._deliver(sorted((line for tail in found.values() for line in tail), key=lambda line: line.time))


def _time(stamp: bytes) -> str | None:
    """Return a time in UTC with nine digits behind the second, which sorts as text; None if it is none."""
    if len(stamp) == 30 and stamp[10] == 0x54 and stamp[19] == 0x2E and stamp[29] == 0x5A:  # T, point, Z
        return stamp.decode("ascii", "replace")
    found = _STAMP.fullmatch(stamp)
    if found is None:
        return None
    try:
        whole = datetime.fromisoformat((found[1] + found[3]).decode()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{(found[2] or b'').decode():0<9}Z"


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Return whole lines, and what is behind the last of them.

    A line that is too long is cut where it is always cut, so that its parts are known again.
    """
    *lines, rest = data.split(b"\n")
    if len(data) > LINE_BYTES:
        lines = [part for line in lines for part in _parts(line)]
        *cut, rest = _parts(rest)
        lines += cut
    return lines, rest


def _parts(line: bytes) -> list[bytes]:
    stamp = line[: line.find(b" ", 0, 64) + 1]
    found = []
    while len(line) > LINE_BYTES:
        found.append(line[:LINE_BYTES])
        line = stamp + line[LINE_BYTES:]
    return [*found, line]
