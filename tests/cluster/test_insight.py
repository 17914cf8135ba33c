"""Jobs on two nodes that say why they are slow: verdict, captures while they run, and reports."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import wait_for
from support.cluster import CONTEXT, ROOT, job, pods_of
from support.pages import assert_sound, chromium, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cluster import Cluster

JOBS = {"torch": "Torchrun", "horovod": "Horovod", "tensorflow": "MultiWorkerMirrored"}
"""In each rank 1 waits for its data."""
SLOW = ("torch", "horovod")
"""Those of which the clock sees input and waiting: a TensorFlow step is one call."""
FAULTS = {"backward": "Straggler", "checkpoint": "Pauses"}
"""Others, all of torch, and what they are to be called."""
FTJOB = ROOT / ".venv" / "bin" / "ftjob"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of somebody who uses the cluster by kubectl and ftjob."""
    folder = tmp_path_factory.mktemp("desk")
    command = ["kubectl", "config", "view", "--minify", "--flatten", "--context", CONTEXT]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    (folder / "kubeconfig").write_text(made.stdout)
    return folder


def slow(name: str, strategy: str, mode: str, fault: str) -> dict[str, Any]:
    """Return a job of two ranks on two nodes, which runs until the file `go` in its outputs is gone."""
    apart = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"ftjob.dev/job": name, "ftjob.dev/role": "worker"}},
    }
    go = "$FTJOB_OUTPUTS/go"
    script = f"touch {go}; exec python3 /programs/slow_ranks.py {mode} {fault} {go} 900"
    made = job(
        name, ["sh", "-c", script], strategy=strategy, workers=2, frameworks=True,
        topologySpreadConstraints=[apart],
    )  # fmt: skip
    made["spec"]["outputs"] = {"size": "1Gi"}
    return made


@pytest.fixture(scope="module")
def running(frameworks: Cluster) -> Iterator[Cluster]:
    """The jobs in which rank 1 waits for its data."""
    for name, strategy in JOBS.items():
        frameworks.apply(slow(name, strategy, name, "input"))
    yield frameworks
    frameworks.kubectl("delete", "ftj", *JOBS)


@pytest.fixture(scope="module")
def faulty(frameworks: Cluster) -> Iterator[Cluster]:
    """The jobs with other faults, once those before have ended: all at once would hold each other up."""
    for fault in (*FAULTS, "prefetch"):
        frameworks.apply(slow(fault, "Torchrun", "torch", fault))
    yield frameworks
    frameworks.kubectl("delete", "ftj", *FAULTS, "prefetch", "--ignore-not-found")


def ftjob(desk: Path, cluster: Cluster, *words: str) -> str:
    """Call ftjob as a user does."""
    env = {**os.environ, "KUBECONFIG": str(desk / "kubeconfig")}
    command = [str(FTJOB), *words, "-n", cluster.namespace]
    done = subprocess.run(command, env=env, cwd=desk, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def node_of(cluster: Cluster, pod: str) -> str:
    """Return where a pod runs."""
    return str(cluster.get("pod", pod)["spec"]["nodeName"])


def profile_of(cluster: Cluster, name: str) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get("ftj", name)["status"]["profile"]
    return found


def test_all_are_captured_while_they_run_and_a_collector_reports_on_each(
    running: Cluster, desk: Path
) -> None:
    for name in JOBS:
        running.until("ftj", name, "{.status.phase}=Running", seconds=300)
        assert len({pod["spec"]["nodeName"] for pod in pods_of(running, name)}) == 2
    for name in JOBS:
        assert ftjob(desk, running, "profile", name, "--steps", "5", "--id", "c1") == "capture c1\n"
    for name in JOBS:
        report = "captures/c1/report.html"
        ordered = '.status.profile.captures[?(@.id=="c1")]'  # there may be automatic ones beside it
        found = running.until("ftj", name, f"{{{ordered}.report}}={report}", seconds=240)
        [entry] = [each for each in found["status"]["profile"]["captures"] if each["id"] == "c1"]
        assert entry["ranks"] == "2/2"
        # On busy nodes a rank may hear of it late; then the capture says so.
        assert entry["phase"] == "Ready" or "began at another step" in entry["reason"], entry
        outputs = running.outputs_of(found)
        summary = json.loads((outputs / "captures/c1/summary.json").read_text())
        assert summary["capture"]["ranks"]["read"] == [0, 1]
        assert summary["job"]["name"] == name
        assert (outputs / report).exists()


@pytest.mark.parametrize("name", SLOW)
def test_the_rank_that_waits_for_its_data_is_named_while_the_job_runs(
    running: Cluster, desk: Path, name: str
) -> None:
    def is_named() -> bool:
        profile = running.get("ftj", name)["status"].get("profile", {})
        return any(
            (found["kind"], found.get("ranks"), found.get("cause")) == ("Straggler", "1", "Input")
            and found["text"].startswith("straggler: rank 1 (node ")
            and found.get("line", "").startswith("slow_ranks.py")  # it takes some samples more
            for found in profile.get("findings", [])
        )

    wait_for(is_named, "the verdict on rank 1", 240)
    assert "straggler: rank 1 (node " in ftjob(desk, running, "why", name)


def test_reports_are_fetched_and_every_page_is_sound(running: Cluster, desk: Path) -> None:
    with chromium() as browser:
        for name in JOBS:
            ftjob(desk, running, "report", name, "--capture", "c1")
            folder = desk / "ftjob-reports" / f"{running.namespace}.{name}" / "captures" / "c1"
            page, summary = folder / "report.html", json.loads((folder / "summary.json").read_text())
            assert numbers(browser, page, least=1) == summary
            assert_sound(browser, page)
        said = ftjob(desk, running, "report", "torch")
        assert "straggler: rank 1" in said
        assert_sound(browser, desk / "ftjob-reports" / f"{running.namespace}.torch" / "report.html")
    pods = [pod["metadata"]["name"] for pod in running.items("pods")]
    assert not [name for name in pods if "-read-" in name]


def test_a_job_that_has_ended_has_a_report_in_its_outputs_and_its_collectors_are_gone(
    running: Cluster,
) -> None:
    for name in JOBS:
        running.kubectl("exec", f"{name}-worker-0-0", "-c", "trainer", "--", "rm", "/ftjob/outputs/go")
    for name in JOBS:
        assert running.finished(name)["status"]["phase"] == "Succeeded"
        done = running.until("ftj", name, "{.status.profile.reportPath}=report.html", seconds=240)
        outputs = running.outputs_of(done)
        assert name in (outputs / "report.html").read_text()
        assert json.loads((outputs / "job.yaml").read_text())["status"]["phase"] == "Succeeded"
    running.kubectl("wait", "--for=delete", "pod", "-l", "ftjob.dev/collects", "--timeout=60s")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_called_what_it_is(faulty: Cluster, fault: str) -> None:
    faulty.until("ftj", fault, f"{{.status.profile.findings[0].kind}}={FAULTS[fault]}", seconds=240)
    profile = profile_of(faulty, fault)
    (found, *_) = profile["findings"]
    if fault == "backward":
        assert found["ranks"] == "1"
        assert profile["stragglers"][0]["node"] == node_of(faulty, "backward-worker-0-1")
    else:
        assert found["text"].endswith("; rank 0 alone, others wait")
        assert not profile["stragglers"]


def test_a_rank_that_reads_ahead_is_not_accused_of_slow_data(faulty: Cluster) -> None:
    faulty.kubectl("wait", "--for=jsonpath={.status.profile.verdict}", "ftj/prefetch", "--timeout=240s")
    profile = profile_of(faulty, "prefetch")
    kinds = {found["kind"] for found in profile.get("findings", [])}
    assert not kinds & {"InputBound", "Straggler"}, profile


def test_ranks_that_their_own_limit_holds_back_are_told_so(faulty: Cluster) -> None:
    """By itself, since on busy nodes they would not come to their limit."""
    for fault in (*FAULTS, "prefetch"):
        faulty.kubectl("delete", "ftj", fault)
    made = slow("quota", "Torchrun", "torch", "quota")
    made["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = {"cpu": "300m"}
    faulty.apply(made)

    def is_told() -> bool:
        status = faulty.get("ftj", "quota").get("status", {})
        found: dict[str, Any] = next(iter(status.get("profile", {}).get("findings", [])), {})
        remedy = found.get("next", "")
        return found.get("kind") == "HostContention" and remedy.startswith("raise resources.limits.cpu")

    wait_for(is_told, "the verdict on the limit", 300)
    faulty.kubectl("delete", "ftj", "quota")
