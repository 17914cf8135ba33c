"""`ftjob ui`: who gets an answer, what is read of folders and clusters, and what a page is told."""

from __future__ import annotations

import http.client
import json
import math
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.api_fake import FakeServer, running_fake
from support.traces import write_job

from ftjob.cli.main import main
from ftjob.cli.ui import folders as folders_module
from ftjob.cli.ui.folders import TAIL_BYTES, Folders
from ftjob.cli.ui.in_cluster import InCluster
from ftjob.cli.ui.kept import MOST, Kept, Shelf
from ftjob.cli.ui.page import Page, page
from ftjob.cli.ui.server import UiServer
from ftjob.cli.ui.source import UnknownError
from ftjob.cli.ui.trail import POINTS, STEP_TIME, drawn, extended
from ftjob.cli.ui.views import LINES, missing, to_json
from ftjob.client import Client, ClusterError
from ftjob.client.handle import path_of
from ftjob.models.status import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Page(b"<p>page</p>", "default-src 'none'")
INTERRUPTIBLE = """
import signal, sys
from ftjob.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # else as whoever runs the tests has it
sys.exit(main(sys.argv[1:]))
"""
HIDDEN = "a\u202eb\x1b[31mc"


def write_run(folder: Path, name: str = "digits", **status: object) -> Path:
    (folder / "logs").mkdir(parents=True)
    write_job(folder, name, **status)
    return folder


@contextmanager
def served(folder: Path, shown: Page = PAGE) -> Iterator[UiServer]:
    with UiServer(Folders([folder]), shown) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(
    server: UiServer, path: str, *, method: str = "GET", host: str = ""
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    try:
        connection.request(method, path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_only_who_knows_the_path_gets_an_answer_and_only_by_get(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    with served(tmp_path, page("runs")) as server:
        path = f"/{server.token}/"
        code, body, headers = asked(server, path)
        assert code == 200
        assert b'id="rows"' in body
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "Access-Control-Allow-Origin" not in headers
        assert server.server_address[0] == "127.0.0.1"
        for wrong in ("/", "/jobs", "/x/jobs", f"/{server.token[:-1]}/", f"/{server.token}x/jobs", "/%ff/"):
            assert asked(server, wrong)[0] == 403, wrong
        port = server.server_port
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"localhost:{port}"):
            assert asked(server, path, host=host)[:2] == (403, b""), host
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
            assert asked(server, f"{path}jobs", method=method)[0] == 405, method
        for unknown in (
            "../job",
            "job/x",
            "log?rank=-1",
            "log?rank=1e9",
            "log?rank=99999999",
            "page.js",
            "http://[",
        ):
            assert asked(server, path + unknown)[0] == 404, unknown
        assert asked(server, "http://[", host=f"127.0.0.1:{port}")[0] == 400


def test_a_request_leads_to_no_other_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "a")
    write_run(tmp_path / "secret")
    (tmp_path / "secret" / "logs" / "rank-00000.log").write_text("secret\n")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "secret")
    (run / "logs" / "rank-00000.log").symlink_to(tmp_path / "secret" / "logs" / "rank-00000.log")
    with served(tmp_path / "runs") as server:
        rows = json.loads(asked(server, f"/{server.token}/jobs")[1])["value"]["rows"]
        assert [row["where"] for row in rows] == [str(run)]
        ids = (rows[0]["id"], str(tmp_path / "secret"), "..%2f..%2fsecret", "", "/")
        for what in ("job", "log", "report"):
            for key in ids:
                capture = "&capture=..%2f..%2f..%2fsecret" if what == "report" else ""
                body = asked(server, f"/{server.token}/{what}?id={key}{capture}")[1]
                assert b"secret\\n" not in body
                assert b'"secret"' not in body
                if key != rows[0]["id"]:
                    assert b"there is no such job" in body, (what, key)
        found = json.loads(asked(server, f"/{server.token}/log?id={rows[0]['id']}")[1])
        assert "links are not followed" in found["error"]


def test_of_a_long_log_only_its_end_is_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    log = run / "logs" / "rank-00000.log"
    with log.open("wb") as file:
        file.seek(1 << 30)  # a hole: it takes no room
        file.write(b"".join(b"%d half\r%d done\n" % (i, i) for i in range(100_000)))
    source = Folders([tmp_path])
    (row,) = source.listing().rows
    lines = source.log(row.id, 0).lines
    assert lines[-1] == "99999 done"
    assert len(lines) == LINES
    log.with_name("rank-00000.tail.log").write_bytes(b"the end\n")
    assert source.log(row.id, 0).lines[-2:] == ("99999 done", "the end")
    assert len("".join(lines)) < TAIL_BYTES
    assert source.log(row.id, 7).notes == ("rank 7 has written nothing",)


def test_a_damaged_job_hides_no_other_and_a_change_is_seen(tmp_path: Path) -> None:
    write_run(tmp_path / "good", phase="Running", progress={"step": 10, "metrics": {"loss": math.nan}})
    write_run(tmp_path / "bad")
    (tmp_path / "bad" / "job.yaml").write_text("[")
    source = Folders([tmp_path])
    reasons = {Path(row.where).name: row.reason for row in source.listing().rows}
    assert "can't be read" in reasons["bad"]
    assert reasons["good"] == ""
    write_job(tmp_path / "good", phase="Failed", progress={"step": 11})
    (good,) = (row for row in source.listing().rows if row.where.endswith("good"))
    assert (good.phase, good.progress) == ("Failed", "11")
    found = source.detail(good.id)
    assert found.answer["says"].startswith("digits has failed")
    assert json.loads(to_json(found))["trail"]["time"] != []
    (tmp_path / "good" / "job.yaml").unlink()
    assert [Path(row.where).name for row in source.listing().rows] == ["bad"]
    with pytest.raises(UnknownError):
        source.detail(good.id)


def test_of_a_thousand_new_folders_some_are_left_to_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_run(tmp_path / name)
    monkeypatch.setattr(folders_module, "LOOK_SECONDS", -1.0)
    source = Folders([tmp_path])
    assert (source.listing().rows, source.listing().note) == ((), "3 more are being read")
    monkeypatch.setattr(folders_module, "LOOK_SECONDS", 60.0)
    assert len(source.listing().rows) == 3


def test_a_trail_has_what_changed_and_stays_short() -> None:
    trail = extended((), None, 0.0)
    for step in range(2 * POINTS):
        trail = extended(trail, Progress(step=step, step_seconds=0.5, metrics={"loss": 1.0}), float(step))
    assert len(trail) <= POINTS
    assert (trail[0].step, trail[-1].step) == (0, 2 * POINTS - 1)
    assert extended(trail, Progress(step=trail[-1].step, metrics={"loss": 1.0}), 1e9) == trail
    trail = extended(trail, Progress(step=9999, metrics={"a": 1.0, "train/loss": math.inf}), 1e9)
    lines = {line.name: line.values for line in drawn(trail).lines}
    assert list(lines) == [STEP_TIME, "loss", "a"]
    assert lines[STEP_TIME][-2:] == (500.0, None)


def test_json_has_no_text_that_hides_and_no_number_that_is_none() -> None:
    data = to_json({HIDDEN: [HIDDEN, math.nan, -math.inf, 1.5, None, ("x",)]})
    assert json.loads(data) == {"abc": ["abc", "nan", "-inf", 1.5, None, ["x"]]}


def test_two_who_ask_at_once_cause_one_question_and_an_error_keeps_the_last_answer() -> None:
    count, go = [0], threading.Event()

    def ask() -> int:
        count[0] += 1
        if count[0] > 1:
            raise ClusterError("it is out of reach")
        go.wait()
        return 7

    kept: Kept[int] = Kept(ask)
    found: list[Any] = []
    both = [threading.Thread(target=lambda: found.append(kept.get())) for _ in range(2)]
    for thread in both:
        thread.start()
    go.set()
    for thread in both:
        thread.join()
    assert ([answer.value for answer in found], count[0]) == ([7, 7], 1)
    kept._not_before = 0.0
    while not (answer := kept.get()).error:
        pass
    assert (answer.value, answer.error) == (7, "it is out of reach")


def test_a_shelf_forgets_what_nobody_asks_for() -> None:
    shelf = Shelf()
    for number in range(2 * MOST):
        shelf.get(number, lambda number=number: number)  # type: ignore[misc]
    assert len(shelf._kept) == MOST


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[FakeServer, InCluster]]:
    with running_fake(tmp_path) as (fake, kubeconfig):
        yield fake, InCluster(Client("team", None, str(kubeconfig)), ["--context=there"])


def body(name: str, version: int = 1, **spec: object) -> dict[str, Any]:
    meta = {"name": name, "namespace": "team", "uid": f"u-{name}", "resourceVersion": str(version)}
    status = {"phase": "Running", "progress": {"step": version, "metrics": {"loss": 1 / version}}}
    return {"metadata": meta, "spec": {"strategy": "Plain", **spec}, "status": status}


def test_jobs_of_a_cluster_are_shown_with_what_their_user_may_see(
    cluster: tuple[FakeServer, InCluster],
) -> None:
    fake, source = cluster
    damaged = {**body("damaged"), "status": {"phase": "Dancing"}}
    fake.objects[path_of("team")] = {"items": [body("a"), damaged]}
    rows = {row.name: row for row in source.listing().rows}
    assert (rows["a"].phase, rows["a"].progress) == ("Running", "1")
    assert rows["damaged"].reason == "another version has written its status"
    fake.objects[path_of("team")] = {"items": [body("a", 2)]}
    fake.objects[path_of("team", "a")] = body("a", 3)
    assert [row.name for row in source.listing().rows] == ["a"]
    found = source.detail("team/a")
    assert found.answer["says"].startswith("a is Running, step 3")
    assert any("pods" in text for text in found.answer["notRead"])
    (loss,) = (line for line in found.trail.lines if line.name == "loss")
    assert loss.values == (1.0, 1 / 2, 1 / 3)
    assert "no spec.outputs" in found.missing
    for key in ("team/damaged", "other/a", ""):
        with pytest.raises(UnknownError):
            source.detail(key)
    with pytest.raises(UnknownError, match="ftjob report JOB"):
        source.speed("team/a")
    fake.refusals["GET", path_of("team")] = (403, "you may not list jobs")
    with pytest.raises(ClusterError, match="you may not list jobs"):
        source.listing()


def test_what_is_missing_names_the_command_that_fetches_it() -> None:
    assert missing("a", "team", ["--context=x"], has_outputs=True).endswith(
        "This fetches them: ftjob report a -n team --context=x"
    )


def test_wrong_usage_is_refused_with_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, code, remedy in (
        ([str(tmp_path / "none")], 2, "there is no such folder"),
        ([str(tmp_path), "-n", "team"], 2, "leave out DIR"),
        (["--kubeconfig", str(tmp_path / "none")], 3, "ftjob ui ./ftjob-outputs"),
    ):
        assert main(["ui", *words]) == code
        assert remedy in capsys.readouterr().err
    with served(tmp_path) as other:
        assert main(["ui", str(tmp_path), "--port", str(other.server_port)]) == 2
    assert "name another, or leave it out" in capsys.readouterr().err


def test_ctrl_c_ends_it_without_a_word(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTIBLE, "ui", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")
