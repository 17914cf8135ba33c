"""`ftjob top`: from what ranks have told to a table, and how what they tell gets here."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.api_fake import FakeServer, running_fake

from ftjob.cli.main import main
from ftjob.cli.speed.find_job import FoundJob
from ftjob.cli.top import tail, top
from ftjob.cli.top.draw import draw
from ftjob.cli.top.figures import Ranks, heat
from ftjob.client import ClusterError
from ftjob.client.errors import NoSuchJob
from ftjob.models.status import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ftjob.cli.top.figures import Table

NOON = 1_800_000_000.0


def line(rank: int, block: int = 0, own: float | None = 60.0, step: float = 90.0, **more: Any) -> bytes:
    found = {
        "attempt": 0,
        "node": "node-1",
        "rank": rank,
        "first": block * 16 + 1,
        "length": 16,
        "startS": NOON + block * 10,
        "endS": NOON + block * 10 + 10,
        "stepMs": [step, step, step],
        "ownMs": [own, own, own] if own is not None else None,
        **more,
    }
    return json.dumps({key: value for key, value in found.items() if value is not None}).encode()


def table(*lines: bytes, most: int | None = 20) -> Table:
    ranks = Ranks()
    for each in lines:
        ranks.add(each)
    return ranks.table(most)


def text(found: Table, **how: Any) -> list[str]:
    return ["".join(piece for piece, _ in each) for each in draw(found, NOON + 50, **how)]


# From lines to a table.


def test_a_row_has_the_figures_of_a_ranks_last_block() -> None:
    used: dict[str, Any] = {
        "cpuMs": 45,
        "rssBytes": 2_500_000_000,
        "gpuBytes": 40_000_000_000,
        "inputMs": [3, 4, 5],
    }
    found = table(line(0), line(0, 1, blockedMs=[30, 31, 32], **used), line(1, own=None))
    first, second = found.rows
    assert (first.step, first.end_s, first.step_ms, first.input_ms) == (32, NOON + 20, 90, 3)
    assert (first.own_ms, first.blocked_ms) == (60, 30)
    assert (first.cpu_percent, first.memory_gb, first.gpu_gb) == (50, 2.5, 40)
    assert (second.own_ms, second.blocked_ms, second.cpu_percent, second.memory_gb) == (None,) * 4


def test_the_slowest_rank_by_its_own_time_is_marked() -> None:
    found = table(line(0), line(1, own=80.0), line(2))
    assert [row.is_slowest for row in found.rows] == [False, True, False]
    assert found.usual_ms == 60


@pytest.mark.parametrize("own", [(60.0,), (60.0, 61.0, 60.0)])
def test_no_rank_is_marked_where_all_take_about_as_long(own: tuple[float, ...]) -> None:
    found = table(*(line(rank, own=each) for rank, each in enumerate(own)))
    assert not any(row.is_slowest for row in found.rows)


def test_only_the_last_attempt_counts() -> None:
    found = table(line(0, 5), line(1, 5), line(1, 0, attempt=1), line(0, 6))
    assert [(row.rank, row.step) for row in found.rows] == [(1, 16)]


def test_a_line_that_is_read_twice_counts_once_and_another_life_begins_anew() -> None:
    blocks = [line(0, 0), line(0, 1), line(0, 1), line(0, 0)]
    assert [block.first for block in table(*blocks).rows[0].blocks] == [1, 17]
    again = line(0, 0, startS=NOON + 99, endS=NOON + 100)
    assert [block.first for block in table(*blocks, again).rows[0].blocks] == [1]


@pytest.mark.parametrize(
    "bad", [b"", b"{", b"[]", b"\xff", line(0)[:-9], line(10**9), line(0, step=-1), line(0, endS=0)]
)
def test_what_is_no_line_of_vitals_does_not_count(bad: bytes) -> None:
    assert table(bad).rows == ()


def test_the_heat_map_compares_blocks_with_the_median_of_their_row() -> None:
    own = (100.0, 100.0, 90.0, 110.0, 160.0, 300.0, 100.0)
    found = table(*(line(0, block, each) for block, each in enumerate(own)), line(1, 6))
    assert heat(found.rows[0], found.columns) == [0, 0, 0, 1, 6, 9, 0]
    assert heat(found.rows[1], found.columns) == [None] * 6 + [0]


def test_of_a_thousand_ranks_the_twenty_slowest_are_shown() -> None:
    lines = [line(rank, own=60.0 + rank % 100) for rank in range(1000)]
    found = table(*lines)
    assert found.ranks == 1000
    assert [row.rank for row in found.rows] == sorted(
        [*(99 + 100 * n for n in range(10)), *(98 + 100 * n for n in range(10))]
    )
    assert "and 980 more ranks; these are the slowest" in text(found)
    assert len(table(*lines, most=None).rows) == 1000


# As text.


def test_without_colours_digits_say_how_much_slower_a_block_was() -> None:
    found = table(line(0, 0), line(0, 1), line(0, 2, 72.0), line(1, 2), line(2, 2))
    assert text(found) == [
        "RANK  NODE    STEP  TIME ms  INPUT ms  OWN ms  BLOCKED ms  CPU %  MEM GB  GPU GB  AGE  FROM STEP 1",
        "  *0  node-1    48     90.0         -    72.0           -      -       -       -  20s  002",
        "   1  node-1    48     90.0         -    60.0           -      -       -       -  20s  ..0",
        "   2  node-1    48     90.0         -    60.0           -      -       -       -  20s  ..0",
        "* the slowest: 72.0 ms a step without waiting for others; the median of all is 60.0 ms",
        "steps against the rank's median, in tenths: 0 as usual, 1 10 % slower, 9 90 % or more",
    ]


def test_a_terminal_gets_colours_and_no_line_that_is_too_long() -> None:
    own = [100.0] * 28 + [115.0, 150.0]
    found = table(*(line(0, block, each) for block, each in enumerate(own)))
    *_, row, _ = draw(found, NOON, width=110, colours=True)
    assert row[1:] == [("█" * 21, "green"), ("█", "yellow"), ("█", "red")]
    assert len("".join(piece for piece, _ in row)) == 110
    assert text(found, width=80)[0].endswith("AGE"), "there is no room for a map"


def test_a_name_of_a_node_is_no_more_than_text() -> None:
    (row,) = table(line(0, node="\x1b[2Jnode\n" + "x" * 300)).rows
    assert text(table(line(0, node="\x1b[2Jnode\n" + "x" * 300)))[1].startswith("   0  node xxxxx")
    assert "\x1b" not in row.node


# Reading what is new.


def read(reader: tail.Tail) -> bytes:
    return b"".join(reader.news())


def test_lines_are_read_once_and_whole_also_where_the_file_goes_on_in_another(tmp_path: Path) -> None:
    folder = tmp_path / "vitals"
    reader = tail.Tail(str(folder))
    assert read(reader) == b"", "no rank has told anything"
    folder.mkdir()
    head = folder / "rank-00000.jsonl"
    head.write_text("1\n2\n3")
    (folder / "rank-00000.last.json").write_text("no line\n")
    (folder / "rank-00001.jsonl").write_text("other\n")
    assert read(reader) == b"1\n2\nother\n"
    assert read(reader) == b""
    head.write_text("1\n2\n33\n")
    newer, older = folder / "rank-00000.tail.jsonl", folder / "rank-00000.tail-1.jsonl"
    newer.write_text("4\n")
    assert read(reader) == b"33\n4\n"
    newer.write_text("4\n5\n")
    newer.rename(older)
    newer.write_text("6\n")
    assert read(reader) == b"5\n6\n"


def test_of_a_long_history_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "BEGINNING", 100)
    for rank in range(2):
        (tmp_path / f"rank-{rank:05d}.jsonl").write_text("".join(f"{number:09}\n" for number in range(1000)))
    found = read(tail.Tail(str(tmp_path))).split()
    assert found == [b"%09d" % number for number in range(996, 1000)] * 2


def test_links_and_fifos_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "rank-00000.jsonl").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "rank-00001.jsonl")
    (tmp_path / "link").symlink_to(tmp_path)
    assert read(tail.Tail(str(tmp_path))) == b""
    (tmp_path / "rank-00002.jsonl").write_text("1\n")
    assert read(tail.Tail(str(tmp_path / "link"))) == b""


def test_a_file_without_ends_of_lines_holds_nobody_up(tmp_path: Path) -> None:
    file = tmp_path / "rank-00000.jsonl"
    file.write_bytes(b"x")
    reader = tail.Tail(str(tmp_path))
    read(reader)
    file.write_bytes(b"x" * tail.CHUNK * 2 + b"\nlast\n")
    found = [read(reader) for _ in range(3)]
    assert found[2] == b"\nlast\n"


def test_in_a_pod_it_is_a_program_for_an_old_python_that_ends_with_its_reader(tmp_path: Path) -> None:
    source = inspect.getsource(tail)
    ast.parse(source, feature_version=(3, 9))
    (tmp_path / "rank-00000.jsonl").write_text("1\n")
    command = [sys.executable, "-IS", "-c", source, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert (process.stdout.readline(), process.stdout.readline()) == (b"1\n", b"\n")
        process.stdin.close()
        assert process.wait() == 0


# The command.

BODY = {
    "apiVersion": "ftjob.dev/v1alpha1",
    "kind": "FrameworkTrainingJob",
    "metadata": {"name": "digits", "namespace": "team", "uid": "0f0e"},
    "spec": {
        "strategy": "Torchrun",
        "workers": 2,
        "outputs": {},
        "template": {"spec": {"containers": [{"name": "trainer", "image": "team/train:3"}]}},
    },
    "status": {"phase": "Running", "progress": {"step": 32, "totalSteps": 64}},
}
JOB = "/apis/ftjob.dev/v1alpha1/namespaces/team/frameworktrainingjobs/digits"
PODS = "/api/v1/namespaces/team/pods"
POD = {
    "metadata": {"name": "digits-worker-0-0", "uid": "a"},
    "spec": {"containers": [{"name": "trainer"}]},
    "status": {"containerStatuses": [{"name": "trainer", "state": {"running": {}}}]},
}
# Instead of `kubectl exec`: the pod's program runs here, on a folder that plays the volume.
KUBECTL = """\
import json, os, pathlib, sys
here = pathlib.Path({here!r})
words = sys.argv[1:]
(here / "exec.json").write_text(json.dumps(words[: words.index("--")]))
if (here / "says-exec").exists():
    sys.exit((here / "says-exec").read_text())
*program, folder = words[words.index("-IS") :]
os.execv(sys.executable, [sys.executable, *program, folder.replace("/ftjob/outputs", str(here))])
"""


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The outputs of a run on this machine, which are the present folder."""
    (tmp_path / "vitals").mkdir()
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(BODY))
    for rank, own in enumerate((60.0, 80.0)):
        lines = b"".join(line(rank, block, own) + b"\n" for block in range(2))
        (tmp_path / "vitals" / f"rank-{rank:05d}.jsonl").write_bytes(lines + b'{"rank": ')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def server(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """The same job in a cluster."""
    (outputs / "bin").mkdir()
    kubectl = outputs / "bin" / "kubectl"
    kubectl.write_text(f"#!{sys.executable}\n{KUBECTL.format(here=str(outputs))}")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(kubectl.parent), prepend=":")
    with running_fake(outputs) as (fake, kubeconfig):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        fake.objects[JOB] = json.loads(json.dumps(BODY))
        fake.objects[PODS] = {"items": [POD]}
        yield fake


def test_a_run_on_this_machine_is_shown_once_where_there_is_no_terminal(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "."]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == "digits  Running  step 32/64"
    assert [row.split()[:4] for row in rows[:2]] == [
        ["0", "node-1", "32", "90.0"],
        ["*1", "node-1", "32", "90.0"],
    ]


def test_programs_get_one_snapshot(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", ".", "-o", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["job"], said["phase"], said["missing"], said["usualMs"]) == ("digits", "Running", None, 70)
    assert [(each["rank"], each["isSlowest"]) for each in said["ranks"]] == [(0, False), (1, True)]
    assert said["ranks"][1]["blocks"] == [{"first": 1, "ms": 80}, {"first": 17, "ms": 80}]


def test_where_nothing_was_told_it_says_so(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (outputs / "vitals").rename(outputs / "elsewhere")
    assert main(["top", ".", "--once"]) == 0
    assert "no figures yet: a rank tells of its steps in blocks" in capsys.readouterr().out
    off = {**BODY, "spec": {"profiling": {"mode": "Off"}}}
    (outputs / "job.yaml").write_text(yaml.safe_dump(off))
    assert main(["top", "."]) == 2
    assert "spec.profiling.mode is Off, so nothing is measured" in capsys.readouterr().err


def test_of_a_job_in_the_cluster_rank_0_reads_the_outputs(
    outputs: Path, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "digits", "-n", "team", "--context", "fake"]) == 0
    assert "  *1  node-1" in capsys.readouterr().out
    assert json.loads((outputs / "exec.json").read_text()) == [
        "exec",
        "--stdin",
        "digits-worker-0-0",
        "--namespace=team",
        "--container=trainer",
        "--context=fake",
    ]


def test_without_outputs_it_says_whose_ranks_can_not_be_seen(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    del server.objects[JOB]["spec"]["outputs"]
    assert main(["top", "digits", "-n", "team"]) == 0
    assert "only ranks in the pod of rank 0, of 2: without outputs each pod" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "says", "expected"),
    [
        ({"phase": "Succeeded"}, "", "digits has succeeded, and its pods no longer run"),
        ({"phase": "Running"}, "no python3", "pod digits-worker-0-0 tells nothing more: no python3"),
    ],
)
def test_what_keeps_it_from_the_figures_is_told(
    outputs: Path,
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    status: dict[str, Any],
    says: str,
    expected: str,
) -> None:
    server.objects[JOB]["status"] = status
    if says:
        (outputs / "says-exec").write_text(says)
    assert main(["top", "digits", "-n", "team"]) == 3
    assert expected in capsys.readouterr().err


def test_without_kubectl(
    server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["top", "digits", "-n", "team"]) == 3
    assert "and kubectl can't be started (No such file or directory): install it" in capsys.readouterr().err


class Watched:
    """What `follow` keeps current, with a job whose phases a test writes."""

    def __init__(self, phase: str, *later: Any) -> None:
        self._phase, self._later = phase, list(later)
        self.note = ""
        self.lines: list[bytes] = []
        self.notes: list[str] = []

    @property
    def job(self) -> FoundJob:
        found = FoundJob(BODY, JobStatus.model_validate({"phase": self._phase}))
        object.__setattr__(found, "again", self._again)
        return found

    @job.setter
    def job(self, job: FoundJob) -> None:
        pass

    def _again(self) -> None:
        self.notes.append(self.note)
        found = self._later.pop(0)
        if isinstance(found, Exception):
            raise found
        self._phase = found

    def add(self, found: bytes) -> None:
        self.lines.append(found)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let lines come as a test writes them: of one connection after the other. Returns how long it slept."""

    def begin(*script: list[Any]) -> list[float]:
        connections, slept = iter(script), list[float]()

        def connect(*_: Any) -> Iterator[bytes]:
            for each in next(connections):
                if isinstance(each, Exception):
                    raise each
                yield each

        monkeypatch.setattr(top, "_lines", connect)
        monkeypatch.setattr(top, "_missing", lambda _: "")
        clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept), time=time.time)
        monkeypatch.setattr(top, "time", clock)
        monkeypatch.setattr("ftjob.client.patience.time", clock)
        return slept

    return begin


def test_it_goes_on_over_lost_connections_and_new_pods_to_the_end_of_the_job(play: Any) -> None:
    lost = ClusterError("rank 0 has no pod")
    slept = play([b"1", b"", b"2", lost], [lost], [lost], [b"3", b""], [lost])
    view = Watched(*["Running"] * 9, "Succeeded")
    top.follow(SimpleNamespace(), view)  # type: ignore[arg-type]
    assert view.lines == [b"1", b"2", b"3"]
    assert slept == [2, 4, 8, 2]
    assert "rank 0 has no pod" in view.notes


def test_a_run_that_has_ended_is_shown_once_more(play: Any) -> None:
    play([b"1", b"", b"2", b"", b"3"])
    view = Watched("Running", "Succeeded")
    top.follow(SimpleNamespace(), view)  # type: ignore[arg-type]
    assert view.lines == [b"1", b"2"]


@pytest.mark.parametrize(
    "phases",
    [["Succeeded", "Succeeded"], ["Running", NoSuchJob("gone")], ["Running", *[ClusterError("x")] * 15]],
)
def test_it_ends_where_no_figures_can_come(play: Any, phases: list[Any]) -> None:
    play(*[[ClusterError("no pod")]] * 9)
    with pytest.raises(ClusterError):
        top.follow(SimpleNamespace(), Watched(*phases))  # type: ignore[arg-type]
