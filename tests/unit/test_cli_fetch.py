"""`ftjob report JOB`: what is fetched from the cluster, by which pod, and what is made of it here."""

from __future__ import annotations

import io
import json
import stat
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.traces import Planned, write_capture, write_job, write_vitals

from ftjob.cli.main import main
from ftjob.insight.outputs import report_capture

if TYPE_CHECKING:
    from pathlib import Path

PLANNED = Planned(operators=4, steps=5)

# Instead of a cluster: the pod's program runs here, on a folder that plays the volume.
KUBECTL = """\
import json, os, pathlib, subprocess, sys
here = pathlib.Path({here!r})
words = sys.argv[1:]
with (here / "asked").open("a") as asked:
    asked.write(" ".join(words[:3]) + "\\n")
said = here / ("says-" + words[0])
if said.exists():
    sys.stderr.write(said.read_text())
    sys.exit(1)
if words[0] == "get":
    sys.stdout.write((here / ("pod-state.json" if words[1] == "pod" else "job.json")).read_text())
elif words[0] == "create":
    (here / "pod.json").write_text(sys.stdin.read())
elif words[0] == "exec":
    if (here / "stream").exists():
        sys.stdout.buffer.write((here / "stream").read_bytes())
        sys.exit(0)
    program = words[words.index("-c") + 1].replace("/outputs", str(here / "volume"))
    rest = words[words.index("-c") + 2 :]
    sys.exit(subprocess.run([sys.executable, "-IS", "-c", program, *rest]).returncode)
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that plays the cluster; its volume holds a job that has made steps, with a capture."""
    (tmp_path / "volume").mkdir()
    write_job(tmp_path / "volume")
    (job,) = yaml.safe_load_all((tmp_path / "volume" / "job.yaml").read_text())
    job["metadata"] |= {"namespace": "team", "uid": "0f0e"}
    job["spec"] |= {
        "outputs": {},
        "template": {
            "spec": {
                "securityContext": {"runAsUser": 1000},
                "containers": [{"name": "trainer", "image": "team/train:3"}],
            }
        },
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    write_vitals(tmp_path / "volume", PLANNED, 3)
    write_capture(tmp_path / "volume", PLANNED)
    (tmp_path / "volume" / "checkpoints").mkdir()
    (tmp_path / "volume" / "checkpoints" / "model.pt").write_bytes(b"large")
    path = tmp_path / "bin" / "kubectl"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\n{KUBECTL.format(here=str(tmp_path))}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return tmp_path


def asked(cluster: Path) -> list[str]:
    return [line.split()[0] for line in (cluster / "asked").read_text().splitlines()]


def fetched(cluster: Path) -> set[str]:
    top = cluster / "desk" / "ftjob-reports" / "team.digits"
    return {path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()}


def test_a_jobs_report_is_made_here_of_what_its_volume_holds(
    cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "digits", "-n", "team"]) == 0
    assert capsys.readouterr().out.startswith(
        "report: ./ftjob-reports/team.digits/report.html\nstraggler: rank 2"
    )
    assert asked(cluster) == ["get", "create", "wait", "exec", "delete"]
    names = fetched(cluster)
    assert {"report.html", "job.yaml", "vitals/rank-00000.jsonl", "captures/c7/request.json"} <= names
    assert not any("raw" in name or "checkpoints" in name for name in names)


def test_the_pod_reads_the_outputs_as_the_jobs_user_and_goes_by_itself(cluster: Path) -> None:
    main(["report", "digits", "-n", "team"])
    pod: dict[str, Any] = json.loads((cluster / "pod.json").read_text())
    assert pod["metadata"]["ownerReferences"][0]["uid"] == "0f0e"
    spec = pod["spec"]
    assert (spec["activeDeadlineSeconds"], spec["automountServiceAccountToken"]) == (900, False)
    assert spec["securityContext"] == {"runAsUser": 1000}
    (container,) = spec["containers"]
    assert container["image"] == "team/train:3"
    assert container["volumeMounts"] == [
        {"name": "outputs", "mountPath": "/outputs", "subPath": "team/digits/0f0e", "readOnly": True}
    ]
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "digits-outputs"}


def test_a_captures_report_is_the_clusters_or_made_here_of_the_raw_traces(
    cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "digits", "-n", "team", "--capture", "c7"]) == 1
    assert "--raw fetches the raw traces, too" in capsys.readouterr().err
    assert main(["report", "digits", "-n", "team", "--capture", "c7", "--raw"]) == 0
    assert "captures/c7/raw/rank-00000" in " ".join(fetched(cluster))
    assert capsys.readouterr().out.startswith("report: ./ftjob-reports/team.digits/captures/c7/report.html\n")
    report_capture(cluster / "volume", "c7")
    assert main(["report", "digits", "-n", "team", "--capture", "c7"]) == 0
    assert "straggler: rank 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "words", "told"),
    [
        ("get", 'Error from server (NotFound): "digits" not found', "(NotFound)"),
        (
            "create",
            "pods is forbidden: exceeded quota",
            "no pod that reads the outputs of digits: pods is for",
        ),
        (
            "exec",
            "error: unable to upgrade connection",
            "the outputs were not sent: error: unable to upgrade",
        ),
    ],
)
def test_what_goes_wrong_in_the_cluster_is_told_and_no_pod_stays(
    cluster: Path, capsys: pytest.CaptureFixture[str], verb: str, words: str, told: str
) -> None:
    (cluster / f"says-{verb}").write_text(words)
    assert main(["report", "digits", "-n", "team"]) == 2
    assert told in capsys.readouterr().err
    assert ("delete" in asked(cluster)) is (verb == "exec")


def test_a_pod_that_does_not_start_is_told_in_kubernetes_words(
    cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cluster / "says-wait").write_text("error: timed out waiting for the condition")
    condition = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    (cluster / "pod-state.json").write_text(json.dumps({"status": {"conditions": [condition]}}))
    assert main(["report", "digits", "-n", "team"]) == 2
    assert "was not placed: 0/3 nodes are available" in capsys.readouterr().err
    assert asked(cluster)[-1] == "delete"


def test_a_job_without_outputs_is_told_what_to_add(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = json.loads((cluster / "job.json").read_text())
    del job["spec"]["outputs"]
    (cluster / "job.json").write_text(json.dumps(job))
    assert main(["report", "digits", "-n", "team"]) == 2
    assert "add `outputs: {}`" in capsys.readouterr().err


def test_no_stream_reaches_beyond_its_folder(cluster: Path) -> None:
    with tarfile.open(cluster / "stream", "w") as archive:

        def add(name: str, text: bytes = b"x", **more: Any) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            for key, value in more.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(text))

        add("../evil")
        add("/tmp/evil")
        add("vitals/../../evil")
        add("vitals", type=tarfile.SYMTYPE, linkname="../..", size=0)
        add("captures", type=tarfile.SYMTYPE, linkname=str(cluster / "desk"), size=0)
        add("captures/evil")
        add("fifo", type=tarfile.FIFOTYPE, size=0)
        add("vitals/rank-00000.jsonl", b"{}\n", mode=0o4777)
    main(["report", "digits", "-n", "team"])
    assert not list(cluster.rglob("fifo"))
    assert {path.relative_to(cluster).as_posix() for path in cluster.rglob("evil")} == {
        "desk/ftjob-reports/team.digits/captures/evil"
    }
    kept = cluster / "desk/ftjob-reports/team.digits/vitals/rank-00000.jsonl"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o644


def test_a_stream_that_is_cut_is_told_and_what_came_whole_stays(
    cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("vitals/rank-00000.jsonl", "vitals/rank-00001.jsonl"):
            info = tarfile.TarInfo(name)
            info.size = 20_000
            archive.addfile(info, io.BytesIO(b"a" * info.size))
    (cluster / "stream").write_bytes(buffer.getvalue()[:30_000])
    assert main(["report", "digits", "-n", "team"]) == 2
    assert "the outputs were not sent: the stream ended early" in capsys.readouterr().err
    assert fetched(cluster) == {"vitals/rank-00000.jsonl"}
