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
from support.api_fake import FakeServer, running_fake
from support.traces import Planned, write_capture, write_job, write_vitals

from ftjob.cli.main import main
from ftjob.insight.outputs import report_capture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLANNED = Planned(operators=4, steps=5)

# Instead of `kubectl exec`: the pod's program runs here, on a folder that plays the volume.
KUBECTL = """\
import json, pathlib, subprocess, sys
here = pathlib.Path({here!r})
words = sys.argv[1:]
(here / "exec.json").write_text(json.dumps(words))
said = here / "says-exec"
if said.exists():
    sys.stderr.write(said.read_text())
    sys.exit(1)
if (here / "stream").exists():
    sys.stdout.buffer.write((here / "stream").read_bytes())
    sys.exit(0)
program = words[words.index("-c") + 1].replace("/outputs", str(here / "volume"))
rest = words[words.index("-c") + 2 :]
sys.exit(subprocess.run([sys.executable, "-IS", "-c", program, *rest]).returncode)
"""
JOB = "/apis/ftjob.dev/v1alpha1/namespaces/team/frameworktrainingjobs/digits"
PODS = "/api/v1/namespaces/team/pods"
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with running_fake(tmp_path) as (fake, kubeconfig):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        fake.events[PODS] = [{"type": "ADDED", "object": {"status": READY}}]
        yield fake


@pytest.fixture
def cluster(tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that plays the volume; it holds a job that has made steps, with a capture."""
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
    server.objects[JOB] = job
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


def was_deleted(server: FakeServer) -> bool:
    return server.asked[-1][0] == "DELETE"


def fetched(cluster: Path) -> set[str]:
    top = cluster / "desk" / "ftjob-reports" / "team.digits"
    return {path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()}


def test_a_jobs_report_is_made_here_of_what_its_volume_holds(
    cluster: Path, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "digits", "-n", "team"]) == 0
    assert capsys.readouterr().out.startswith(
        "report: ./ftjob-reports/team.digits/report.html\nstraggler: rank 2"
    )
    assert [method for method, _ in server.asked] == ["GET", "POST", "GET", "DELETE"]
    assert server.asked[-1][1].startswith(f"{PODS}/digits-read-")
    names = fetched(cluster)
    assert {"report.html", "job.yaml", "vitals/rank-00000.jsonl", "captures/c7/request.json"} <= names
    assert not any("raw" in name or "checkpoints" in name for name in names)


def test_the_pod_reads_the_outputs_as_the_jobs_user_and_goes_by_itself(
    cluster: Path, server: FakeServer
) -> None:
    main(["report", "digits", "-n", "team"])
    pod: dict[str, Any] = server.written[0]
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
    ("method", "path", "told"),
    [
        ("GET", JOB, "the API server answers 500: no luck"),
        ("POST", PODS, "no pod that reads the outputs of digits: the API server answers 500"),
        ("GET", PODS, "the API server answers 500: no luck"),
    ],
)
def test_what_the_cluster_refuses_is_told_and_no_pod_stays(
    cluster: Path,
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    method: str,
    path: str,
    told: str,
) -> None:
    server.refusals[method, path] = (500, "no luck")
    assert main(["report", "digits", "-n", "team"]) == 3
    assert told in capsys.readouterr().err
    assert was_deleted(server) is ((method, path) == ("GET", PODS))


def test_what_kubectl_exec_says_is_told_and_no_pod_stays(
    cluster: Path, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (cluster / "says-exec").write_text("error: unable to upgrade connection")
    assert main(["report", "digits", "-n", "team"]) == 3
    assert "the outputs were not sent: error: unable to upgrade" in capsys.readouterr().err
    assert was_deleted(server)


def test_kubectl_goes_to_the_same_cluster(cluster: Path) -> None:
    kubeconfig = str(cluster / "kubeconfig")
    assert main(["report", "digits", "-n", "team", "--context", "fake", "--kubeconfig", kubeconfig]) == 0
    words = json.loads((cluster / "exec.json").read_text())
    assert words[2:6] == ["--namespace=team", "--context=fake", f"--kubeconfig={kubeconfig}", "--"]


def test_without_kubectl_no_pod_is_made(
    cluster: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(cluster / "desk"))
    assert main(["report", "digits", "-n", "team"]) == 3
    assert "there is no kubectl: install it, or copy the volume" in capsys.readouterr().err
    assert [method for method, _ in server.asked] == ["GET"]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
                ]
            },
            "was not placed: 0/3 nodes are available",
        ),
        (
            {
                "containerStatuses": [
                    {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
                ]
            },
            "did not start: ErrImagePull not found",
        ),
        ({}, "does not run after 180 s"),
    ],
)
def test_a_pod_that_does_not_start_is_told_in_kubernetes_words(
    cluster: Path,
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    status: dict[str, Any],
    told: str,
) -> None:
    server.events[PODS] = [{"type": "ADDED", "object": {"status": status}}]
    assert main(["report", "digits", "-n", "team"]) == 3
    assert told in capsys.readouterr().err
    assert was_deleted(server)


def test_a_job_without_outputs_is_told_what_to_add(
    cluster: Path, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    del server.objects[JOB]["spec"]["outputs"]
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
    assert main(["report", "digits", "-n", "team"]) == 3
    assert "the outputs were not sent: the stream ended early" in capsys.readouterr().err
    assert fetched(cluster) == {"vitals/rank-00000.jsonl"}
