"""``ftjob report`` and ``ftjob diff`` as their users call them."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from support.traces import Planned, write_capture

from ftjob.cli.main import main
from ftjob.insight.serve import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLANNED = Planned(operators=4, steps=5)


def test_report_writes_the_pages_and_the_summary_and_diff_reads_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, planned in (("before", PLANNED), ("after", replace(PLANNED, slow_rank=None))):
        capture = write_capture(tmp_path / name, planned)
        assert main(["report", str(tmp_path / name), "--capture", "c7"]) == 0
        assert {"summary.json", "report.html", "merged.trace.json.gz"} <= {
            path.name for path in capture.iterdir()
        }
    assert main(["report", str(tmp_path / "before"), "-o", str(tmp_path / "job.html")]) == 0
    assert "straggler: rank 2" in (tmp_path / "job.html").read_text()
    assert not (tmp_path / "before" / "report.html").exists()
    capsys.readouterr()
    assert (
        main(["diff", str(tmp_path / "before" / "captures" / "c7" / "summary.json"), str(tmp_path / "after")])
        == 0
    )
    said = capsys.readouterr().out
    assert "before: straggler: rank 2" in said
    assert "-25.0 ms (-27 %)" in said


def test_the_timeline_has_the_ranks_that_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = write_capture(tmp_path, replace(PLANNED, ranks=12))
    report = ["report", str(tmp_path), "--capture", "c7"]

    def merged() -> list[int]:
        return list(json.loads((capture / "summary.json").read_text())["capture"]["merged"])

    assert main([*report, "--ranks", "1,0,9-10"]) == 0
    assert merged() == [0, 1, 9, 10]
    events = json.loads(gzip.decompress((capture / "merged.trace.json.gz").read_bytes()))["traceEvents"]
    named = {event["args"]["name"].split(" · ")[0] for event in events if event["name"] == "process_name"}
    assert named == {"rank 0", "rank 1", "rank 9", "rank 10"}
    (capture / "raw" / "rank-00003" / "done.json").write_text("{")
    for ranks, code, words in (
        ("0-8", 2, "these are 9 ranks, and a timeline has 8 at most"),
        ("0,x", 2, "it is no list of ranks such as 0,3-5"),
        ("0-9,5-3", 2, "it is no list of ranks"),
        ("0-99999999999999999999", 2, "a timeline has 8 at most"),
        ("", 2, "it is no list of ranks"),
        ("0,3,12", 1, "no trace of rank 3 that can be read; choose among these ranks: 0-2,4-11"),
    ):
        assert main([*report, "--ranks", ranks]) == code
        assert words in capsys.readouterr().err
    assert merged() == [0, 1, 9, 10]
    assert main(["report", str(tmp_path), "--ranks", "0"]) == 2
    assert "name it by --capture ID" in capsys.readouterr().err
    assert main([*report, "--ranks", "0", "-o", str(tmp_path / "page.html")]) == 2
    assert "leave out one of them" in capsys.readouterr().err


def test_bad_input_is_refused_with_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "newer.json").write_text('{"schema": "ftjob.dev/summary", "version": 9}')
    (tmp_path / "empty").mkdir()
    for arguments, code, words in (
        (["report", str(tmp_path / "file")], 2, "it is no folder; give the outputs of a job"),
        (["report", str(tmp_path / "nowhere")], 2, "there is no such folder"),
        (["report", str(tmp_path / "empty")], 1, "no outputs of a job"),
        (["report", str(tmp_path / "empty"), "--capture", "c7"], 1, "no capture c7 (there are: none)"),
        (["diff", str(tmp_path / "file"), str(tmp_path / "empty")], 1, "it is empty"),
        (["diff", str(tmp_path / "newer.json"), str(tmp_path / "empty")], 1, "it has version 9"),
        (["diff", str(tmp_path / "nowhere"), str(tmp_path / "empty")], 1, "no such file or folder"),
    ):
        assert main(arguments) == code
        assert words in capsys.readouterr().err


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    interface = tmp_path / "web_dist"
    (interface / "v1").mkdir(parents=True)
    (interface / "index.html").write_text("the interface")
    (interface / "v1" / "app.js").write_text("1")
    (interface / "trace_processor").write_text("downloads a program")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "trace.gz").write_bytes(b"the trace")
    with Server("<p>the report", tmp_path / "trace.gz", interface) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def get(server: Server, path: str, **headers: str) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.headers.get("Set-Cookie", "")
    connection.close()
    return found


def test_the_page_and_its_trace_are_served_to_who_has_the_address(server: Server) -> None:
    url = urlsplit(server.url)
    assert url.hostname == "127.0.0.1"
    code, _, cookie = get(server, f"{url.path}?{url.query}")
    assert code == 303
    cookie = cookie.partition(";")[0]
    assert get(server, "/report", Cookie=cookie)[:2] == (200, b"<p>the report")
    assert get(server, "/localtrace", Cookie=cookie)[:2] == (200, b"the trace")
    assert get(server, "/index.html", Cookie=cookie)[:2] == (200, b"the interface")
    assert get(server, "/v1/app.js", Cookie=cookie)[0] == 200


def test_nothing_is_served_to_others_and_nothing_else_to_anybody(server: Server) -> None:
    cookie = f"ftjob={server.token}"
    for path in ("/report", "/localtrace", "/index.html", "/", "/?token=x"):
        assert get(server, path)[0] == 403
        assert get(server, path, Host="evil.example", Cookie=cookie)[0] == 403  # DNS that was bound anew
    for path in ("/../secret", "/v1/../../secret", "/v1/%2e%2e/secret", "/trace_processor", "/secret", "/v1"):
        assert get(server, path, Cookie=cookie)[0] == 404
