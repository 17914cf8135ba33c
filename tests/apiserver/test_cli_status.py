"""`ftjob status` of jobs in trouble, on a real API server: the first sentence names the cause."""

from __future__ import annotations

import json
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from support.apiserver import GANGS, NEWEST, ApiServer, running_api_server
from support.control_cluster import Namespace, new_namespace, running_operator
from support.kueue import VERSIONS, Kueue, install_kueue
from support.troubles import SEEDS, Troubles, evicted, node, pending, running_webhook

from ftjob.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Told = tuple[int, str, str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_api_server(NEWEST, tmp_path_factory.mktemp("troubles"), *GANGS) as running:
        install_kueue(running, VERSIONS[NEWEST])
        yield running


@pytest.fixture(scope="module")
def troubles(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """All troubles at once, by name; the values are their namespaces."""
    with ExitStack() as stack:
        client = stack.enter_context(server.client())
        stack.enter_context(running_webhook(server, "webhook"))
        space = new_namespace(client)
        folder = tmp_path_factory.mktemp("operator")
        stack.enter_context(running_operator(server, folder, namespace=space.name, cluster_wide=True))
        node(Troubles(server, space), "node-1", "True", "kubelet is posting ready status")
        for seed in SEEDS:
            seed(Troubles(server, space))
        found = {seed.__name__: space.name for seed in SEEDS}
        for in_queue in (pending, evicted):
            kueue = Kueue(new_namespace(client), VERSIONS[NEWEST])
            in_queue(kueue)
            found[in_queue.__name__] = kueue.space.name
        yield found


@pytest.fixture
def status(
    server: ApiServer,
    troubles: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Told]:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))

    def run(name: str, *words: str) -> Told:
        code = main(["status", name, "-n", troubles[name], *words])
        return (code, *capsys.readouterr())

    return run


FIRST = {
    "image": "is Starting (ImagePullBackOff): pod image-worker-0-0: Back-off pulling image",
    "mount": "is Starting (FailedMount): a volume of pod mount-worker-0-0 can't be mounted: MountVolume",
    "quota": "is Pending (CreationForbidden): Pod quota-worker-0-0: pods",
    "gpu": "is Starting (Unschedulable): pod gpu-worker-0-0: 0/3 nodes are available: 1 node(s) had",
    "taint": "is Starting (Unschedulable): pod taint-worker-0-0: 0/3 nodes are available: 3 node(s) had un",
    "gang": "is Starting (Unschedulable): gang gang-0: minCount (3) cannot be satisfied: 1 scheduled",
    "oom": "has failed (OOMKilled): rank 0 (pod oom-worker-0-0 on node-1) failed with exit code 137",
    "exception": "has failed (Exception): rank 0 (pod exception-worker-0-0 on node-1) failed with exit",
    "hang": "has failed (Hang): rank 0 (pod hang-worker-0-0 on node-1) failed: no rank has made a step",
    "lost": "is Starting (NodeLost): node node-that-was-lost of pod lost-worker-0-0 does not answer",
    "claim": "is Starting (ClaimMissing): there is no claim nosuch in this namespace, and pod claim-w",
    "unbound": "is Starting (ProvisioningFailed): the claim unbound-outputs of pod unbound-w",
    "webhook": 'is Pending (CreationForbidden): Pod webhook-worker-0-0: admission webhook "cost.example.com',
    "pending": "is Queued (Queued): waits in Kueue's queue team-a: couldn't assign flavors",
    "evicted": "is Queued (Evicted): Kueue has evicted the job (Preempted): Preempted to accommodate",
}
NAMES = {
    "quota": "exceeded quota: gpus",
    "gpu": "Insufficient nvidia.com/gpu",
    "exception": "ValueError: the rate is negative",
    "unbound": 'storageclass.storage.k8s.io "nosuch" not found',
    "webhook": "denied the request: no cost centre",
    "image": "no such host",
}
"""What else is in the first sentence."""


RETRIED = {"quota", "webhook"}
"""The operator tries these again now and then; for that moment the job is Starting."""
TRIES = 100


@pytest.mark.parametrize("trouble", FIRST)
def test_the_first_sentence_names_the_cause_and_a_remedy_follows(
    status: Callable[..., Told], trouble: str
) -> None:
    for _ in range(TRIES):
        code, out, err = status(trouble)
        if trouble not in RETRIED or out.startswith(f"{trouble} is Pending"):
            break
        time.sleep(0.1)
    assert (code, err) == (0, "")
    first, second, *_ = out.splitlines()
    assert first.startswith(f"{trouble} {FIRST[trouble]}")
    assert NAMES.get(trouble, "") in first
    assert second.startswith("  remedy: ")
    assert "\n  next: " in out
    assert "not read:" not in out


def test_why_says_it_too(
    server: ApiServer,
    troubles: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    assert main(["why", "mount", "-n", troubles["mount"]]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"mount {FIRST['mount']}")
    assert "Event FailedMount of Pod mount-worker-0-0, 3 times" in out


def test_programs_get_the_same(status: Callable[..., Told]) -> None:
    code, out, _ = status("image", "-o", "json")
    said = json.loads(out)
    assert code == 0
    assert said["says"].startswith(f"image {FIRST['image']}")
    assert said["cause"]["reason"] == "ImagePullBackOff"
    assert said["workers"] == [
        {
            "ranks": "0",
            "pod": "image-worker-0-0",
            "node": "node-1",
            "state": "ImagePullBackOff",
            "step": None,
        },
        {"ranks": "1", "pod": "image-worker-0-1", "node": None, "state": "Pending", "step": None},
    ]
    as_yaml = yaml.safe_load(status("image", "-o", "yaml")[1])
    assert as_yaml.keys() == said.keys()
    assert as_yaml["says"] == said["says"]


def test_what_a_user_may_not_read_is_said_and_is_no_error(
    server: ApiServer, troubles: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = troubles["mount"]
    with server.client() as client:
        made = Namespace(client, space)
        made.create("serviceaccounts", {"metadata": {"name": "ada"}})
        rights = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}"
        rules = [
            {"apiGroups": ["ftjob.dev"], "resources": ["frameworktrainingjobs"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        ]
        client.send("POST", f"{rights}/roles", {"metadata": {"name": "ada"}, "rules": rules})
        subject = {"kind": "ServiceAccount", "name": "ada", "namespace": space}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "ada"}
        bound = {"metadata": {"name": "ada"}, "subjects": [subject], "roleRef": role}
        client.send("POST", f"{rights}/rolebindings", bound)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = client.send("POST", made.path("serviceaccounts", "ada", "token"), request)
    config = json.loads(server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": answer.body["status"]["token"]}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    assert main(["status", "mount", "-n", space, "--kubeconfig", str(kubeconfig)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mount is Starting\n")
    assert "mount-worker-0-0   node-1   ContainerCreating" in out
    assert "\nnot read: events: " in out
    assert "\nnot read: node node-1: " in out
    assert "ask whoever runs the cluster for a role" in out
    assert f"next: ftjob wait mount -n {space} --kubeconfig={kubeconfig}" in out


def test_a_job_that_is_not_there_is_said_to_be_so(
    server: ApiServer, troubles: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["-n", troubles["mount"], "--kubeconfig", str(server.kubeconfig)]
    assert main(["status", "nosuch", *there]) == 3
    assert '"nosuch" not found; `ftjob list` shows what there is' in capsys.readouterr().err
    assert main(["status", *there]) == 3
    assert "no job of" in capsys.readouterr().err


def test_the_doctor_looks_at_a_real_api_server(
    server: ApiServer, troubles: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["-n", troubles["mount"], "--kubeconfig", str(server.kubeconfig)]
    assert main(["doctor", *there, "-o", "json"]) == 1, "its operator is no pod"
    said = json.loads(capsys.readouterr().out)
    levels = {check["subject"]: check["level"] for check in said["checks"]}
    assert levels == {
        "server": "ok",
        "CRD": "ok",
        "operator": "problem",
        "rights": "ok",
        "storage": "warning",
        "gangs": "ok",
        "Kueue": "warning",
        "GPUs": "warning",
    }
    assert said["notRead"] == []


AGES = re.compile(r"\b\d+[smhd](?:\d+m)?(?= ago| \()")
TIME = re.compile(r"^time: .*\n", re.MULTILINE)
"""Which seconds there are to tell depends on the machine."""


def test_the_page_shows_what_it_prints(status: Callable[..., Told], troubles: dict[str, str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    shown = page.partition("$ ftjob status mount\n")[2].partition("```")[0]
    out = status("mount")[1].replace(troubles["mount"], "team-a")
    assert TIME.sub("", AGES.sub("40s", out)) == shown
