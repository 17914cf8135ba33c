"""`ftjob status`: the likeliest cause, from objects that real API servers, kubelets and schedulers wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.api_fake import FakeServer, running_fake
from support.builders import NOW, pod, stamp

from ftjob.cli.look.answer import evidence, says
from ftjob.cli.look.causes import Cause, likeliest
from ftjob.cli.look.seen import EventSeen, NodeSeen, Seen, read_event, read_node
from ftjob.cli.main import main
from ftjob.models.status import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "support" / "troubles.json").read_text()
)
"""By trouble: what GET answers, by path, shortened to what is read. Of a cluster of three nodes, or of a lone
API server with a stand-in for kubelet, scheduler and Kueue (`support.troubles`)."""
FIRST = {
    "image": ("ImagePullBackOff", "no such host"),
    "mount": ("FailedMount", 'can\'t be mounted: MountVolume.SetUp failed for volume "settings"'),
    "quota": ("CreationForbidden", "exceeded quota: gpus"),
    "gpu": ("Unschedulable", "2 Insufficient nvidia.com/gpu"),
    "taint": ("Unschedulable", "had untolerated taint"),
    "gang": ("Unschedulable", "gang gang-0: minCount (3) cannot be satisfied"),
    "pending": ("Queued", "insufficient unused quota for cpu in flavor spot"),
    "evicted": ("Evicted", "Kueue has evicted the job (Preempted)"),
    "oom": ("OOMKilled", "failed with exit code 137"),
    "exception": ("Exception", "ValueError: the learning rate is negative"),
    "hang": ("Hang", "no rank has made a step for 600 s, and rank 0 holds up the others"),
    "lost": ("NodeLost", "node node-that-was-lost of pod lost-worker-0-0 does not answer any more"),
    "claim": ("ClaimMissing", "there is no claim nosuch in this namespace"),
    "unbound": ("ProvisioningFailed", 'storageclass.storage.k8s.io "nosuch" not found'),
    "webhook": ("CreationForbidden", 'admission webhook "cost.example.com" denied the request'),
}
REMEDIES = {
    "image": "does not reach the image's registry",
    "mount": "needs the configmap nosuch, which its namespace does not have. Create it there",
    "quota": "have the quota raised",
    "gpu": "Wait for others to end or for the autoscaler, or ask for fewer",
    "taint": "Compare nodeSelector and affinity",
    "gang": "starts by itself when there is room for all at once",
    "pending": "when team-a lets it in",
    "evicted": "runs again by itself",
    "oom": "Raise resources.limits.memory",
    "exception": "traceback",
    "hang": "where it is in the message",
    "lost": "Bring the node back",
    "claim": "correct outputs.claimName",
    "unbound": "outputs.storageClassName",
    "webhook": "ask who runs the webhook",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeServer, str]]:
    with running_fake(tmp_path_factory.mktemp("fake")) as (fake, kubeconfig):
        yield fake, str(kubeconfig)


def status(
    served: tuple[FakeServer, str], capsys: pytest.CaptureFixture[str], trouble: str, *words: str
) -> str:
    server, kubeconfig = served
    server.objects = RECORDED[trouble]
    assert main(["status", trouble, "-n", "team", "--kubeconfig", kubeconfig, *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("trouble", FIRST)
def test_the_first_sentence_names_the_cause_and_the_next_line_a_remedy(
    served: tuple[FakeServer, str], capsys: pytest.CaptureFixture[str], trouble: str
) -> None:
    reason, words = FIRST[trouble]
    first, second, *rest = status(served, capsys, trouble).splitlines()
    assert f" ({reason}): " in first
    assert words in first
    assert "See http" not in first
    assert REMEDIES[trouble] in second
    assert any(line.startswith("  next: ") for line in rest)
    assert not any(line.startswith("not read") for line in rest)
    said = json.loads(status(served, capsys, trouble, "-o", "json"))
    assert (said["says"], said["cause"]["reason"]) == (first, reason)
    assert said["evidence"]


def test_a_position_in_the_queue_is_told(
    served: tuple[FakeServer, str], capsys: pytest.CaptureFixture[str]
) -> None:
    server, _ = served
    workloads = RECORDED["pending"]["/apis/kueue.x-k8s.io/v1beta2/namespaces/team/workloads"]["items"]
    mine = {"metadata": {"name": workloads[0]["metadata"]["name"]}, "positionInLocalQueue": 2}
    path = "/apis/visibility.kueue.x-k8s.io/v1beta2/namespaces/team/localqueues/team-a/pendingworkloads"
    kept = RECORDED["pending"]
    RECORDED["pending"] = kept | {path: {"items": [mine]}}
    try:
        assert "2 before it in the queue" in status(served, capsys, "pending").splitlines()[0]
    finally:
        RECORDED["pending"] = kept
    assert server.asked


def test_what_is_forbidden_costs_that_part_alone(
    served: tuple[FakeServer, str], capsys: pytest.CaptureFixture[str]
) -> None:
    server, _ = served
    for path in ("pods", "persistentvolumeclaims", "events"):
        server.refusals["GET", f"/api/v1/namespaces/team/{path}"] = (403, f"{path} is forbidden")
    server.refusals["GET", "/api/v1/nodes"] = (403, "nodes is forbidden")
    try:
        out = status(served, capsys, "image")
        again = status(served, capsys, "mount")
    finally:
        server.refusals.clear()
    assert out.startswith("image is Starting (ImagePullBackOff): ")
    assert "not read: pods: pods is forbidden; ask whoever runs the cluster" in out
    assert again.startswith("mount is Starting\n")


def seen(phase: str | None = "Running", **more: Any) -> Seen:
    status = {"phase": phase, **more.pop("status", {})}
    if phase is None:
        del status["phase"]
    known = JobStatus.model_validate(status)
    return Seen("digits", "team", created=NOW - 60, now=NOW, status=known, **more)


def condition(kind: str, value: str, reason: str, message: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastTransitionTime": stamp(NOW - 40),
    }


def cause(of: Seen) -> Cause:
    found = likeliest(of)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "well",
    [
        seen(),
        seen("Succeeded"),
        replace(seen(None), created=NOW - 5),
        seen("Starting", status={"conditions": [condition("Running", "False", "Starting", "they start")]}),
        seen(status={"progress": {"step": 3, "stepSeconds": 20.0, "updatedTime": stamp(NOW - 400)}}),
    ],
    ids=["running", "succeeded", "new", "starting", "long steps"],
)
def test_a_job_that_is_well_has_no_cause(well: Seen) -> None:
    assert likeliest(well) is None
    assert evidence(well, None) == []


def test_a_job_that_no_operator_looks_at_says_so() -> None:
    found = cause(seen(None))
    assert says("digits", seen(None).status, found) == (
        "digits is new (NotSeen): no operator has looked at it for 1 m 0 s"
    )
    assert "serves this namespace" in found.remedy


def test_a_suspended_job_is_resumed() -> None:
    assert cause(seen("Suspended")).next == "ftjob resume digits -n team"


def test_a_denied_pod_that_the_operator_takes_for_a_bad_spec_names_the_webhook() -> None:
    """Webhooks that say no code are answered with 400."""
    message = (
        'the API server refuses Pod digits-worker-0-0: admission webhook "cost.example.com" denied the '
        "request: no cost centre; correct spec.template and apply the job again"
    )
    found = cause(
        seen("Failed", status={"conditions": [condition("Failed", "True", "InvalidSpec", message)]})
    )
    assert found.reason == "InvalidSpec"
    assert 'admission webhook "cost.example.com" denied' in found.text
    assert found.remedy == "Correct the spec and apply it again."


def test_a_restart_names_what_has_failed_and_what_it_waits_for() -> None:
    failure = {
        "rank": 1,
        "role": "worker",
        "index": 1,
        "reason": "NodeLost",
        "message": "node a does not answer",
    }
    waits = condition(
        "Running", "False", "OldPodsTerminating", "waits for the pods of the last attempt to end"
    )
    found = cause(seen("Restarting", status={"failure": failure, "conditions": [waits]}))
    assert found.reason == "NodeLost"
    assert (
        found.text == "rank 1 failed: node a does not answer; waits for the pods of the last attempt to end"
    )


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (NodeSeen("a", exists=False), "node a of pod digits-worker-0-0 is no longer in the cluster"),
        (NodeSeen("a", ready="False", words="disk pressure"), "is not ready: disk pressure"),
    ],
)
def test_a_sick_node_is_named_while_the_job_still_runs(node: NodeSeen, told: str) -> None:
    placed = replace(pod().running().state, node="a")
    assert told in cause(seen(nodes=(node,), pods=(placed,))).text
    assert likeliest(seen(nodes=(node,), pods=(replace(placed, node="b"),))) is None


def test_any_warning_about_a_pod_that_waits_is_better_than_nothing() -> None:
    waits = pod().state
    event = EventSeen("Pod", waits.name, "FailedCreatePodSandBox", "no network", 3, NOW - 10)
    found = cause(seen("Starting", pods=(waits,), events=(event,)))
    assert (found.reason, found.text) == ("FailedCreatePodSandBox", f"pod {waits.name}: no network")
    assert likeliest(seen(pods=(pod().running().state,), events=(event,))) is None


def test_a_volume_that_was_mounted_at_last_is_no_cause() -> None:
    first, second = pod().state, pod(1).state
    failed = [
        EventSeen("Pod", each.name, "FailedMount", "no Secret", 2, NOW - 20) for each in (first, second)
    ]
    pulls = EventSeen("Pod", first.name, "Pulling", "Pulling image", 1, NOW - 10)
    found = cause(seen("Starting", pods=(first, second), events=(pulls, *failed)))
    assert found.text == f"a volume of pod {second.name} can't be mounted: no Secret"
    assert likeliest(seen("Starting", pods=(first,), events=(pulls, failed[0]))) is None


def test_a_pod_speaks_where_the_operator_has_not_looked_yet() -> None:
    waits = replace(pod().state, waiting="ErrImagePull: manifest unknown")
    found = cause(seen("Starting", pods=(waits,)))
    assert (found.reason, found.text) == ("ErrImagePull", f"pod {waits.name}: manifest unknown")
    assert "no such image" in found.remedy


def test_a_job_that_makes_no_steps_says_since_when() -> None:
    found = cause(seen(status={"progress": {"step": 3, "updatedTime": stamp(NOW - 400)}}))
    assert found.text == "there was no step for 6 m 40 s, since step 3"


def test_a_slow_job_says_its_verdict_and_the_next_step() -> None:
    finding = {"kind": "InputBound", "text": "input-bound", "next": "raise num_workers", "evidence": ["40 %"]}
    slow = seen(status={"profile": {"verdict": "input-bound: 40 %", "findings": [finding]}})
    found = cause(slow)
    assert says("digits", slow.status, found) == "digits is Running (InputBound): input-bound: 40 %"
    assert (found.remedy, evidence(slow, found)) == ("raise num_workers", ["40 %"])


@pytest.mark.parametrize(
    ("raw", "count", "last"),
    [
        ({"count": 4, "lastTimestamp": "2026-01-01T00:00:09Z"}, 4, 9.0),
        ({"eventTime": "2026-01-01T00:00:01.5Z"}, 1, 1.5),
        (
            {
                "eventTime": "2026-01-01T00:00:01Z",
                "lastTimestamp": None,
                "series": {"count": 7, "lastObservedTime": "2026-01-01T00:00:05.000000Z"},
            },
            7,
            5.0,
        ),
        ({}, 1, -1767225600.0),
    ],
)
def test_events_of_both_forms_are_read(raw: dict[str, Any], count: int, last: float) -> None:
    found = read_event({"involvedObject": {"kind": "Pod", "name": "a"}, "reason": "Failed", **raw})
    assert (found.count, found.last - 1767225600.0) == (count, last)


def test_a_node_without_a_word_of_its_kubelet_is_not_well() -> None:
    assert not read_node("a", [{"status": {}}]).is_well
    assert not read_node("a", []).exists


def test_of_many_workers_those_that_do_not_run_are_shown(
    served: tuple[FakeServer, str], capsys: pytest.CaptureFixture[str]
) -> None:
    server, _ = served
    recorded = RECORDED["image"]
    path = "/apis/ftjob.dev/v1alpha1/namespaces/team/frameworktrainingjobs/image"
    job = json.loads(json.dumps(recorded[path]))
    job["spec"]["workers"] = 1000
    RECORDED["many"] = recorded | {path.replace("/image", "/many"): job}
    try:
        out = status(served, capsys, "many")
    finally:
        del RECORDED["many"]
    assert "and 984 more: 984 Absent" in out
    assert len(out.splitlines()) < 40
    assert server.asked
