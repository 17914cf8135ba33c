"""`ftjob list --watch`: what is asked of the server, also over lost connections, and what is printed."""

from __future__ import annotations

import json
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ftjob.cli.jobs.table import _fitting
from ftjob.cli.main import main
from ftjob.client import Client, ClusterError, JobHandle
from ftjob.client.errors import Forbidden

if TYPE_CHECKING:
    from collections.abc import Iterator


def job(name: str, version: int, phase: str = "Running", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            "creationTimestamp": f"2026-11-30T10:00:{len(name):02}Z",
        },
        "spec": {"strategy": "Plain"},
        "status": {"phase": phase, **status},
    }


def event(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": body}


LOST = ClusterError("lost, or 410")
END = Forbidden("the test is over")


class Scripted:
    """A cluster whose lists and watches a test writes; `END` ends the command."""

    namespace = "team"

    def __init__(self, *script: Any) -> None:
        self._script = list(script)
        self.asked: list[str] = []
        self.slept: list[float] = []
        self.now = 0.0

    def items_as_of(self, path: str) -> tuple[list[dict[str, Any]], str]:
        self.asked.append(f"list {path.rpartition('v1alpha1/')[2]}")
        found = self._script.pop(0)
        if isinstance(found, Exception):
            raise found
        return found, "100"

    def get(self, _path: str) -> Any:
        return self._script.pop(0)

    def watch(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(f"watch {query['resourceVersion']}")
        for each in self._script.pop(0):
            if isinstance(each, Exception):
                raise each
            if isinstance(each, float):
                self.now += each
            else:
                yield each

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Any:
    def begin(*script: Any) -> Scripted:
        found = Scripted(*script)
        monkeypatch.setattr("ftjob.client.client.connect", lambda *_: found)
        clock = SimpleNamespace(monotonic=lambda: found.now, sleep=found.sleep)
        for module in ("client", "handle", "patience"):
            monkeypatch.setattr(f"ftjob.client.{module}.time", clock)
        return found

    return begin


def snapshots(**which: bool) -> list[list[str]]:
    """Return names and phases of what a watch yields, until the script is over."""
    seen: list[list[str]] = []
    with suppress(Forbidden):
        seen.extend([f"{each.name} {each.status.phase}" for each in jobs] for jobs in Client().watch(**which))
    return seen


def test_a_watch_begins_where_the_list_ended_and_yields_each_change(play: Any) -> None:
    server = play(
        [job("old", 1)],
        [
            event("ADDED", job("newer", 101)),
            event("BOOKMARK", {"metadata": {"resourceVersion": "105"}}),
            event("MODIFIED", job("old", 106, "Succeeded")),
            event("DELETED", job("old", 107, "Succeeded")),
            event("DELETED", job("never-seen", 108)),
        ],
        [END],
    )
    assert snapshots(all_namespaces=True) == [
        ["old Running"],
        ["newer Running", "old Running"],
        ["newer Running", "old Succeeded"],
        ["newer Running"],
    ]
    assert server.asked == ["list frameworktrainingjobs", "watch 100", "watch 108"]


def test_after_a_loss_all_is_listed_anew_and_told_only_if_it_has_changed(play: Any) -> None:
    first = [job("a", 1), job("bb", 2)]
    server = play(first, [LOST], list(first), [LOST], [job("a", 1), job("ccc", 3)], [END])
    assert snapshots() == [["bb Running", "a Running"], ["ccc Running", "a Running"]]
    there = "list namespaces/team/frameworktrainingjobs"
    assert server.asked == [there, "watch 100"] * 3


def test_a_server_that_ends_each_watch_at_once_is_asked_less_and_less(play: Any) -> None:
    server = play([job("a", 1)], *[[]] * 7, [40.0], [], [END])
    assert snapshots() == [["a Running"]]
    assert server.slept == [2, 4, 8, 16, 30, 30, 30, 1, 2]


def test_a_cluster_that_stays_out_of_reach_ends_the_watch_after_two_minutes(play: Any) -> None:
    quiet_for_long = [500.0, LOST]
    server = play([job("a", 1)], quiet_for_long, *[LOST] * 9)
    with pytest.raises(ClusterError, match="lost"):
        list(Client().watch())
    assert 120 <= sum(server.slept) < 160


def test_a_job_that_was_quiet_for_long_is_followed_on_after_a_loss(play: Any) -> None:
    server = play(job("a", 1), [500.0, LOST], job("a", 2, "Succeeded"))
    seen = [status.phase for status in JobHandle(server, job("a", 1)).watch()]
    assert seen == ["Running", "Succeeded"]


def test_what_is_refused_at_first_is_told_at_once(play: Any, capsys: pytest.CaptureFixture[str]) -> None:
    play(LOST)
    assert main(["list", "-w"]) == 3
    assert capsys.readouterr().err == "lost, or 410\n"


def test_without_a_terminal_there_is_a_line_for_each_job_that_has_changed(
    play: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    play(
        [job("digits", 1), *(job(f"ended-{number:02}", number, "Failed") for number in range(15))],
        [
            event("MODIFIED", job("digits", 101, display={"workers": "1/1", "eta": "1m"})),
            event("MODIFIED", job("digits", 102, display={"workers": "1/1", "eta": "59s"})),
            event("MODIFIED", job("digits", 103, "Succeeded", display={"workers": "1/1"})),
            event("DELETED", job("digits", 104, "Succeeded", display={"workers": "1/1"})),
        ],
        [END],
    )
    assert main(["list", "-w"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:12]].count("NAME") == 1
    assert sum(line.startswith("ended-") for line in lines) == 10
    assert [line.split()[2:4] for line in lines if line.startswith("digits")] == [
        ["Running", lines[-1].split()[-1]],
        ["Running", "1/1"],
        ["Succeeded", "1/1"],
        ["Deleted", "1/1"],
    ]


@pytest.mark.parametrize("output", ["json", "yaml", "name"])
def test_programs_get_each_change(play: Any, capsys: pytest.CaptureFixture[str], output: str) -> None:
    play([job("a", 1)], [event("MODIFIED", job("a", 2)), event("DELETED", job("a", 3))], [END])
    main(["list", "-w", "-o", output])
    out = capsys.readouterr().out
    if output == "json":
        found = [json.loads(line) for line in out.splitlines()]
        assert [(each["type"], each["object"]["metadata"]["name"]) for each in found] == [
            ("ADDED", "a"),
            ("MODIFIED", "a"),
            ("DELETED", "a"),
        ]
    else:
        assert out.count("frameworktrainingjobs.ftjob.dev/a\n" if output == "name" else "---\n") == 3


def test_of_a_thousand_jobs_a_terminal_shows_what_fits(play: Any) -> None:
    jobs = [JobHandle(play(), job(f"job-{number}", number)) for number in range(1000)]
    args = SimpleNamespace(all=False, all_namespaces=True)
    text = _fitting(args, "team", jobs, 24).plain.splitlines()  # type: ignore[arg-type]
    assert len(text) == 24
    assert text[0].startswith("NAMESPACE")
    assert text[-1] == "and 978 more jobs"
    assert _fitting(args, "team", [], 24).plain.startswith("no jobs in any namespace")  # type: ignore[arg-type]
