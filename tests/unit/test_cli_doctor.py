"""`ftjob doctor`: what is looked at in a cluster, and how it is judged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.api_fake import FakeServer, running_fake

from ftjob import __version__
from ftjob.api.crd import build_crd
from ftjob.cli.look.checks import (
    Accelerator,
    Check,
    ClusterSeen,
    Level,
    OperatorPod,
    Right,
    StorageClass,
    judge,
)
from ftjob.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WELL = ClusterSeen(
    server="https://10.0.0.1",
    namespace="team",
    version="v1.33.2-gke.100",
    is_served=True,
    missing_fields=(),
    operator=(OperatorPod("ftjob-operator-1", __version__, is_ready=True),),
    rights=(Right("create jobs", "`submit`", is_needed=True, is_given=True),),
    classes=(StorageClass("files", "nfs.csi.k8s.io", is_default=True),),
    gangs=("Native",),
    kueue="kueue.x-k8s.io/v1beta2",
    queues=("team-a",),
    accelerators=(Accelerator("nvidia.com/gpu", "NVIDIA-H200", 2, 16, 3),),
)


def found(seen: ClusterSeen, subject: str) -> list[Check]:
    return [check for check in judge(seen) if check.subject == subject]


def test_a_cluster_that_is_fit_is_said_to_be_so() -> None:
    checks = judge(WELL)
    assert {check.level for check in checks} == {Level.OK}
    assert [check.subject for check in checks] == [
        *("server", "CRD", "operator", "rights", "storage", "gangs", "Kueue", "GPUs")
    ]
    assert checks[-1].text == "nvidia.com/gpu (NVIDIA-H200): 16 on 2 nodes, 3 free"


LOCAL = StorageClass("standard", "rancher.io/local-path", is_default=True)


@pytest.mark.parametrize(
    ("changes", "subject", "level", "text"),
    [
        ({"version": "v1.31.9"}, "server", "problem", "v1.31.9"),
        ({"version": "odd"}, "server", "ok", "odd"),
        ({"is_served": False}, "CRD", "problem", "does not know"),
        ({"missing_fields": ("roles", "tpu")}, "CRD", "warning", "it lacks spec.roles, tpu"),
        ({"missing_fields": None}, "CRD", "ok", "knows"),
        ({"operator": None}, "operator", "warning", "may not be read"),
        ({"operator": ()}, "operator", "problem", "no pod of it was found"),
        ({"operator": (OperatorPod("a", "1", is_ready=False),)}, "operator", "problem", "pod a is not ready"),
        ({"operator": (OperatorPod("a", "9", is_ready=True),)}, "operator", "warning", "this ftjob is"),
        ({"classes": None}, "storage", "warning", "may not be read"),
        ({"classes": (replace(LOCAL, is_default=False),)}, "storage", "warning", "no default storage class"),
        ({"classes": (LOCAL,)}, "storage", "warning", "one node alone"),
        ({"classes": (replace(LOCAL, modes=("ReadWriteMany",)),)}, "storage", "ok", "that are ReadWriteMany"),
        ({"gangs": ()}, "gangs", "warning", "nobody places"),
        ({"kueue": ""}, "Kueue", "ok", "is not installed"),
        ({"queues": ()}, "Kueue", "warning", "namespace team has no queue"),
        ({"queues": None}, "Kueue", "warning", "may not be read"),
        ({"accelerators": ()}, "GPUs", "warning", "no node offers"),
        ({"accelerators": None}, "GPUs", "warning", "may not be read"),
    ],
)
def test_what_is_not_as_it_should_be_has_a_remedy(
    changes: dict[str, Any], subject: str, level: str, text: str
) -> None:
    (check,) = found(replace(WELL, **changes), subject)
    assert (check.level, text in check.text) == (level, True), check
    assert bool(check.remedy) is (check.level is not Level.OK)


def test_rights_that_jobs_need_are_a_problem_and_others_a_warning() -> None:
    create = Right("create jobs", "`submit`", is_needed=True, is_given=False)
    events = Right("list events", "`status`", is_needed=False, is_given=False)
    first, second = found(replace(WELL, rights=(create, events)), "rights")
    assert (first.level, first.text) == ("problem", "you may not create jobs in namespace team: `submit`")
    assert second.level == "warning"
    assert [check.level for check in found(replace(WELL, rights=(events,)), "rights")] == ["warning", "ok"]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with running_fake(tmp_path) as (fake, kubeconfig):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        gpu = {"allocatable": {"nvidia.com/gpu": "8", "cpu": "64"}}
        labels = {"nvidia.com/gpu.product": "NVIDIA-H200"}
        node = {"metadata": {"name": "a", "labels": labels}, "spec": {}, "status": gpu}
        cordoned = {"metadata": {"name": "b"}, "spec": {"unschedulable": True}, "status": gpu}
        limits = {"resources": {"limits": {"nvidia.com/gpu": "5"}}}
        pod = {
            "metadata": {"name": "p", "labels": {"app.kubernetes.io/version": __version__}},
            "spec": {"nodeName": "a", "containers": [limits, {}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        storage = {"metadata": {"name": "files", "annotations": default}, "provisioner": "nfs.csi.k8s.io"}
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        fake.objects = {
            "/version": {"gitVersion": "v1.37.2"},
            "/apis/ftjob.dev/v1alpha1": {"resources": [{"name": "frameworktrainingjobs"}]},
            "/apis/scheduling.k8s.io/v1beta1": {"resources": [{"name": "podgroups"}]},
            f"{crds}/frameworktrainingjobs.ftjob.dev": build_crd(),
            "/api/v1/pods": {"items": [pod]},
            "/api/v1/nodes": {"items": [node, cordoned]},
            "/apis/storage.k8s.io/v1/storageclasses": {"items": [storage]},
            "/api/v1/persistentvolumes": {"items": []},
        }
        yield fake


REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def test_a_cluster_is_looked_at(served: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    served.answers["POST", REVIEWS] = {"status": {"allowed": True}}
    assert main(["doctor", "-n", "team", "-o", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {check["level"] for check in said["checks"]} == {"ok"}
    texts = {check["subject"]: check["text"] for check in said["checks"]}
    assert texts["GPUs"] == "nvidia.com/gpu (NVIDIA-H200): 8 on 1 node, 3 free"
    assert texts["gangs"].startswith("Native can")
    assert said["notRead"] == []
    asked = [body["spec"]["resourceAttributes"] for body in served.written]
    assert {each["namespace"] for each in asked} == {"team"}
    assert ("create", "ftjob.dev", "frameworktrainingjobs") in {
        (each["verb"], each["group"], each["resource"]) for each in asked
    }


def test_what_may_not_be_read_is_said_and_a_problem_ends_with_1(
    served: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    served.answers["POST", REVIEWS] = {"status": {"allowed": False}}
    for path in ("/api/v1/nodes", "/api/v1/pods", "/apis/storage.k8s.io/v1/storageclasses"):
        served.refusals["GET", path] = (403, "forbidden for you")
    assert main(["doctor", "-n", "team"]) == 1
    out = capsys.readouterr().out
    assert "problem   rights     you may not create jobs in namespace team: `submit`\n" in out
    assert "warning   GPUs       nodes may not be read\n" in out
    assert "\nnot read: nodes: forbidden for you; ask whoever" in out


def test_a_cluster_that_can_not_be_asked_is_no_answer(
    served: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    served.refusals["GET", "/version"] = (401, "who are you")
    assert main(["doctor"]) == 3
    assert "renew your login" in capsys.readouterr().err


def test_a_job_that_can_not_be_created_is_a_problem(
    served: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    served.answers["POST", REVIEWS] = {"status": {"allowed": True}}
    jobs = "/apis/ftjob.dev/v1alpha1/namespaces/team/frameworktrainingjobs"
    served.refusals["POST", jobs] = (403, "exceeded quota: jobs")
    assert main(["doctor", "-n", "team", "--run"]) == 1
    assert "can't be created: exceeded quota: jobs" in capsys.readouterr().out
    assert all(method != "DELETE" for method, _ in served.asked)


@pytest.mark.parametrize(
    ("phase", "code", "told"),
    [
        ("Succeeded", 0, "of two workers has succeeded"),
        ("Failed", 1, "has failed (Exception): rank 0 failed"),
    ],
)
def test_a_job_is_run_and_deleted(
    served: FakeServer, capsys: pytest.CaptureFixture[str], phase: str, code: int, told: str
) -> None:
    served.answers["POST", REVIEWS] = {"status": {"allowed": True}}
    failure = {"rank": 0, "reason": "Exception", "message": "no"}
    status = {"phase": phase, **({"failure": failure} if phase == "Failed" else {})}
    jobs = "/apis/ftjob.dev/v1alpha1/namespaces/team/frameworktrainingjobs"
    meta = {"name": "doctor-1", "namespace": "team", "uid": "0f0e"}
    served.answers["POST", jobs] = {"metadata": meta}
    served.objects[f"{jobs}/doctor-1"] = {"metadata": meta, "spec": {}, "status": status}
    served.objects["/api/v1/namespaces/team/pods"] = {"items": []}
    assert main(["doctor", "-n", "team", "--run", "--image", "ours:1"]) == code
    assert told in capsys.readouterr().out
    assert served.asked[-1] == ("DELETE", f"{jobs}/doctor-1")
    job = next(body for body in served.written if "strategy" in body.get("spec", {}))
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "ours:1"
