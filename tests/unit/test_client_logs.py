"""Which lines of a job's logs are seen: each once, in order, and under nobody else's name."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support.log_server import NAMESPACE, LogServer, Pod, random_cuts, serving, stamp

from ftjob.client import Client, JobInvalid, LogLine
from ftjob.client.errors import NoSuchJob, Refused
from ftjob.client.logs import merge, reader
from ftjob.client.logs.merge import Merge
from ftjob.client.logs.pod import read_pod
from ftjob.client.logs.reader import LINE_BYTES, _split, _time
from ftjob.client.logs.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ftjob.client import JobHandle

SECOND = 10**9
NOON = 1_800_000_000 * SECOND


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("handle", "logs.reader", "logs.follow"):
        monkeypatch.setattr(f"ftjob.client.{module}.PAUSE_SECONDS", 0.02)


def times(*seconds: float) -> list[str]:
    return [stamp(NOON + round(second * SECOND)).decode() for second in seconds]


def replayed(log: list[str], seen: int, since: str) -> list[str]:
    """Return what a client takes for new when it has seen the first lines, and asks for the rest."""
    found = Replay()
    found.begin()
    assert all(found.is_new(each) for each in log[:seen])
    found.begin()
    assert found.since == since
    return [each for each in log if each >= since.rstrip("Z") and found.is_new(each)]


# What was there before.


@pytest.mark.parametrize("seen", range(1, 9))
def test_what_a_server_repeats_is_left_out_wherever_the_connection_was_lost(seen: int) -> None:
    log = times(0, 0.5, 2.0, 2.1, 2.1, 2.1, 2.2, 2.1, 3.9)
    since = stamp(NOON + (int([0, 0.5, 2, 2, 2, 2, 2, 2][seen - 1]) - 1) * SECOND).decode()[:19] + "Z"
    assert replayed(log, seen, since) == log[seen:]


def test_a_line_that_is_a_little_older_than_one_before_it_is_new() -> None:
    log = times(0, 2.0, 1.9999, 2.5)
    assert replayed(log, 2, times(1)[0][:19] + "Z") == log[2:]


def test_the_rest_of_a_long_line_that_began_before_is_not_new() -> None:
    found = Replay()
    first, rest, later, new = times(5.9, 6.5, 8.0, 9.0)
    for each in (first, later):
        assert found.is_new(each)
    found.begin()
    assert [found.is_new(each) for each in (rest, later, new)] == [False, False, True]
    assert not found.has_gap


def test_a_log_that_was_cut_meanwhile_has_a_gap() -> None:
    found = Replay()
    old, *new = times(0, 1, 2)
    assert found.is_new(old)
    found.begin()
    assert all(map(found.is_new, new))
    assert found.has_gap


def test_a_clock_that_is_set_back_costs_no_line() -> None:
    found = Replay()
    assert all(map(found.is_new, times(100, 101, 50, 51)))
    assert found.since == times(50)[0][:19] + "Z"


# One log of many.


def line(second: float, text: str = "", pod: str = "a") -> LogLine:
    return LogLine(0, 0, text, pod, times(second)[0])


def test_lines_of_several_logs_come_by_their_time() -> None:
    logs = Merge()
    first, second = logs.add(), logs.add()
    first.put([line(1), line(3)])
    second.put([line(2), line(4)])
    assert logs.take() == [line(1), line(2), line(3)]
    first.end()
    assert logs.take() == [line(4)]
    assert not logs.is_empty
    second.end()
    assert logs.is_empty


def test_a_log_that_is_quiet_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "OPENING_SECONDS", merge.QUIET_SECONDS)
    logs = Merge()
    logs.add()
    told = logs.add()
    told.put([line(1)])
    while not (found := logs.take()):
        pass
    assert found == [line(1)]


def test_a_log_that_nobody_takes_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "LIMIT", 2)
    logs = Merge()
    queue = logs.add()

    def write() -> None:
        for number in range(100):
            queue.put([line(number)])

    writer = threading.Thread(target=write)
    writer.start()
    while len(queue.lines) < 2:
        time.sleep(0.01)
    assert len(queue.lines) == 2
    logs.close()
    writer.join(60)
    assert not writer.is_alive()


def test_a_long_line_is_cut_at_the_same_places_however_it_comes() -> None:
    text = b"2026-11-30T10:00:00.000000000Z " + bytes(range(11, 127)) * 30_000
    whole, rest = _split(text + b"\nnext")
    assert rest == b"next"
    assert max(map(len, whole)) == LINE_BYTES
    assert {part[:31] for part in whole} == {text[:31]}
    assert b"".join(part[31:] for part in whole) == text[31:]
    found: list[bytes] = []
    left = b""
    for start in range(0, len(text) + 5, 50_000):
        lines, left = _split(left + (text + b"\nnext")[start : start + 50_000])
        found += lines
    assert (found, left) == (whole, b"next")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        (b"2026-11-30T10:00:00.123456789Z", "2026-11-30T10:00:00.123456789Z"),
        (b"2026-11-30T10:00:00Z", "2026-11-30T10:00:00.000000000Z"),
        (b"2026-11-30T10:00:00.5Z", "2026-11-30T10:00:00.500000000Z"),
        (b"2026-11-30T10:00:00.123456789+05:30", "2026-11-30T04:30:00.123456789Z"),
        (b"2026-13-30T10:00:00Z", None),
        (b"unable", None),
        (b"", None),
    ],
)
def test_times_are_read_in_any_zone(text: bytes, time: str | None) -> None:
    assert _time(text) == time


# Whose a line is.


@pytest.mark.parametrize(
    ("ranks", "is_marked", "mark", "rank"),
    [((3,), False, None, 3), ((2, 3), False, None, None), ((2, 3), True, 3, 3), ((2, 3), True, 4, None)],
)
def test_a_pod_says_whose_its_lines_are(
    ranks: tuple[int, ...], is_marked: bool, mark: int | None, rank: int | None
) -> None:
    assert read_pod(Pod("a", 0, ranks, is_marked).manifest).rank_of(mark) == rank


def test_a_pod_of_another_version_is_read_all_the_same() -> None:
    raw = Pod("a", 7).manifest
    for value in ("{}", "no JSON", None):
        raw["spec"]["containers"][0]["env"][0]["value"] = value
        found = read_pod(raw)
        assert (found.name, found.attempt, found.ranks, found.is_marked) == ("a", 7, (), False)


# A job, as its pods come and go.


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LogServer]:
    server = LogServer()
    with serving(server, tmp_path):
        yield server


@pytest.fixture
def job(server: LogServer, tmp_path: Path) -> JobHandle:
    return Client(kubeconfig=str(tmp_path / "kubeconfig")).get("digits")


def texts(job: JobHandle, **which: Any) -> list[str]:
    return [line.text for line in job.logs(**which)]


def ended(server: LogServer, *pods: Pod) -> None:
    server.end(*pods)
    server.set_status(phase="Succeeded")


def numbered(server: LogServer, pods: list[Pod], attempt: int, count: int) -> None:
    """Write lines of all ranks of some pods: a thousand a second, by times that are not quite in order."""
    last = max((each.log[-1][:30] for each in pods if each.log), default=b"")
    when = NOON if not last else NOON + attempt * 3600 * SECOND
    for pod in pods:
        if attempt == 1:
            server.write(pod, "ftjob: attempt 1", at=when)
    for number in range(count):
        when += 1_000_000 if number % 7 else 0
        at = when - 300 * (number % 11 == 0)
        for pod in pods:
            server.write(pod, *(f"[rank {rank}] {attempt} {rank} {number}" for rank in pod.ranks), at=at)


def test_no_line_is_lost_or_doubled_over_cuts_restarts_new_pods_and_an_eviction(tmp_path: Path) -> None:
    each = 100_000 // (8 * 4)
    server = LogServer(random_cuts(7, 400_000))

    def life() -> None:
        pods = [server.add(Pod(f"w-0-{i}", 0, (2 * i, 2 * i + 1), True, 4)) for i in range(4)]
        numbered(server, pods, 0, each)
        numbered(server, pods, 1, each)  # in place
        server.end(*pods)
        pods = [server.add(Pod(f"w-2-{i}", 2, (2 * i, 2 * i + 1), True, 4)) for i in range(4)]
        numbered(server, pods, 2, each)
        server.end(*pods)
        while not pods[3].is_read:  # what nobody has read of an evicted pod is lost for everybody
            time.sleep(0.02)
        server.delete(pods[3])
        pods = [server.add(Pod(f"w-3-{i}", 3, (2 * i, 2 * i + 1), True, 4)) for i in range(4)]
        numbered(server, pods, 3, each)
        ended(server, *pods)

    with serving(server, tmp_path) as kubeconfig:
        alive = threading.Thread(target=life)
        alive.start()
        seen: Counter[tuple[int, int, int]] = Counter()
        for line in Client(kubeconfig=str(kubeconfig)).get("digits").logs():
            if line.rank is None:
                assert line.text == "ftjob: attempt 1"
                continue
            attempt, rank, number = map(int, line.text.split())
            assert (attempt, rank) == (line.attempt, line.rank)
            seen[attempt, rank, number] += 1
        alive.join()
    assert server.cuts > 5
    assert set(seen.values()) == {1}
    assert set(seen) == {(a, rank, n) for a in range(4) for rank in range(8) for n in range(each)}


@pytest.mark.parametrize("place", range(0, 72, 3))  # at those the answer is ended in order
def test_a_last_line_without_its_end_is_read_and_not_what_was_cut(place: int, tmp_path: Path) -> None:
    cuts = iter([place, place + 3])
    server = LogServer(lambda: next(cuts, None))
    with serving(server, tmp_path) as kubeconfig:
        pod = server.add(Pod("a", ends_open=True))
        server.write(pod, "one", "and two", at=NOON)
        ended(server, pod)
        notes: list[str] = []
        found = texts(Client(kubeconfig=str(kubeconfig)).get("digits"), note=notes.append)
    assert (found, notes, server.cuts) == (["one", "and two"], [], 2)


def test_it_waits_for_pods_and_says_where_the_job_is(server: LogServer, job: JobHandle) -> None:
    server.set_status(phase="Pending")
    pod = server.add(Pod("a", state="waiting"))
    phases: list[str | None] = []

    def life(status: Any) -> None:
        phases.append(status.phase)
        if len(phases) == 1:
            with server.changed:
                pod.state = "running"
            server.write(pod, "hello")
            server.set_status(phase="Running")
        elif status.phase == "Running":
            ended(server, pod)

    assert texts(job, on=life) == ["hello"]
    assert (phases[0], phases[-1]) == ("Pending", "Succeeded")


def test_a_rank_can_not_speak_for_another(server: LogServer, job: JobHandle) -> None:
    alone, shared = server.add(Pod("alone", 0, (0,))), server.add(Pod("shared", 0, (1, 2), True))
    server.write(alone, "[rank 1] a lie")
    server.write(shared, "[rank 1] [rank 2] a lie", "[rank 0] not from here", "ftjob: attempt 5")
    ended(server, alone, shared)
    found = [(line.rank, line.attempt, line.text, line.pod) for line in job.logs()]
    assert found == [
        (0, 0, "[rank 1] a lie", "alone"),
        (1, 0, "[rank 2] a lie", "shared"),
        (None, 0, "[rank 0] not from here", "shared"),
        (None, 5, "ftjob: attempt 5", "shared"),
    ]
    assert [line.text for line in job.logs("0")] == ["[rank 1] a lie"]
    assert [line.text for line in job.logs("1,2")] == ["[rank 2] a lie"]
    assert texts(job, grep="^a|li[ef]") == ["[rank 1] a lie", "[rank 2] a lie"]


def test_an_attempt_in_the_same_pods_can_be_chosen(server: LogServer, job: JobHandle) -> None:
    pod = server.add(Pod("a"))
    server.write(pod, "zero", "ftjob: attempt 1", "one", "ftjob: attempt 2", "two")
    new = server.add(Pod("b", 3))
    server.write(new, "three")
    ended(server, pod, new)
    assert texts(job, attempt=0) == ["zero"]
    assert texts(job, attempt=1, tail=5) == ["ftjob: attempt 1", "one"]
    assert texts(job, attempt=3) == ["three"]
    assert texts(job, attempt=4) == []


def test_an_attempt_that_is_over_is_not_waited_for(server: LogServer, job: JobHandle) -> None:
    old, new = server.add(Pod("a")), server.add(Pod("b", 1))
    server.write(old, "zero")
    server.end(old)
    server.set_status(phase="Running", attempt=1)
    assert texts(job, attempt=0) == ["zero"]
    server.write(new, "one", "ftjob: attempt 2", "two")  # in place, so this pod runs on
    server.set_status(phase="Running", attempt=2)
    assert texts(job, attempt=1) == ["one"]


@pytest.mark.parametrize("follow", [True, False])
def test_the_tail_is_that_of_each_rank(server: LogServer, job: JobHandle, follow: bool) -> None:
    alone, shared = server.add(Pod("alone", 0, (0,))), server.add(Pod("shared", 0, (1, 2), True))
    for number in range(10):
        server.write(alone, f"0 {number}", at=NOON + number)
        server.write(shared, f"[rank 1] 1 {number}", at=NOON + number)
    server.write(shared, "[rank 2] 2 0", at=NOON)
    ended(server, alone, shared)
    assert sorted(texts(job, follow=follow, tail=2)) == ["0 8", "0 9", "1 8", "1 9", "2 0"]
    assert sorted(texts(job, follow=follow, tail=1, grep="[0-4]$")) == ["0 4", "1 4", "2 0"]
    assert [query.get("tailLines") for query in server.asked if "sinceTime" not in query] != []


def test_after_the_tail_comes_what_is_new(server: LogServer, job: JobHandle) -> None:
    pod = server.add(Pod("a"))
    for number in range(10):
        server.write(pod, str(number), at=NOON + number)
    found = job.logs(tail=3)
    assert [next(found).text for _ in range(3)] == ["7", "8", "9"]
    server.write(pod, "10", at=NOON + 10)
    ended(server, pod)
    assert [line.text for line in found] == ["10"]


def test_without_following_it_returns_while_the_job_runs(server: LogServer, job: JobHandle) -> None:
    notes: list[str] = []
    assert list(job.logs(follow=False, note=notes.append)) == []
    pod = server.add(Pod("a", state="waiting"))
    assert list(job.logs(follow=False, note=notes.append)) == []
    pod.state = "running"
    server.write(pod, "hello")
    assert texts(job, follow=False) == ["hello"]
    assert list(job.logs("7-9", follow=False, note=notes.append)) == []
    assert notes == [
        "there are no pods",
        "no pod that is wanted has started",
        "no pod has such a rank; they have 0",
    ]


def test_lines_that_are_too_old_are_left_out(server: LogServer, job: JobHandle) -> None:
    pod = server.add(Pod("a"))
    now = time.time_ns()
    for age in (7200, 1200, 60):
        server.write(pod, f"{age} s ago", at=now - age * SECOND)
    ended(server, pod)
    assert texts(job, since=3600) == ["1200 s ago", "60 s ago"]
    assert 3600 <= int(server.asked[0]["sinceSeconds"]) < 3700


def test_of_many_pods_that_of_rank_0_is_read(server: LogServer, job: JobHandle) -> None:
    pods = [server.add(Pod(f"w-{rank}", 0, (rank,), agents=60)) for rank in range(60)]
    for pod in pods:
        server.write(pod, pod.name)
    ended(server, *pods)
    notes: list[str] = []
    assert texts(job, note=notes.append) == ["w-0"]
    assert sorted(texts(job, ranks="7,10-12")) == ["w-10", "w-11", "w-12", "w-7"]
    assert len(notes) == 1
    assert "60 pods" in notes[0]


def test_lines_without_marks_are_nobodys(server: LogServer, job: JobHandle) -> None:
    pod = server.add(Pod("a", 0, (0, 1)))
    server.write(pod, "whose?")
    ended(server, pod)
    notes: list[str] = []
    assert [(line.rank, line.text) for line in job.logs("1", note=notes.append)] == [(None, "whose?")]
    assert notes == ["the lines of a have no marks; they are of any of the ranks 0-1"]


def test_what_the_kubelet_itself_says_is_told_once(server: LogServer, job: JobHandle) -> None:
    pod = server.add(Pod("a"))
    server.write(pod, "one")
    pod.log.append(b"unable to retrieve container logs for containerd://1234")
    ended(server, pod)
    notes: list[str] = []
    assert texts(job, note=notes.append) == ["one"]
    assert notes == ["a: unable to retrieve container logs for containerd://1234"]


def test_a_log_of_a_dead_node_is_given_up(
    server: LogServer, job: JobHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "TRIES", 3)
    ended(server, server.add(Pod("a")))
    server.refusal = 500
    notes: list[str] = []
    assert texts(job, note=notes.append) == []
    assert [note.partition(":")[0] for note in notes] == ["the log of a can't be read"]
    server.add(Pod("b"))  # whose node is gone, though nobody has noticed
    assert texts(job, note=notes.append) == []
    assert sorted(note.partition(":")[0] for note in notes[1:]) == [
        "the log of a can't be read",
        "the log of b can't be read",
    ]
    server.refusal = 403
    with pytest.raises(Refused):
        texts(job)


def test_a_job_that_is_deleted_has_its_last_words(server: LogServer, job: JobHandle) -> None:
    pod = server.add(Pod("a"))
    server.write(pod, "last words")
    found = job.logs()
    assert next(found).text == "last words"
    server.end(pod)
    server.is_there = False
    server.delete(pod)
    with pytest.raises(NoSuchJob):
        next(found)


def test_what_nobody_takes_any_more_is_not_read_on(server: LogServer, job: JobHandle) -> None:
    pod = server.add(Pod("a"))
    server.write(pod, "one")
    found = job.logs()
    assert next(found).text == "one"
    found.close()  # type: ignore[attr-defined]
    server.write(pod, "two")
    ended(server, pod)
    for thread in threading.enumerate():
        if thread.name == f"ftjob-log-{pod.name}":
            thread.join(60)
            assert not thread.is_alive()


@pytest.mark.parametrize("which", [{"ranks": "3-"}, {"ranks": "5-3"}, {"grep": "("}, {"tail": 0}])
def test_what_can_not_be_read_is_refused_at_once(job: JobHandle, which: dict[str, Any]) -> None:
    with pytest.raises(JobInvalid):
        job.logs(**which)


def test_the_namespace_is_the_jobs(server: LogServer, tmp_path: Path) -> None:
    ended(server, server.add(Pod("a")))
    other = Client(namespace="other", kubeconfig=str(tmp_path / "kubeconfig"))
    handle = type(Client(kubeconfig=str(tmp_path / "kubeconfig")).get("digits"))(other._cluster, server.job)
    assert handle.namespace == NAMESPACE
    assert texts(handle) == []
